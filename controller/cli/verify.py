"""`podgate verify`: whether what policies say came to the API server, to the agents and to the kernel."""

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from controller.agent.node import NodeEnforcement
from controller.cli.cluster_options import connection_of, other_server_options
from controller.cli.durations import Duration
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.input import observed_options, status_of
from controller.cli.node_options import (
    OFF,
    drop_log_of,
    log_drops_options,
    open_place,
    place_options,
    policy_options,
    settings_of,
    view_of,
)
from controller.dataplane.iptc_reader import HOW_TO_INSTALL, is_installed, reread
from controller.dataplane.kernel import Survey
from controller.dataplane.tools import Backend
from controller.engine.rulesets import NodeView
from controller.objects.names import dns_subdomain_problem, shown

if TYPE_CHECKING:
    from controller.kube.connection import Connection

_SETTLE = 10.0


class _How(Struct, frozen=True, kw_only=True):
    """The options that say how the kernel is read, and what its rules were made with."""

    netns: str | None
    backend: str
    unknown_pods: str
    mark_mask: str
    log_drops: str
    log_drops_group: int
    reader: str
    allow_own_node_egress: bool
    keep_established: bool


@click.command("verify")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NODE",
    help="The nodes to look at, repeatable. Of a kernel: the node that this one is.  [default: all; with "
    "--kernel $NODE_NAME]",
)
@click.option(
    "--kernel", is_flag=True, help="On a node, as root: compare its kernel with what is published for it."
)
@click.option(
    "--settle",
    type=Duration(),
    default=_SETTLE,
    help="On a live cluster: look again for so long before a difference counts; 0s looks once. [10s]",
)
@other_server_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@policy_options
@log_drops_options
@place_options
@click.option(
    "--reader",
    type=click.Choice(["save", "iptc"]),
    default="save",
    show_default=True,
    help="Read the rules with iptables-save, or as a second opinion with python-iptables (legacy only).",
)
@observed_options
def command(
    nodes: tuple[str, ...],
    settle: float,
    context: str,
    server: str,
    token_file: str,
    certificate_authority: str,
    output: str,
    netns: str | None,
    backend: str,
    unknown_pods: str,
    mark_mask: str,
    log_drops: str,
    log_drops_group: int,
    reader: str,
    *,
    kernel: bool,
    allow_own_node_egress: bool,
    keep_established: bool,
    no_color: bool,  # noqa: ARG001 - nothing here is coloured
    **manifests: Any,
) -> int:
    """Compare what policies say with what is published, reported and in the kernel; changes nothing.

    Without manifests a live cluster is asked: does every NodePolicy and peer group hold what the policies and
    pods say, and does every agent report that it enforces that? With --kernel, on a node: do its rules and
    sets hold what is published for it? The agent's account may ask that; give the options that the agent
    has. With manifests: do this node's rules and sets hold what those say? Kernels are compared rule by rule
    and entry by entry, and foreign rules above podgate's jumps are reported.

    \b
    Examples:
      podgate verify
      podgate verify --node node-1 -o json
      kubectl exec -n podgate-system POD -- podgate verify --kernel
      podgate verify -f manifests/ --node node-1 --netns lab-node-1
      podgate verify -f manifests/ --node node-1 --backend legacy --reader iptc

    Exit codes: 0 as it should be, 1 drift, 2 error.
    """  # noqa: D301
    how = _How(
        netns=netns,
        backend=backend,
        unknown_pods=unknown_pods,
        mark_mask=mark_mask,
        log_drops=log_drops,
        log_drops_group=log_drops_group,
        reader=reader,
        allow_own_node_egress=allow_own_node_egress,
        keep_established=keep_established,
    )
    if manifests["paths"] or manifests["kustomize"]:
        if kernel or context or server or output != "text":
            raise CommandError(
                "--kernel, --context, --server and -o are for a live cluster: leave them out, or -f and -k"
            )
        return _against_manifests(_one(nodes), how, manifests)
    connection = connection_of(
        os.environ,
        kubeconfig=manifests["kubeconfig"],
        context=context,
        server=server,
        token_file=token_file,
        certificate_authority=certificate_authority,
    )
    return _against_cluster(nodes, how, settle, connection, output, kernel=kernel)


def _against_manifests(node: str, how: _How, manifests: dict[str, Any]) -> int:
    view, findings = view_of(node, manifests)
    place, enforcement, second_reader = _opened(how)
    drifts = enforcement.verify(view, second_reader)
    for drift in drifts:
        click.echo(str(drift))
    if not drifts:
        click.echo(f"{node}: as it should be ({place})", err=True)
    return max(FOUND if drifts else CLEAN, status_of(findings))


def _against_cluster(
    nodes: tuple[str, ...], how: _How, settle: float, connection: "Connection", output: str, *, kernel: bool
) -> int:
    from controller.cli import live  # noqa: PLC0415 - 300 ms that manifests do not need
    from controller.cli.output.chain import chain_json, chain_text  # noqa: PLC0415
    from controller.cli.verify_cluster import Verified, settled, verify_cluster  # noqa: PLC0415
    from controller.cli.verify_kernel import subscribed, verify_kernel  # noqa: PLC0415

    for name in nodes:
        if problem := dns_subdomain_problem(name):
            raise CommandError(f"--node: {shown(name)} is no name of a node: it {problem}")
    if kernel:
        node = _one(nodes or tuple(filter(None, (os.environ.get("NODE_NAME"),))))
        place, enforcement, second_reader = _opened(how)

        def drifts_of(view: NodeView) -> list[Any]:
            return [*enforcement.verify(view, second_reader)]

        def look() -> Verified:
            subscription = live.ask(connection, lambda client: subscribed(client, node))
            return verify_kernel(subscription, node, place.value, drifts_of)
    else:

        def look() -> Verified:
            return live.ask(connection, lambda client: verify_cluster(client, frozenset(nodes)))

    verified = settled(look, settle)
    if output == "json":
        click.echo(json.dumps(chain_json(verified), indent=2))
    else:
        click.echo(chain_text(verified), nl=False)
    return CLEAN if verified.is_clean else FOUND


def _one(nodes: tuple[str, ...]) -> str:
    if len(nodes) != 1:
        raise CommandError("a kernel is that of one node: say which with --node NODE")
    return nodes[0]


def _opened(how: _How) -> tuple[Backend, NodeEnforcement, Any]:
    """The backend, what compares, and the second reader if one is asked for. Raises CommandError."""
    place, runner = open_place(how.netns, how.backend)
    second_reader: partial[Survey] | None = None
    if how.reader == "iptc":
        _check_second_reader(place, how.log_drops)
        second_reader = partial(reread, runner)
    settings = settings_of(
        unknown_pods=how.unknown_pods,
        allow_own_node_egress=how.allow_own_node_egress,
        mark_mask=how.mark_mask,
        backend=place,
        drop_log=drop_log_of(how.log_drops, how.log_drops_group),
    )
    return (
        place,
        NodeEnforcement(place, runner, settings, keep_established=how.keep_established),
        second_reader,
    )


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
