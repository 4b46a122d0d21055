"""`podgate apply`: programme this node from manifests, once or kept up."""

import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from types import FrameType
from typing import Any

import click

from controller.agent.enforcer import Applied
from controller.agent.guard import Check, Schedule
from controller.agent.journal import not_logged
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.cli.failure import CLEAN, ERROR, FOUND, CommandError
from controller.cli.input import observed_options, status_of
from controller.cli.node_options import (
    drop_log_of,
    guard_options,
    log_drops_options,
    open_place,
    place_options,
    rule_options,
    settings_of,
    view_of,
)
from controller.dataplane.edits import RemoveChain, ReplaceChain
from controller.dataplane.kernel import KernelError
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step
from controller.engine.rulesets import NodeView


@click.command("apply")
@click.option("--check", is_flag=True, help="Show the steps and take none; exit 1 where there are any.")
@click.option(
    "--follow", is_flag=True, help="Stay, watch for drift and mend it until stopped. Rules stay on exit."
)
@guard_options
@rule_options
@log_drops_options
@place_options
@observed_options
def command(
    node: str,
    netns: str | None,
    backend: str,
    unknown_pods: str,
    mark_mask: str,
    log_drops: str,
    log_drops_group: int,
    canary_interval: float,
    full_interval: float,
    *,
    check: bool,
    follow: bool,
    allow_own_node_egress: bool,
    keep_established: bool,
    no_color: bool,  # noqa: ARG001 - nothing here is coloured
    **manifests: Any,
) -> int:
    """Programme the rules and sets that enforce the policies on this node, in the fewest atomic steps.

    Only podgate's own chains, jumps and sets are touched. Running it again changes only what differs.

    \b
    Examples:
      podgate apply -f manifests/ --node node-1
      podgate apply -f manifests/ --node node-1 --check
      podgate apply -f manifests/ --node node-1 --follow --canary-interval 2
      podgate apply -f manifests/ --node node-1 --netns lab-node-1 --backend nft

    Exit codes: 0 done (--check: nothing to do), 1 --check found steps, 2 error.
    """  # noqa: D301
    view, findings = view_of(node, manifests)
    place, runner = open_place(netns, backend)
    settings = settings_of(
        unknown_pods=unknown_pods,
        allow_own_node_egress=allow_own_node_egress,
        mark_mask=mark_mask,
        backend=place,
        drop_log=drop_log_of(log_drops, log_drops_group),
    )
    with closing(
        NodeEnforcement(place, runner, settings, keep_established=keep_established, keep_open=follow)
    ) as enforcement:
        if check:
            return max(_show_steps(enforcement, view), status_of(findings))
        status = max(_report(node, enforcement.apply(view)), status_of(findings))
        for family, reason in enforcement.absent().items():
            click.echo(f"{node} IPv{family}: nothing to enforce: {reason}")
        for family, reason in enforcement.log_refusals().items():
            click.echo(f"{node} {not_logged(family, reason)}", err=True)
        if follow:
            _follow(node, enforcement, view, Schedule(canary_interval, canary_interval, full_interval))
        return status


def _show_steps(enforcement: NodeEnforcement, view: NodeView) -> int:
    try:
        previews = enforcement.preview(view)
    except KernelError as error:
        raise CommandError(str(error)) from error
    for family, steps in previews.items():
        for step in steps:
            click.echo(f"IPv{family} {describe(step)}")
    return FOUND if any(previews.values()) else CLEAN


def _report(node: str, done: Iterable[Applied | FamilyFailure]) -> int:
    status = CLEAN
    for each in done:
        if isinstance(each, FamilyFailure):
            click.echo(f"podgate: {node} IPv{each.family}: {each.reason}", err=True)
            status = ERROR
        else:
            kinds = Counter(type(step).__name__ for step in each.steps)
            steps = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing to do"
            click.echo(f"{node} IPv{each.family}: {steps} ({each.cause}, {each.seconds * 1000:.1f} ms)")
            if each.swept:
                click.echo(
                    f"{node} IPv{each.family}: {each.swept} chains that an earlier podgate left in the other"
                    " iptables backend are removed"
                )
    return status


def _follow(node: str, enforcement: NodeEnforcement, view: NodeView, schedule: Schedule) -> None:
    """Look after the rules until SIGTERM or SIGINT."""
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    repairs = 0
    schedule.start(time.monotonic())
    while not stopped:
        time.sleep(min(0.2, schedule.wait(time.monotonic())))
        check = schedule.due(time.monotonic())
        if check is None or (check is Check.CANARY and enforcement.is_alive()):
            continue
        drifts = enforcement.verify(view)
        for drift in drifts[:10]:
            left = " (left for now, as it comes back each time: whose rule is it?)" if drift.deferred else ""
            click.echo(f"{node} drift: {drift}{left}", err=True)
        if all(drift.deferred for drift in drifts):
            continue
        repairs += 1
        _report(node, enforcement.repair(view))
        click.echo(f"{node}: {repairs} repairs so far", err=True)
        for family, detours in enforcement.detours().items():
            if detours.count:
                click.echo(
                    f"{node} IPv{family}: {detours.count} commits so far took a process of their own,"
                    f" the last because: {detours.reason}",
                    err=True,
                )
        schedule.start(time.monotonic())


def describe(step: Step) -> str:
    """A step for people."""
    match step:
        case FillSet(each):
            return f"create set {each.name} ({each.type}) with {len(each.entries)} entries: {each.comment}"
        case AddEntries(name, entries):
            return f"add to set {name}: {' '.join(entries)}"
        case RemoveEntries(name, entries):
            return f"remove from set {name}: {' '.join(entries)}"
        case DestroySets(names):
            return f"destroy sets: {' '.join(names)}"
        case Commit(edits):
            written = [edit.chain.name for edit in edits if isinstance(edit, ReplaceChain)]
            removed = [edit.name for edit in edits if isinstance(edit, RemoveChain)]
            others = len(edits) - len(written) - len(removed)
            parts = (
                f"write {', '.join(written)}" if written else "",
                f"remove {', '.join(removed)}" if removed else "",
            )
            return "commit: " + "; ".join(
                [*filter(None, parts), *([f"{others} single rules"] if others else [])]
            )
