"""`podgate verify`: whether the kernel of this node holds what the manifests say."""

from typing import Any

import click

from controller.agent.node import NodeEnforcement
from controller.cli.failure import CLEAN, FOUND
from controller.cli.input import manifest_options, status_of
from controller.cli.node_options import open_place, place_options, rule_options, settings_of, view_of


@click.command("verify")
@rule_options
@place_options
@manifest_options
def command(
    node: str,
    netns: str | None,
    backend: str,
    unknown_pods: str,
    mark_mask: str,
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

    Exit codes: 0 as it should be, 1 drift, 2 error.
    """  # noqa: D301
    view, findings = view_of(node, manifests)
    place, runner = open_place(netns, backend)
    settings = settings_of(
        unknown_pods=unknown_pods,
        allow_own_node_egress=allow_own_node_egress,
        mark_mask=mark_mask,
        backend=place,
    )
    drifts = NodeEnforcement(place, runner, settings, keep_established=keep_established).verify(view)
    for drift in drifts:
        click.echo(str(drift))
    if not drifts:
        click.echo(f"{node}: as it should be ({place})", err=True)
    return max(FOUND if drifts else CLEAN, status_of(findings))
