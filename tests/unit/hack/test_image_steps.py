"""The steps of a Dockerfile on folders, as far as they need no root, and the paths they write to."""

import os
from pathlib import Path

import msgspec
import pytest

from hack.image.contain import Volume
from hack.image.folders import Ignored, files_of, within
from hack.image.recipe import Settings, UnknownStepError, read
from hack.image.steps import Folders

ROOT = Path(__file__).parents[3]


def take(folder: Path, text: str, **bases: Path) -> Path:
    """The file system that comes of a Dockerfile without RUN."""
    ignored = Ignored((ROOT / ".dockerignore").read_text())
    Folders(folder / "steps", bases, ignored, ()).take(read(text, {}))
    return folder / "steps/image"


def test_a_file_of_the_context_goes_into_a_folder_or_gets_a_name(tmp_path: Path) -> None:
    image = take(
        tmp_path, "FROM scratch\nWORKDIR /w\nCOPY LICENSE ./\nCOPY README.md LICENSE in/\nCOPY LICENSE n"
    )

    found = sorted(str(path.relative_to(image)) for path in image.rglob("*") if path.is_file())
    assert found == ["w/LICENSE", "w/in/LICENSE", "w/in/README.md", "w/n"]


def test_a_folder_of_the_context_is_copied_by_its_contents_without_what_is_ignored(tmp_path: Path) -> None:
    image = take(tmp_path, "FROM scratch\nCOPY controller c/")

    assert (image / "c/cli/main.py").read_bytes() == (ROOT / "controller/cli/main.py").read_bytes()
    assert not list(image.rglob("__pycache__"))


def test_the_mode_of_a_script_is_kept(tmp_path: Path) -> None:
    image = take(tmp_path, "FROM scratch\nCOPY hack/image/strip.sh /")

    assert os.access(image / "strip.sh", os.X_OK)


def test_a_stage_can_be_copied_from_and_is_gone_at_the_end(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "opt/a").mkdir(parents=True)
    (base / "opt/a/file").write_text("text")
    (base / "link").symlink_to("opt/a")

    image = take(
        tmp_path, "FROM base AS b\nFROM scratch\nCOPY --from=b / /\nCOPY --from=b /link/file /x/", base=base
    )

    assert (image / "x/file").read_text() == "text"
    assert (image / "link").readlink() == Path("opt/a")
    assert sorted(path.name for path in image.parent.iterdir()) == ["image", "image.json"]


def test_what_the_image_says_about_its_process_is_written_beside_it(tmp_path: Path) -> None:
    image = take(tmp_path, 'FROM scratch\nCOPY LICENSE /\nUSER 7:8\nENTRYPOINT ["/x"]')

    settings = msgspec.json.decode((image.parent / "image.json").read_bytes(), type=Settings)
    assert settings == Settings(user="7:8", entrypoint=("/x",))


def test_a_base_without_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownStepError, match="FROM debian: no folder"):
        take(tmp_path, "FROM debian\nCOPY LICENSE /\n")


@pytest.mark.parametrize("source", ["docs", "uv.lok"])
def test_what_the_context_lacks_or_ignores_is_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(FileNotFoundError, match=source):
        take(tmp_path, f"FROM scratch\nCOPY {source} /x/\n")


@pytest.mark.parametrize(
    ("path", "is_in"),
    [
        ("README.md", False),
        ("docs/README.md", True),
        ("hack/image/strip.sh", False),
        ("hack/image/check.sh", True),
        ("controller/cli/main.py", False),
        ("controller/cli/__pycache__/main.pyc", True),
    ],
)
def test_the_last_pattern_that_fits_decides_what_is_ignored(path: str, is_in: bool) -> None:
    assert (path in Ignored((ROOT / ".dockerignore").read_text())) is is_in


@pytest.mark.parametrize("pattern", ["a/**/b", "[ab]", "a?", "!../x", "a/"])
def test_a_pattern_that_is_not_known_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        Ignored(f"*\n{pattern}\n")


def test_files_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()

    assert [str(path) for path in files_of(tmp_path, ".", Ignored("c"))] == ["a", "b"]


def test_links_are_followed_below_the_root_and_never_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "out").symlink_to("../../../etc")

    assert within(tmp_path, "/var/run/secrets/token") == tmp_path / "run/secrets/token"
    assert within(tmp_path, "/out/passwd") == tmp_path / "etc/passwd"
    assert within(tmp_path, "/../..") == tmp_path


def test_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(OSError, match="too many"):
        within(tmp_path, "/a/x")


def test_a_volume_is_written_as_an_engine_reads_it() -> None:
    assert Volume.read("/a:/b:ro") == Volume(Path("/a"), "/b", is_read_only=True)
    assert Volume.read("/a:/b") == Volume(Path("/a"), "/b", is_read_only=False)
    with pytest.raises(ValueError, match="/a:/b:rw"):
        Volume.read("/a:/b:rw")
