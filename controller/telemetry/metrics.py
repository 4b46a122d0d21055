"""The registry of a process's metrics, with what every process tells: its version, memory and CPU time."""

import platform

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from controller import __version__


def new_registry(prefix: str) -> CollectorRegistry:
    """A registry with `<prefix>_build_info` and the metrics of the process; one for each process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(
        f"{prefix}_build_info",
        "Always 1; the labels say which version runs.",
        ["version", "python"],
        registry=registry,
    )
    build.labels(__version__, platform.python_version()).set(1)
    return registry
