"""Namespaces, NetworkPolicies and Nodes by way of kopf, which is kept on a short lead.

Only `on.event` handlers: any other kind writes annotations or finalizers on users' objects, and an index
costs O(objects^2). What kopf does not do is done elsewhere: a list that it repeats after a broken watch never
says which objects are gone (`census` does). What its defaults get wrong is set right here: it would exit
after 54 s of 5xx, and keep five copies of each object while it looks for changes of no interest to us.

It runs in a thread with an event loop of its own, for two reasons. When kopf ends it cancels every task of
its loop, whoever started it; and it does end, at an ERROR event that is not 410, or a continue token that is
too old. Then it is started again, while leader, writer and everything known stay.
"""

import asyncio
import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import aiohttp
import kopf
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.connector import NEEDS_CLEANUP_CLOSED

from controller.kube.backoff import Backoff
from controller.kube.connection import Connection
from controller.kube.credentials import Credentials
from controller.kube.resource import NAMESPACES, NETWORK_POLICIES, NODES
from controller.operator.intake import Arrival, Received, Source, arrival_of
from controller.telemetry.logs import logger

RESOURCES = {
    Source.NAMESPACES: NAMESPACES,
    Source.NETWORK_POLICIES: NETWORK_POLICIES,
    Source.NODES: NODES,
}

_STEADY = 60.0
"""Seconds after which a run of kopf that ends counts as a new failure, not as one more in a row."""
_STOP_TIMEOUT = 10.0
_OWN_END = 7.0
_CANCEL_EVERY = 0.2
_IDENTITY = "podgate-operator"
_UNAUTHORIZED = 401
_TALKATIVE = ("kopf.activities", "kopf._core.engines.activities", "kopf._core.reactor.running")
_REPETITIVE = ("kopf._cogs.clients.watching", "kopf._core.reactor.observation", "kopf._cogs.clients.api")
_MINUTE = 60.0
_log = logger("operator.kopf")

Deliver = Callable[[Arrival], None]
Relisted = Callable[[], None]
Tell = Callable[[Source, str | None, Mapping[str, Any]], None]


class KopfSource:
    """Runs kopf until it is stopped. What it hears is told in the event loop that called `start`.

    `deliver` gets each object; `relisted` is called for each one that came with a list, not by a watch:
    somebody has to see what that list lacks.
    """

    def __init__(self, connection: Connection, deliver: Deliver, relisted: Relisted) -> None:
        self.restarts = 0
        self._connection = connection
        self._deliver = deliver
        self._relisted = relisted
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stop_kopf: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin, in a thread."""
        _quieten()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End it; nothing is told any more after this."""
        self._stop.set()
        self._stop_kopf()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _STOP_TIMEOUT)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = Backoff(first=1.0, cap=20.0)
        while not self._stop.is_set():
            began = time.monotonic()
            problem = ""
            try:
                asyncio.run(self._operate(loop))
            except BaseException as error:  # noqa: BLE001 - whatever tripped it, cancelled tasks too: it starts again
                problem = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            self.restarts += 1
            if time.monotonic() - began > _STEADY:
                pause.reset()
            seconds = pause.next()
            _log.warning("kopf ended and is started again", err=problem, seconds=round(seconds, 1))
            self._stop.wait(seconds)

    async def _operate(self, loop: asyncio.AbstractEventLoop) -> None:
        # No threading.Event: kopf would wait for it in a thread of the loop's own, and the loop would never
        # close when kopf ends for another reason.
        ending, own_loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop_kopf = lambda: _call_soon(own_loop, ending.set)
        if self._stop.is_set():
            return
        roots = await kopf.spawn_tasks(
            registry=registry_of(self._connection, lambda *told: self._tell(loop, *told)),
            settings=settings(),
            clusterwide=True,
            standalone=True,
            # Of no use without peers. Else kopf asks for the user's name, and ends where there is none: the
            # image's user is in no /etc/passwd, unless an engine puts it there.
            identity=_IDENTITY,  # type: ignore[arg-type]  # a str, of a type that kopf does not export
            stop_flag=ending,
        )
        running = asyncio.create_task(kopf.run_tasks(roots, ignored={_this_task()}))
        try:
            await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
            # It ends in its own way, which takes 5 s; or never, where a watch took its cancellation for the
            # end of a pause, and went on.
            await asyncio.wait({running}, timeout=_OWN_END)
        finally:
            await end_others()
            await asyncio.gather(running, return_exceptions=True)
        for root in roots:
            if not root.cancelled():
                root.result()  # who failed says why

    def _tell(
        self, loop: asyncio.AbstractEventLoop, source: Source, kind: str | None, body: Mapping[str, Any]
    ) -> None:
        """Called in kopf's thread: an object is decoded there, and only what came of it goes over."""
        arrival = arrival_of(source, body, Received.now(), gone=kind == "DELETED")
        if arrival is None or self._stop.is_set():
            return
        _call_soon(loop, lambda: self._deliver(arrival))
        if kind is None:
            _call_soon(loop, self._relisted)


