"""The matrix on a terminal: a grid to see who talks to whom, and a list that says on which ports.

The grid is left out where the terminal is too narrow for it.
"""

import io
from collections.abc import Iterable, Iterator

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.cli.output.escapes import plain
from controller.cli.output.parties import Party, Picture, Place
from controller.cli.output.summary import Line, legend, range_notes, summarise
from controller.engine.connections import EVERYTHING, ConnectionSet
from controller.engine.matrix import Matrix
from controller.objects.kinds import TERMINAL_PHASES

_UNFOLDED = 1 << 16
_GAP = 3


class Look(Struct, frozen=True):
    """How to print. `width`: the columns there are for the grid.

    `fold`: whether lines of the list are folded to that width, which people want and pipes do not.
    """

    width: int = 80
    fold: bool = False
    color: bool = False
    ascii: bool = False


class _Marks(Struct, frozen=True):
    """What stands in a cell of the grid."""

    all: str
    some: str
    none: str
    itself: str


_UNICODE = _Marks("✓", "+", "·", "\\")
_ASCII = _Marks("x", "+", ".", "\\")


def matrix_table(matrix: Matrix, picture: Picture[ConnectionSet], look: Look, port: str | None = None) -> str:
    """The text. With `port` the matrix has been reduced to that one, which the list does not repeat."""
    console = Console(
        file=io.StringIO(),
        force_terminal=look.color,
        color_system="standard" if look.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        width=look.width if look.fold else _UNFOLDED,
    )
    with console.capture() as capture:
        _print_grid(console, picture, look, port)
        _print_list(console, picture, look, port)
        for note in _notes(matrix, picture):
            console.print(Text(note, style="dim"))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _print_grid(console: Console, picture: Picture[ConnectionSet], look: Look, port: str | None) -> None:
    if not picture.listed:
        return
    lines = list(_grid(picture, _ASCII if look.ascii else _UNICODE, port))
    if max(len(line.plain) for line in lines) > look.width:
        text = (
            f"{len(picture.listed)} endpoints: the grid is wider than {look.width} columns; -o html shows it"
        )
        lines = [Text(text, style="dim")]
    for line in lines:
        console.print(line)
    console.print()


def _grid(picture: Picture[ConnectionSet], marks: _Marks, port: str | None) -> Iterator[Text]:
    """One row and one column for each party, numbered alike; namespaces are headings of rows."""
    asked = port or "every port"
    some = "" if port else f"   {marks.some} some ports, listed below"
    yield Text(
        f"row to column: {marks.all} {asked}{some}   {marks.none} nothing   {marks.itself} itself",
        style="dim",
    )
    yield Text()
    parties = [picture.parties[number] for number in picture.listed]
    digits = len(str(len(parties)))
    indent = 2 + digits + 1 + max(len(plain(party.short)) for party in parties)
    widths = [len(str(place)) + 1 for place in range(1, len(parties) + 1)]
    yield Text(
        " " * indent + "".join(str(place).rjust(width) for place, width in enumerate(widths, 1)), "bold"
    )
    heading = ""
    for place, (number, party) in enumerate(zip(picture.listed, parties, strict=True), 1):
        if heading != _heading(party):
            heading = _heading(party)
            yield Text(plain(heading), style="bold")
        line = Text(f"  {place:>{digits}} {plain(party.short)}".ljust(indent))
        for other, width in zip(picture.listed, widths, strict=True):
            mark, style = _mark(picture, number, other, marks, port)
            line.append(mark.rjust(width), style)
        yield line


def _heading(party: Party) -> str:
    return "(external)" if party.place is Place.OUTSIDE else party.namespace


def _mark(
    picture: Picture[ConnectionSet], row: int, column: int, marks: _Marks, port: str | None
) -> tuple[str, str]:
    if picture.is_itself(row, column):
        return marks.itself, "dim"
    if picture.says_nothing_of(row, column):
        return "", ""
    allowed = picture.edges.get((row, column))
    if allowed is None:
        return marks.none, "dim"
    return (marks.all, "green") if port or allowed == EVERYTHING else (marks.some, "yellow")


def _print_list(console: Console, picture: Picture[ConnectionSet], look: Look, port: str | None) -> None:
    lines = summarise(picture)
    if not lines:
        console.print("no connections" if port is None else f"nobody may connect to {port}")
        console.print()
        return
    rows = list(_rows(lines, with_ports=port is None))
    console.print(_table(rows) if look.fold else _aligned(rows), soft_wrap=not look.fold)
    console.print()
    for text in legend(lines):
        console.print(Text(text, style="dim"))


def _rows(lines: Iterable[Line[ConnectionSet]], *, with_ports: bool) -> Iterator[tuple[str, ...]]:
    """The heading and a row for each line; a source that is the same as above is not repeated."""
    yield ("FROM", "TO", "PORTS")[: 3 if with_ports else 2]
    before = ""
    for line in lines:
        source = plain(line.source.title)
        ends = ("" if source == before else source, plain(line.destination.title))
        yield (*ends, str(line.label)) if with_ports else ends
        before = source


def _table(rows: list[tuple[str, ...]]) -> Table:
    """For a terminal: long cells are folded."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def _aligned(rows: list[tuple[str, ...]]) -> Text:
    """For a pipe: every row is a line. Looks like the table, and is ready in no time for 10,000 rows."""
    widths = [max(map(len, column)) + _GAP for column in zip(*rows, strict=True)]
    texts = ("".join(map(str.ljust, row, widths)) for row in rows)
    return Text("\n".join(texts))


def _notes(matrix: Matrix, picture: Picture[ConnectionSet]) -> Iterator[str]:
    """What the reader has to know beyond the table."""
    yield "always allowed, not listed: a pod to itself, a node to the pods it runs"
    finished = [f"{pod.namespace}/{pod.name}" for pod in matrix.pods if pod.phase in TERMINAL_PHASES]
    if finished:
        more = f" and {len(finished) - 3} more" if len(finished) > 3 else ""
        yield f"finished, without connections: {', '.join(map(plain, finished[:3]))}{more}"
    yield from range_notes(matrix.externals, picture)
