"""The agent's metrics: base units, and labels with few values, never a pod or an address."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from controller.agent.enforcer import Applied
from controller.agent.node import FamilyFailure
from controller.agent.node_kernel import Outcome, Size
from controller.dataplane.counters import Growing
from controller.dataplane.names import AUDIT, DENY
from controller.telemetry.metrics import new_registry

PREFIX = "podgate_agent"

_APPLY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
_REACH = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_REASONS = (
    ("is not installed", "tool_missing"),
    ("no answer within", "timeout"),
    ("exit code 4", "busy"),
    ("old marks", "marks"),
    (" Commit:", "commit"),
    ("Set", "sets"),
    ("Entries", "sets"),
    ("-save", "read"),
    ("internal error", "internal"),
)


_VERDICTS = {DENY: "drop", **dict.fromkeys(AUDIT.values(), "audit")}


class AgentMetrics:
    """Every metric of the agent, in a registry of its own."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = new_registry(PREFIX)
        self.last_sync = self._gauge(
            "last_sync_timestamp_seconds", "When the kernel was last known to hold what it should."
        )
        self.apply_duration = self._histogram(
            "apply_duration_seconds", "One application of a change.", _APPLY, "family"
        )
        self.apply_errors = self._counter(
            "apply_errors_total", "Applications that failed after their retries.", "family", "reason"
        )
        self.programming_duration = self._histogram(
            "programming_duration_seconds", "From the API event that caused a change to the kernel.", _REACH
        )
        self.watch_to_kernel = self._histogram(
            "watch_to_kernel_seconds", "From the arrival of a change in this process to the kernel.", _REACH
        )
        self.rules = self._gauge("rules", "Rules of podgate in the kernel.", "family")
        self.ipsets = self._gauge("ipsets", "Sets of podgate in the kernel.", "family")
        self.ipset_entries = self._gauge("ipset_entries", "Entries of podgate's sets.", "family")
        self.pods = self._gauge(
            "pods",
            "Pods that policies concern: pending ones are isolated without rules, audited ones not at all.",
            "state",
        )
        self.stale = self._gauge("stale", "1 while nothing newer may have been heard of.")
        self.drift_repairs = self._counter(
            "drift_repairs_total", "Times that rules were mended which somebody else had changed.", "family"
        )
        self._growing = Growing()
        self.denied_packets = self._counter(
            "denied_packets_total",
            "Packets that policies denied; with verdict audit, that policies in audit mode would have.",
            "family",
            "verdict",
        )
        self.drops_logged = self._counter("drops_logged_total", "Denied packets that were logged.", "verdict")
        self.drop_log_lost = self._counter(
            "drop_log_lost_total", "Denied packets whose copy did not reach the agent, or was not understood."
        )

    def denied(self, counts: dict[int, dict[str, int]]) -> None:
        """What the kernel has counted so far, by family and chain."""
        for family, chains in counts.items():
            for chain, count in chains.items():
                grown = self._growing.grown(family, chain, count)
                self.denied_packets.labels(str(family), _VERDICTS[chain]).inc(grown)

    def applied(self, outcome: Outcome) -> None:
        """An application ended."""
        family = str(outcome.family)
        if isinstance(outcome, FamilyFailure):
            self.apply_errors.labels(family, bounded_reason(outcome.reason)).inc()
        elif isinstance(outcome, Applied):
            self.apply_duration.labels(family).observe(outcome.seconds)

    def sized(self, sizes: dict[int, Size]) -> None:
        """What is in the kernel now."""
        for family, size in sizes.items():
            self.rules.labels(str(family)).set(size.rules)
            self.ipsets.labels(str(family)).set(size.sets)
            self.ipset_entries.labels(str(family)).set(size.entries)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)


def bounded_reason(text: str) -> str:
    """One of a few words for a failure."""
    return next((word for part, word in _REASONS if part in text), "other")
