"""`podgate diff`: exit codes, and what its forms say."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result
from referencing import Registry, Resource

from controller.cli.diff import command
from controller.cli.failure import CLEAN, ERROR, FOUND, CommandError

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "diff.md"
PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: []}
---
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: pod, namespace: ns{number}}}
spec: {{containers: []}}
---
"""
RULE = """\
  - from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: ns{number}}}}}}}]
    ports: [{{port: {number}}}]
"""
MORE_PODS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec: {containers: []}
---
"""


def policy(name: str, spec: str) -> str:
    return (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: shop}}\n"
        f"spec:\n  podSelector: {{matchLabels: {{app: db}}}}\n{spec}---\n"
    )


def allow(port: int) -> str:
    return policy("allow", f"  ingress:\n  - ports:\n    - port: {port}\n")


DENY = policy("deny", "  policyTypes: [Ingress]\n")
OPENED = (PODS + DENY, PODS + DENY + allow(80))
LINE = 1 + OPENED[1].splitlines().index("  - ports:")
"""Where the rule of `shop/allow` is in the new file of OPENED."""
CLOSED = (PODS + DENY + allow(80), PODS + DENY)
MOVED = (PODS + allow(80), PODS + allow(81))


class Sides:
    """Two files and the verb on them."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = folder / "old.yaml", folder / "new.yaml"

    def run(self, old: str, new: str, *arguments: str) -> Result:
        self.old.write_text(old)
        self.new.write_text(new)
        result = CliRunner().invoke(
            command, [str(self.old), str(self.new), *arguments], standalone_mode=False
        )
        if result.exception is not None:
            raise result.exception
        return result

    def status(self, sides: tuple[str, str], *arguments: str) -> Any:  # noqa: ANN401  click's
        return self.run(*sides, *arguments).return_value


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


# Exit codes


def test_no_difference_is_clean(sides: Sides) -> None:
    assert sides.status((PODS + DENY, PODS + DENY)) == CLEAN


def test_other_yaml_with_the_same_meaning_is_clean(sides: Sides) -> None:
    assert sides.status((PODS + DENY, "# a comment\n---\n" + DENY + PODS)) == CLEAN


@pytest.mark.parametrize(
    ("fail_on", "opened", "closed", "moved"),
    [("any", FOUND, FOUND, FOUND), ("added", FOUND, CLEAN, FOUND), ("removed", CLEAN, FOUND, FOUND)],
)
def test_fail_on_says_which_differences_count(
    sides: Sides, fail_on: str, opened: int, closed: int, moved: int
) -> None:
    found = [sides.status(each, "--fail-on", fail_on) for each in (OPENED, CLOSED, MOVED)]
    assert found == [opened, closed, moved]


def test_invalid_input_is_an_error_and_the_difference_is_printed_all_the_same(sides: Sides) -> None:
    found = sides.run(PODS, PODS + policy("bad", "  ingress:\n  - from:\n    - ipBlock: {cidr: 1}\n"))
    assert found.return_value == ERROR
    assert "removed" in found.stdout
    assert "invalid-cidr" in found.stderr


def test_what_cannot_be_read_gets_no_answer(sides: Sides) -> None:
    with pytest.raises(CommandError, match="could not be read"):
        sides.run(PODS, "apiVersion: [\n")


def test_one_side_can_be_standard_input(sides: Sides) -> None:
    sides.new.write_text(PODS + DENY)
    found = CliRunner().invoke(command, ["-", str(sides.new)], input=PODS, standalone_mode=False)
    assert found.return_value == FOUND


def test_both_sides_cannot_be_standard_input() -> None:
    found = CliRunner().invoke(command, ["-", "-"], standalone_mode=False)
    assert isinstance(found.exception, CommandError)


def test_help_has_examples() -> None:
    assert "podgate diff main/manifests/ manifests/" in CliRunner().invoke(command, ["--help"]).stdout


# Text and Markdown


def test_the_text_names_the_connection_the_policy_and_its_line(sides: Sides) -> None:
    found = sides.run(*OPENED).stdout.splitlines()
    assert found == [
        "2 connections added",
        "",
        f"shop/allow added ({sides.new}:{LINE})",
        "  + anyone -> shop/db  80/TCP",
        "",
        "anyone: every pod, and every address outside",
    ]


def test_a_changed_port_is_one_connection_added_and_one_removed(sides: Sides) -> None:
    found = sides.run(*MOVED).stdout
    assert "shop/allow changed" in found
    assert "  - anyone -> shop/db  80/TCP\n  + anyone -> shop/db  81/TCP\n" in found


