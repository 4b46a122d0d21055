"""Every object in memory as JSON text, the history of changes, and who is told of them.

Objects are kept as bytes, without apiVersion and kind: 150,000 pods are then hundreds of megabytes instead of
gigabytes, a list is a join, and a watch event is written once however many clients watch. All work is done on
one event loop and no method awaits, so that every method is atomic.
"""

import itertools
import sys
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from controller.lab.apiserver.kinds import Key, Kind
from controller.lab.apiserver.status import expired

Object = dict[str, Any]
"""An object as plain values."""

Name = tuple[str, str]
"""Namespace ("" for cluster scope) and name."""

Pin = tuple[str] | tuple[str, str] | tuple[str, int, str] | tuple[str, str, str]
"""A key to look up watches by: ("all",), ("name", N), ("field", position, value), ("label", key, value)."""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

_SNAPSHOTS = 256
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_intern = sys.intern


class Record(Struct, frozen=True, gc=False):
    """One object at one revision. `data`: its JSON without apiVersion and kind; the rest: what is asked."""

    namespace: str
    name: str
    uid: str
    revision: int
    data: bytes
    labels: dict[str, str]
    fields: tuple[str, ...]

    @property
    def key(self) -> Name:
        """Namespace and name."""
        return self.namespace, self.name

    def object(self) -> Object:
        """A copy of its own, without apiVersion and kind."""
        value: Object = _decode(self.data)
        return value

    def pins(self) -> Iterator[Pin]:
        """Every key that a watch which chooses this record may be found by."""
        yield ("all",)
        yield "namespace", self.namespace
        yield "name", self.name
        for position, value in enumerate(self.fields):
            yield "field", position, value
        for key, value in self.labels.items():
            yield "label", key, value


class Change(Struct, frozen=True):
    """What happened to one object. `new` of a deletion is its last state, at the revision of the deletion."""

    type: ChangeType
    old: Record | None
    new: Record


class Listener(Protocol):
    """A watch: where it is to be looked up, and what it does with a change."""

    def pins(self) -> list[Pin]:
        """The keys of the records it may be about."""

    def take(self, change: Change) -> None:
        """Told of every change of a record with one of those keys, before or after."""


class Table:
    """The objects of one resource."""

    def __init__(self, history: int) -> None:
        self.records: dict[Name, Record] = {}
        self.changes: deque[Change] = deque(maxlen=history)
        self.horizon = 0
        """The oldest revision that a watch can go on from."""
        self.revision = 0
        """Of the last change."""
        self._order: list[Name] = []
        self._listeners: dict[Pin, dict[Listener, None]] = {}

    def in_order(self, namespace: str = "") -> list[Record]:
        """All records, or those of a namespace, by namespace and name."""
        names = self._order
        if namespace:
            names = names[bisect_left(names, (namespace, "")) : bisect_left(names, (namespace + "\0", ""))]
        records = self.records
        return [records[name] for name in names]

    def since(self, revision: int) -> list[Change]:
        """Changes after a revision. Raises ApiError 410 when some are no longer kept."""
        if revision < self.horizon:
            raise expired(f"too old resource version: {revision} ({self.horizon})")
        newer = itertools.takewhile(lambda change: change.new.revision > revision, reversed(self.changes))
        return list(newer)[::-1]

    def state_at(self, revision: int) -> list[Record]:
        """All records as they were at a revision, in order. Raises ApiError 410 when that is not known."""
        state = dict(self.records)
        for change in reversed(self.since(revision)):
            if change.old is None:
                del state[change.new.key]
            else:
                state[change.old.key] = change.old
        return [state[key] for key in sorted(state)]

    def compact(self, revision: int) -> None:
        """Forget the history: whoever wants to go on from an earlier revision must list again."""
        self.changes.clear()
        self.horizon = self.revision = revision

    def record(self, change: Change) -> None:
        """Make a change and tell the watches. O(watches that may be concerned)."""
        key = change.new.key
        if change.type == "DELETED":
            del self.records[key]
            del self._order[bisect_left(self._order, key)]
        else:
            if change.type == "ADDED":
                insort(self._order, key)
            self.records[key] = change.new
        if len(self.changes) == self.changes.maxlen:
            self.horizon = self.changes[0].new.revision
        self.changes.append(change)
        self.revision = change.new.revision
        for listener in self._concerned(change):
            listener.take(change)

    def add_listener(self, listener: Listener) -> None:
        """Tell a watch of changes from now on."""
        for pin in listener.pins():
            self._listeners.setdefault(pin, {})[listener] = None

    def remove_listener(self, listener: Listener) -> None:
        """Tell it no more."""
        for pin in listener.pins():
            found = self._listeners.get(pin)
            if found is not None:
                found.pop(listener, None)
                if not found:
                    del self._listeners[pin]

    def listeners(self) -> list[Listener]:
        """Every watch of this table."""
        return list({listener: None for found in self._listeners.values() for listener in found})

    def _concerned(self, change: Change) -> list[Listener]:
        if not self._listeners:
            return []
        pins = set(change.new.pins())
        if change.old is not None:
            pins.update(change.old.pins())
        found: dict[Listener, None] = {}
        for pin in pins & self._listeners.keys():
            found.update(self._listeners[pin])
        return list(found)


