"""What is to be written: each object once, however often it changed, and what tightens first.

A change waits for nothing when its object was quiet. An object that keeps changing is written at most once an
interval, which grows with the number of objects waiting: a server that is slow is met by fewer writes, never
by a longer queue. What tightens (a member that goes, a pod newly isolated) is never held back by an interval,
because addresses are used again. There may be thousands of one kind of object to write, and few of another:
the kinds take turns.
"""

import heapq
import math
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

Key = TypeVar("Key", bound=Hashable)

INTERVAL = 0.2
"""Seconds between two writes of one object that keeps changing, while little else waits."""
LONGEST_INTERVAL = 1.0
"""The same under load."""
CROWD = 50
"""Objects waiting from which on the interval grows: as many as may be in flight."""
URGENT_IN_A_ROW = 9
"""After as many, one of the others: what allows must come too, however much there is to tighten."""


NEVER = math.inf
"""The trigger of what no API event caused."""


class Moment(NamedTuple):
    """When something became known: `now` in monotonic seconds, `trigger` the time of day of its API event."""

    now: float
    trigger: float = NEVER


class Pending(Struct):
    """Why an object is to be written.

    `since` is the monotonic moment from which on it differed, `trigger` the time of day when the API event
    came that made it so, of the oldest one not written yet.
    """

    since: float
    trigger: float
    urgent: bool
    not_before: float = 0.0
    """After a failure: when to try again."""
    due: float = 0.0
    failures: int = 0

    def joined(self, other: "Pending") -> "Pending":
        """Two reasons to write one object, as one."""
        return Pending(
            since=min(self.since, other.since),
            trigger=min(self.trigger, other.trigger),
            urgent=self.urgent or other.urgent,
            failures=max(self.failures, other.failures),
        )


class Work(NamedTuple, Generic[Key]):
    """An object whose turn it is."""

    key: Key
    pending: Pending


