"""What the documents point at is there: links, their anchors, files, make targets, verbs and options."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from controller.cli.main import podgate

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"(?<![\w/.-])(?:repository/)?((?:controller|docs|examples|hack|manifests|tests)/[\w./{},*-]*[\w}*])"
)
_ILLUSTRATIONS = {"manifests/data.yaml"}
"""Files of a reader, in output that is shown."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

documents = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)).replace("/", "-")
)


@documents
def test_a_link_leads_somewhere(document: Path) -> None:
    assert [link for link in links(document) if not leads_somewhere(document, link)] == []


@documents
def test_a_path_that_is_named_exists(document: Path) -> None:
    found = set(_PATH.findall(document.read_text())) - _ILLUSTRATIONS

    assert [each for name in found for each in expanded(name) if not any(ROOT.glob(each))] == []


@documents
def test_a_target_that_is_named_can_be_made(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ |\(root\)|or: +)make ([\w-]+)\b", document.read_text(), re.MULTILINE))

    assert named <= targets


@documents
def test_a_verb_that_is_named_has_the_options_that_are_given(document: Path) -> None:
    assert [call for call in calls(document.read_text()) if unknown(call)] == []


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            waiting += [
                (page.parent / link.partition("#")[0]).resolve() for link in links(page) if ":" not in link
            ]

    assert [str(page) for page in DOCUMENTS if page not in seen] == []


def calls(text: str) -> Iterator[str]:
    """What follows `podgate` in blocks of commands and between backticks."""
    fences = "".join(_FENCE.findall(text))
    spans = re.findall(r"`(?:kubectl |\.venv/bin/)?podgate ([a-z][^`\n]*)`", _FENCE.sub("", text))
    typed = re.findall(
        r"^(?:\$ |.*[|(] *|)(?:kubectl |\.venv/bin/)?podgate ([a-z][^\n|)]*)", fences, re.MULTILINE
    )
    yield from spans
    yield from (each for each in typed if each.split()[0] in podgate.list_commands(click.Context(podgate)))


def links(document: Path) -> Iterator[str]:
    yield from _LINK.findall(_FENCE.sub("", document.read_text()))


def leads_somewhere(document: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def expanded(name: str) -> list[str]:
    """`a/{b,c}` as the shell reads it."""
    parts = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    return [name] if parts is None else [parts[1] + each + parts[3] for each in parts[2].split(",")]


def unknown(call: str) -> str:
    """The first verb or option of a call that there is not; "" where all are known."""
    command: click.Command = podgate
    context = click.Context(podgate)
    words = call.split()
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        if found is None:
            return words[0]
        command = found
        words.pop(0)
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    given = [word.partition("=")[0] for word in words[: words.index("--") if "--" in words else None]]
    return next((word for word in given if word.startswith("--") and word not in options), "")
