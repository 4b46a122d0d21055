"""One watch: the events that wait to be sent, and the loop that sends them.

An event becomes text once for each form it is asked for in, whatever the number of watches (`_Lines`). A
client that does not read is cut off, as a real server does, instead of being remembered without bound.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable

from aiohttp import web

from controller.lab.apiserver.faults import Asked, Faults
from controller.lab.apiserver.selectors import Selection
from controller.lab.apiserver.store import Change, ChangeType, Name, Pin, Record, Store
from controller.lab.apiserver.wire import Form

BACKLOG = 100_000
"""Events that may wait for one client."""

_CHUNK = 500


class _Lines:
    """The text of the latest change. A change is told to all watches before the next one is made."""

    def __init__(self) -> None:
        self._change: Change | None = None
        self._texts: dict[tuple[bytes, ChangeType], bytes] = {}

    def of(self, form: Form, change: Change, change_type: ChangeType, record: Record) -> bytes:
        """The line of a change."""
        if self._change is not change:
            self._change = change
            self._texts.clear()
        text = self._texts.get((form.prefix, change_type))
        if text is None:
            text = self._texts[form.prefix, change_type] = form.line(change_type, record)
        return text


_lines = _Lines()


class Watch:
    """What one client is told. `close` ends it from outside."""

    def __init__(self, selection: Selection, form: Form) -> None:
        self._selection = selection
        self._form = form
        self._waiting: deque[tuple[Name, bytes]] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def pins(self) -> list[Pin]:
        """Where the table finds it."""
        return self._selection.pins()

    def take(self, change: Change) -> None:
        """Queue a change as it looks through the selection: what no longer matches is gone."""
        is_chosen = self._selection.matches(change.new)
        was_chosen = change.old is not None and self._selection.matches(change.old)
        change_type: ChangeType
        if change.type == "DELETED":
            if not was_chosen:
                return
            change_type = "DELETED"
        elif is_chosen:
            change_type = "MODIFIED" if was_chosen else "ADDED"
        elif was_chosen:
            change_type = "DELETED"
        else:
            return
        line = _lines.of(self._form, change, change_type, change.new)
        self._waiting.append((change.new.key, line))
        if len(self._waiting) > BACKLOG:
            self.close()
        self._wake.set()

    def close(self) -> None:
        """End the watch; what waits is not sent any more."""
        self._closed = True
        self._wake.set()

    @property
    def closed(self) -> bool:
        """Whether it has been ended."""
        return self._closed

    async def drain(self, seconds: float) -> list[tuple[Name, bytes]]:
        """What waits, as soon as something does; nothing after some seconds, or when closed."""
        if not self._waiting and not self._closed:
            try:
                async with asyncio.timeout(max(seconds, 0)):
                    await self._wake.wait()
            except TimeoutError:
                return []
        self._wake.clear()
        if self._closed:
            return []
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting


class Sender:
    """Writes the events of a watch to its client until time is up, the client leaves or a fault ends it."""

    def __init__(
        self, watch: Watch, form: Form, faults: Faults, asked: Asked, stream: web.StreamResponse
    ) -> None:
        self._watch = watch
        self._form = form
        self._faults = faults
        self._asked = asked
        self._stream = stream
        self._shuffle = random.Random(0)  # noqa: S311 (which order, not a secret)

    async def send_records(self, records: list[Record]) -> None:
        """The objects there are, as ADDED events."""
        line = self._form.line
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            await self._stream.write(b"".join(line("ADDED", record) for record in chunk))

    async def send_line(self, line: bytes) -> None:
        """One event."""
        await self._stream.write(line)

    async def run(self, seconds: float, bookmark_every: float, store: Store) -> None:
        """Send what comes. `bookmark_every`: 0 for a client that wants no bookmarks."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        end = now + min(seconds, self._faults.watch_seconds or seconds)
        bookmark = now + bookmark_every if bookmark_every else float("inf")
        while not self._watch.closed and (now := loop.time()) < end:
            events = await self._watch.drain(min(end, bookmark) - now)
            await self._faults.thaw(self._asked)
            if events:
                await self._stream.write(b"".join(await self._disturbed(events)))
            if loop.time() >= bookmark and self._watch.is_idle and not self._watch.closed:
                await self._stream.write(self._form.bookmark(store.revision))
                bookmark = loop.time() + bookmark_every
        if bookmark_every and self._watch.is_idle and not self._watch.closed:
            await self._stream.write(self._form.bookmark(store.revision))

    async def _disturbed(self, events: list[tuple[Name, bytes]]) -> Iterable[bytes]:
        """The lines to send: those that wait, unless a fault repeats them or mixes them up."""
        disorder = self._faults.disorder
        if disorder is None:
            return [line for _, line in events]
        await asyncio.sleep(disorder.seconds)
        events = [*events, *await self._watch.drain(0)]
        if disorder.duplicate:
            events = [event for event in events for _ in range(2)]
        if disorder.reorder:
            events = self._mixed(events, within_object=disorder.within_object)
        return [line for _, line in events]

    def _mixed(self, events: list[tuple[Name, bytes]], *, within_object: bool) -> list[tuple[Name, bytes]]:
        mixed = list(events)
        self._shuffle.shuffle(mixed)
        if within_object:
            return mixed
        # The places of each object are mixed, its events stay in order.
        queues: dict[Name, deque[tuple[Name, bytes]]] = {}
        for event in events:
            queues.setdefault(event[0], deque()).append(event)
        return [queues[name].popleft() for name, _ in mixed]
