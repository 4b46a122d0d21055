"""Nodes whose NodePolicy waits for peer groups: it must not name one of which agents would miss slices."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from controller.operator.worklist import Pending

Name = TypeVar("Name", bound=Hashable)


class _Wait(Struct):
    groups: set[str]
    pending: Pending


class WaitingRoom(Generic[Name]):
    """Who waits for which groups, and since when. Every operation is O(groups of one node)."""

    def __init__(self) -> None:
        self._waits: dict[Name, _Wait] = {}
        self._by_group: dict[str, dict[Name, None]] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, name: Name) -> bool:
        return name in self._waits

    def enter(self, name: Name, groups: set[str], pending: Pending) -> None:
        """A node begins to wait, for these groups."""
        self._waits[name] = _Wait(groups, pending)
        for group in groups:
            self._by_group.setdefault(group, {})[name] = None

    def leave(self, name: Name) -> Pending | None:
        """A node does not wait any more; since when and why it did, if it did."""
        wait = self._waits.pop(name, None)
        if wait is None:
            return None
        for group in wait.groups:
            self._forget(group, name)
        return wait.pending

    def complete(self, group: str) -> Iterator[tuple[Name, Pending]]:
        """A group is complete: gives those who wait for nothing else. They stay until they `leave`."""
        for name in self._by_group.pop(group, ()):
            wait = self._waits[name]
            wait.groups.discard(group)
            if not wait.groups:
                yield name, wait.pending

    def oldest(self) -> float | None:
        """Since when the longest waiting one does. O(nodes that wait)."""
        return min((wait.pending.since for wait in self._waits.values()), default=None)

    def _forget(self, group: str, name: Name) -> None:
        names = self._by_group.get(group)
        if names is not None:
            names.pop(name, None)
            if not names:
                del self._by_group[group]
