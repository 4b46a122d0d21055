"""`/livez`, `/readyz` and `/metrics` of a process, on an address that only the node itself reaches.

Alive means that the event loop turns, and nothing else: a process that waits for an API server must not be
killed for it. Ready is what its checks say.
"""

import socket
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

ReadyCheck = Callable[[], str]
"""Why the process is not ready, in a few words; "" when it is."""


class AddressError(Exception):
    """An address that nothing can be served on; the message says which and why."""


class HealthServer:
    """Serves until it is closed. Owns its socket."""

    def __init__(self, address: str, checks: Mapping[str, ReadyCheck], registry: CollectorRegistry) -> None:
        """`address` is `host:port`; port 0 takes a free one. Raises AddressError for another form.

        `[::]` is every address of both families, and of IPv4 alone where the kernel has no IPv6.
        """
        self._host, self._port = split_address(address)
        self._checks = dict(checks)
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Begin to serve; returns the address in use. Raises AddressError when it cannot be had."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", _alive),
                web.get("/healthz", _alive),
                web.get("/readyz", self._ready),
                web.get("/readyz/{check}", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await self._site(self._runner).start()
        except OSError as error:
            await self.close()
            where = join_address(self._host, self._port)
            raise AddressError(f"cannot serve health on {where}: {error.strerror or error}") from error
        host, port = self._runner.addresses[0][:2]
        return join_address(host, port)

    def _site(self, runner: web.AppRunner) -> web.BaseSite:
        """Raises OSError where the address cannot be had.

        asyncio would take IPv6 alone at `::`, where a kubelet's probe of an IPv4 address is refused.
        """
        if self._host != "::":
            return web.TCPSite(runner, self._host, self._port)
        if not socket.has_dualstack_ipv6():
            return web.TCPSite(runner, "0.0.0.0", self._port)  # noqa: S104 - what was asked for
        return web.SockSite(
            runner,
            socket.create_server(
                ("::", self._port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
            ),
        )

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _ready(self, request: web.Request) -> web.Response:
        """All checks, or the one of the path; `?verbose` lists them even when all are well."""
        name = request.match_info.get("check")
        if name is not None and name not in self._checks:
            return web.Response(status=404, text=f"no check {name}: there are {', '.join(self._checks)}\n")
        chosen = self._checks if name is None else {name: self._checks[name]}
        failures = {check: why for check, ask in chosen.items() if (why := ask())}
        if not failures and "verbose" not in request.query:
            return web.Response(text="ok\n")
        lines = [f"[-] {each}: {failures[each]}" if each in failures else f"[+] {each}" for each in chosen]
        return web.Response(status=503 if failures else 200, text="\n".join(lines) + "\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:9440` or `[::1]:9440` in two. Raises AddressError for another form."""
    host, colon, port = address.rpartition(":")
    is_bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or is_bare_v6 or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"{address!r} is no address to serve on: write host:port, as in 127.0.0.1:9440")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """Host and port as one text; the opposite of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
