"""`podgate verify`: whether the kernel of this node holds what the manifests say."""

from functools import partial
from typing import Any

import click

from controller.agent.node import NodeEnforcement
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.input import manifest_options, status_of
from controller.cli.node_options import (
    OFF,
    drop_log_of,
    log_drops_options,
    open_place,
    place_options,
    rule_options,
    settings_of,
    view_of,
)
from controller.dataplane.iptc_reader import HOW_TO_INSTALL, is_installed, reread
from controller.dataplane.tools import Backend


@click.command("verify")
@rule_options
@log_drops_options
@place_options
@click.option(
    "--reader",
    type=click.Choice(["save", "iptc"]),
    default="save",
    show_default=True,
    help="Read the rules with iptables-save, or as a second opinion with python-iptables (legacy only).",
)
@manifest_options
def command(
    node: str,
    netns: str | None,
    backend: str,
    unknown_pods: str,
    mark_mask: str,
    log_drops: str,
    log_drops_group: int,
    reader: str,
    *,
    allow_own_node_egress: bool,
    keep_established: bool,
    no_color: bool,  # noqa: ARG001 - nothing here is coloured
    **manifests: Any,
) -> int:
    """Compare this node's rules and sets with the manifests; changes nothing.

    Give it the options that `podgate apply` was given. Own chains are compared rule by rule, own sets entry
    by entry, and foreign rules above podgate's jumps are reported.

    \b
    Examples:
      podgate verify -f manifests/ --node node-1
      podgate verify -f manifests/ --node node-1 --netns lab-node-1
      podgate verify -f manifests/ --node node-1 --backend legacy --reader iptc

    Exit codes: 0 as it should be, 1 drift, 2 error.
    """  # noqa: D301
    view, findings = view_of(node, manifests)
    place, runner = open_place(netns, backend)
    if reader == "iptc":
        _check_second_reader(place, log_drops)
    settings = settings_of(
        unknown_pods=unknown_pods,
        allow_own_node_egress=allow_own_node_egress,
        mark_mask=mark_mask,
        backend=place,
        drop_log=drop_log_of(log_drops, log_drops_group),
    )
    enforcement = NodeEnforcement(place, runner, settings, keep_established=keep_established)
    drifts = enforcement.verify(view, partial(reread, runner) if reader == "iptc" else None)
    for drift in drifts:
        click.echo(str(drift))
    if not drifts:
        click.echo(f"{node}: as it should be ({place})", err=True)
    return max(FOUND if drifts else CLEAN, status_of(findings))


def _check_second_reader(place: Backend, log_drops: str) -> None:
    """Raise CommandError where python-iptables cannot read the rules."""
    if place is not Backend.LEGACY:
        raise CommandError(f"--reader iptc reads legacy iptables only, and this node's backend is {place}")
    if log_drops != OFF:
        raise CommandError(
            "--reader iptc cannot read rules that log, as python-iptables crashes on them: use --reader save"
        )
    if not is_installed():
        raise CommandError(f"--reader iptc: {HOW_TO_INSTALL}")
