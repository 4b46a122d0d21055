"""What real probes found, for people as a grid and a list, for programs as JSON.

Pods of one workload are one row; where they differ, the list says so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from controller.cli.console import Painter
from controller.cli.output.escapes import plain
from controller.lab.probing import Outcome

API_VERSION = "podgate.dev/v1alpha1"

VERDICTS: Mapping[Outcome, str] = {
    Outcome.ANSWERED: "allowed",
    Outcome.SILENT: "denied",
    Outcome.REFUSED: "refused",
}
"""What people call it: a packet that nobody answers was denied, as long as somebody listens there."""

_GAP = 3
_DENIED = 3
"""Its column."""
_FEW = 4
"""Pairs of which a list says more than a grid."""


class ProbeEnd(Struct, frozen=True, order=True):
    """An end of a probe: what it is called, and the row or column that it is counted in."""

    namespace: str
    party: str
    name: str


class Probed(Struct, frozen=True):
    """One probe and its outcome. `service` is `80/TCP`."""

    source: ProbeEnd
    destination: ProbeEnd
    service: str
    outcome: Outcome


class _Cell(Struct):
    """The outcomes between two parties, by service."""

    services: dict[str, Counter[Outcome]] = msgspec.field(default_factory=lambda: defaultdict(Counter))

    def having(self, outcome: Outcome) -> list[str]:
        """The services with this outcome at least once; how often, where the pods differ."""
        return [
            service if len(found) == 1 else f"{service} ({found[outcome]} of {found.total()})"
            for service, found in sorted(self.services.items(), key=lambda each: _order(each[0]))
            if found[outcome]
        ]

    def outcomes(self) -> set[Outcome]:
        """All there are."""
        return {outcome for found in self.services.values() for outcome in found}


_Cells = Mapping[tuple[tuple[str, str], tuple[str, str]], _Cell]


def probes_json(probed: Iterable[Probed]) -> str:
    """One JSON object, indented, ending in a newline."""
    found = [
        {
            "from": each.source.name,
            "to": each.destination.name,
            "port": each.service,
            "verdict": VERDICTS[each.outcome],
        }
        for each in sorted(probed, key=lambda each: (each.source, each.destination, _order(each.service)))
    ]
    document = {"apiVersion": API_VERSION, "kind": "ProbeMatrix", "probes": found}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def probes_text(probed: Sequence[Probed], painter: Painter, width: int, *, ascii_only: bool = False) -> str:
    """The grid, where it fits into `width`, and a list of those of which only a part is allowed."""
    cells: dict[tuple[tuple[str, str], tuple[str, str]], _Cell] = defaultdict(_Cell)
    for each in probed:
        cells[_party(each.source), _party(each.destination)].services[each.service][each.outcome] += 1
    few = len(cells) <= _FEW
    grid = () if few else _grid(cells, painter, width, ascii_only=ascii_only)
    lines = [*grid, *_list(cells, painter, every=few), *_counts(probed)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _party(end: ProbeEnd) -> tuple[str, str]:
    return end.namespace, end.party


def _grid(cells: _Cells, painter: Painter, width: int, *, ascii_only: bool) -> Iterator[str]:
    rows = sorted({source for source, _ in cells})
    columns = sorted({destination for _, destination in cells})
    parties = sorted({*rows, *columns})
    numbers = {party: number for number, party in enumerate(parties, 1)}
    widths = [len(str(numbers[column])) + 1 for column in columns]
    digits = len(str(len(parties)))
    indent = 2 + digits + 1 + max((len(plain(name)) for _, name in parties), default=0)
    if indent + sum(widths) > width:
        yield painter.faint(f"{len(parties)} ends: the grid is wider than {width} columns")
        yield ""
        return
    marks = _ASCII if ascii_only else _UNICODE
    legend = "   ".join(f"{mark} {name}" for name, mark in marks.items())
    yield painter.faint(f"row to column: {legend}   \\ itself")
    yield ""
    heads = (str(numbers[column]).rjust(size) for column, size in zip(columns, widths, strict=True))
    yield painter.strong(" " * indent + "".join(heads))
    heading = ""
    for row in parties:
        if heading != row[0]:
            heading = row[0]
            yield painter.strong(plain(heading))
        label = f"  {numbers[row]:>{digits}} {plain(row[1])}".ljust(indent)
        line = (
            " " * (size - 1) + _mark(cells.get((row, column)), marks, painter, itself=row == column)
            for column, size in zip(columns, widths, strict=True)
        )
        yield label + "".join(line)
    yield ""


_UNICODE = {"answers": "✓", "some ports": "+", "denied": "·", "refused": "x"}
_ASCII = {"answers": "*", "some ports": "+", "denied": ".", "refused": "x"}


def _mark(cell: _Cell | None, marks: Mapping[str, str], painter: Painter, *, itself: bool) -> str:
    if cell is None:
        return painter.faint("\\") if itself else " "
    outcomes = cell.outcomes()
    if outcomes == {Outcome.ANSWERED}:
        return painter.good(marks["answers"])
    if Outcome.ANSWERED in outcomes:
        return painter.middling(marks["some ports"])
    if Outcome.REFUSED in outcomes:
        return painter.bad(marks["refused"])
    return painter.faint(marks["denied"])


def _list(cells: _Cells, painter: Painter, *, every: bool) -> Iterator[str]:
    """A line for each pair of parties of which the grid does not say all, or for `every` pair."""
    shown = [
        (_title(source), _title(destination), *(" ".join(cell.having(outcome)) for outcome in VERDICTS))
        for (source, destination), cell in sorted(cells.items())
        if every or cell.outcomes() not in ({Outcome.ANSWERED}, {Outcome.SILENT})
    ]
    if not shown:
        return
    heads = ("FROM", "TO", *(verdict.upper() for verdict in VERDICTS.values()))
    # What is denied is all the rest; it needs a column only where there is no grid.
    places = [place for place in range(5) if place != _DENIED or every]
    rows = [tuple(row[place] for place in places) for row in (heads, *shown)]
    used = [place for place, column in enumerate(zip(*rows[1:], strict=True)) if any(column)]
    sizes = [max(len(row[place]) for row in rows) + _GAP for place in used]
    before = ""
    for number, row in enumerate(rows):
        cells_shown = [row[place] for place in used]
        if row[0] == before:
            cells_shown[0] = ""
        before = row[0]
        line = "".join(map(str.ljust, cells_shown, sizes)).rstrip()
        yield line if number else painter.strong(line)
    yield ""


def _counts(probed: Sequence[Probed]) -> Iterator[str]:
    found = Counter(each.outcome for each in probed)
    parts = [f"{found[outcome]} {verdict}" for outcome, verdict in VERDICTS.items() if found[outcome]]
    yield f"{len(probed)} probes: {', '.join(parts) or 'none'}"


def _title(party: tuple[str, str]) -> str:
    return plain("/".join(filter(None, party)))


def _order(service: str) -> tuple[str, int]:
    port, _, protocol = service.partition("/")
    return protocol, int(port) if port.isdigit() else 0
