"""Which Events were told, and which are due: each thing once, again only while it stays so, never too fast.

Pure. Bounded three ways: by the objects there is something to say about, by a number of Events waiting, and
by a rate over all. The name of an Event follows from what it is about, so that a restarted operator adds to
the Events that are there instead of making them anew.
"""

from collections.abc import Iterable

from msgspec import Struct

from controller.engine.identity import digest
from controller.operator.notices import Notice, Subject, Topic

RATE = 2.0
"""Events a second, over all objects."""
BURST = 25
WAITING_MAX = 1000
"""Events that wait; what comes beyond is dropped, counted, and told when it is looked at again."""
REPEAT = 3000.0
"""Seconds after which what is still so is told again: API servers forget Events after an hour."""
CALM = 300.0
"""Seconds for which what comes and goes is not told anew."""
ATTEMPTS = 4

_NAME_MAX = 200


class Due(Struct, frozen=True):
    """An Event to be written; `times` it was so by now: 1 for the first time."""

    name: str
    notice: Notice
    times: int


class _Told(Struct):
    times: int = 0
    at: float = float("-inf")
    is_so: bool = True
    failures: int = 0


class EventLog:
    """Times are monotonic seconds. Every operation is O(notices of one object)."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        self.dropped = 0
        """Events that were not told because too many waited, or that could not be written."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._counted_at = 0.0
        self._told: dict[Subject, dict[Topic, _Told]] = {}
        self._waiting: dict[Topic, Notice] = {}

    def __len__(self) -> int:
        """How many Events wait."""
        return len(self._waiting)

    def state(self, subject: Subject, notices: Iterable[Notice], now: float) -> None:
        """All that is so about an object now; what was so before and is not among it is over."""
        current = {notice.topic: notice for notice in notices}
        told = self._told.setdefault(subject, {})
        for topic, entry in list(told.items()):
            if topic not in current and not topic.reason.is_once:
                entry.is_so = False
                self._waiting.pop(topic, None)
                if now - entry.at >= CALM:
                    del told[topic]
        for topic, notice in current.items():
            entry = told.setdefault(topic, _Told())
            if now - entry.at >= (REPEAT if entry.is_so else CALM) and self._wait(notice):
                entry.is_so = True
        if not told:
            del self._told[subject]

    def happened(self, notice: Notice) -> None:
        """Something came about, once; what came about before it is over, and told again if it comes back."""
        told = self._told.setdefault(notice.topic.subject, {})
        for topic, earlier in told.items():
            if topic.reason.is_once and topic != notice.topic:
                earlier.is_so = False
                self._waiting.pop(topic, None)
        entry = told.setdefault(notice.topic, _Told())
        if (not entry.times or not entry.is_so) and self._wait(notice):
            entry.is_so = True

    def forget(self, subject: Subject) -> None:
        """The object is gone; what waited about it is not told."""
        for topic in self._told.pop(subject, ()):
            self._waiting.pop(topic, None)

    def take(self, now: float) -> Due | None:
        """The next Event within the rate; one that could not be written is given back by `failed`."""
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now
        if not self._waiting or self._tokens < 1:
            return None
        self._tokens -= 1
        topic = next(iter(self._waiting))
        notice = self._waiting.pop(topic)
        entry = self._told[topic.subject][topic]
        entry.times += 1
        entry.at = now
        return Due(event_name(topic), notice, entry.times)

    def failed(self, due: Due) -> None:
        """An Event could not be written; a few more attempts are made, after the others."""
        topic = due.notice.topic
        entry = self._told.get(topic.subject, {}).get(topic)
        if entry is None:
            return
        entry.failures += 1
        entry.times -= 1
        if entry.failures < ATTEMPTS:
            self._wait(due.notice)
        else:
            entry.failures = 0
            self.dropped += 1

    def _wait(self, notice: Notice) -> bool:
        if notice.topic not in self._waiting and len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return False
        self._waiting[notice.topic] = notice
        return True


def event_name(topic: Topic) -> str:
    """The name of the Event: that of the object, and a digest of what it is about."""
    subject = topic.subject
    about = digest((subject.kind, subject.uid, topic.reason, topic.part))
    return f"{subject.name[:_NAME_MAX].rstrip('.-')}.{about}"