def test_the_text_names_pods_that_came(sides: Sides) -> None:
    found = sides.run(PODS + DENY, PODS + MORE_PODS + DENY).stdout
    assert "1 pod added" in found.splitlines()[0]
    assert "+ pod shop/cache (Deployment)" in found
    assert "pods that came, went or changed" in found


@pytest.mark.parametrize("output", ["text", "md", "sarif", "junit"])
def test_connections_of_a_pod_that_finished_are_listed_and_not_only_counted(
    sides: Sides, output: str
) -> None:
    done = PODS.replace("spec: {containers: []}", "spec: {containers: []}\nstatus: {phase: Succeeded}", 1)

    found = sides.run(PODS, done, "-o", output)

    assert found.return_value == FOUND
    assert "shop/web" in found.stdout or "shop/*" in found.stdout
    assert "outside" in found.stdout


DUAL = PODS
for _name, _number in (("web", 1), ("db", 2)):
    _status = f"status: {{podIPs: [{{ip: 10.0.0.{_number}}}, {{ip: 'fd00::{_number}'}}]}}"
    _head = f"labels: {{app: {_name}}}}}\nspec: {{containers: []}}"
    DUAL = DUAL.replace(_head, f"{_head}\n{_status}")
BY_LABEL = policy("in", "  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: web}}\n")
BY_BLOCK = policy("in", "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.1/32}\n")


def test_what_one_family_loses_alone_is_a_difference(sides: Sides) -> None:
    found = sides.run(DUAL + BY_LABEL, DUAL + BY_BLOCK)

    assert found.return_value == FOUND
    assert "in IPv6 alone" in found.stdout.splitlines()[0]
    assert "all (IPv6)" in found.stdout
    assert "shop/in changed" in found.stdout


def test_what_one_family_loses_alone_obeys_the_schema(sides: Sides) -> None:
    document = json.loads(sides.run(DUAL + BY_LABEL, DUAL + BY_BLOCK, "-o", "json").stdout)

    validator().validate(document)
    assert [part["family"] for part in document["families"]] == ["IPv6"]
    assert document["families"][0]["changes"][0]["removed"]["causes"][0]["policy"] == "shop/in"


def test_a_pod_that_comes_moves_no_other(sides: Sides) -> None:
    blocks = policy("block", "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.244.0.0/17}\n")
    found = json.loads(sides.run(PODS + blocks, PODS + MORE_PODS + blocks, "-o", "json").stdout)
    assert all("shop/cache" in {each["from"], each["to"]} for each in found["changes"])


def test_markdown_has_a_headline_and_a_table(sides: Sides) -> None:
    found = sides.run(*CLOSED, "-o", "md").stdout.splitlines()
    assert found[0] == "**NetworkPolicy: 2 connections removed**"
    assert "| **removed** | anyone | shop/db | 80/TCP | shop/allow removed (" in "\n".join(found)


def test_a_long_markdown_table_is_folded(sides: Sides) -> None:
    numbers = range(1, 31)
    others = "".join(POD.format(number=number) for number in numbers)
    rules = "  ingress:\n" + "".join(RULE.format(number=number) for number in numbers)
    found = sides.run(PODS + others + DENY, PODS + others + DENY + policy("many", rules), "-o", "md")
    assert "<details><summary>Connections</summary>" in found.stdout


# JSON


def validator() -> jsonschema.Draft202012Validator:
    loaded = [
        json.loads(files("controller.cli.schemas").joinpath(f"connectivity-{name}.json").read_text())
        for name in ("matrix", "diff")
    ]
    registry = Registry().with_resources([(each["$id"], Resource.from_contents(each)) for each in loaded])
    return jsonschema.Draft202012Validator(loaded[1], registry=registry)


@pytest.mark.parametrize("case", [OPENED, CLOSED, MOVED, (PODS, PODS), (PODS, PODS + MORE_PODS)])
def test_the_json_obeys_its_schema(sides: Sides, case: tuple[str, str]) -> None:
    validator().validate(json.loads(sides.run(*case, "-o", "json").stdout))
    validator().validate(json.loads(sides.run(*case, "-o", "json", "--render").stdout))


