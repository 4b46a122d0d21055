"""`podgate diff`: which connections a change of manifests adds and removes."""

from collections.abc import Mapping
from typing import Any

import click
from msgspec.structs import replace

from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.input import (
    CLUSTER,
    read_manifests,
    reading_options,
    report,
    require_readable,
    status_of,
)
from controller.cli.output.changes import Entry, causes_in, report_of, review
from controller.cli.output.escapes import plain
from controller.cli.targets import node_names
from controller.engine.causes import Causes
from controller.engine.difference import Difference, FamilyDifference, difference, of_one_family
from controller.objects.findings import Finding
from controller.objects.kinds import Cluster

_FORMATS = ("text", "md", "json", "sarif", "junit")
_WITH_RULES = frozenset({"text", "md", "json"})


@click.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("-o", "--output", type=click.Choice(_FORMATS), default="text", show_default=True)
@click.option(
    "--fail-on",
    type=click.Choice(["any", "added", "removed"]),
    default="any",
    show_default=True,
    help="Which differences make the exit code 1.",
)
@click.option(
    "--render", is_flag=True, help="Also show how the iptables rules and ipsets of the nodes change."
)
@click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="With --render: only this node; repeatable."
)
@reading_options
def command(
    old: str,
    new: str,
    output: str,
    fail_on: str,
    nodes: tuple[str, ...],
    *,
    render: bool,
    no_color: bool,
    **manifests: Any,
) -> int:
    """Show the connections that a change of manifests adds and removes: connectivity, not YAML.

    OLD and NEW are files, folders, - for standard input or cluster:[CONTEXT] for a live cluster. Pods are
    compared by namespace and name, addresses outside by the ranges that the policies of either side tell
    apart.

    \b
    Examples:
      podgate diff main/manifests/ manifests/
      podgate diff old.yaml new.yaml -o md > comment.md
      podgate diff main/manifests/ manifests/ --fail-on added -o sarif > diff.sarif
      podgate diff old/ new/ --render --node node-1
      podgate diff cluster: planned/

    Exit codes: 0 nothing that --fail-on names, 1 differences, 2 error.
    """  # noqa: D301
    if old == new == "-":
        raise CommandError("OLD and NEW cannot both be standard input")
    if render and output not in _WITH_RULES:
        raise CommandError(f"--render goes with -o {', '.join(sorted(_WITH_RULES))}, not with -o {output}")
    if nodes and not render:
        raise CommandError("--node chooses whose rules are shown: add --render")
    (before, problems), (after, more_problems) = (_read(path, manifests) for path in (old, new))
    if manifests["mode"] is None and old.startswith(CLUSTER) is not new.startswith(CLUSTER):
        # What is planned for a cluster is in the mode of its operator, as what is there.
        mode = (before if old.startswith(CLUSTER) else after).mode
        before, after = replace(before, mode=mode), replace(after, mode=mode)
    found = difference(before, after)
    families = of_one_family(before, after, found)
    rules = _rule_changes(before, after, nodes) if render else None
    painter = Painter(color=wants_color(no_color=no_color))
    text = _text(found, Causes(before, after, found), families, rules, (output, fail_on), painter)
    click.echo(text, nl=False)
    differences = [found, *(part.found for part in families)]
    failed = FOUND if any(_fails(each, fail_on, rules) for each in differences) else CLEAN
    return max(failed, status_of((*problems, *more_problems)))


def _read(path: str, options: Mapping[str, Any]) -> tuple[Cluster, tuple[Finding, ...]]:
    reading = read_manifests([path], (), **options)
    require_readable(reading)
    report(reading.findings)
    return reading.cluster, reading.findings


def _fails(found: Difference, fail_on: str, rules: Mapping[str, str] | None) -> bool:
    if fail_on == "any":
        return bool(found) or bool(rules)
    return found.adds if fail_on == "added" else found.removes


def _text(
    found: Difference,
    causes: Causes,
    families: tuple[FamilyDifference, ...],
    rules: Mapping[str, str] | None,
    wanted: tuple[str, str],
    painter: Painter,
) -> str:
    """The answer in the form that was asked for."""
    from controller.cli.output import difference_reports, difference_text, documents  # noqa: PLC0415 - 20 ms of XML

    output, fail_on = wanted
    if output == "json":
        alone = [(part.family, review(part.found, causes_in(part))) for part in families]
        return documents.difference_json(found, review(found, causes), alone, rules)
    summary = report_of(found, causes, families)
    if output == "text":
        return difference_text.difference_text(summary, painter, rules)
    if output == "md":
        return difference_text.difference_markdown(summary, rules)

    def counts(entry: Entry) -> bool:
        return fail_on == "any" or entry.added == (fail_on == "added")

    if output == "sarif":
        return difference_reports.difference_sarif(summary, counts)
    return difference_reports.difference_junit(summary, counts, pods_count=fail_on == "any")


def _rule_changes(before: Cluster, after: Cluster, nodes: tuple[str, ...]) -> dict[str, str]:
    from controller.cli.output.rule_changes import rule_changes  # noqa: PLC0415 - the compiler
    from controller.engine.resolve import Resolver  # noqa: PLC0415

    old, new = Resolver.of(before), Resolver.of(after)
    known = sorted({*old.nodes(), *new.nodes()})
    for node in nodes:
        if node not in known:
            there = node_names(known)
            raise CommandError(f"no node '{plain(node)}' and no pod on it on either side; there are: {there}")
    return rule_changes(old, new, nodes or known)
