"""What the generators of pages share: a page is written, or compared with what stands (`--check`)."""

import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def deliver(path: Path, text: str, arguments: list[str]) -> int:
    """Write a page, or with `--check` say whether it is stale. Returns the exit code."""
    if "--check" not in arguments:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return 0
    if path.exists() and path.read_text() == text:
        return 0
    print(f"{path.relative_to(ROOT)} is stale: run make docs", file=sys.stderr)
    return 1


def escaped(text: str) -> str:
    """A cell of a table: one line, and no bar that would end it."""
    return " ".join(text.split()).replace("|", "\\|")


def wrapped(text: str) -> str:
    """A paragraph in lines of some length."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)
