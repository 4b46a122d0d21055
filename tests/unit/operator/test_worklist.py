from controller.operator.worklist import INTERVAL, LONGEST_INTERVAL, URGENT_IN_A_ROW, Moment, WorkList


def taken(work: WorkList[str], now: float) -> str | None:
    found = work.take(now)
    return found.key if found else None


def mark(work: WorkList[str], key: str, now: float, *, urgent: bool = False, trigger: float = 0.0) -> None:
    work.mark(key, Moment(now, trigger), urgent=urgent)


def write(work: WorkList[str], key: str, now: float) -> None:
    mark(work, key, now)
    assert taken(work, now) == key
    work.written(key, now)


def test_a_quiet_object_is_written_at_once() -> None:
    work: WorkList[str] = WorkList()

    mark(work, "a", 10.0)

    assert taken(work, 10.0) == "a"


def test_an_object_that_changed_often_is_written_once() -> None:
    work: WorkList[str] = WorkList()
    for _ in range(100):
        mark(work, "a", 10.0)

    assert [taken(work, 10.0), taken(work, 10.0)] == ["a", None]


def test_the_next_write_of_an_object_waits_for_the_interval() -> None:
    work: WorkList[str] = WorkList()
    write(work, "a", 10.0)
    mark(work, "a", 10.01)

    assert taken(work, 10.01) is None
    assert work.next_at() == 10.0 + INTERVAL
    assert taken(work, 10.0 + INTERVAL) == "a"


def test_what_tightens_does_not_wait_for_the_interval() -> None:
    work: WorkList[str] = WorkList()
    write(work, "a", 10.0)
    mark(work, "a", 10.01)

    mark(work, "a", 10.02, urgent=True)

    assert taken(work, 10.02) == "a"
    assert taken(work, 11.0) is None


def test_kinds_of_what_is_urgent_take_turns() -> None:
    work: WorkList[str] = WorkList(lane_of=lambda key: key[0])
    for key in ("a1", "a2", "a3", "b1"):
        mark(work, key, 10.0, urgent=True)

    assert [taken(work, 10.0) for _ in range(5)] == ["a1", "b1", "a2", "a3", None]


def test_what_is_made_urgent_twice_is_taken_once() -> None:
    work: WorkList[str] = WorkList(lane_of=lambda key: key[0])
    for key in ("a", "b", "a", "b"):
        mark(work, key, 10.0, urgent=True)

    assert [taken(work, 10.0) for _ in range(3)] == ["a", "b", None]


def test_what_tightens_goes_first() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "widens", 10.0)
    mark(work, "tightens", 10.0, urgent=True)

    assert [taken(work, 10.0), taken(work, 10.0)] == ["tightens", "widens"]


def test_much_to_tighten_does_not_hold_up_the_rest_for_ever() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "widens", 10.0)
    for number in range(100):
        mark(work, f"tightens-{number}", 10.0, urgent=True)

    assert "widens" in [taken(work, 10.0) for _ in range(URGENT_IN_A_ROW + 1)]


def test_an_object_in_flight_is_not_taken_twice() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0)
    taken(work, 10.0)

    mark(work, "a", 10.0, urgent=True)

    assert taken(work, 10.0) is None


def test_what_changed_during_a_write_is_written_after_it() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0)
    taken(work, 10.0)
    mark(work, "a", 10.01, urgent=True)

    work.written("a", 10.05)

    assert taken(work, 10.05) == "a"


def test_a_failed_write_is_tried_again_after_its_delay_even_when_urgent() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0, urgent=True)
    found = work.take(10.0)
    assert found is not None

    work.failed(found, 10.1, delay=2.0)

    assert taken(work, 12.0) is None
    again = work.take(12.1)
    assert again is not None
    assert (again.key, again.pending.failures) == ("a", 1)


def test_a_write_that_follows_another_of_the_same_object_does_not_wait() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0, trigger=5.0)
    found = work.take(10.0)
    assert found is not None

    work.again(found, 10.01)
    mark(work, "a", 10.01, trigger=9.0)

    second = work.take(10.01)
    assert second is not None
    assert second.pending.trigger == 5.0


def test_the_oldest_event_counts_for_latency() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0, trigger=101.0)
    mark(work, "a", 10.1, trigger=100.0)  # events of two watches need not come in order

    found = work.take(10.1)

    assert found is not None
    assert (found.pending.since, found.pending.trigger) == (10.0, 100.0)


def test_under_load_the_interval_grows_up_to_its_limit() -> None:
    work: WorkList[str] = WorkList()
    for number in range(10_000):
        mark(work, str(number), 10.0)

    assert work.interval() == LONGEST_INTERVAL


def test_a_write_that_was_not_needed_delays_nothing() -> None:
    work: WorkList[str] = WorkList()
    mark(work, "a", 10.0)
    taken(work, 10.0)
    work.unchanged("a", 10.0)

    mark(work, "a", 10.01)

    assert taken(work, 10.01) == "a"


def test_an_object_that_is_gone_and_comes_back_does_not_wait() -> None:
    work: WorkList[str] = WorkList()
    write(work, "a", 10.0)
    mark(work, "a", 11.0)
    taken(work, 11.0)

    work.gone("a", 11.0)
    mark(work, "a", 11.01)

    assert taken(work, 11.01) == "a"
