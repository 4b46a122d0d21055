"""What the documents show is what the command prints: every `$ podgate ...` of a console block is run."""

import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WALKED = {"audit.md", "getting-started.md", "troubleshooting.md"}
"""Run in order, by tests/lab/test_walkthroughs.py."""

DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name not in _WALKED),
    ROOT / "examples/shop/README.md",
]
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _examples() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(document, the calls of a block up to a podgate call, what is shown below that)."""
    for document in DOCUMENTS:
        for block in _BLOCK.findall(document.read_text()):
            calls: list[str] = []
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                call, _, shown = part.partition("\n")
                calls.append(call)
                if call.startswith("podgate ") and shown.strip():
                    yield document.name, tuple(calls), shown


@pytest.mark.parametrize(("document", "calls", "shown"), list(_examples()))
def test_an_example_prints_what_the_document_shows(
    document: str, calls: tuple[str, ...], shown: str, tmp_path: Path
) -> None:
    """A line `...` stands for any lines; the exit code is not judged."""
    assert document
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    found = [_run(call, tmp_path) for call in calls]
    pattern = "\n".join("*" if line == "..." else _literal(line) for line in shown.rstrip("\n").split("\n"))
    assert fnmatch.fnmatchcase(found[-1].rstrip("\n"), pattern), found[-1]


def _run(call: str, folder: Path) -> str:
    program = f'"{sys.executable}" -c "from controller.cli.main import main; main()"'
    done = subprocess.run(  # noqa: S602 - the calls of our own documents, with their pipes
        re.sub(r"^podgate ", f"{program} ".replace("\\", r"\\"), call),
        shell=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _literal(line: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in line)


def test_the_readme_shows_every_verb_that_answers_questions() -> None:
    calls = {calls[-1].split()[1] for document, calls, _ in _examples() if document == "README.md"}
    assert calls >= {"explain", "matrix", "diff", "lint", "render"}
