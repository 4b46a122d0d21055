"""The SARIF writer."""

import json
from typing import Any

import pytest

from controller.cli.sarif import Level, Result, Rule, sarif_text
from controller.objects.findings import Source

RULES = [Rule("a-code", "A title", "What it means.", "What to do."), Rule("b-code", "B title", "More.")]


def result(**changes: Any) -> Result:  # noqa: ANN401
    given = {
        "rule": "b-code",
        "level": Level.WARNING,
        "message": "is wrong",
        "object": "NetworkPolicy shop/web",
    }
    return Result(**{**given, **changes})


def run(*results: Result) -> Any:  # noqa: ANN401
    return json.loads(sarif_text(RULES, results))["runs"][0]


def fingerprint(found: Result) -> str:
    return str(run(found)["results"][0]["partialFingerprints"]["podgate/v1"])


def test_a_log_says_which_version_of_the_format_it_is() -> None:
    log = json.loads(sarif_text(RULES, []))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")


def test_only_rules_in_use_are_listed_and_results_point_at_them() -> None:
    found = run(result())
    assert [rule["id"] for rule in found["tool"]["driver"]["rules"]] == ["b-code"]
    assert found["results"][0]["ruleIndex"] == 0


def test_a_relative_file_stays_relative_and_is_quoted() -> None:
    found = run(result(source=Source("my app/web.yaml", 7)))
    place = found["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "my%20app/web.yaml"}, "region": {"startLine": 7}}


def test_an_absolute_file_is_a_file_uri() -> None:
    found = run(result(source=Source("/srv/web.yaml")))
    place = found["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "file:///srv/web.yaml"}}


def test_standard_input_is_no_file() -> None:
    location = run(result(source=Source("-", 3)))["results"][0]["locations"][0]
    assert "physicalLocation" not in location
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "NetworkPolicy shop/web"


def test_the_fingerprint_survives_a_moved_line() -> None:
    assert fingerprint(result(source=Source("a.yaml", 3))) == fingerprint(result(source=Source("a.yaml", 9)))


@pytest.mark.parametrize("change", [{"path": "spec"}, {"object": "x"}, {"identity": "1"}, {"rule": "a-code"}])
def test_the_fingerprint_tells_different_results_apart(change: dict[str, str]) -> None:
    assert fingerprint(result(**change)) != fingerprint(result())


def test_a_result_of_an_unknown_rule_is_refused() -> None:
    with pytest.raises(KeyError):
        sarif_text(RULES, [result(rule="c-code")])
