"""When to look whether the kernel still holds what it should.

A cheap canary notices in seconds that somebody flushed the table; a full read-back notices everything, soon
after a change and then ever more rarely, as it costs tens of milliseconds. Pure: it is told the time, and
says what is due.
"""

from enum import StrEnum

FULL_SHARE = 0.001
"""The part of the time that full checks may take at the most: they read every entry of every set."""


class Check(StrEnum):
    """What to do now."""

    CANARY = "canary"
    FULL = "full"


class Schedule:
    """The two intervals, in seconds.

    The full one starts at `first_full`, doubles after each clean check up to `last_full`.
    """

    def __init__(self, canary: float = 5.0, first_full: float = 5.0, last_full: float = 3600.0) -> None:
        self._canary = canary
        self._first_full = first_full
        self._last_full = last_full
        self._interval = first_full
        self._rests_until = 0.0
        self._next_canary = canary
        self._next_full = first_full

    def start(self, now: float) -> None:
        """Something was written: look again soon."""
        self._interval = self._first_full
        self._next_canary = now + self._canary
        self._next_full = now + self._interval

    def written(self, now: float) -> None:
        """Rules were written: a full check soon, but none is put off, however often this happens."""
        self._interval = self._first_full
        self._next_full = max(min(self._next_full, now + self._interval), self._rests_until)

    def took(self, now: float, seconds: float) -> None:
        """The full check that ended now took so long: the next one leaves the processor to others first."""
        self._rests_until = now + seconds / FULL_SHARE
        self._next_full = max(self._next_full, self._rests_until)

    def due(self, now: float) -> Check | None:
        """What is due; a full check makes a canary needless."""
        if now >= self._next_full:
            self._interval = min(self._interval * 2, self._last_full)
            self._next_full = now + self._interval
            self._next_canary = now + self._canary
            return Check.FULL
        if now >= self._next_canary:
            self._next_canary = now + self._canary
            return Check.CANARY
        return None

    def wait(self, now: float) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._next_canary, self._next_full) - now)
