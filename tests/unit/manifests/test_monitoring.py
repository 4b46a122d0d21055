"""Alerts, dashboard and scraping, as far as files can show it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.manifests.folders import BASE, MANIFESTS, built, named, needs_kubectl, read

FOLDER = MANIFESTS / "components" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())["spec"]
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
MONITORS = list(yaml.safe_load_all((FOLDER / "podmonitors.yaml").read_text()))


def test_the_dashboard_is_the_one_that_is_made(tmp_path: Path) -> None:
    code = (MANIFESTS.parent / "hack" / "manifests" / "dashboard.py").read_text()
    scope: dict[str, Any] = {"__file__": str(tmp_path / "a" / "b" / "c"), "__name__": "dashboard"}
    exec(compile(code, "dashboard.py", "exec"), scope)  # noqa: S102 - our own script

    assert scope["dashboard"]() == DASHBOARD, "run hack/manifests/dashboard.py"


def test_panels_do_not_cover_each_other() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    squares = [
        (place["x"] + right, place["y"] + down)
        for place in places
        for right in range(place["w"])
        for down in range(place["h"])
    ]

    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_what_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_a_label_that_an_alert_shows_survives_its_expression(alert: dict[str, Any]) -> None:
    shown = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
    (kept,) = re.findall(r"sum by \(([\w, ]+)\)", alert["expr"]) or ["node, family, reason"]

    assert shown <= set(kept.split(", "))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_understands_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))

    done = subprocess.run(  # noqa: S603
        [str(shutil.which("promtool")), "check", "rules", tmp_path / "rules.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("monitor", MONITORS, ids=lambda monitor: monitor["metadata"]["name"])
def test_a_monitor_finds_the_pods_and_the_port(monitor: dict[str, Any]) -> None:
    kind = {"podgate-operator": "Deployment", "podgate-agent": "DaemonSet"}[monitor["metadata"]["name"]]
    workload = named(kind, monitor["metadata"]["name"], read(BASE))
    template = workload["spec"]["template"]

    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [port["name"] for each in template["spec"]["containers"] for port in each["ports"]]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert endpoint["port"] in ports


def test_alerts_and_dashboard_name_the_jobs_that_the_monitors_make() -> None:
    jobs = {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in MONITORS}
    texts = [alert["expr"] for alert in ALERTS]
    texts += [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

    named_jobs = {job for text in texts for job in re.findall(r'job="([^"]+)"', text)}

    assert named_jobs <= jobs


@needs_kubectl
def test_grafana_finds_the_dashboard() -> None:
    found = named("ConfigMap", "podgate-dashboard", built(MANIFESTS / "overlays" / "monitoring"))

    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["podgate.json"]) == DASHBOARD
