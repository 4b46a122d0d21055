"""`podgate operator`: turn the policies of a cluster into what every node has to enforce."""

import asyncio
import gc
import os
import signal
from typing import TYPE_CHECKING, Any

import click

from controller.cli.cluster_options import connection_of, server_options
from controller.cli.failure import CLEAN, CommandError
from controller.cli.process_options import health_option, log_options
from controller.objects.kinds import Mode

if TYPE_CHECKING:
    from controller.operator.process import Options


@click.command("operator")
@click.option(
    "--namespace",
    default="podgate-system",
    show_default=True,
    metavar="NAME",
    help="Where the lease of the leader is.",
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.ENFORCE.value,
    show_default=True,
    help="Of policies without the annotation podgate.dev/mode, on themselves or their namespace. audit: what "
    "they would drop is counted, and passes.",
)
@click.option(
    "--kube-api-qps",
    type=click.FloatRange(min=0.1),
    default=250.0,
    show_default=True,
    metavar="RATE",
    help="Writes a second to the API server, at most.",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=True,
    show_default=True,
    help="Without it there must be one replica only.",
)
@click.option(
    "--identity",
    default="",
    metavar="NAME",
    help="Who this replica is, in the lease; a random part is added. Default: the host's name.",
)
@server_options
@health_option("127.0.0.1:9440")
@log_options
def command(
    namespace: str,
    mode: str,
    kube_api_qps: float,
    identity: str,
    health_address: str,
    log_level: str,
    log_format: str,
    *,
    leader_elect: bool,
    **cluster: Any,
) -> int:
    """Watch policies, pods, namespaces and nodes; publish what each node enforces for its agent.

    Writes NodePolicies, PeerGroupSlices and Events, and nothing to anybody else's objects. Of several
    replicas one leads. Stops at SIGTERM: what is published stays, and agents go on enforcing it.

    \b
    Examples:
      podgate operator
      podgate operator --kubeconfig ~/.kube/config --no-leader-elect --log-level debug

    Exit codes: 0 stopped by SIGTERM or SIGINT, 2 error.
    """  # noqa: D301
    from controller.kube.errors import KubeError  # noqa: PLC0415 - `--help` needs none of them
    from controller.operator.process import Options  # noqa: PLC0415
    from controller.telemetry.health import AddressError  # noqa: PLC0415
    from controller.telemetry.logs import Format, Level, configure  # noqa: PLC0415

    configure(Level(log_level), Format(log_format))
    # Pods are never part of a cycle: looking through 150,000 of them again and again is for nothing.
    gc.set_threshold(100_000, 50, 1000)
    options = Options(
        connection=connection_of(os.environ, **cluster),
        namespace=namespace,
        mode=Mode(mode),
        qps=kube_api_qps,
        leader_elect=leader_elect,
        identity=identity,
        health_address=health_address,
    )
    try:
        asyncio.run(_run(options))
    except (KubeError, AddressError) as error:
        raise CommandError(str(error)) from error
    return CLEAN


async def _run(options: "Options") -> None:
    from controller.operator.process import Operator  # noqa: PLC0415

    operator = Operator(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    await operator.run()
