"""`podgate agent`: enforce on this node what the operator publishes for it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from controller.cli.cluster_options import connection_of, server_options
from controller.cli.failure import CLEAN, CommandError
from controller.cli.node_options import (
    drop_log_of,
    guard_options,
    log_drops_options,
    open_place,
    place_options,
    policy_options,
    settings_of,
)
from controller.cli.process_options import health_option, log_options


@click.command("agent")
@click.option(
    "--node-name",
    envvar="NODE_NAME",
    required=True,
    metavar="NODE",
    help="The node that this one is.  [env: NODE_NAME]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/podgate"),
    show_default=True,
    help="Where to keep what was enforced last, for a start while the API server is away.",
)
@click.option(
    "--completeness-timeout",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a new NodePolicy may wait for its peer groups.",
)
@guard_options
@policy_options
@log_drops_options
@place_options
@server_options
@health_option("127.0.0.1:9441")
@log_options
def command(
    node_name: str,
    state_dir: Path,
    completeness_timeout: float,
    canary_interval: float,
    full_interval: float,
    unknown_pods: str,
    mark_mask: str,
    log_drops: str,
    log_drops_group: int,
    netns: str | None,
    backend: str,
    health_address: str,
    log_level: str,
    log_format: str,
    *,
    allow_own_node_egress: bool,
    keep_established: bool,
    **cluster: Any,
) -> int:
    """Enforce on this node what the operator publishes for it, and keep it enforced.

    Reads the NodePolicy of this node and the slices of its peer groups, and writes only that NodePolicy's
    status. Rules stay in force when the agent stops, and while the API server is away; `podgate cleanup`
    removes them.

    \b
    Examples:
      podgate agent --node-name node-1
      podgate agent --node-name node-1 --kubeconfig ~/.kube/config --backend nft --log-level debug
      podgate agent --node-name node-1 --log-drops 10/s

    Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error.
    """  # noqa: D301
    from controller.agent.node import NodeEnforcement  # noqa: PLC0415 - `--help` needs none of them
    from controller.agent.node_kernel import NodeKernel  # noqa: PLC0415
    from controller.agent.process import AgentSettings, serve  # noqa: PLC0415
    from controller.kube.errors import ConfigurationError  # noqa: PLC0415
    from controller.objects.names import dns_subdomain_problem, shown  # noqa: PLC0415
    from controller.telemetry.health import AddressError  # noqa: PLC0415
    from controller.telemetry.logs import Format, Level, configure  # noqa: PLC0415

    if problem := dns_subdomain_problem(node_name):
        raise CommandError(f"--node-name: {shown(node_name)} is no name of a node: it {problem}")
    configure(Level(log_level), Format(log_format))
    connection = connection_of(os.environ, **cluster)
    place, runner = open_place(netns, backend)
    settings = settings_of(
        unknown_pods=unknown_pods,
        allow_own_node_egress=allow_own_node_egress,
        mark_mask=mark_mask,
        backend=place,
        drop_log=drop_log_of(log_drops, log_drops_group),
    )

    def enforcement(family: int) -> NodeEnforcement:
        return NodeEnforcement(
            place, runner, settings, keep_established=keep_established, keep_open=True, families=(family,)
        )

    agent = AgentSettings(
        node=node_name,
        state_dir=state_dir,
        health_address=health_address,
        patience=completeness_timeout,
        canary=canary_interval,
        full=full_interval,
        drop_log=settings.drop_log,
    )
    try:
        asyncio.run(serve(agent, connection, lambda: NodeKernel(place, enforcement)))
    except AddressError as error:
        raise CommandError(str(error)) from error
    except ExceptionGroup as group:  # from one of the parts that run side by side
        found = group.subgroup(ConfigurationError)
        if found is None:
            raise
        raise CommandError(str(_first(found))) from group
    return CLEAN


def _first(error: Exception) -> Exception:
    """The first error in a group, of whatever depth; itself if it is none."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
