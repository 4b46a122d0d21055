"""What a reflector tells, and to whom; what it counts.

The order of calls is the order of events. `at` is time.time() when the bytes arrived, for tracing how long
their effect took.
"""

from collections import Counter
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from controller.kube.store import Key

Told_contra = TypeVar("Told_contra", contravariant=True)


class Unreadable(Struct, frozen=True):
    """An object that is there but does not decode, or that `keep` failed on.

    Its owner decides what that means; `raw` is its JSON. `key` is None where not even that could be read.
    """

    key: Key | None
    uid: str
    reason: str
    raw: bytes


class Sink(Protocol[Told_contra]):
    """Who is told. The calls are synchronous and must be quick; what they raise ends the reflector."""

    def added(self, key: Key, value: Told_contra, at: float, /) -> None:
        """A new object, or one that can be read again."""

    def changed(self, key: Key, value: Told_contra, old: Any, at: float, /) -> None:  # noqa: ANN401 - was told before
        """Another version of an object told before as `old`."""

    def removed(self, key: Key, old: Any, at: float, /) -> None:  # noqa: ANN401 - was told before
        """The object is gone, or of no interest any more. `old` is None if it could not be read."""

    def unreadable(self, bad: Unreadable, at: float, /) -> None:
        """The object's present version cannot be read; what was told of it before is out of date."""

    def synced(self, at: float, /) -> None:
        """A list is complete: what was told is what there is."""


class Counters(Struct):
    """What happened since the start."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    old: int = 0
    """Events not believed: duplicates, or late."""
    unreadable: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """By the class of the error: `Gone`, `Unreachable`."""
