"""Options of the verbs that talk to an API server: which one, and as whom."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from controller.cli.failure import CommandError
from controller.cli.output.escapes import plain

if TYPE_CHECKING:
    from controller.kube.connection import Connection


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--kubeconfig and --context."""
    whole = kubeconfig_option(
        "How to reach the cluster.  [default: $KUBECONFIG, ~/.kube/config, the pod's account]"
    )
    return whole(_context_option(command))


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and --server, --token-file and --certificate-authority, for what has no kubeconfig."""
    return cluster_options(_without_kubeconfig(command))


def other_server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of `server_options` but --kubeconfig, for a verb that has that one with its manifests."""
    return _context_option(_without_kubeconfig(command))


def kubeconfig_option(text: str) -> Decorator:
    """--kubeconfig with a help text."""
    return _file_option("--kubeconfig", text)


def _context_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--context", default="", metavar="NAME", help="A context of it, not the current one."
    )(command)


def _without_kubeconfig(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--server", default="", metavar="URL", help="The API server, instead of all these."),
        _file_option("--token-file", "With --server: the bearer token, read again often."),
        _file_option(
            "--certificate-authority", "With --server: whom to trust, instead of the system's authorities."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _file_option(name: str, text: str) -> Decorator:
    """A file by its name, which shells complete."""
    return click.option(name, type=click.Path(dir_okay=False), default="", metavar="FILE", help=text)


def connection_of(
    environ: Mapping[str, str],
    *,
    kubeconfig: str = "",
    context: str = "",
    server: str = "",
    token_file: str = "",
    certificate_authority: str = "",
) -> "Connection":
    """The connection that the options ask for. Raises CommandError where they lead nowhere."""
    from controller.kube.connection import Connection, discover, server_problem  # noqa: PLC0415 - `--help` needs none of it
    from controller.kube.errors import ConfigurationError  # noqa: PLC0415

    if server and (kubeconfig or context):
        raise CommandError("--server stands for itself: leave out --kubeconfig and --context")
    if not server and (token_file or certificate_authority):
        raise CommandError("--token-file and --certificate-authority go with --server")
    if server:
        if problem := server_problem(server):
            raise CommandError(f"--server {plain(server)}: {problem}")
        return Connection(
            server=server.rstrip("/"),
            token_file=token_file,
            ca_file=certificate_authority,
            origin="--server",
        )
    try:
        return discover(kubeconfig, context, environ)
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
