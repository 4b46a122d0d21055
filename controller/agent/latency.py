"""How long a change took: from the API event that caused it, and from its arrival here, to the kernel.

What the operator writes carries the time of the event behind it. One event leads to several writes, and a
write is read again after every re-list, so each time counts once; one from before this agent ran tells how
long the agent was away; and clocks of two machines differ, so nothing takes less than no time.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from controller.agent.subscription import News

_REMEMBERED = 1024


class Latency:
    """Hands durations in seconds to `programming` and `watch_to_kernel`.

    `started` and the times of triggers are seconds since the epoch, `received` those of the monotonic clock.
    """

    def __init__(
        self,
        started: float,
        programming: Callable[[float], None],
        watch_to_kernel: Callable[[float], None],
    ) -> None:
        self._started = started
        self._programming = programming
        self._watch_to_kernel = watch_to_kernel
        self._seen: dict[str, None] = {}

    def applied(self, news: Iterable[News], now: float, clock: float) -> list[float]:
        """The events are in the kernel, at `now` of the monotonic clock and `clock` of the day.

        Returns the seconds that each took from its arrival.
        """
        waited = []
        for each in news:
            waited.append(max(0.0, now - each.received))
            self._watch_to_kernel(waited[-1])
            began = self._first_time(each.trigger)
            if began is not None and began >= self._started:
                self._programming(max(0.0, clock - began))
        return waited

    def _first_time(self, trigger: str) -> float | None:
        if not trigger or trigger in self._seen:
            return None
        self._seen[trigger] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        try:
            found = datetime.fromisoformat(trigger)
        except ValueError:
            return None
        return None if found.tzinfo is None else found.timestamp()
