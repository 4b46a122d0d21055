"""Proving who we are, and going on doing so while tokens and certificates are replaced under us.

A service account token lives an hour; the kubelet replaces the file at four fifths of that. The file is
looked at when a request is made, at most once a second, and read again when it changed, when a minute has
passed, or at once after a 401. Certificates are looked at every minute. What is there but cannot be used
leaves the old in force, with a warning: the server has the last word on whether it still is.
"""

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Protocol

from controller.kube.connection import Connection, PluginLogin
from controller.kube.errors import ConfigurationError

_log = logging.getLogger(__name__)
_REREAD = 60.0
_LOOK = 1.0


class TokenSource(Protocol):
    """Where the Authorization header comes from."""

    async def header(self) -> str:
        """`Bearer ...`, or empty."""

    async def renew(self) -> bool:
        """Get it afresh, after a 401; whether another attempt makes sense."""

    def certificate(self) -> tuple[str, str]:
        """Files of a client certificate and key that came with it; empty where none did."""


class Credentials:
    """The header and the TLS context for the next request."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = monotonic) -> None:
        self._tokens = _token_source(connection, clock)
        self._tls = _Tls(connection, clock) if connection.server.startswith("https:") else None

    async def headers(self) -> dict[str, str]:
        """The Authorization header, if there is one."""
        value = await self._tokens.header()
        return {"Authorization": value} if value else {}

    def tls(self) -> ssl.SSLContext | None:
        """The context to connect with; the same one until a file changes, None for plain http."""
        return self._tls.context(self._tokens.certificate()) if self._tls else None

    async def renew(self) -> bool:
        """After a 401: read everything again; whether another attempt makes sense."""
        return await self._tokens.renew()


def _token_source(connection: Connection, clock: Callable[[], float]) -> TokenSource:
    if connection.plugin:
        return _PluginToken(connection.plugin, clock)
    # Where both are given the file counts, as for client-go: it can be renewed.
    if connection.token_file:
        return _FileToken(Path(connection.token_file), clock)
    return _FixedToken(connection.token)


class _FixedToken:
    def __init__(self, token: str) -> None:
        self._header = _bearer(token)

    async def header(self) -> str:
        return self._header

    async def renew(self) -> bool:
        return False

    def certificate(self) -> tuple[str, str]:
        return ("", "")


class _FileToken:
    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._header = ""
        self._signature: tuple[int, int, int] | None = None
        self._looked_at = self._read_at = float("-inf")

    async def header(self) -> str:
        now = self._clock()
        if now - self._looked_at >= _LOOK:
            self._looked_at = now
            if now - self._read_at >= _REREAD or _signature(self._path) != self._signature:
                self._read(now)
        return self._header

    async def renew(self) -> bool:
        self._read(self._clock())
        return True

    def certificate(self) -> tuple[str, str]:
        return ("", "")

    def _read(self, now: float) -> None:
        self._read_at, self._signature = now, _signature(self._path)
        try:
            header = _bearer(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            self._keep(str(error))
            return
        if header:
            self._header = header
        else:
            self._keep("it is empty")

    def _keep(self, problem: str) -> None:
        if not self._header:
            raise ConfigurationError(
                f"token file {self._path}: {problem}; mount a service account token there"
            )
        _log.warning("token file %s: %s; the token read before stays in use", self._path, problem)


class _PluginToken:
    """Asks the `kubernetes` client, in a thread: plug-ins are programs, and may take seconds."""

    def __init__(self, plugin: PluginLogin, clock: Callable[[], float]) -> None:
        self._plugin = plugin
        self._clock = clock
        self._header = ""
        self._certificate = ("", "")
        self._read_at = float("-inf")
        self._busy = asyncio.Lock()

    async def header(self) -> str:
        async with self._busy:
            if self._clock() - self._read_at >= _REREAD:
                await self._resolve()
        return self._header

    async def renew(self) -> bool:
        async with self._busy:
            await self._resolve()
        return True

    def certificate(self) -> tuple[str, str]:
        return self._certificate

    async def _resolve(self) -> None:
        self._read_at = self._clock()
        try:
            self._header, self._certificate = await asyncio.to_thread(_run_plugin, self._plugin)
        except ConfigurationError as error:
            if not (self._header or self._certificate[0]):
                self._read_at = float("-inf")
                raise
            _log.warning("%s; what it gave before stays in use", error)


def _run_plugin(plugin: PluginLogin) -> tuple[str, tuple[str, str]]:
    place = f"kubeconfig {os.pathsep.join(plugin.paths)}: context {plugin.context!r}: user"
    try:
        from kubernetes import client, config  # noqa: PLC0415 - 30 MB and half a second, for plug-ins only
    except ImportError as error:
        raise ConfigurationError(
            f"{place}: exec and auth-provider need the kubernetes package; pip install 'podgate[cluster]'"
        ) from error
    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(plugin.paths),
            context=plugin.context,
            client_configuration=settings,
            persist_config=False,
        )
    except Exception as error:  # a plug-in, a library of a cloud: anything may be raised
        raise ConfigurationError(f"{place}: exec or auth-provider: {error}") from error
    header = settings.api_key.get("BearerToken", "")
    certificate = (settings.cert_file or "", settings.key_file or "")
    if not header and not certificate[0]:
        raise ConfigurationError(
            f"{place}: exec or auth-provider: gave neither a token nor a certificate; run it by hand"
        )
    return header, certificate


class _Tls:
    """The context, made again when one of its files changed."""

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._made_of: tuple[object, ...] = ()
        self._looked_at = float("-inf")

    def context(self, certificate: tuple[str, str]) -> ssl.SSLContext:
        now = self._clock()
        if self._context and now - self._looked_at < _REREAD and certificate == self._made_of[0]:
            return self._context
        self._looked_at = now
        made_of = (certificate, *(_signature(Path(path)) for path in self._files(certificate)))
        if self._context and made_of == self._made_of:
            return self._context
        try:
            self._context = _tls_context(self._connection, certificate)
        except (OSError, ssl.SSLError, ValueError) as error:
            if not self._context:
                raise ConfigurationError(f"{self._connection.origin}: certificates: {error}") from error
            _log.warning(
                "%s: certificates: %s; those read before stay in use", self._connection.origin, error
            )
        self._made_of = made_of
        return self._context

    def _files(self, certificate: tuple[str, str]) -> list[str]:
        own = (self._connection.ca_file, self._connection.client_cert_file, self._connection.client_key_file)
        return [path for path in (*own, *certificate) if path]


def _tls_context(connection: Connection, certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not connection.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif connection.ca_data:
        context.load_verify_locations(cadata=connection.ca_data.decode("ascii"))
    elif connection.ca_file:
        context.load_verify_locations(cafile=connection.ca_file)
    else:
        context.load_default_certs()
    if certificate[0]:
        context.load_cert_chain(*certificate)
    else:
        _load_client_certificate(context, connection)
    return context


def _load_client_certificate(context: ssl.SSLContext, connection: Connection) -> None:
    """OpenSSL reads certificates from files only: data pass through a folder of our own, gone at once."""
    if not (connection.client_cert_file or connection.client_cert_data):
        return
    with tempfile.TemporaryDirectory(prefix="podgate-") as folder:
        files = []
        for name, path, data in (
            ("cert", connection.client_cert_file, connection.client_cert_data),
            ("key", connection.client_key_file, connection.client_key_data),
        ):
            file = Path(folder) / name if data else Path(path)
            if data:
                file.touch(mode=0o600)
                file.write_bytes(data)
            files.append(file)
        context.load_cert_chain(files[0], files[1])


def _bearer(token: str) -> str:
    """The header; ConfigurationError for what no header can hold (the token itself is not shown)."""
    text = token.strip()
    if not (text.isascii() and text.isprintable()):
        raise ConfigurationError(
            "token: it holds line ends or other characters no token has; check its source"
        )
    return f"Bearer {text}" if text else ""


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; the kubelet swaps a symbolic link, which gives another inode."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)