class _Lanes(Generic[Key]):
    """Queues, one for each kind of key, that are taken from in turn."""

    def __init__(self, lane_of: Callable[[Key], Hashable]) -> None:
        self._lane_of = lane_of
        self._lanes: dict[Hashable, dict[Key, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __contains__(self, key: Key) -> bool:
        return key in self._lanes.get(self._lane_of(key), ())

    def add(self, key: Key) -> None:
        self._lanes.setdefault(self._lane_of(key), {})[key] = None

    def take(self) -> Key:
        lane = next(iter(self._lanes))
        queue = self._lanes.pop(lane)
        key = next(iter(queue))
        del queue[key]
        if queue:
            self._lanes[lane] = queue  # at the end: the others are first
        return key


class WorkList(Generic[Key]):
    """Every operation is O(1), or O(log n) for an object that has to wait. Times are monotonic seconds.

    `lane_of` tells of what kind an object is. What is urgent of one kind does not wait for all of another.
    """

    def __init__(self, lane_of: Callable[[Key], Hashable] = lambda _: None) -> None:
        self._pending: dict[Key, Pending] = {}
        self._urgent: _Lanes[Key] = _Lanes(lane_of)
        self._normal: dict[Key, None] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._in_flight: set[Key] = set()
        self._written_at: dict[Key, float] = {}
        self._serial = 0
        self._urgent_in_a_row = 0

    def __len__(self) -> int:
        """How many objects wait, for whatever reason."""
        return len(self._pending)

    def __contains__(self, key: Key) -> bool:
        return key in self._pending

    @property
    def in_flight(self) -> int:
        """How many objects are being written."""
        return len(self._in_flight)

    def is_in_flight(self, key: Key) -> bool:
        """Whether the object is being written."""
        return key in self._in_flight

    def mark(self, key: Key, at: Moment, *, urgent: bool, delay: float = 0.0) -> None:
        """The object has to be written; once more if that is being done. Not before `delay` seconds."""
        now, trigger = at
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = Pending(now, trigger, urgent, not_before=now + delay)
        else:
            pending.trigger = min(pending.trigger, trigger)
            if pending.urgent or not urgent:
                return
            pending.urgent = True
        if key not in self._in_flight:
            self._place(key, pending, now)

    def take(self, now: float) -> Work[Key] | None:
        """The next object whose turn it is; it is in flight until `written`, `again` or `failed`."""
        self._wake(now)
        if not (self._urgent or self._normal):
            return None
        key = self._next()
        self._in_flight.add(key)
        return Work(key, self._pending.pop(key))

    def written(self, key: Key, now: float) -> None:
        """It stands as it should, as of when it was taken."""
        self._in_flight.discard(key)
        self._written_at[key] = now
        if pending := self._pending.get(key):
            self._place(key, pending, now)

    def unchanged(self, key: Key, now: float) -> None:
        """Nothing had to be written, so that the next change need not wait."""
        self._in_flight.discard(key)
        if pending := self._pending.get(key):
            self._place(key, pending, now)

    def gone(self, key: Key, now: float) -> None:
        """The object does not exist any more, nor does its history."""
        self._written_at.pop(key, None)
        self.unchanged(key, now)

    def again(self, work: Work[Key], now: float) -> None:
        """One write of several is done: the others follow at once, as urgent and as old as the first."""
        self._return(work, now, now)

    def failed(self, work: Work[Key], now: float, delay: float) -> None:
        """It could not be written; tried again after a delay."""
        work.pending.failures += 1
        self._return(work, now, now + delay)

    def next_at(self) -> float | None:
        """When something that waits for its moment will be due; None if nothing does."""
        while self._later and not self._is_waiting(*self._later[0]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def has_due(self, now: float) -> bool:
        """Whether `take` would give something."""
        self._wake(now)
        return bool(self._urgent or self._normal)

    def oldest_age(self, now: float) -> float:
        """Seconds for which the longest waiting object has waited. O(n)."""
        return max((now - pending.since for pending in self._pending.values()), default=0.0)

    def interval(self) -> float:
        """Seconds between two writes of an object that keeps changing."""
        return min(LONGEST_INTERVAL, INTERVAL * max(1.0, len(self._pending) / CROWD))

    def _next(self) -> Key:
        if self._urgent and (self._urgent_in_a_row < URGENT_IN_A_ROW or not self._normal):
            self._urgent_in_a_row += 1
            return self._urgent.take()
        self._urgent_in_a_row = 0
        key = next(iter(self._normal))
        del self._normal[key]
        return key

    def _queue(self, key: Key, *, urgent: bool) -> None:
        if urgent:
            self._urgent.add(key)
        else:
            self._normal[key] = None

    def _return(self, work: Work[Key], now: float, not_before: float) -> None:
        key, pending = work
        self._in_flight.discard(key)
        newer = self._pending.get(key)
        if newer is not None:
            pending = pending.joined(newer)
        pending.not_before = not_before
        self._pending[key] = pending
        self._place(key, pending, now, paced=False)

    def _place(self, key: Key, pending: Pending, now: float, *, paced: bool = True) -> None:
        due = pending.not_before
        if paced and not pending.urgent and key in self._written_at:
            due = max(due, self._written_at[key] + self.interval())
        if due <= now:
            self._normal.pop(key, None)
            self._queue(key, urgent=pending.urgent)
            return
        pending.due = due
        self._serial += 1
        heapq.heappush(self._later, (due, self._serial, key))

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, serial, key = heapq.heappop(self._later)
            if self._is_waiting(due, serial, key):
                self._queue(key, urgent=self._pending[key].urgent)

    def _is_waiting(self, due: float, _serial: int, key: Key) -> bool:
        """Whether an entry of the heap still counts: since then the object may have been made urgent."""
        pending = self._pending.get(key)
        is_queued = key in self._urgent or key in self._normal or key in self._in_flight
        return pending is not None and not is_queued and pending.due == due
