"""Denied packets as metrics: what the kernel has counted since the agent looked for the first time."""

from controller.agent.metrics import AgentMetrics
from controller.dataplane.names import AUDIT, DENY


def value(metrics: AgentMetrics, family: str, verdict: str) -> float | None:
    labels = {"family": family, "verdict": verdict}
    return metrics.registry.get_sample_value("podgate_agent_denied_packets_total", labels)


def test_what_was_counted_before_the_agent_started_is_not_its_own() -> None:
    metrics = AgentMetrics()

    for count in (1000, 1007, 3):
        metrics.denied({4: {DENY: count}})

    assert value(metrics, "4", "drop") == 10


def test_families_and_verdicts_are_counted_apart() -> None:
    metrics = AgentMetrics()

    for count in (0, 2):
        metrics.denied({4: {DENY: count}, 6: {DENY: 0, **dict.fromkeys(AUDIT.values(), count)}})

    assert [value(metrics, *key) for key in (("4", "drop"), ("6", "drop"), ("6", "audit"))] == [2, 0, 4]
