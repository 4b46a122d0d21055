"""The operator's metrics. Labels have few values each: kinds, operations, results, never names."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from controller.telemetry.metrics import new_registry

PREFIX = "podgate_operator"
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WORK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

FIGURES: Mapping[str, str] = {
    "leader": "1 while this replica leads.",
    "published": "1 once everything was published in this term.",
    "policies": "NetworkPolicies known.",
    "policies_audited": "NetworkPolicies in audit mode, which drop nothing.",
    "pods_tracked": "Pods known.",
    "namespaces": "Namespaces known.",
    "nodes": "Nodes known.",
    "quarantined_pods": "Pods that cannot be read in full.",
    "groups": "Peer groups.",
    "group_members": "Members of all peer groups.",
    "slices": "PeerGroupSlices that stand.",
    "nodepolicies": "NodePolicies that stand.",
    "queue_depth": "Objects that differ from what stands.",
    "queue_oldest_age_seconds": "Age of the oldest difference that still stands.",
    "pods_silence_seconds": "Since the API server said anything of pods.",
    "census_age_seconds": "Since names were compared.",
    "kopf_restarts": "How often kopf ended and was started again.",
}
"""The gauges that are computed when they are read, and what they say."""


class Metrics:
    """Counters are counted where things happen; gauges are asked for when somebody looks (`watch`)."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = new_registry(PREFIX)
        self.writes = self._counter("writes", "Writes to the API server.", "kind", "op", "result")
        self.noops = self._counter(
            "noop_writes_skipped", "Objects that were looked at and stood as they should.", "kind"
        )
        self.ghosts = self._counter(
            "ghosts_removed", "Objects that were gone without a watch saying so.", "kind"
        )
        self.recovered = self._counter("objects_recovered", "Objects that no watch brought.", "kind")
        self.repairs = self._counter("repairs", "Own objects that somebody else changed or deleted.", "kind")
        self.events = self._counter("events", "Kubernetes Events by what became of them.", "reason", "result")
        self.api_errors = self._counter("api_errors", "Requests that failed.", "activity")
        self.reconcile = self._histogram(
            "reconcile_duration_seconds", "Time to turn one API event into what has to be written.", _WORK
        )
        self.event_to_write = self._histogram(
            "event_to_write_seconds", "From the arrival of an API event to the write it caused.", _LATENCY
        )

    def watch(self, name: str, value: Callable[[], float]) -> None:
        """A gauge that is computed when it is read. Raises KeyError for one that is not in FIGURES."""
        Gauge(f"{PREFIX}_{name}", FIGURES[name], registry=self.registry).set_function(value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, registry=self.registry, buckets=buckets)
