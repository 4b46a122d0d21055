"""What the verbs that touch a node's kernel share: where, as whom, through which backend."""

import os
from collections.abc import Callable
from typing import Any

import click

from controller.agent.netns import NamespaceError, enter_network_namespace
from controller.cli.failure import CommandError
from controller.cli.input import read_manifests, report
from controller.cli.output.escapes import plain
from controller.cli.targets import node_names
from controller.dataplane.backend import BackendError, detect
from controller.dataplane.settings import DEFAULT_LOG_GROUP, DropLog, MarkLayout, Settings
from controller.dataplane.tools import Backend, LocalRunner, Runner
from controller.dataplane.validity import LIMIT_MAX
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.objects.findings import Finding

AUTO = "auto"
OFF = "off"
_NAMED = 5


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--netns and --backend."""
    options = (
        click.option(
            "--netns", metavar="NAME", help="Work in this network namespace (`ip netns`), not in this one."
        ),
        click.option(
            "--backend",
            envvar="PODGATE_BACKEND",
            show_envvar=True,
            type=click.Choice([AUTO, *(each.value for each in Backend)]),
            default=AUTO,
            show_default=True,
            help="The iptables backend; auto is the one kubelet uses.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def guard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--canary-interval and --full-interval."""
    options = (
        click.option(
            "--canary-interval",
            type=click.FloatRange(min=0.1),
            default=5.0,
            show_default=True,
            metavar="SECONDS",
            help="How often to look whether the rules are there at all.",
        ),
        click.option(
            "--full-interval",
            type=click.FloatRange(min=0.1),
            default=3600.0,
            show_default=True,
            metavar="SECONDS",
            help="The longest time between two full read-backs; they start at the canary's and double.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How the rules are made, of which node of manifests."""
    node = click.option(
        "--node", required=True, metavar="NODE", help="The node of the manifests that this one is."
    )
    return node(policy_options(command))


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How the rules are made.

    As environment variables of a DaemonSet they reach every command that is run beside its agent, too.
    """
    options = (
        click.option(
            "--unknown-pods",
            envvar="PODGATE_UNKNOWN_PODS",
            show_envvar=True,
            type=click.Choice(["allow", "deny"]),
            default="allow",
            show_default=True,
            help="What becomes of packets of this node's pod addresses that belong to no known pod.",
        ),
        click.option(
            "--allow-own-node-egress",
            envvar="PODGATE_ALLOW_OWN_NODE_EGRESS",
            show_envvar=True,
            is_flag=True,
            help="Let pods reach their own node whatever policies say.",
        ),
        click.option(
            "--keep-established",
            envvar="PODGATE_KEEP_ESTABLISHED",
            show_envvar=True,
            is_flag=True,
            help="Do not cut connections that policies no longer allow.",
        ),
        click.option(
            "--mark-mask",
            envvar="PODGATE_MARK_MASK",
            show_envvar=True,
            default="0x1fff0000",
            show_default=True,
            help="The bits of the connection mark to use.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def log_drops_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--log-drops and --log-drops-group."""
    options = (
        click.option(
            "--log-drops",
            envvar="PODGATE_LOG_DROPS",
            show_envvar=True,
            default=OFF,
            show_default=True,
            metavar="off|N/s",
            help=(
                f"Log denied packets, so many a second of each family, 1 to {LIMIT_MAX}; "
                "`podgate drops` shows them."
            ),
        ),
        click.option(
            "--log-drops-group",
            envvar="PODGATE_LOG_DROPS_GROUP",
            show_envvar=True,
            type=click.IntRange(1, 65535),
            default=DEFAULT_LOG_GROUP,
            show_default=True,
            help="The group of NFLOG to log to; only one program can listen to a group.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def drop_log_of(rate: str, group: int) -> DropLog | None:
    """What --log-drops asks for. Raises CommandError where it is no rate."""
    if rate == OFF:
        return None
    number = rate.removesuffix("/s")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= LIMIT_MAX):
        raise CommandError(f"--log-drops {plain(rate)}: write off, or 1/s to {LIMIT_MAX}/s")
    return DropLog(int(number), group)


def open_place(netns: str | None, backend: str) -> tuple[Backend, Runner]:
    """Enter the namespace and settle the backend. Raises CommandError where either cannot be."""
    if os.geteuid() != 0:
        raise CommandError("the kernel's rules are root's to read and write: run this as root (sudo)")
    try:
        if netns is not None:
            enter_network_namespace(netns)
        runner = LocalRunner()
        return (detect(runner) if backend == AUTO else Backend(backend)), runner
    except (NamespaceError, BackendError) as error:
        raise CommandError(str(error)) from error


def settings_of(
    *,
    unknown_pods: str,
    allow_own_node_egress: bool,
    mark_mask: str,
    backend: Backend,
    drop_log: DropLog | None = None,
) -> Settings:
    """The settings the options ask for. Raises CommandError for a mask that is none."""
    try:
        marks = MarkLayout(int(mark_mask, 0))
    except ValueError as error:
        raise CommandError(f"--mark-mask {mark_mask}: {error}") from error
    return Settings(
        marks=marks,
        # An address compare costs 33 to 46 ns on nft with IPv6 and 2 to 4 elsewhere: only there a gate pays.
        gates=(6,) if backend is Backend.NFT else (),
        unknown_pods_denied=unknown_pods == "deny",
        own_node_egress_allowed=allow_own_node_egress,
        drop_log=drop_log,
    )


def _passed_over(addressless: tuple[str, ...]) -> str:
    """Whoever has no address is no peer (rule 2.53); in files that may be a surprise."""
    named = ", ".join(plain(each) for each in addressless[:_NAMED])
    more = f" and {len(addressless) - _NAMED} more" if len(addressless) > _NAMED else ""
    return f"without an address (status.podIP), and so no peers and not isolated: {named}{more}"


def view_of(node: str, manifests: dict[str, Any]) -> tuple[NodeView, tuple[Finding, ...]]:
    """What a node must enforce, from manifests; bad ones are reported and quarantined.

    Raises CommandError where the node does not exist in them, or a document could not be read at all: it may
    have been a policy, and rules without it would be too wide.
    """
    reading = read_manifests(**manifests, observed=True)
    report(reading.findings)
    if reading.unreadable:
        raise CommandError(
            "some input could not be read (above); it may have been a policy, so nothing is done"
        )
    if reading.addressless:
        click.echo(f"note: {_passed_over(reading.addressless)}", err=True)
    resolver = Resolver.of(reading.cluster)
    if node not in resolver.nodes():
        there = node_names(resolver.nodes())
        raise CommandError(f"no node '{plain(node)}' and no pod on it in the manifests; there are: {there}")
    return resolver.view(node), reading.findings
