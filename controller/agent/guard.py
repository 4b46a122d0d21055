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


class Contest:
    """Two programs that both want the first place of a chain: how often to take it back.

    At once the first times, then ever more rarely, from `first` to `last` seconds apart; at once again after
    the neighbour has left us alone for twice as long as we waited.
    """

    def __init__(self, first: float = 60.0, last: float = 3600.0, at_once: int = 5) -> None:
        self._first = first
        self._last = last
        self._at_once = at_once
        self._in_a_row = 0
        self._pause = 0.0
        self._mended_at = float("-inf")
        self.mended = 0

    def may_mend(self, now: float) -> bool:
        """Whether it is time."""
        return now >= self._mended_at + self._pause

    def count(self, now: float) -> None:
        """It was taken back."""
        calm = now - self._mended_at > 2 * max(self._pause, self._first)
        self._in_a_row = 1 if calm else self._in_a_row + 1
        self.mended += 1
        self._mended_at = now
        beyond = self._in_a_row - self._at_once
        self._pause = min(self._first * 2**beyond, self._last) if beyond >= 0 else 0.0
