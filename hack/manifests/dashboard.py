"""Writes the Grafana dashboard of the monitoring component: rows of panels, from the list below.

.venv/bin/python hack/manifests/dashboard.py
"""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "manifests" / "components" / "monitoring" / "dashboard.json"

Panel = dict[str, Any]

_WIDTH, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def p99(histogram: str, by: str = "") -> str:
    """The 99th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile(0.99, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def rate(counter: str, by: str) -> str:
    """What a counter counts a second."""
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


ROWS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    # title of the row: (title, expression, legend, unit)
    (
        "From a change to the kernel",
        (
            ("API event to kernel, p99", p99("podgate_agent_programming_duration_seconds"), "p99", "s"),
            (
                "One application, p99",
                p99("podgate_agent_apply_duration_seconds", "family"),
                "IPv{{family}}",
                "s",
            ),
            ("API event to write, p99", p99("podgate_operator_event_to_write_seconds"), "p99", "s"),
        ),
    ),
    (
        "Nodes",
        (
            ("Stale agents", "sum(podgate_agent_stale)", "stale", "short"),
            ("Pods", "sum by (state) (podgate_agent_pods)", "{{state}}", "short"),
            (
                "Failed applications",
                rate("podgate_agent_apply_errors_total", "node, reason"),
                "{{node}} {{reason}}",
                "ops",
            ),
            (
                "Denied packets",
                rate("podgate_agent_denied_packets_total", "node, verdict"),
                "{{node}} {{verdict}}",
                "pps",
            ),
            ("Drift mended", rate("podgate_agent_drift_repairs_total", "node"), "{{node}}", "ops"),
            (
                "Since the kernel was last known to be right",
                "max by (node) (time() - podgate_agent_last_sync_timestamp_seconds)",
                "{{node}}",
                "s",
            ),
            ("Rules", "sum by (family) (podgate_agent_rules)", "IPv{{family}}", "short"),
            ("Entries of sets", "sum by (family) (podgate_agent_ipset_entries)", "IPv{{family}}", "short"),
            (
                "Memory",
                'process_resident_memory_bytes{job="podgate-system/podgate-agent"}',
                "{{node}}",
                "bytes",
            ),
        ),
    ),
    (
        "Operator",
        (
            ("Leader", "sum by (pod) (podgate_operator_leader)", "{{pod}}", "short"),
            ("Objects that wait to be written", "max(podgate_operator_queue_depth)", "waiting", "short"),
            ("Age of the oldest", "max(podgate_operator_queue_oldest_age_seconds)", "age", "s"),
            (
                "Writes",
                rate("podgate_operator_writes_total", "kind, op, result"),
                "{{kind}} {{op}} {{result}}",
                "ops",
            ),
            ("Failed requests", rate("podgate_operator_api_errors_total", "activity"), "{{activity}}", "ops"),
            ("Known", "max(podgate_operator_pods_tracked)", "pods", "short"),
        ),
    ),
)


def main() -> None:
    """Write it."""
    PATH.write_text(json.dumps(dashboard(), indent=1) + "\n")
    print(PATH)


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    panels: list[Panel] = []
    for title, row in ROWS:
        top = _HEIGHT * len(panels)  # gaps close by themselves
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}})
        for place, panel in enumerate(row):
            panels.append(_panel(panel, x=place % 3 * 8, y=top + 1 + place // 3 * _HEIGHT))
    numbered = [{"id": number, **panel} for number, panel in enumerate(panels, 1)]
    source = {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "podgate",
        "title": "podgate",
        "tags": ["podgate", "networkpolicy"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": numbered,
    }


def _panel(said: tuple[str, str, str, str], *, x: int, y: int) -> Panel:
    title, expression, legend, unit = said
    return {
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": 8, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "datasource": _SOURCE, "expr": expression, "legendFormat": legend}],
    }


if __name__ == "__main__":
    main()
