"""`python -m controller.lab.apiserver`: the server as a process of its own, until SIGTERM or SIGINT."""

import asyncio
import gc
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from typing import NamedTuple

import click

from controller.lab.apiserver import certificate
from controller.lab.apiserver.access import User, read_tokens
from controller.lab.apiserver.kubeconfig import write_kubeconfig
from controller.lab.apiserver.server import ApiServer, Settings

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 chooses a free one.")
@click.option("--port-file", type=_PATH, help="File to write the port to once the server answers.")
@click.option("--fd", "descriptors", type=int, multiple=True, help="Listening socket that is open already.")
@click.option("--tokens", type=_PATH, help='Lines of TOKEN,USER,UID,"GROUP,GROUP".')
@click.option("--rbac", is_flag=True, help="Enforce roles and bindings.")
@click.option("--tls-cert", type=_PATH, help="Certificate, PEM; without it the server speaks plain HTTP.")
@click.option("--tls-key", type=_PATH, help="Key of the certificate, PEM.")
@click.option("--self-signed", type=_PATH, help="Folder to make a certificate for https in.")
@click.option("--kubeconfig", type=_PATH, help="File to write a kubeconfig to, with the first token.")
@click.option("--history", default=20_000, show_default=True, help="Changes kept for each resource.")
@click.option("--bookmark-seconds", default=60.0, show_default=True, help="Between bookmarks of a watch.")
@click.option("--graceful-pods", is_flag=True, help="Deleted pods with a node wait for their kubelet.")
def main(  # noqa: PLR0913, PLR0917 (one argument per option)
    host: str,
    port: int,
    port_file: Path | None,
    descriptors: tuple[int, ...],
    tokens: Path | None,
    rbac: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    self_signed: Path | None,
    kubeconfig: Path | None,
    history: int,
    bookmark_seconds: float,
    graceful_pods: bool,
) -> None:
    """Serve the Kubernetes API from memory, for labs and tests only."""
    try:
        known = read_tokens(tokens.read_text(encoding="utf-8")) if tokens else {}
        if self_signed is not None:
            made = certificate.self_signed(self_signed, ("localhost", "127.0.0.1", "::1", host))
            tls_cert, tls_key = made.certificate, made.key
        tls = _tls(tls_cert, tls_key)
        sockets = [socket(fileno=descriptor) for descriptor in descriptors]
    except (OSError, ValueError, certificate.CertificateError) as error:
        raise click.ClickException(str(error)) from None
    settings = Settings(
        tokens=known,
        rbac=rbac,
        history=history,
        bookmark_seconds=bookmark_seconds,
        graceful_pods=graceful_pods,
    )
    announce = _Announcement(port_file, kubeconfig, known, tls_cert)
    # Records are never part of a cycle: looking through 150,000 of them again and again is for nothing.
    gc.set_threshold(100_000, 50, 1000)
    try:
        asyncio.run(_serve(ApiServer(settings), _Place(host, port, sockets, tls), announce))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


class _Place(NamedTuple):
    """Where to listen."""

    host: str
    port: int
    sockets: Sequence[socket]
    tls: ssl.SSLContext | None


class _Announcement:
    """Tells those who wait that the server answers, and where."""

    def __init__(
        self, port_file: Path | None, kubeconfig: Path | None, tokens: dict[str, User], cert: Path | None
    ) -> None:
        self._port_file = port_file
        self._kubeconfig = kubeconfig
        self._token = next(iter(tokens), "")
        self._cert = cert

    def make(self, server: ApiServer) -> None:
        """Write the files. The port file comes last and at once, for it is what is waited for."""
        if self._kubeconfig is not None:
            write_kubeconfig(self._kubeconfig, server.url, token=self._token, authority=self._cert)
        if self._port_file is not None:
            draft = self._port_file.with_name(self._port_file.name + ".new")
            draft.write_text(f"{server.port}\n", encoding="utf-8")
            draft.replace(self._port_file)
        click.echo(f"listening on {server.url}")


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


async def _serve(server: ApiServer, place: "_Place", announcement: _Announcement) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.start(place.host, place.port, sockets=place.sockets, tls=place.tls)
    announcement.make(server)
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    main()
