"""How long changes took: each once, none less than no time, none from before the start."""

from controller.agent.latency import Latency
from controller.agent.subscription import News

STARTED = 1_777_629_600.0  # 2026-05-01T10:00:00Z
AFTER = "2026-05-01T10:00:05+00:00"


class Observed:
    """A Latency, and what it handed out."""

    def __init__(self) -> None:
        self.programming: list[float] = []
        self.watched: list[float] = []
        self.latency = Latency(STARTED, self.programming.append, self.watched.append)


def test_a_change_is_timed_from_its_event_and_from_its_arrival() -> None:
    observed = Observed()

    waited = observed.latency.applied([News(100.0, AFTER)], now=100.25, clock=STARTED + 7.0)

    assert observed.programming == [2.0]
    assert observed.watched == waited == [0.25]


def test_one_event_behind_several_writes_counts_once() -> None:
    observed = Observed()

    observed.latency.applied([News(100.0, AFTER), News(100.1, AFTER)], now=101.0, clock=STARTED + 6.0)
    observed.latency.applied([News(102.0, AFTER)], now=102.0, clock=STARTED + 60.0)

    assert observed.programming == [1.0]
    assert len(observed.watched) == 3


def test_an_event_from_before_the_start_is_not_counted() -> None:
    observed = Observed()

    observed.latency.applied([News(1.0, "2026-05-01T09:59:59Z")], now=1.0, clock=STARTED + 1.0)

    assert observed.programming == []


def test_a_clock_that_is_behind_gives_no_time_at_all() -> None:
    observed = Observed()

    observed.latency.applied([News(5.0, AFTER)], now=4.0, clock=STARTED + 1.0)

    assert (observed.programming, observed.watched) == ([0.0], [0.0])


def test_a_time_that_cannot_be_read_is_not_counted() -> None:
    observed = Observed()

    for trigger in ("", "yesterday", "2026-05-01T10:00:05"):  # the last one in an unknown zone
        observed.latency.applied([News(0.0, trigger)], now=0.0, clock=STARTED + 9.0)

    assert observed.programming == []


def test_what_is_remembered_is_bounded_and_the_newest() -> None:
    observed = Observed()
    triggers = [f"2026-05-01T10:{number // 60:02}:{number % 60:02}.{number:06}Z" for number in range(1100)]

    for trigger in (*triggers, triggers[-1]):
        observed.latency.applied([News(0.0, trigger)], now=0.0, clock=STARTED + 9999.0)

    assert len(observed.programming) == 1100
