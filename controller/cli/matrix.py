"""`podgate matrix`: who may talk to whom."""

import shutil
import sys
from typing import Any

import click

from controller.cli.console import wants_color
from controller.cli.failure import CommandError
from controller.cli.input import manifest_options, read_manifests, report, require_readable, status_of
from controller.cli.output import documents, graphs, lists, page
from controller.cli.output.parties import Picture, matrix_picture
from controller.cli.targets import parse_service
from controller.engine.connections import ConnectionSet
from controller.engine.matrix import Matrix, matrix_of
from controller.objects.kinds import Cluster

_FORMATS = ("table", "json", "csv", "md", "dot", "mermaid", "html")


@click.command("matrix")
@click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="Only connections with an end in it; repeatable. [all namespaces]",
)
@click.option(
    "--port", metavar="PORT[/PROTOCOL]", help="Only 80, 80/TCP, 53/UDP, 5000/SCTP or icmp. [all ports]"
)
@click.option("-o", "--output", type=click.Choice(_FORMATS), default="table", show_default=True)
@manifest_options
def command(
    namespaces: tuple[str, ...], port: str | None, output: str, *, no_color: bool, **manifests: Any
) -> int:
    """Show who may talk to whom: all workloads, and the external ranges that policies tell apart.

    \b
    Examples:
      podgate matrix -f manifests/
      podgate matrix -f manifests/ -n shop --port 5432/TCP
      podgate matrix -f manifests/ -o html > matrix.html
      podgate matrix -f manifests/ -o dot | dot -Tsvg > matrix.svg
      podgate matrix -f manifests/ -o json | jq '.connections[] | select(.to == "data/postgres").from'
      podgate matrix -f cluster: -n shop

    \b
    Formats:
      table    a grid of all workloads and a list with ports
      json     every pair, for programs: a contract, see docs/matrix.md
      csv      every pair, for a spreadsheet
      md       the list, for a wiki or a pull request
      dot      a graph for Graphviz
      mermaid  a graph that GitHub and GitLab draw
      html     one page with grid and list, without scripts or anything from elsewhere

    Exit codes: 0 clean, 2 error.
    """  # noqa: D301
    reading = read_manifests(**manifests)
    require_readable(reading)
    report(reading.findings)
    whole = matrix_of(reading.cluster)
    scope = _known(reading.cluster, namespaces)
    shown = whole.around(scope) if scope else whole
    if port is not None:
        wanted, port = _wanted(port)
        shown = shown.reduced_to(wanted)
    color = wants_color(no_color=no_color)
    click.echo(_text(shown, whole, output, port, scope, color=color), nl=False, color=color)
    return status_of(reading.findings)


def _known(cluster: Cluster, namespaces: tuple[str, ...]) -> frozenset[str]:
    known = {pod.namespace for pod in cluster.pods}
    for name in namespaces:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise CommandError(f"no pod in namespace {name!r} in the manifests; there are pods in: {there}")
    return frozenset(namespaces)


def _wanted(port: str) -> tuple[ConnectionSet, str]:
    """What --port asks for, and its name in full."""
    protocol, number = parse_service(port)
    if protocol is None or number is None:
        return ConnectionSet(other=True), "ICMP"
    return ConnectionSet.of([(protocol, number, number)]), f"{number}/{protocol.name}"


def _text(
    shown: Matrix, whole: Matrix, output: str, port: str | None, scope: frozenset[str], *, color: bool
) -> str:
    """The answer in the form that was asked for."""
    if output == "json":
        return documents.matrix_json(shown)
    if output == "csv":
        return lists.matrix_csv(shown)
    picture = matrix_picture(shown, whole.pods, scope)
    if output == "table":
        return _table(shown, picture, port, color=color)
    if output == "md":
        return lists.matrix_markdown(shown, picture)
    if output == "html":
        return page.matrix_html(shown, picture, port)
    return graphs.matrix_dot(picture) if output == "dot" else graphs.matrix_mermaid(picture)


def _table(shown: Matrix, picture: Picture[ConnectionSet], port: str | None, *, color: bool) -> str:
    from controller.cli.output.table import Look, matrix_table  # noqa: PLC0415 - 50 ms that only this form needs

    look = Look(
        width=shutil.get_terminal_size((80, 24)).columns,
        fold=sys.stdout.isatty(),
        color=color,
        ascii=not (sys.stdout.encoding or "").lower().startswith("utf"),
    )
    return matrix_table(shown, picture, look, port)
