"""The objects a reflector knows, and what an observation changes about them. No input, no output.

Identity is key and uid: the same name with another uid is another object. Within a watch an observation that
is older than what is known (by resourceVersion) is not believed, nor one of an object already deleted. A
complete list is always believed, whatever its versions: after a restore of etcd they run backwards.
"""

from collections.abc import Iterator
from enum import Enum
from sys import intern
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

Key = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped objects."""

_REMEMBERED_DELETIONS = 1000


class Identity(Struct, frozen=True, gc=False):
    """Which object, and which version of it."""

    key: Key
    uid: str
    version: int | None
    """The resourceVersion where it is a number, as every API server's are; None: not to be compared."""


class Entry(Struct, Generic[T], gc=False):
    """What is known of one object. `value` is None while the object cannot be read."""

    uid: str
    version: int | None
    value: T | None
    round: int


class Seen(Enum):
    """What an observation is worth."""

    OLD = "old"
    """Nothing: it is a duplicate, or came late."""
    NEW = "new"
    """There was no such object."""
    UPDATE = "update"
    """Another version of the object that is known."""
    REPLACEMENT = "replacement"
    """Another object under a name that is known: the one before is gone."""


class Store(Generic[T]):
    """Key to entry. One dictionary look-up an observation; `vanished` is O(objects), once a list."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry[T]] = {}
        self._deleted: dict[Key, int] = {}
        self._round = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry[T] | None:
        """What is known of the object, if anything."""
        return self._entries.get(key)

    def readable(self) -> Iterator[tuple[Key, T]]:
        """Every object that could be read."""
        return ((key, entry.value) for key, entry in self._entries.items() if entry.value is not None)

    def begin_list(self) -> None:
        """A list starts from its first page. Nothing is forgotten."""
        self._round += 1

    def observe_listed(self, seen: Identity) -> Seen:
        """What an item of a list is worth; it then counts as not vanished."""
        entry = self._entries.get(seen.key)
        if entry is None:
            return Seen.NEW
        if entry.uid != seen.uid:
            return Seen.REPLACEMENT
        entry.round = self._round
        same = entry.version is not None and entry.version == seen.version
        return Seen.OLD if same else Seen.UPDATE

    def vanished(self) -> list[Key]:
        """The list is complete: the objects that it does not hold. Deletions remembered are forgotten."""
        self._deleted.clear()
        return [key for key, entry in self._entries.items() if entry.round != self._round]

    def observe_watched(self, seen: Identity) -> Seen:
        """What an ADDED or MODIFIED event is worth."""
        entry = self._entries.get(seen.key)
        if entry is None:
            deleted_at = self._deleted.get(seen.key)
            late = deleted_at is not None and seen.version is not None and seen.version <= deleted_at
            return Seen.OLD if late else Seen.NEW
        if entry.version is not None and seen.version is not None and seen.version <= entry.version:
            return Seen.OLD
        return Seen.UPDATE if entry.uid == seen.uid else Seen.REPLACEMENT

    def outlives_deletion(self, seen: Identity) -> bool:
        """Whether what is known survives a DELETED event: it is younger than the object deleted.

        Versions decide, for one key: what is known from before the deletion is gone, even where the object
        deleted is one that was never seen. Uids decide where versions cannot be compared.
        """
        entry = self._entries.get(seen.key)
        if entry is None:
            return False
        if entry.version is None or seen.version is None:
            return entry.uid != seen.uid
        return seen.version < entry.version

    def put(self, seen: Identity, value: T | None) -> None:
        """Remember it; None: it is there but cannot be read."""
        entry = self._entries.get(seen.key)
        if entry is None:
            namespace, name = seen.key
            self._entries[intern(namespace), name] = Entry(seen.uid, seen.version, value, self._round)
            return
        entry.uid, entry.version, entry.value, entry.round = seen.uid, seen.version, value, self._round

    def remove(self, key: Key, version: int | None = None) -> T | None:
        """Forget it, but remember for a while as of which version it was gone. What it was, if known."""
        if version is not None:
            # The youngest deletion counts, also where an older one is reported after it.
            self._deleted[key] = max(version, self._deleted.pop(key, version))
            if len(self._deleted) > _REMEMBERED_DELETIONS:
                del self._deleted[next(iter(self._deleted))]
        entry = self._entries.pop(key, None)
        return entry.value if entry else None
