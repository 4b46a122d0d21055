"""Alerts and dashboard ask for metrics that the operator and the agent have."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from controller.agent.metrics import AgentMetrics
from controller.operator.metrics import FIGURES, PREFIX
from tests.e2e.install.installed import cluster, operator, until
from tests.unit.manifests.folders import MANIFESTS

FOLDER = MANIFESTS / "components" / "monitoring"


async def test_what_is_asked_for_is_there() -> None:
    async with cluster() as found, operator(found.server) as running:
        registry = running.metrics.registry
        await until(lambda: registry.get_sample_value("podgate_operator_leader"), "it leads")
        there = names(registry) | names(AgentMetrics().registry)
        figures = {f"{PREFIX}_{name}" for name in FIGURES}

    asked = asked_in(FOLDER / "prometheusrule.yaml") | asked_in(FOLDER / "dashboard.json")
    assert len(asked) > 15
    assert asked | figures <= there


def asked_in(path: Path) -> set[str]:
    return set(re.findall(r"\b(?:podgate_(?:agent|operator)|process)_\w+", path.read_text()))


def names(registry: CollectorRegistry) -> set[str]:
    """Of the samples, a histogram's buckets too."""
    found = {sample.name for metric in registry.collect() for sample in metric.samples}
    # A counter or histogram with labels has no samples before the first count.
    for metric in registry.collect():
        found |= {f"{metric.name}{end}" for end in _ENDS[metric.type]}
    return found


_ENDS = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