def _this_task() -> "asyncio.Task[object]":
    found = asyncio.current_task()
    assert found is not None  # noqa: S101 - only a coroutine asks
    return found


async def end_others() -> None:
    """Cancel every other task of this loop, again until it ends: one cancellation may be swallowed."""
    while tasks := asyncio.all_tasks() - {_this_task()}:
        for task in tasks:
            task.cancel()
        ended, _ = await asyncio.wait(tasks, timeout=_CANCEL_EVERY)
        for task in ended:
            if not task.cancelled():
                task.exception()  # or it is logged as never retrieved; who ended first says what matters


def _call_soon(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    """Have a loop of another thread do something; one that is closed has nothing to do any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what)


def settings() -> kopf.OperatorSettings:
    """Kopf's settings; each differs from its default for a reason that was measured."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True  # no streams of CRDs and namespaces, and no right to read them needed
    found.peering.standalone = True
    found.watching.chunk_size = 500  # the default asks for everything in one body
    found.watching.connect_timeout = 10
    # Whole seconds: kube-apiserver answers 400 to a fraction, and kopf gives a watch up that is refused.
    found.watching.server_timeout = random.randint(290, 310)  # noqa: S311 - spreads load, hides nothing
    found.watching.client_timeout = found.watching.server_timeout + 10
    found.watching.inactivity_timeout = 70  # an API server sends a bookmark a minute
    found.watching.reconnect_backoff = 1.0  # 0.1: ten lists a second while every watch is answered with 410
    found.networking.request_timeout = 60
    found.networking.connect_timeout = 10
    found.networking.error_backoffs = _Forever()  # the default gives up after 54 s
    found.queueing.idle_timeout = 0.2  # the default keeps each object in memory for 5 s
    found.process.ultimate_exiting_timeout = None  # it would kill this process when kopf alone is to end
    found.persistence.diffbase_storage = _NoDiffBase()
    found.persistence.progress_storage = _NoProgress()
    return found


class _Forever:
    """Seconds between attempts, without end; a length, if it had one, would be the number of attempts."""

    def __iter__(self) -> Iterator[float]:
        pause = Backoff(first=0.5, cap=10.0)
        while True:
            yield 0.1 + pause.next()


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is remembered of objects: the default copies each of them three times an event."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """No part of an object counts."""
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> None:
        """Nothing is there."""

    def store(self, **_: object) -> None:
        """Nowhere."""


class _NoProgress(kopf.ProgressStorage):
    """Nor of handlers, which are done when they return."""

    def fetch(self, **_: object) -> None:
        """Nothing is there."""

    def store(self, **_: object) -> None:
        """Nowhere."""

    def purge(self, **_: object) -> None:
        """Nothing is there."""

    def touch(self, **_: object) -> None:
        """Nothing is there."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """As it is: the default copies it."""
        return essence


class _Seldom(logging.Filter):
    """One line a minute of each logger: kopf writes one for each attempt, of each kind, for hours."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        now = time.monotonic()
        if now - self._said.get(record.name, -math.inf) < _MINUTE:
            return False
        self._said[record.name] = now
        return True


_SELDOM = _Seldom()


def _quieten() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _REPETITIVE:
        found = logging.getLogger(name)
        if _SELDOM not in found.filters:
            found.addFilter(_SELDOM)


def registry_of(connection: Connection, tell: Tell) -> kopf.OperatorRegistry:
    """The handlers: one that watches for each kind, and one that logs in."""
    registry = kopf.OperatorRegistry()
    for source in Source:
        _watch(registry, source, tell)
    _login(registry, connection)
    return registry


def _watch(registry: kopf.OperatorRegistry, source: Source, tell: Tell) -> None:
    resource = RESOURCES[source]

    @kopf.on.event(
        resource.group, resource.version, resource.plural, registry=registry, id=f"watch-{source.value}"
    )
    async def watched(event: kopf.RawEvent, **_: object) -> None:
        tell(source, event["type"], event["object"])


def _login(registry: kopf.OperatorRegistry, connection: Connection) -> None:
    """Kopf asks the way we do: tokens and certificates are read again when they change."""

    @kopf.on.login(registry=registry, id="login")
    async def login(**_: object) -> kopf.AiohttpSession:
        credentials = Credentials(connection)

        async def authorize(
            request: aiohttp.ClientRequest, handler: ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers.update(await credentials.headers())
            response = await handler(request)
            if response.status != _UNAUTHORIZED or not await credentials.renew():
                return response
            response.release()
            request.headers.update(await credentials.headers())
            return await handler(request)

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=credentials.tls() or True,
                enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,  # as in `controller.kube.transport`
            ),
            middlewares=(authorize,),
            headers={"User-Agent": "podgate-operator/kopf"},
            proxy=connection.proxy_url or None,
        )
        return kopf.AiohttpSession(
            server=connection.server, aiohttp_session=session, default_namespace=connection.namespace
        )
