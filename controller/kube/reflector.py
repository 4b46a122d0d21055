"""A copy of a collection that stays true: list, watch, and list again whenever the watch cannot be trusted.

    Reflector[T](client, resource, wire=Wire, keep=keep, sink=sink, selection=EVERYTHING, timing=Timing())
        wire: type[W]                     the fields to decode, a msgspec Struct
        keep: (W) -> T | None             what to remember of an object; None: it is of no interest
    await reflector.run()                 for ever; cancel it to stop. A failing sink ends it, and credentials
                                          that never worked (ConfigurationError)
    reflector.restart(label_selector=...) list and watch other objects from now on; without: list again
    await reflector.wait_synced()
    .is_synced .is_current .position .last_contact .last_error .counters .get(key) .items()

    Sink[T]: added(key, value, at)  changed(key, value, old, at)  removed(key, old, at)
             unreadable(Unreadable, at)  synced(at)         at: time.time() when the bytes arrived

What a sink may rely on. Every object is known until the server said, or a complete list showed, that it is
gone; then `removed` comes, also for objects deleted while the watch was broken: a pod that is remembered too
long lends its rights to whoever gets its address next. Another uid under the same name is `removed` and
`added`. What is older than what is known, or the same, is not told again. An object that cannot be read is
`unreadable`, and costs no other object anything. `synced` comes after every complete list. While the API
server is away nothing changes; `last_contact` says how old the picture may be.

Requests never come faster than the back-off lets them, whatever the server does; a watch that ends is resumed
where it ended, and only a server that no longer has that history is listed again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from controller.kube.backoff import Backoff
from controller.kube.client import PAGE, ApiClient
from controller.kube.errors import ApiError, BadRequest, Gone, MalformedAnswer, NotFound, ServerError
from controller.kube.mirror import Mirror
from controller.kube.resource import EVERYTHING, Resource, Selection
from controller.kube.sink import Counters, Sink
from controller.kube.store import Key

T = TypeVar("T")
W = TypeVar("W")

_log = logging.getLogger(__name__)
_RANDOM = Random()  # noqa: S311 - spreads load, hides nothing
_RELIST = (Gone, BadRequest, NotFound, MalformedAnswer)
"""What a watch may fail with that going on from where it was cannot mend."""
_STREAM_FAILURES = 3
_UNPAGED_AFTER = 3
_WARN_AGAIN = 60.0


class Timing(Struct, frozen=True):
    """Seconds. The real API server sends a bookmark a minute, so `silence` is a little more."""

    start_jitter: float = 0.0
    """The first list waits anything up to this, so that a thousand agents do not start at once."""
    watch: float = 290.0
    watch_jitter: float = 30.0
    silence: float = 70.0
    backoff: float = 0.2
    backoff_cap: float = 20.0
    steady: float = 0.5
    """A watch that lasted this long and ended is no failure."""


class Reflector(Generic[T]):
    """Owns the copy. One task runs it; everything else may be called from the same event loop."""

    def __init__(  # noqa: PLR0913 - settings, by name
        self,
        client: ApiClient,
        resource: Resource,
        *,
        wire: type[W],
        keep: Callable[[W], T | None],
        sink: Sink[T],
        selection: Selection = EVERYTHING,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        page: int = PAGE,
        random: Random = _RANDOM,
    ) -> None:
        self.resource = resource
        self.last_contact = float("-inf")
        """time.monotonic() of the last byte or successful answer."""
        self.last_error = ""
        """What went wrong last; empty once the server answers again."""
        self._client = client
        self._mirror: Mirror[T] = Mirror(resource, wire=wire, keep=keep, sink=sink)
        self._timing = timing
        self._page = page
        self._random = random
        self._wanted = selection
        self._restart_pending = False
        self._scope: asyncio.Timeout | None = None
        self._synced = asyncio.Event()
        self._must_list = True
        self._gone_while_listing = 0
        self._stream_failures = 0
        self._watch_pause = Backoff(timing.backoff, timing.backoff_cap, random)
        self._list_pause = Backoff(timing.backoff, timing.backoff_cap, random)
        self._relist_pause = Backoff(timing.backoff, timing.backoff_cap, random)
        self._warned = ("", float("-inf"))
        self._is_worrying = False

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        return self._mirror.counters

    @property
    def is_synced(self) -> bool:
        """Whether a list has ever been complete."""
        return self._synced.is_set()

    @property
    def is_current(self) -> bool:
        """Whether the last list is of the objects wanted now; False from `restart` to the end of its list."""
        return self.is_synced and not self._must_list

    @property
    def position(self) -> str:
        """The resourceVersion up to which everything is known; "" before the first list."""
        return self._mirror.position

    @property
    def selection(self) -> Selection:
        """What is wanted now."""
        return self._wanted

    def get(self, key: Key) -> T | None:
        """The object; None if it is unknown or cannot be read."""
        return self._mirror.get(key)

    def items(self) -> Iterator[tuple[Key, T]]:
        """Every object that can be read."""
        return self._mirror.items()

    def __len__(self) -> int:
        return len(self._mirror)

    async def wait_synced(self) -> None:
        """Wait for the first complete list."""
        await self._synced.wait()

    def restart(self, *, label_selector: str | None = None) -> None:
        """List from the beginning, with another label selector if one is given.

        What is known stays until that list is complete, then what it lacks is removed. A list under way is
        completed first, so that restarts in quick succession cannot keep any from completing.
        """
        if label_selector is not None:
            self._wanted = msgspec.structs.replace(self._wanted, label_selector=label_selector)
        self._restart_pending = self._must_list = True
        if self._scope and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """List and watch for ever."""
        await asyncio.sleep(self._random.uniform(0.0, self._timing.start_jitter))
        while True:
            pause = await self._attempt()
            if pause:
                await self._until_restart(asyncio.sleep, pause)

    async def _attempt(self) -> float:
        """One list if need be and one watch; the seconds to wait before the next."""
        try:
            if self._must_list:
                await self._list()
        except ApiError as error:
            self._gone_while_listing += isinstance(error, Gone)
            self._note(error)
            return max(self._list_pause.next(), error.retry_after)
        began, position = time.monotonic(), self._mirror.position
        try:
            await self._until_restart(self._watch)
        except ApiError as error:
            self._note(error)
            return max(self._after_failed_watch(error, began, position), error.retry_after)
        self._stream_failures = 0
        return self._after_watch(began, position)

    async def _until_restart(self, work: Callable[..., Awaitable[None]], *arguments: float) -> None:
        if self._restart_pending:
            return
        self._scope = scope = asyncio.timeout(None)
        try:
            async with scope:
                await work(*arguments)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None

    def _after_watch(self, began: float, position: str) -> float:
        """A watch ended as watches do. Only one that ends at once, and brings nothing, makes us slower."""
        lasted = time.monotonic() - began
        if lasted >= self._timing.backoff_cap:
            self._relist_pause.reset()
        if lasted >= self._timing.steady:
            self._watch_pause.reset()
            return 0.0
        if position != self._mirror.position:
            self._watch_pause.reset()
        return self._watch_pause.next()

    def _after_failed_watch(self, error: ApiError, began: float, position: str) -> float:
        pause = self._after_watch(began, position) or self._watch_pause.next()
        self._stream_failures += isinstance(error, ServerError)
        is_hopeless = isinstance(error, _RELIST) or self._stream_failures >= _STREAM_FAILURES
        if is_hopeless or self._mirror.has_gap:
            self._must_list = True
            # A back-off of its own: lists that succeed between watches that fail must not be frequent either.
            return self._relist_pause.next()
        return pause

    async def _list(self) -> None:
        self._restart_pending = False
        selection, token = self._wanted, ""
        # A list that outlives the server's history again and again is asked for in one piece at last.
        limit = self._page if self._gone_while_listing < _UNPAGED_AFTER else 0
        self._mirror.begin_list()
        while True:
            page = await self._client.page(self.resource, Raw, selection, limit=limit, token=token)
            if not page.metadata.resource_version:
                raise MalformedAnswer(f"list of {self.resource}", "it has no metadata.resourceVersion")
            at = self._heard()
            self._mirror.list_items(page.items or (), at)
            token = page.metadata.token
            if not token:
                break
        self._gone_while_listing = self._stream_failures = 0
        self._list_pause.reset()
        self._must_list = self._restart_pending
        self._recovered()
        self._synced.set()
        self._mirror.end_list(page.metadata.resource_version, at)

    async def _watch(self) -> None:
        seconds = self._timing.watch + self._random.uniform(0.0, self._timing.watch_jitter)
        self.counters.watches += 1
        async with self._client.watch(
            self.resource,
            self._wanted,
            resource_version=self._mirror.position,
            seconds=seconds,
            silence=self._timing.silence,
        ) as batches:
            self._heard()
            self._recovered()
            async for lines in batches:
                self._mirror.take_events(lines, self._heard())

    def _heard(self) -> float:
        """The server spoke: the time of day, for whom it concerns."""
        self.last_contact = time.monotonic()
        return time.time()

    def _note(self, error: ApiError) -> None:
        """Warn once a minute for each kind of failure in a row; the counters have them all."""
        kind, now = type(error).__name__, time.monotonic()
        self.counters.errors[kind] += 1
        self.last_error = str(error)
        warned, at = self._warned
        is_news = kind != warned or now - at >= _WARN_AGAIN
        _log.log(logging.WARNING if is_news else logging.DEBUG, "%s: %s", self.resource, error)
        if is_news:
            self._warned = (kind, now)
            self._is_worrying = True

    def _recovered(self) -> None:
        """Who read the warning wants to know; once for each."""
        if self._is_worrying:
            _log.info("%s: the API server answers again", self.resource)
        self._is_worrying, self.last_error = False, ""
