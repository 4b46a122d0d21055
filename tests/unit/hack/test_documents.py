"""Files and make targets that the documents about installing name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "docs" / "install.md", ROOT / "docs" / "security.md", ROOT / "SECURITY.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_path_that_is_named_exists(document: Path) -> None:
    found = re.findall(
        r"(?:repository/)?\b((?:manifests|hack|docs|examples)/[\w./{},-]*\w}?)", document.read_text()
    )

    assert [path for name in found for path in expanded(name) if not (ROOT / path).exists()] == []


def expanded(name: str) -> list[str]:
    """`a/{b,c}` as the shell reads it."""
    parts = re.fullmatch(r"(.*)\{(.*)\}", name)
    return [name] if parts is None else [parts[1] + each for each in parts[2].split(",")]


def test_a_target_that_is_named_can_be_made() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"\bmake ([\w-]+)\b", path.read_text())}

    assert named
    assert named <= targets
