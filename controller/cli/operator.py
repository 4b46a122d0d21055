"""`podgate operator`: turn the policies of a cluster into what every node has to enforce."""

import asyncio
import signal
from pathlib import Path

import click
from msgspec.structs import replace

from controller.cli.failure import CLEAN, CommandError
from controller.cli.process_options import health_option, log_options
from controller.kube.connection import Connection, discover
from controller.kube.errors import KubeError
from controller.operator.process import Operator, Options
from controller.telemetry.health import AddressError
from controller.telemetry.logs import Format, Level, configure


@click.command("operator")
@click.option(
    "--kubeconfig", default="", metavar="FILE", help="Instead of $KUBECONFIG or the service account."
)
@click.option("--context", default="", metavar="NAME", help="A context of the kubeconfig.")
@click.option("--server", default="", metavar="URL", help="The API server, instead of a kubeconfig's.")
@click.option("--token-file", default="", metavar="FILE", help="With --server: read again when it changes.")
@click.option(
    "--namespace",
    default="podgate-system",
    show_default=True,
    metavar="NAME",
    help="Where the lease is.",
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
@click.option("--identity", default="", metavar="NAME", help="In the lease; the host name and a random part.")
@health_option("127.0.0.1:9440")
@log_options
def command(
    kubeconfig: str,
    context: str,
    server: str,
    token_file: str,
    namespace: str,
    kube_api_qps: float,
    identity: str,
    health_address: str,
    log_level: str,
    log_format: str,
    *,
    leader_elect: bool,
) -> int:
    """Watch policies, pods, namespaces and nodes; publish what each node enforces for its agent.

    Stops at SIGTERM: what is published stays, and agents go on enforcing it. Of several replicas one leads.

    \b
    Examples:
      podgate operator
      podgate operator --kubeconfig ~/.kube/config --no-leader-elect --log-level debug

    Exit codes: 0 stopped, 2 error.
    """  # noqa: D301
    configure(Level(log_level), Format(log_format))
    try:
        options = Options(
            connection=_connection(kubeconfig, context, server, token_file),
            namespace=namespace,
            qps=kube_api_qps,
            leader_elect=leader_elect,
            identity=identity,
            health_address=health_address,
        )
        asyncio.run(_run(options))
    except (KubeError, AddressError) as error:
        raise CommandError(str(error)) from error
    return CLEAN


def _connection(kubeconfig: str, context: str, server: str, token_file: str) -> Connection:
    if not server:
        if token_file:
            raise CommandError("--token-file: it goes with --server; a kubeconfig says its own token")
        return discover(kubeconfig, context)
    if kubeconfig or context:
        raise CommandError("--server: leave it out, or --kubeconfig and --context")
    if token_file and not Path(token_file).is_file():
        raise CommandError(f"--token-file {token_file}: there is no such file")
    return replace(Connection(server=server, origin="--server"), token_file=token_file)


async def _run(options: Options) -> None:
    operator = Operator(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    await operator.run()
