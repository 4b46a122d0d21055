"""The status of a NodePolicy: what is so, and since when."""

import pytest

from controller.agent.status import Report, node_status
from controller.agent.subscription import Problem
from controller.objects.resources import Condition, NodePolicyStatus

THEN, NOW = "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"
WELL = Report(digest="d1", enforced=3, backend="nft")


def condition(status: NodePolicyStatus, kind: str) -> Condition:
    return next(each for each in status.conditions if each.type == kind)


def test_a_node_where_all_is_well_is_ready() -> None:
    status = node_status(WELL, None, NOW)

    assert (status.observed_digest, status.applied_at, status.pods_enforced) == ("d1", NOW, 3)
    assert [(each.type, each.status) for each in status.conditions] == [
        ("Ready", "True"),
        ("Degraded", "False"),
        ("Stale", "False"),
    ]


def test_the_same_report_gives_the_same_status_at_any_time() -> None:
    before = node_status(WELL, None, THEN)

    assert node_status(WELL, before, NOW) == before


def test_another_digest_was_applied_now() -> None:
    before = node_status(WELL, None, THEN)

    after = node_status(Report(digest="d2", enforced=3, backend="nft"), before, NOW)

    assert (after.observed_digest, after.applied_at) == ("d2", NOW)
    assert condition(after, "Ready").last_transition_time == THEN


def test_other_pods_under_the_same_digest_were_not_applied_now() -> None:
    before = node_status(WELL, None, THEN)

    after = node_status(Report(digest="d1", enforced=2, pending=1, backend="nft"), before, NOW)

    assert (after.applied_at, after.pods_pending) == (THEN, 1)


def test_a_condition_that_turns_says_when() -> None:
    before = node_status(WELL, None, THEN)
    broken = Report(digest="d1", backend="nft", waits_for="IPv4 cannot be programmed: it broke")

    ready = condition(node_status(broken, before, NOW), "Ready")

    assert (ready.status, ready.reason, ready.last_transition_time) == ("False", "NotEnforced", NOW)
    assert ready.message == "IPv4 cannot be programmed: it broke"


def test_another_message_is_no_transition() -> None:
    first = Report(digest="d1", problems=(Problem("GroupsIncomplete", "1 pod"),))
    before = node_status(first, None, THEN)

    after = node_status(Report(digest="d1", problems=(Problem("GroupsIncomplete", "2 pods"),)), before, NOW)

    assert condition(after, "Degraded").message == "2 pods"
    assert condition(after, "Degraded").last_transition_time == THEN


def test_the_worst_problem_gives_the_reason_and_all_are_told() -> None:
    report = Report(
        digest="d1", problems=(Problem("ApplyFailed", "it broke"), Problem("KubeProxyIPVS", "ipvs"))
    )

    degraded = condition(node_status(report, None, NOW), "Degraded")

    assert (degraded.status, degraded.reason, degraded.message) == ("True", "ApplyFailed", "it broke; ipvs")


def test_a_long_message_is_cut() -> None:
    report = Report(problems=(Problem("ApplyFailed", "x" * 100_000),))

    assert len(condition(node_status(report, None, NOW), "Degraded").message) == 1024


def test_a_node_that_heard_nothing_is_stale_and_ready() -> None:
    status = node_status(Report(digest="d1", stale="the API server was not heard"), None, NOW)

    assert condition(status, "Stale").status == "True"
    assert condition(status, "Ready").status == "True"


@pytest.mark.parametrize("before", [None, NodePolicyStatus()])
def test_before_the_first_programming_nothing_was_applied(before: NodePolicyStatus | None) -> None:
    status = node_status(Report(waits_for="no NodePolicy"), before, NOW)

    assert (status.observed_digest, status.applied_at) == ("", "")
