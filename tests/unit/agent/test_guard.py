"""When to look: often and cheaply, and thoroughly soon after a change and ever more rarely then."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from controller.agent.guard import Check, Contest, Schedule


def checks(schedule: Schedule, seconds: range) -> dict[int, Check]:
    """What was due at which second."""
    return {second: due for second in seconds if (due := schedule.due(second)) is not None}


def started(canary: float, first_full: float, last_full: float, now: float = 0) -> Schedule:
    schedule = Schedule(canary, first_full, last_full)
    schedule.start(now)
    return schedule


def test_nothing_is_due_at_once() -> None:
    assert started(5, 5, 3600).due(0) is None


def test_the_canary_comes_at_its_interval() -> None:
    assert checks(started(5, 100, 100), range(1, 100)) == dict.fromkeys(range(5, 100, 5), Check.CANARY)


def test_the_full_check_comes_after_twice_as_long_each_time() -> None:
    found = checks(started(1000, 5, 1000), range(1, 200))

    assert found == dict.fromkeys([5, 5 + 10, 15 + 20, 35 + 40, 75 + 80], Check.FULL)


def test_the_full_check_comes_at_its_longest_interval_in_the_end() -> None:
    found = checks(started(1000, 5, 20), range(1, 100))

    assert [second for second, check in found.items() if check is Check.FULL] == [5, 15, 35, 55, 75, 95]


def test_a_full_check_makes_the_canary_needless() -> None:
    assert checks(started(5, 5, 1000), range(1, 25)) == {
        5: Check.FULL, 10: Check.CANARY, 15: Check.FULL, 20: Check.CANARY
    }  # fmt: skip


def test_after_a_change_all_begins_again() -> None:
    schedule = started(50, 10, 1000)
    checks(schedule, range(1, 100))

    schedule.start(100)

    assert checks(schedule, range(100, 145)) == {110: Check.FULL, 130: Check.FULL}


def test_a_check_that_is_late_is_made_once_and_not_made_up_for() -> None:
    schedule = started(5, 1000, 1000)

    assert schedule.due(99) is Check.CANARY
    assert schedule.due(99) is None
    assert schedule.due(104) is Check.CANARY


def test_the_time_to_wait_is_the_time_until_something_is_due() -> None:
    schedule = started(5, 12, 1000, now=100)

    assert schedule.wait(101) == 4
    schedule.due(105)
    schedule.due(110)
    assert schedule.wait(111) == 1
    assert schedule.wait(200) == 0


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.1, 1000), st.floats(0, 1e9))
def test_after_waiting_as_long_as_told_something_is_due(
    canary: float, first: float, last: float, now: float
) -> None:
    schedule = started(canary, first, last, now)

    for _ in itertools.repeat(None, 10):
        now += schedule.wait(now) + 1e-3
        assert schedule.due(now) is not None


def test_what_is_written_all_the_time_puts_no_check_off() -> None:
    schedule = started(5, 5, 3600)
    due = []
    for second in range(1, 21):
        schedule.written(second)
        due.append(schedule.due(second))

    assert [second for second, each in enumerate(due, start=1) if each is Check.FULL] == [5, 11, 17]


def test_what_is_written_brings_the_full_check_near() -> None:
    schedule = started(1000, 5, 3600)
    checks(schedule, range(1, 200))

    schedule.written(200)

    assert checks(schedule, range(200, 300)) == dict.fromkeys([205, 215, 235, 275], Check.FULL)


def test_a_full_check_that_took_long_is_not_repeated_soon() -> None:
    schedule = started(1000, 5, 3600)
    schedule.due(5)

    schedule.took(6, 0.3)
    schedule.written(7)

    assert [*checks(schedule, range(7, 310))] == [306]


def test_after_a_repair_the_check_comes_soon_whatever_it_costs() -> None:
    schedule = started(1000, 5, 3600)
    schedule.due(5)
    schedule.took(6, 0.3)

    schedule.start(7)

    assert [*checks(schedule, range(7, 20))] == [12]


# A neighbour that insists on the first place


def mended(contest: Contest, seconds: range) -> list[int]:
    """The seconds at which the place is taken back from one who takes it every second."""
    found = []
    for second in seconds:
        if contest.may_mend(second):
            contest.count(second)
            found.append(second)
    return found


def test_the_first_place_is_taken_back_at_once_and_then_ever_more_rarely() -> None:
    contest = Contest(first=10, last=80, at_once=3)

    assert mended(contest, range(300)) == [0, 1, 2, 12, 32, 72, 152, 232]
    assert contest.mended == 8


def test_a_neighbour_that_left_us_alone_for_long_is_answered_at_once_again() -> None:
    contest = Contest(first=10, last=80, at_once=3)
    mended(contest, range(40))

    assert mended(contest, range(140, 144)) == [140, 141, 142]
