"""The matrix as CSV, every pair with its ports, and as a Markdown table of summarised lines."""

import csv
import io
from collections.abc import Iterator

from controller.cli.output.escapes import in_csv, in_markdown
from controller.cli.output.parties import Picture
from controller.cli.output.summary import legend, range_notes, summarise
from controller.engine.connections import ConnectionSet
from controller.engine.matrix import Matrix
from controller.objects.kinds import Protocol


def matrix_csv(matrix: Matrix) -> str:
    """One row for each connection of the JSON form; ranges of ports are separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["from", "to", *(protocol.name for protocol in Protocol), "otherProtocols"])
    for (source, destination), allowed in matrix.connections.items():
        ports = [_ports(allowed, protocol) for protocol in Protocol]
        writer.writerow([in_csv(source), in_csv(destination), *ports, str(allowed.other).lower()])
    return text.getvalue()


def matrix_markdown(matrix: Matrix, picture: Picture[ConnectionSet]) -> str:
    """A table for a wiki or a pull request; lines are summarised as on a terminal."""
    return "\n".join([*_markdown(matrix, picture), ""])


def _markdown(matrix: Matrix, picture: Picture[ConnectionSet]) -> Iterator[str]:
    lines = summarise(picture)
    if not lines:
        yield "No connections."
        return
    yield "| from | to | ports |"
    yield "| --- | --- | --- |"
    for line in lines:
        ends = (in_markdown(line.source.title), in_markdown(line.destination.title))
        yield f"| {ends[0]} | {ends[1]} | {line.label} |"
    yield ""
    yield "A pod always reaches itself, and a node the pods it runs."
    for text in (*legend(lines), *range_notes(matrix.externals, picture)):
        yield f"- {in_markdown(text)}"


def _ports(allowed: ConnectionSet, protocol: Protocol) -> str:
    return " ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in allowed.ports(protocol)
    )