class Snapshot(Struct, frozen=True):
    """A list that is read page by page, and how far it was read."""

    revision: int
    records: list[Record]
    offset: int


class Store:
    """All tables, one revision counter over them, and the snapshots of lists that are being paged.

    `history` is how many changes each table keeps. `first_revision` should be higher than any that an earlier
    server gave out: a client that goes on from one of those must be told 410, and not "nothing has changed".
    """

    def __init__(self, history: int = 20_000, first_revision: int = 1) -> None:
        self.revision = first_revision
        self._first = first_revision
        self._history = history
        self._tables: dict[Key, Table] = {}
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._tokens = itertools.count(1)

    def table(self, key: Key) -> Table:
        """The table of a resource, made when it is first asked for."""
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Table(self._history)
            table.horizon = table.revision = self._first
        return table

    def tables(self) -> list[tuple[Key, Table]]:
        """Those that were ever used."""
        return list(self._tables.items())

    def put(self, kind: Kind, value: Object) -> Record:
        """Store an object under its metadata; sets resourceVersion in it."""
        self.revision += 1
        table = self.table(kind.key)
        record = make_record(kind, value, self.revision)
        old = table.records.get(record.key)
        table.record(Change("MODIFIED" if old is not None else "ADDED", old, record))
        return record

    def remove(self, kind: Kind, value: Object) -> Record:
        """Take an object away; `value` is its last state."""
        self.revision += 1
        table = self.table(kind.key)
        record = make_record(kind, value, self.revision)
        table.record(Change("DELETED", table.records[record.key], record))
        return record

    def compact(self) -> None:
        """Forget every history and every list that is being paged.

        The revision rises, so that this meets everybody who does not list again, as after a restart of a real
        server, and not only those who missed something.
        """
        self.revision += 1
        self._first = self.revision
        for table in self._tables.values():
            table.compact(self.revision)
        self._snapshots.clear()

    def keep(self, snapshot: Snapshot) -> str:
        """A token to go on reading a list with. The oldest lists are given up."""
        token = f"{snapshot.revision}-{next(self._tokens)}"
        self._snapshots[token] = snapshot
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return token

    def resume(self, token: str) -> Snapshot:
        """The rest of a list. Raises ApiError 410 when it is not kept any more."""
        snapshot = self._snapshots.get(token)
        if snapshot is None:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. You must "
                "start a new list without the continue parameter."
            )
        return snapshot


def make_record(kind: Kind, value: Object, revision: int) -> Record:
    """The record of an object; sets metadata.resourceVersion."""
    metadata = value["metadata"]
    metadata["resourceVersion"] = str(revision)
    labels: Mapping[str, Any] = metadata.get("labels") or {}
    return Record(
        namespace=_intern(metadata.get("namespace") or ""),
        name=metadata["name"],
        uid=metadata["uid"],
        revision=revision,
        data=_encode({field: part for field, part in value.items() if field not in ("apiVersion", "kind")}),
        labels={_intern(key): _intern(text or "") for key, text in labels.items()},
        fields=tuple(_field(value, path) for path in kind.fields),
    )


def _field(value: Object, path: str) -> str:
    found: Any = value
    for part in _parts(path):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return "false" if path == "spec.hostNetwork" else ""
    return _intern(found if isinstance(found, str) else str(found).lower())


@cache
def _parts(path: str) -> list[str]:
    return path.split(".")


decode_json: Callable[[bytes], Any] = _decode
encode_json: Callable[[Any], bytes] = _encode
