"""What lists and events make of the copy of a collection. Decides and tells; does no input or output.

Mirror[T](resource, wire=Wire, keep=keep, sink=sink)
begin_list()  list_items(items, at)  end_list(resource_version, at)
take_events(lines, at)       raises the ApiError of an ERROR event, Gone, or MalformedAnswer
.position                    the resourceVersion to go on from
.has_gap                     something was missed that only a list can tell
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from controller.kube.errors import UNDECODABLE, Gone, MalformedAnswer, api_error
from controller.kube.events import (
    EventHead,
    EventOf,
    KeyMeta,
    event_head,
    event_object,
    event_status,
    identity,
    item_head,
    number,
)
from controller.kube.resource import Resource
from controller.kube.sink import Counters, Sink, Unreadable
from controller.kube.store import Identity, Key, Seen, Store

T = TypeVar("T")
W = TypeVar("W")

_NO_EVENT = EventHead("")


class Mirror(Generic[T]):
    """The objects that are known, and telling the sink of every change to them."""

    def __init__(
        self, resource: Resource, *, wire: type[W], keep: Callable[[W], T | None], sink: Sink[T]
    ) -> None:
        self.position = ""
        self.has_gap = True
        self.counters = Counters()
        self._resource = resource
        self._keep: Callable[[Any], T | None] = keep
        self._sink = sink
        self._store: Store[T] = Store()
        self._version: int | None = None
        self._decode_item: Callable[[Raw], Any] = msgspec.json.Decoder(wire).decode
        self._decode_event: Callable[[bytes], EventOf[Any]] = msgspec.json.Decoder(EventOf[wire]).decode  # type: ignore[valid-type]

    def __len__(self) -> int:
        return len(self._store)

    def get(self, key: Key) -> T | None:
        """The object; None if it is unknown or cannot be read."""
        entry = self._store.get(key)
        return entry.value if entry else None

    def items(self) -> Iterator[tuple[Key, T]]:
        """Every object that can be read."""
        return self._store.readable()

    # ------------------------------------------------------------------ lists

    def begin_list(self) -> None:
        """A list starts from its first page. Nothing is forgotten."""
        self._store.begin_list()

    def list_items(self, items: Iterable[Raw], at: float) -> None:
        """One page of it."""
        for item in items:
            self._list_item(item, at)

    def end_list(self, resource_version: str, at: float) -> None:
        """It is complete: what it did not hold is gone."""
        for key in self._store.vanished():
            self._drop(key, at)
        self.position, self._version = resource_version, number(resource_version)
        self.has_gap = False
        self.counters.lists += 1
        self._sink.synced(at)

    def _list_item(self, item: Raw, at: float) -> None:
        try:
            meta = item_head(item).metadata
        except UNDECODABLE as error:
            self._report(Unreadable(None, "", str(error), bytes(item)), at)
            return
        if not meta.name:
            self._report(Unreadable(None, meta.uid, "it has no metadata.name", bytes(item)), at)
            return
        seen = identity(meta)
        verdict = self._store.observe_listed(seen)
        if verdict is not Seen.OLD:
            value = self._read(lambda: self._decode_item(item), seen, lambda: bytes(item))
            self._admit(seen, verdict, value, at)

    # ----------------------------------------------------------------- events

    def take_events(self, lines: Iterable[bytes], at: float) -> None:
        """Lines of a watch. One that is no event stops none of the others, but what it said is missed."""
        garbled: list[bytes] = []
        for line in lines:
            self.counters.events += 1
            try:
                head = event_head(line)
            except UNDECODABLE:
                head = _NO_EVENT
            if not self._take_event(head, line, at):
                garbled.append(line)
                # At once, for an ERROR event may follow that only asks for the watch to be resumed.
                self.has_gap = True
        if garbled:
            raise MalformedAnswer(
                self._watching(), f"{len(garbled)} lines are no events, the first {garbled[0][:80]!r}"
            )

    def _take_event(self, head: EventHead, line: bytes, at: float) -> bool:
        """Take it in; False if it is not an event."""
        meta = head.object.metadata
        if head.type in {"ADDED", "MODIFIED"} and meta.name:
            self._take_object(identity(meta), line, at)
        elif head.type == "DELETED" and meta.name:
            self._take_deletion(identity(meta), at)
        elif head.type == "BOOKMARK":
            self._check_history(meta)
        elif head.type == "ERROR":
            raise api_error(self._watching(), event_status(line))
        else:
            return False
        self._advance(meta)
        return True

    def _take_object(self, seen: Identity, line: bytes, at: float) -> None:
        verdict = self._store.observe_watched(seen)
        if verdict is Seen.OLD:
            self.counters.old += 1
            return
        value = self._read(lambda: self._decode_event(line).object, seen, lambda: event_object(line))
        self._admit(seen, verdict, value, at)

    def _take_deletion(self, seen: Identity, at: float) -> None:
        if self._store.outlives_deletion(seen):
            self.counters.old += 1
        else:
            self._drop(seen.key, at, seen.version)

    def _check_history(self, meta: KeyMeta) -> None:
        """A bookmark from before what was seen: etcd was restored or replaced, and our history with it."""
        version = number(meta.resource_version)
        if version is not None and self._version is not None and version < self._version:
            raise Gone(self._watching(), f"the server is back at resourceVersion {version}", code=410)

    def _advance(self, meta: KeyMeta) -> None:
        """Go on after this event when the watch is resumed, but never back."""
        version = number(meta.resource_version)
        if meta.resource_version and (version is None or self._version is None or version > self._version):
            self.position, self._version = meta.resource_version, version

    def _watching(self) -> str:
        return f"watch of {self._resource}"

    # ------------------------------------------------------------ both of them

    def _read(
        self, decode: Callable[[], Any], seen: Identity, raw: Callable[[], bytes]
    ) -> "T | Unreadable | None":
        try:
            return self._keep(decode())
        except Exception as error:  # noqa: BLE001 - whatever one object trips must not stop all the others
            reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            return Unreadable(seen.key, seen.uid, reason, raw())

    def _admit(self, seen: Identity, verdict: Seen, value: "T | Unreadable | None", at: float) -> None:
        if verdict is Seen.REPLACEMENT:
            self._drop(seen.key, at)
        if value is None:
            self._drop(seen.key, at, seen.version)
            return
        if isinstance(value, Unreadable):
            self._store.put(seen, None)
            self._report(value, at)
            return
        old = self.get(seen.key)
        self._store.put(seen, value)
        if old is None:
            self._sink.added(seen.key, value, at)
        else:
            self._sink.changed(seen.key, value, old, at)

    def _drop(self, key: Key, at: float, version: int | None = None) -> None:
        is_known = self._store.get(key) is not None
        old = self._store.remove(key, version)
        if is_known:
            self._sink.removed(key, old, at)

    def _report(self, bad: Unreadable, at: float) -> None:
        self.counters.unreadable += 1
        self._sink.unreadable(bad, at)
