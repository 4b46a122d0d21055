"""The server as a whole: its parts put together, listening, and stopped."""

import ssl
import time
from collections.abc import Mapping, Sequence
from socket import socket
from types import TracebackType
from typing import Self

from aiohttp import web
from msgspec import Struct

from controller.lab.apiserver.access import Access, User
from controller.lab.apiserver.api import Api
from controller.lab.apiserver.builtin_kinds import builtin_kinds
from controller.lab.apiserver.debug import Debug
from controller.lab.apiserver.faults import Faults
from controller.lab.apiserver.kinds import Registry
from controller.lab.apiserver.parts import Parts
from controller.lab.apiserver.store import Object, Record, Store, decode_json, encode_json
from controller.lab.apiserver.writes import Options, Writer

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LARGEST_BODY = 1 << 32
"""Bytes: a load of 150,000 pods is one body."""


class Settings(Struct, frozen=True, kw_only=True):
    """How the server behaves.

    `tokens`: who is who; none: everybody may do everything. `rbac`: whether rules are enforced.
    `history`: changes kept for each resource. `bookmark_seconds`: between the bookmarks of a watch.
    `graceful_pods`: see `writes.Writer`.
    """

    tokens: Mapping[str, User] = {}
    rbac: bool = False
    history: int = 20_000
    bookmark_seconds: float = 60.0
    graceful_pods: bool = False


class ApiServer:
    """A server in the running event loop. Use it with `async with`, or `start` and `stop` it."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        # Microseconds: nobody writes that often, so that a later server never repeats the revisions of this.
        store = Store(settings.history, first_revision=time.time_ns() // 1000)
        registry = Registry(builtin_kinds())
        faults = Faults()
        self.parts = Parts(
            store=store,
            registry=registry,
            writer=Writer(store, registry, graceful_pods=settings.graceful_pods),
            access=Access(store, faults, settings.tokens, rbac=settings.rbac),
            faults=faults,
        )
        self.api = Api(self.parts, settings.bookmark_seconds)
        self._debug = Debug(self.parts, self.api)
        self._runner: web.AppRunner | None = None
        self._scheme = "http"
        self._addresses: list[tuple[str, int]] = []
        for name in _NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.create(_KUBERNETES)

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sockets: Sequence[socket] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on an address (port 0: any free one), or on sockets that are open. Raises OSError."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/debug/{what:[^/]+}{rest:.*}", self._debug.answer)
        application.router.add_route("*", "/{path:.*}", self.api.answer)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        self._scheme = "https" if tls else "http"
        for listener in sockets:
            await web.SockSite(runner, listener, ssl_context=tls, backlog=1024).start()
        if not sockets:
            await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
        self._addresses = [(address[0], address[1]) for address in runner.addresses]

    async def stop(self) -> None:
        """End every watch and answer nothing more."""
        for watch in list(self.api.streams):
            watch.close()
        self.parts.faults.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where clients find it: of the first address."""
        host, port = self._addresses[0]
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def port(self) -> int:
        """The port that was chosen."""
        return self._addresses[0][1]

    def create(self, value: Object) -> Record:
        """Create an object without going through HTTP. Raises ApiError; ValueError for an unknown kind."""
        kind = self.parts.registry.named(str(value.get("apiVersion")), str(value.get("kind")))
        if kind is None:
            raise ValueError(f"no kind {value.get('kind')} of {value.get('apiVersion')} is served")
        namespace = (value.get("metadata") or {}).get("namespace") or "default"
        copy = decode_json(encode_json(value))
        return self.parts.writer.create(kind, namespace if kind.namespaced else "", copy, Options())


_KUBERNETES: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
    "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 6443}], "clusterIP": "10.96.0.1"},
}
