"""What agents say against what was published."""

from typing import Any

from msgspec.structs import replace

from controller.engine.reports import agents_of, reports_of
from controller.objects.resources import (
    Condition,
    Metadata,
    NodePod,
    NodePolicy,
    NodePolicySpec,
    NodePolicyStatus,
)

GOOD = NodePolicyStatus(
    observed_digest="d1",
    applied_at="2026-01-01T00:00:00Z",
    conditions=(Condition("Ready", "True"), Condition("Degraded", "False"), Condition("Stale", "False")),
)
POLICY = NodePolicy(
    metadata=Metadata("node-1"), spec=NodePolicySpec(digest="d1", pods=(NodePod("shop", "db"),)), status=GOOD
)


def faults(policy: NodePolicy, agents: dict[str, str] | None = None) -> list[str]:
    (report,) = reports_of([policy], agents or {})
    return [fault.text for fault in report.faults]


def status(**changes: Any) -> NodePolicy:  # noqa: ANN401 - fields of several types
    return replace(POLICY, status=replace(GOOD, **changes))


def agent_pod(node: str, *, ready: bool, name: str = "agent-x") -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "podgate", "app.kubernetes.io/component": "agent"}
    return {
        "metadata": {"namespace": "podgate-system", "name": name, "labels": labels},
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_an_agent_that_reports_this_digest_and_no_trouble_is_believed() -> None:
    assert faults(POLICY) == []


def test_an_agent_that_reports_another_digest_is_late() -> None:
    assert faults(status(observed_digest="d0")) == ["its agent reports to have applied another version, d0"]


def test_pods_that_wait_are_said() -> None:
    assert faults(status(pods_pending=2)) == ["2 of its pods wait for peer groups, isolated"]


def test_every_bad_condition_is_said_with_its_reason() -> None:
    conditions = (
        Condition("Ready", "False", "NotEnforced", "it is being programmed", "2026-01-01T00:00:00Z"),
        Condition("Degraded", "True", "ApplyFailed", "IPv4 cannot be programmed"),
    )

    assert faults(status(conditions=conditions)) == [
        "Ready is False since 2026-01-01T00:00:00Z: it is being programmed",
        "Degraded is True: IPv4 cannot be programmed",
        "Stale is not reported",
    ]


def test_nobody_reported_from_a_node_with_isolated_pods() -> None:
    assert faults(replace(POLICY, status=None)) == ["no agent has reported that it applied it"]


def test_a_node_without_agent_and_without_work_is_idle() -> None:
    (report,) = reports_of([replace(POLICY, spec=NodePolicySpec(digest="d1"), status=None)], {})

    assert report.is_idle


def test_the_last_word_of_an_agent_whose_pod_is_gone_is_not_believed() -> None:
    agents = agents_of([agent_pod("node-2", ready=True)])

    assert faults(POLICY, agents) == [
        "no pod of an agent is on this node any more: what it reported may be long ago"
    ]


def test_nor_that_of_one_that_is_not_ready() -> None:
    agents = agents_of([agent_pod("node-1", ready=False)])

    assert faults(POLICY, agents) == [
        "its agent's pod podgate-system/agent-x is not ready: what it reported may be long ago"
    ]


def test_while_an_agent_is_replaced_one_ready_pod_suffices() -> None:
    agents = agents_of([agent_pod("node-1", ready=True), agent_pod("node-1", ready=False, name="agent-y")])

    assert faults(POLICY, agents) == []


def test_other_pods_are_no_agents() -> None:
    assert agents_of([{"metadata": {"labels": {"app": "web"}}}]) == {}
