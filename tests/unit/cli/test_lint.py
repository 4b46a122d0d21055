"""`podgate lint`: what it prints, and how it exits."""

import json
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.failure import CLEAN, ERROR, FOUND, CommandError
from controller.cli.lint import command
from controller.engine.lint.checks import lint
from controller.engine.lint.codes import CODES
from controller.objects.findings import Severity
from controller.objects.kinds import Cluster
from tests.unit.builder import cluster, in_namespace, labels, namespaces, pods, port
from tests.work import calls_of

SHOP = str(Path(__file__).parents[3] / "examples" / "shop")

WORKLOADS = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
"""
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
---
"""
MISSPELT = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: misspelt, namespace: shop}
spec:
  podSelector:
    matchLabels:
      app: wep
---
"""
INVALID = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: invalid, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0}
---
"""
BROKEN = "apiVersion: [\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(*arguments: str, text: str | None = None) -> Result:
    """The verb on standard input or on what the arguments name; an error of the call is raised."""
    named = [*arguments] if text is None else [*arguments, "-f", "-"]
    result = CliRunner().invoke(command, named, input=text, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def status(*arguments: str, text: str) -> Any:  # noqa: ANN401
    return run(*arguments, text=text).return_value


# The exit code


def test_the_bundled_shop_has_no_errors_and_no_warnings() -> None:
    result = run("-f", SHOP, "-o", "json")
    assert result.return_value == CLEAN
    assert json.loads(result.stdout)["summary"] | {"info": 0} == {"error": 0, "warning": 0, "info": 0}


def test_info_alone_is_clean() -> None:
    assert status(text=WORKLOADS + DENY) == CLEAN


def test_a_warning_is_a_finding() -> None:
    assert status(text=WORKLOADS + DENY + MISSPELT) == FOUND


def test_fail_on_error_lets_warnings_pass() -> None:
    assert status("--fail-on", "error", text=WORKLOADS + DENY + MISSPELT) == CLEAN


def test_fail_on_info_fails_on_anything() -> None:
    assert status("--fail-on", "info", text=WORKLOADS + DENY) == FOUND


@pytest.mark.parametrize("text", [INVALID, BROKEN])
def test_invalid_or_unreadable_input_is_an_error(text: str) -> None:
    assert status("--fail-on", "error", text=WORKLOADS + text) == ERROR


def test_strict_makes_a_warning_an_error() -> None:
    assert status("--strict", text=WORKLOADS + DENY + MISSPELT) == ERROR
    assert status("--strict", text=WORKLOADS + DENY) == CLEAN


def test_a_call_that_names_nothing_says_what_to_name() -> None:
    with pytest.raises(CommandError, match="-f FILE"):
        run()


# Text


def test_text_names_the_object_the_place_the_lines_and_the_remedy(folder: Path) -> None:
    file = folder / "shop.yaml"
    file.write_text(WORKLOADS + DENY + MISSPELT)
    text = run("-f", str(file)).stdout
    assert f"NetworkPolicy shop/misspelt  ({file})" in text
    assert "  warning[selects-no-pods]: no pod of namespace shop matches app=wep\n" in text
    assert f"    --> {file}:21  spec.podSelector\n" in text
    assert "       21 |   podSelector:\n       22 |     matchLabels:\n       23 |       app: wep\n" in text
    assert "    help: did you mean app=web (shop/web)?\n" in text


def test_text_ends_with_the_counts() -> None:
    text = run(text=WORKLOADS + DENY + MISSPELT + INVALID).stdout
    assert "1 error, 1 warning and 1 info on 3 policies, 1 pod and 1 namespace\n" in text


def test_other_objects_are_still_checked_beside_an_unreadable_one() -> None:
    text = run(text=WORKLOADS + MISSPELT + BROKEN).stdout
    assert "error[unreadable-document]" in text
    assert "warning[selects-no-pods]" in text


def test_an_excerpt_cannot_send_control_characters_to_the_terminal(folder: Path) -> None:
    file = folder / "evil.yaml"
    file.write_text(WORKLOADS + DENY + MISSPELT.replace("podSelector:", "podSelector: # \x9b2J"))
    text = run("-f", str(file)).stdout
    assert "\x9b" not in text


def test_a_file_that_is_gone_has_no_excerpt(folder: Path) -> None:
    text = run("-f", str(folder / "gone.yaml")).stdout
    assert "error[unreadable-file]" in text


# For programs


def test_json_holds_every_field_of_a_finding() -> None:
    report = json.loads(run("-o", "json", text=WORKLOADS + DENY + MISSPELT).stdout)
    assert (report["apiVersion"], report["kind"]) == ("podgate.dev/v1alpha1", "LintReport")
    assert {
        "code": "selects-no-pods",
        "severity": "warning",
        "object": "NetworkPolicy shop/misspelt",
        "path": "spec.podSelector",
        "message": "no pod of namespace shop matches app=wep",
        "remedy": "did you mean app=web (shop/web)?",
        "file": "-",
        "line": 21,
    } in report["findings"]


def test_sarif_has_a_rule_for_every_result() -> None:
    log = json.loads(run("-o", "sarif", text=WORKLOADS + DENY + MISSPELT + INVALID).stdout)["runs"][0]
    rules = [rule["id"] for rule in log["tool"]["driver"]["rules"]]
    assert {rules[found["ruleIndex"]] for found in log["results"]} >= {"selects-no-pods", "invalid-cidr"}
    assert {found["level"] for found in log["results"]} == {"error", "warning", "note"}


def test_junit_has_a_case_for_every_policy() -> None:
    root = ET.fromstring(run("-o", "junit", text=WORKLOADS + DENY + MISSPELT + INVALID).stdout)  # noqa: S314
    outcomes = {case.get("name"): [found.tag for found in case] for case in root.iter("testcase")}
    assert outcomes == {
        "NetworkPolicy shop/deny": ["system-out"],  # that the pod may open no connection is worth knowing
        "NetworkPolicy shop/misspelt": ["failure"],
        "NetworkPolicy shop/invalid": ["error"],
    }


def test_junit_fails_what_fail_on_fails() -> None:
    text = run("-o", "junit", "--fail-on", "error", text=WORKLOADS + DENY + MISSPELT).stdout
    assert ET.fromstring(text).get("failures") == "0"  # noqa: S314


def test_markdown_is_a_table_that_no_message_can_break() -> None:
    text = run("-o", "md", text=WORKLOADS + DENY + MISSPELT).stdout
    assert text.startswith("### podgate lint: 1 warning and 1 info on 2 policies")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)


