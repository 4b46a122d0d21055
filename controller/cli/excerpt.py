"""The lines of a manifest that a finding speaks of, as compilers show them.

The files were read once already; only those that a finding names are opened again, and only the lines wanted
are kept. A file that changed or went in between shows nothing, for an excerpt is never worth an error.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from controller.objects.findings import Source

MOST_LINES = 4
"""Lines of an excerpt."""

_LONGEST = 1000
_OPENINGS = ("apiVersion:", "kind:", "---", "{", "[", "#")


class Excerpts:
    """The lines around some places. Reading is O(size of the files), once."""

    def __init__(self, places: Iterable[Source]) -> None:
        wanted: dict[str, set[int]] = {}
        for place in places:
            if place.line and place.file not in ("", "-"):
                lines = wanted.setdefault(place.file, set())
                lines.update(range(place.line, place.line + MOST_LINES))
        self._lines = {file: _read(file, lines) for file, lines in wanted.items()}

    def at(self, place: Source) -> list[tuple[int, str]]:
        """(line number, text) of the field at a place: its line and those indented below it.

        Empty where a place is only the beginning of an object, or cannot be read.
        """
        lines = self._lines.get(place.file, {})
        first = lines.get(place.line, "")
        if not first.strip() or first.lstrip().startswith(_OPENINGS):
            return []
        found = [(place.line, first)]
        for number in range(place.line + 1, place.line + MOST_LINES):
            text = lines.get(number, "")
            if not text.strip() or _indent(text) <= _indent(first):
                break
            found.append((number, text))
        return found


def _read(file: str, wanted: set[int]) -> Mapping[int, str]:
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as lines:
            return {
                number: _printable(text[:_LONGEST])
                for number, text in enumerate(islice(lines, max(wanted)), start=1)
                if number in wanted
            }
    except (OSError, ValueError):
        return {}


def _printable(text: str) -> str:
    """Control characters could move the cursor of a terminal."""
    line = text.rstrip("\r\n").expandtabs(4)
    return line if line.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in line)


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
