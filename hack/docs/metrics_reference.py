"""Writes docs/reference/metrics.md: every metric of the operator and the agent, with labels and help.

.venv/bin/python hack/docs/metrics_reference.py            # write the page
.venv/bin/python hack/docs/metrics_reference.py --check    # exit 1 if the page is stale
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).parents[2]))

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from controller.agent.metrics import AgentMetrics
from controller.operator.metrics import FIGURES, Metrics
from hack.docs.generated import REFERENCE, deliver, escaped

PAGE = REFERENCE / "metrics.md"
"""The page that is written."""

_ENDS = MappingProxyType({"counter": "_total"})
_INTRODUCTION = """\
# Metrics

<!-- Written by hack/docs/metrics_reference.py, from the metrics themselves: make docs -->

Both processes serve `/metrics`: the operator at 127.0.0.1:9440, the agent at 127.0.0.1:9441, elsewhere with
`--health-address`. What the important ones tell is in [operations.md](../operations.md); alerts and a
dashboard are in `manifests/components/monitoring`. A histogram `x` has the series `x_bucket`, `x_sum` and
`x_count`. The client library also gives each counter and histogram a `..._created`.
"""


def page() -> str:
    """The whole page."""
    operator = Metrics()
    for name in FIGURES:
        operator.watch(name, float)
    lines = [
        _INTRODUCTION,
        "## Operator",
        "",
        *_table(operator.registry),
        "",
        "## Agent",
        "",
        *_table(AgentMetrics().registry),
        "",
        "## Both",
        "",
        *_process(),
    ]
    return "\n".join(lines) + "\n"


def _table(registry: CollectorRegistry) -> Iterator[str]:
    yield from _head()
    for metric in _own(registry):
        kind = metric._type or ""  # noqa: SLF001 - describe() drops the labels
        yield _row(metric._name, kind, metric._labelnames, metric._documentation)  # noqa: SLF001


def _own(registry: CollectorRegistry) -> list[MetricWrapperBase]:
    found = registry._collector_to_names  # noqa: SLF001 - a registry has no way to ask for its collectors
    own = [each for each in found if isinstance(each, MetricWrapperBase)]
    return sorted(own, key=lambda each: each._name)  # noqa: SLF001


def _process() -> Iterator[str]:
    """What prometheus_client tells of a process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    yield from _head()
    for metric in sorted(registry.collect(), key=lambda each: each.name):
        yield _row(metric.name, metric.type, (), metric.documentation)


def _head() -> tuple[str, str]:
    return "| metric | type | labels | what |", "| --- | --- | --- | --- |"


def _row(name: str, kind: str, labels: Sequence[str], text: str) -> str:
    shown = " ".join(f"`{each}`" for each in labels)
    return f"| `{name}{_ENDS.get(kind, '')}` | {kind} | {shown} | {escaped(text)} |"


if __name__ == "__main__":
    sys.exit(deliver(PAGE, page(), sys.argv[1:]))