def test_the_json_says_what_and_why(sides: Sides) -> None:
    found = json.loads(sides.run(*OPENED, "-o", "json").stdout)
    assert found["summary"] == {
        "endpointsAdded": 0,
        "endpointsRemoved": 0,
        "connectionsAdded": 2,
        "connectionsRemoved": 0,
    }
    first = found["changes"][0]
    assert (first["from"], first["to"], first["added"]["allowed"]["TCP"]) == (
        "shop/web",
        "shop/db",
        [[80, 80]],
    )
    assert first["added"]["causes"] == [
        {
            "policy": "shop/allow",
            "edit": "added",
            "act": "allows",
            "path": "spec.ingress[0]",
            "file": str(sides.new),
            "line": LINE,
        }
    ]


# SARIF and JUnit


def sarif(found: Result) -> list[dict[str, Any]]:
    run = json.loads(found.stdout)["runs"][0]
    results: list[dict[str, Any]] = run["results"]
    return results


def test_sarif_points_at_the_policy(sides: Sides) -> None:
    first = sarif(sides.run(*OPENED, "-o", "sarif"))[0]
    place = first["locations"][0]["physicalLocation"]
    assert first["ruleId"] == "connection-added"
    assert place["region"]["startLine"] == LINE
    assert place["artifactLocation"]["uri"].endswith("/new.yaml")
    assert first["message"]["text"] == ("anyone can now reach shop/db on 80/TCP: shop/allow (added) allows")


def test_sarif_of_what_does_not_count_is_a_note(sides: Sides) -> None:
    levels = {each["level"] for each in sarif(sides.run(*OPENED, "-o", "sarif", "--fail-on", "removed"))}
    assert levels == {"note"}


def test_sarif_without_differences_has_no_results(sides: Sides) -> None:
    assert sarif(sides.run(PODS, PODS, "-o", "sarif")) == []


def junit(found: Result) -> ET.Element:
    return ET.fromstring(found.stdout)[0]  # noqa: S314 - our own text


def test_junit_has_a_failed_case_for_what_counts(sides: Sides) -> None:
    suite = junit(sides.run(*CLOSED, "-o", "junit"))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite[0].get("name") == "anyone -> shop/db: 80/TCP"


def test_junit_passes_what_does_not_count(sides: Sides) -> None:
    assert junit(sides.run(*CLOSED, "-o", "junit", "--fail-on", "added")).get("failures") == "0"


def test_junit_without_differences_is_one_passed_case(sides: Sides) -> None:
    suite = junit(sides.run(PODS, PODS, "-o", "junit"))
    assert [(case.get("name"), len(case)) for case in suite] == [("no difference in connectivity", 0)]


# Rules


def test_render_shows_how_the_rules_change(sides: Sides) -> None:
    found = sides.run(*OPENED, "--render").stdout
    assert "rules: (no node)/iptables.restore" in found
    assert re.search(
        r'^\+-A PODGATE-IP-\S+ -p tcp -m tcp --dport 80 .*"shop/allow spec.ingress\[0\]"', found, re.MULTILINE
    )


def test_rules_that_differ_without_connectivity_count_as_any_difference(sides: Sides) -> None:
    renamed = (PODS + allow(80), PODS + allow(80).replace("name: allow", "name: renamed"))
    assert sides.status(renamed) == CLEAN
    assert sides.status(renamed, "--render") == FOUND
    assert sides.status(renamed, "--render", "--fail-on", "added") == CLEAN


def test_an_unknown_node_is_an_error(sides: Sides) -> None:
    with pytest.raises(CommandError, match="no node 'x'"):
        sides.run(*OPENED, "--render", "--node", "x")


@pytest.mark.parametrize("arguments", [("--node", "x"), ("--render", "-o", "sarif")])
def test_options_that_do_not_go_together_are_an_error(sides: Sides, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="--render"):
        sides.run(*OPENED, *arguments)


# The documentation


def test_the_documentation_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"\$ podgate diff examples/shop planned\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown is not None
    shop = ROOT / "examples" / "shop"
    shutil.copytree(shop, tmp_path / "examples" / "shop")
    shutil.copytree(shop, tmp_path / "planned")
    payments = tmp_path / "planned" / "payments.yaml"
    text = payments.read_text().replace("198.51.100.240/28", "198.51.100.248/29")
    payments.write_text(re.sub(r"port: 443$", "port: 8443", text, flags=re.MULTILINE))
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(command, ["examples/shop", "planned"], standalone_mode=False)
    assert found.stdout == shown[1]


def test_the_example_in_the_documentation_obeys_the_schema() -> None:
    example = re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    validator().validate(json.loads(example[1]))
