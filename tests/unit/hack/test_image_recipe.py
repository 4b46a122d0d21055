"""The Dockerfile read as steps: what each means, and that nothing unknown is passed over."""

from pathlib import Path

import pytest

from hack.image.recipe import Copy, MakeFolder, Run, UnknownStepError, read

ROOT = Path(__file__).parents[3]


def test_the_dockerfile_has_nothing_that_is_not_known() -> None:
    build, root, image = read((ROOT / "Dockerfile").read_text(), {"BASE": "debian", "VERSION": "1.2"})

    assert [build.base, root.base, image.base] == ["debian", "debian", "scratch"]
    assert image.steps == (Copy(("/",), "/", "root", is_into_folder=True),)
    assert image.settings.labels["org.opencontainers.image.version"] == "1.2"
    assert image.settings.user == "65532:65532"
    assert image.settings.environment["PATH"].startswith("/opt/podgate/bin:")


def test_what_is_run_sees_arguments_with_a_value_and_the_environment_so_far() -> None:
    (stage,) = read(
        "FROM b\nARG GIVEN\nARG UNSET\nARG DEFAULT=d\nRUN one\nENV A=1 DEFAULT=e\nRUN two", {"GIVEN": "g"}
    )

    assert stage.steps == (
        Run("one", {"GIVEN": "g", "DEFAULT": "d"}, "/"),
        Run("two", {"GIVEN": "g", "DEFAULT": "e", "A": "1"}, "/"),
    )


def test_an_argument_before_the_first_stage_has_to_be_declared_again_in_a_stage() -> None:
    first, second = read("ARG A=1\nFROM b\nRUN x\nFROM b\nARG A\nRUN x", {})

    assert first.steps == (Run("x", {}, "/"),)
    assert second.steps == (Run("x", {"A": "1"}, "/"),)


def test_a_stage_begins_without_what_the_one_before_it_has_set() -> None:
    _, second = read("FROM b\nENV A=1\nWORKDIR /w\nFROM b\nRUN x", {})

    assert second.steps == (Run("x", {}, "/"),)


def test_folders_are_below_the_working_folder() -> None:
    (stage,) = read("FROM b\nWORKDIR /src\nWORKDIR sub\nCOPY a b c/\nRUN x", {})

    assert stage.steps == (
        MakeFolder("/src"),
        MakeFolder("/src/sub"),
        Copy(("a", "b"), "/src/sub/c", None, is_into_folder=True),
        Run("x", {}, "/src/sub"),
    )


def test_a_comment_between_the_lines_of_a_step_is_no_part_of_it() -> None:
    (stage,) = read("FROM b\nRUN one \\\n# why\n    && two\n", {})

    assert [step.command.split() for step in stage.steps if isinstance(step, Run)] == [["one", "&&", "two"]]


def test_variables_and_quotes_are_replaced() -> None:
    (stage,) = read('FROM b\nARG V=1\nENV A="$V ${V}" B=\'$V\'\nLABEL l="v$V"', {})

    assert stage.settings.environment == {"A": "1 1", "B": "$V"}
    assert stage.settings.labels == {"l": "v1"}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ADD a /", "ADD"),
        ("HEALTHCHECK CMD true", "HEALTHCHECK"),
        ("VOLUME /v", "VOLUME"),
        ('SHELL ["/bin/bash", "-c"]', "SHELL"),
        ("ONBUILD RUN x", "ONBUILD"),
        ("RUN --mount=type=cache,target=/c x", "flags"),
        ('RUN ["x"]', "brackets"),
        ("RUN <<EOF\nx\nEOF", "here-documents"),
        ("USER 1:1\nRUN x", "after USER"),
        ("USER nobody", "names are not"),
        ("COPY --chown=1:1 a /", "--chown"),
        ("COPY --from=nothing a /", "no stage nothing"),
        ("COPY *.py /", "patterns"),
        ("COPY a b /c", "several"),
        ('COPY ["a", "/b"]', "neither flags"),
        ("ENTRYPOINT x", "JSON"),
        ("ENV A=${B:-c}", "only $NAME"),
        ("WORKDIR /$UNSET", "$UNSET has no value"),
        ("ARG A=1 B=2", "one name"),
        ("FROM --platform=linux/arm64 b", "--platform"),
    ],
)
def test_what_is_not_known_is_named_with_its_line(line: str, named: str) -> None:
    with pytest.raises(UnknownStepError) as caught:
        read(f"FROM b\n{line}\n", {})

    assert named in str(caught.value)
    assert str(caught.value).startswith("Dockerfile:")


def test_the_line_is_that_of_the_file() -> None:
    with pytest.raises(UnknownStepError, match=r"^Dockerfile:4: VOLUME /v: "):
        read("FROM b\n# why\n\nVOLUME /v\n", {})


@pytest.mark.parametrize("directive", ["# escape=`", "# syntax=docker/dockerfile:1", "#check=skip=all"])
def test_directives_are_not_comments(directive: str) -> None:
    with pytest.raises(UnknownStepError, match="directives"):
        read(f"{directive}\nFROM b\n", {})


def test_a_stage_on_a_stage_is_not_taken_for_a_base() -> None:
    with pytest.raises(UnknownStepError, match="a stage on a stage"):
        read("FROM b AS one\nFROM one\n", {})


def test_an_argument_that_nothing_declares_is_an_error() -> None:
    with pytest.raises(UnknownStepError, match=r"no ARG declares VERSIO$"):
        read("FROM b\nARG VERSION\n", {"VERSIO": "1"})


@pytest.mark.parametrize("text", ["", "ARG A=1", "RUN x\nFROM b"])
def test_without_a_stage_there_is_nothing_to_do(text: str) -> None:
    with pytest.raises(UnknownStepError, match="FROM"):
        read(text, {})
