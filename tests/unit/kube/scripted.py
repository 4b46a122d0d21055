"""An HTTP server that answers what a test tells it to, to fail in ways no well-behaved server does."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec import Struct

from controller.kube.connection import Connection

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Document = dict[str, Any]


class Seen(Struct):
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"

    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


class ScriptedServer:
    """Answers in the order written: watches from `watches`, all else from `answers`.

    After the last one, a watch stays open in silence and anything else gets the last answer again.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.watches: list[Answer] = []
        self.seen: list[Seen] = []
        self.url = ""

    @property
    def connection(self) -> Connection:
        return Connection(server=self.url)

    @property
    def lists_seen(self) -> list[Seen]:
        return [each for each in self.seen if not each.is_watch]

    @property
    def watches_seen(self) -> list[Seen]:
        return [each for each in self.seen if each.is_watch]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(
            request.method, request.path, dict(request.query), dict(request.headers), await request.read()
        )
        self.seen.append(seen)
        if seen.is_watch:
            answer = self.watches.pop(0) if self.watches else silence()
        else:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


@asynccontextmanager
async def scripted_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


# ------------------------------------------------------------------ answers


def reply(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status, headers=headers)

    return answer


def text(body: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status)

    return answer


def refusal(code: int, reason: str, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    return reply(status(code, reason, message), code, headers)


def cut(start: bytes = b"") -> Answer:
    """Breaks the connection, after the first bytes of an answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if start:
            await response.prepare(request)
            await response.write(start)
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


def stream(*pieces: object, then_hang: bool = False, linger: float = 0.0) -> Answer:
    """A watch: documents as lines, bytes as they are; then the end, or silence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece if isinstance(piece, bytes) else line(piece))
        if then_hang:
            await asyncio.sleep(3600)
        await asyncio.sleep(linger)
        return response

    return answer


def silence() -> Answer:
    return stream(then_hang=True)


def hang() -> Answer:
    """Not even a status line."""

    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    return answer


# ---------------------------------------------------------------- documents


def line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


def status(code: int, reason: str, message: str = "no") -> Document:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def thing(name: str, version: int, *, uid: str = "", value: object = "", namespace: str = "shop") -> Document:
    """An object of the made-up kind that tests watch."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "managedFields": [{"manager": "someone"}],
        },
        "value": value,
    }


def listing(version: int, *items: Document, more: str = "") -> Document:
    metadata = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return {"kind": "ThingList", "apiVersion": "v1", "metadata": metadata, "items": list(items)}


def event(kind: str, document: Document) -> Document:
    return {"type": kind, "object": document}


def bookmark(version: int) -> Document:
    return event("BOOKMARK", {"kind": "Thing", "metadata": {"resourceVersion": str(version)}})