@pytest.mark.parametrize("output", ["text", "json", "sarif", "junit", "md"])
def test_the_order_of_the_input_does_not_matter(folder: Path, output: str) -> None:
    (folder / "a.yaml").write_text(WORKLOADS)
    (folder / "b.yaml").write_text(DENY)
    (folder / "c.yaml").write_text(MISSPELT)
    files = [str(folder / name) for name in ("a.yaml", "b.yaml", "c.yaml")]
    there = run("-o", output, *(word for file in files for word in ("-f", file)))
    back = run("-o", output, *(word for file in reversed(files) for word in ("-f", file)))
    assert there.stdout == back.stdout


# --explain


@pytest.mark.parametrize("code", ["dns-cut", "invalid-cidr"])
def test_explain_says_what_a_code_means(code: str) -> None:
    text = run("--explain", code).stdout
    assert text.startswith(f"{code}: {CODES[code].title}")
    assert "What to do: " in text


def test_explain_suggests_a_code() -> None:
    with pytest.raises(CommandError, match="did you mean dns-cut"):
        run("--explain", "dns-cot")


# Speed


def shops(count: int) -> Cluster:
    """25 objects a namespace; peers are of the own namespace, and of a fifth of them all."""
    built = cluster().ns("kube-system", k="v").pod("kube-system/coredns", labels={"k8s-app": "kube-dns"})
    dns = {"to": [in_namespace("kube-system")], "ports": [port(53, "UDP"), port(53)]}
    for number in range(count):
        space = f"shop-{number}"
        built = built.ns(space, team=f"team-{number % 5}")
        built = built.policy(f"{space}/deny", {"policyTypes": ["Ingress", "Egress"], "egress": [dns]})
        for app in range(12):
            built = built.pod(f"{space}/app-{app}", labels={"app": f"app-{app}"}, ports=["http:8080"])
            peers = [pods(app=f"app-{app + 1}"), namespaces(team="team-1") | pods(app="app-1")]
            rule = {"from": peers, "ports": [port("http")]}
            built = built.policy(
                f"{space}/app-{app}", {"podSelector": labels(app=f"app-{app}"), "ingress": [rule]}
            )
    return built.build()


def test_four_times_the_objects_are_about_four_times_the_work() -> None:
    few, many = (calls_of(partial(lint, shops(count))) for count in (5, 20))

    assert many < 5 * few


def test_a_team_of_500_objects_has_warnings_and_notes() -> None:
    assert {finding.severity for finding in lint(shops(20))} == {Severity.WARNING, Severity.INFO}
