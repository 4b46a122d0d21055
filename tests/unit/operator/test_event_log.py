"""Each thing is told once, again only while it stays so, and never too fast."""

from controller.operator.event_log import ATTEMPTS, CALM, REPEAT, WAITING_MAX, EventLog, event_name
from controller.operator.notices import Notice, Reason, Subject, Topic, notice

WEB = Subject("networking.k8s.io/v1", "NetworkPolicy", "shop", "web", "uid-1")


def said(subject: Subject = WEB, reason: Reason = Reason.SELECTS_NO_PODS, part: str = "") -> Notice:
    return notice(Topic(subject, reason, part), "no pod matches", "Wait")


def told(log: EventLog, now: float) -> list[int]:
    """How often each Event that is due was so by now."""
    found = []
    while (due := log.take(now)) is not None:
        found.append(due.times)
    return found


def test_what_is_so_is_told_once() -> None:
    log = EventLog()
    for now in range(100):
        log.state(WEB, [said()], float(now))

    assert told(log, 100.0) == [1]


def test_what_stays_so_is_told_again_after_a_long_while() -> None:
    log = EventLog()
    log.state(WEB, [said()], 0.0)
    told(log, 0.0)

    log.state(WEB, [said()], REPEAT)

    assert told(log, REPEAT) == [2]


def test_what_comes_and_goes_is_not_told_each_time() -> None:
    log = EventLog()
    for now in range(100):
        log.state(WEB, [said()] if now % 2 else [], float(now))
        told(log, float(now))

    log.state(WEB, [said()], CALM + 2)

    assert told(log, CALM + 2) == [2]


def test_what_is_over_before_it_was_told_is_not_told() -> None:
    log = EventLog()
    log.state(WEB, [said()], 0.0)

    log.state(WEB, [], 1.0)

    assert told(log, 1.0) == []


def test_other_words_about_the_same_are_the_same_event() -> None:
    log = EventLog()
    log.state(WEB, [said()], 0.0)
    told(log, 0.0)

    log.state(WEB, [notice(said().topic, "none of pods a, b matches", "Wait")], 10.0)

    assert told(log, 10.0) == []


def test_what_came_about_is_told_once_whatever_else_is_so() -> None:
    log = EventLog()
    enforced = said(reason=Reason.ENFORCED, part="1")
    log.happened(enforced)
    log.state(WEB, [], 0.0)
    log.happened(enforced)

    assert told(log, 0.0) == [1]


def test_what_came_about_again_after_something_else_did_is_told_again() -> None:
    log = EventLog()
    reasons = [Reason.ENFORCED, Reason.AUDITED, Reason.ENFORCED]
    times = []
    for now, reason in enumerate(reasons):
        log.happened(said(reason=reason, part="1"))
        times += told(log, float(now))

    assert times == [1, 1, 2]


def test_what_came_about_and_is_over_before_it_was_told_is_not_told() -> None:
    log = EventLog()
    log.happened(said(reason=Reason.AUDITED, part="1"))
    log.happened(said(reason=Reason.ENFORCED, part="1"))

    due = log.take(0.0)

    assert due is not None
    assert due.notice.topic.reason is Reason.ENFORCED
    assert log.take(0.0) is None


def test_of_an_object_that_is_gone_nothing_is_told() -> None:
    log = EventLog()
    log.state(WEB, [said()], 0.0)

    log.forget(WEB)

    assert (told(log, 0.0), len(log)) == ([], 0)


def test_the_rate_is_limited_over_all_objects() -> None:
    log = EventLog(rate=2.0, burst=5)
    for number in range(50):
        subject = Subject("networking.k8s.io/v1", "NetworkPolicy", "shop", f"web-{number}", str(number))
        log.state(subject, [said(subject)], 0.0)

    assert [len(told(log, now)) for now in (0.0, 1.0, 1.4, 2.0)] == [5, 2, 0, 2]


def test_what_waits_is_bounded_and_what_is_left_out_comes_later() -> None:
    log = EventLog(rate=1e9, burst=10**9)
    subjects = [
        Subject("networking.k8s.io/v1", "NetworkPolicy", "shop", f"web-{number}", str(number))
        for number in range(WAITING_MAX + 10)
    ]
    for subject in subjects:
        log.state(subject, [said(subject)], 0.0)

    assert (len(log), log.dropped) == (WAITING_MAX, 10)
    told(log, 1.0)
    for subject in subjects:
        log.state(subject, [said(subject)], 1.0)
    assert told(log, 2.0) == [1] * 10


def test_an_event_that_cannot_be_written_is_tried_a_few_times() -> None:
    log = EventLog()
    log.state(WEB, [said()], 0.0)
    attempts = 0
    while (due := log.take(float(attempts))) is not None:
        attempts += 1
        log.failed(due)

    assert (attempts, log.dropped) == (ATTEMPTS, 1)


def test_the_name_of_an_event_is_the_same_after_a_restart() -> None:
    topic = said().topic

    assert event_name(topic) == event_name(Topic(WEB, Reason.SELECTS_NO_PODS))
    assert event_name(topic) != event_name(Topic(WEB, Reason.INVALID_PART))
    assert event_name(topic).startswith("web.")


def test_the_longest_name_of_a_policy_gives_a_name_that_an_event_may_have() -> None:
    subject = Subject("networking.k8s.io/v1", "NetworkPolicy", "shop", "a." * 120 + "b", "uid")

    assert len(event_name(Topic(subject, Reason.ENFORCED))) <= 253


def test_a_note_is_one_line_and_not_longer_than_the_api_server_takes() -> None:
    found = notice(said().topic, "é\n" * 2000, "Wait")

    assert len(found.note.encode()) <= 1024
    assert "\n" not in found.note
