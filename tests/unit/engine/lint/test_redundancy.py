"""Rules, policies and items that add nothing."""

from typing import Any

import pytest

from tests.unit.builder import ClusterBuilder, block, in_namespace, labels, namespaces, pods, port
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding

WEB = {"from": [pods(app="web")], "ports": [port(80)]}


def policies(**specs: dict[str, Any]) -> ClusterBuilder:
    built = shop()
    for name, spec in specs.items():
        built = built.policy(f"shop/{name}", spec)
    return built


def ingress(*rules: dict[str, Any], **selected: str) -> dict[str, Any]:
    return {"podSelector": labels(**selected), "ingress": list(rules)}


def test_a_rule_that_a_policy_for_all_pods_covers_is_noted() -> None:  # rule 2.7
    built = policies(
        everybody=ingress({"from": [pods()]}), web=ingress(WEB, {"ports": [port(443)]}, app="api")
    )
    finding = the_finding(built, "shadowed-rule")
    assert finding.object == "NetworkPolicy shop/web"
    assert "everybody spec.ingress[0]" in finding.message


def test_a_rule_for_more_pods_than_the_covering_one_adds_something() -> None:
    built = policies(api=ingress({"from": [pods()]}, app="api"), everybody=ingress(WEB))
    assert not found(built, "shadowed-rule")
    assert not found(built, "shadowed-policy")


def test_policies_of_other_namespaces_do_not_count() -> None:
    built = policies(web=ingress(WEB)).policy("data/everybody", ingress({}))
    assert not found(built, "shadowed-policy")


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"from": [pods(app="web")]}, {"from": [pods()]}),
        ({"from": [pods(app="web", tier="a")]}, {"from": [pods(app="web")]}),
        ({"from": [pods(app="web")]}, {"from": [in_namespace("shop")]}),
        ({"from": [pods()]}, {"from": [{"namespaceSelector": {}}]}),
        ({"from": [namespaces(team="a") | pods(app="b")]}, {"from": [namespaces(team="a")]}),
        ({"from": [block("10.1.0.0/16")]}, {"from": [block("10.0.0.0/8")]}),
        ({"from": [block("10.1.0.0/16")]}, {"from": [block("10.0.0.0/8", "10.2.0.0/16")]}),
        ({"from": [pods()], "ports": [port(80)]}, {"from": [pods()]}),
        ({"from": [pods()], "ports": [port(80)]}, {"from": [pods()], "ports": [port()]}),
        ({"from": [pods()], "ports": [port(80)]}, {"from": [pods()], "ports": [port(1, end=90)]}),
        ({"from": [pods()], "ports": [port("http")]}, {"from": [pods()], "ports": [port()]}),
        ({"from": [pods(app="web")]}, {"ports": None}),
    ],
)
def test_a_rule_within_another_adds_nothing(narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    assert the_finding(policies(p=ingress(wide, narrow)), "shadowed-rule").path == "spec.ingress[1]"
    assert the_finding(policies(p=ingress(narrow, wide)), "shadowed-rule").path == "spec.ingress[0]"


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"from": [pods(app="web")]}, {"from": [pods(app="api")]}),
        ({"from": [pods()]}, {"from": [in_namespace("data")]}),
        ({"from": [namespaces(team="a")]}, {"from": [pods()]}),
        ({"from": [block("10.2.1.0/24")]}, {"from": [block("10.0.0.0/8", "10.2.0.0/16")]}),
        ({"from": [pods()]}, {"from": [block("0.0.0.0/0")]}),
        ({"from": [pods()]}, {"from": [pods()], "ports": [port()]}),
        ({"from": [pods()], "ports": [port(80, "UDP")]}, {"from": [pods()], "ports": [port(80)]}),
        ({"from": [pods()], "ports": [port("http")]}, {"from": [pods()], "ports": [port(80)]}),
        ({"from": [pods()], "ports": [port(80, end=91)]}, {"from": [pods()], "ports": [port(1, end=90)]}),
    ],
)
def test_a_rule_that_allows_anything_else_stays(narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    told = {finding.path for finding in found(policies(p=ingress(wide, narrow)), "shadowed-rule")}
    assert "spec.ingress[1]" not in told


def test_several_rules_can_cover_one_together() -> None:
    both = {"from": [pods(app="web")], "ports": [port(80), port(443)]}
    one = {"from": [pods(app="web")], "ports": [port(80)]}
    other = {"from": [pods()], "ports": [port(443)]}
    finding = the_finding(policies(p=ingress(one, other, both)), "shadowed-rule")
    assert finding.path == "spec.ingress[2]"
    assert "spec.ingress[0] and spec.ingress[1]" in finding.message


def test_the_own_namespace_by_name_is_the_own_namespace() -> None:  # rule 2.12, 2.17
    built = policies(p=ingress({"from": [pods()]}, {"from": [in_namespace("shop")]}))
    assert the_finding(built, "duplicate-rule").path == "spec.ingress[1]"


def test_rules_that_cover_each_other_are_not_both_told() -> None:
    built = policies(p=ingress(WEB, WEB))
    assert the_finding(built, "duplicate-rule").path == "spec.ingress[1]"
    assert not found(built, "shadowed-rule")


def test_a_copied_rule_is_told_whatever_the_order_of_its_items() -> None:
    one = {"from": [pods(app="web"), pods(app="api")]}
    two = {"from": [pods(app="api"), pods(app="web")]}
    assert is_warned(policies(p=ingress(one, two)), "duplicate-rule")


def test_a_copied_policy_is_told_once() -> None:
    built = policies(first=ingress(WEB, app="api"), second=ingress(WEB, app="api"))
    assert the_finding(built, "duplicate-policy").object == "NetworkPolicy shop/second"
    assert not found(built, "duplicate-rule")


def test_policies_for_different_pods_are_no_copies() -> None:
    built = policies(first=ingress(WEB, app="api"), second=ingress(WEB, app="web"))
    assert not found(built, "duplicate-policy")


def test_policies_for_different_directions_are_no_copies() -> None:
    built = policies(first={"policyTypes": ["Ingress"]}, second={"policyTypes": ["Egress"]})
    assert not found(built, "duplicate-policy")


def test_a_policy_all_of_whose_rules_are_covered_is_noted_as_a_whole() -> None:
    built = policies(everybody=ingress({"from": [pods()]}), web=ingress(WEB, app="api"))
    assert the_finding(built, "shadowed-policy").object == "NetworkPolicy shop/web"
    assert not found(built, "shadowed-rule")


def test_a_policy_that_isolates_another_direction_too_is_not_superfluous() -> None:  # rule 2.7
    web = ingress(WEB, app="api") | {"policyTypes": ["Ingress", "Egress"]}
    assert not found(policies(everybody=ingress({"from": [pods()]}), web=web), "shadowed-policy")


def test_a_policy_without_rules_is_never_superfluous() -> None:
    built = policies(deny={}, everybody=ingress({"from": [pods()]}))
    assert not found(built, "shadowed-policy")


def test_what_could_not_be_read_in_full_is_not_compared() -> None:
    flawed = {"ingress": [{"from": [pods(app="web"), {}]}]}
    built = policies(everybody=ingress({"from": [pods()]})).flawed_policy("shop/flawed", flawed)
    assert not found(built, "shadowed-policy")


def test_a_peer_that_its_neighbour_covers_is_noted() -> None:
    built = policies(p=ingress({"from": [pods(), pods(app="web")]}))
    assert the_finding(built, "redundant-item").path == "spec.ingress[0].from[1]"


def test_of_two_equal_ports_the_later_is_noted() -> None:
    built = policies(p=ingress({"from": [pods()], "ports": [port(80), port(80)]}))
    assert the_finding(built, "redundant-item").path == "spec.ingress[0].ports[1]"


def test_different_items_are_fine() -> None:
    rule = {"from": [pods(app="web"), pods(app="api")], "ports": [port(80), port(80, "UDP"), port("http")]}
    assert not found(policies(p=ingress(rule)), "redundant-item")
    assert not is_noted(policies(p=ingress(rule)), "shadowed-rule")


def test_a_policy_in_force_is_not_covered_by_one_on_trial() -> None:
    built = shop().policy("shop/a", {}).policy("shop/b", {})
    assert found(built, "duplicate-policy")
    assert not found(built.audit(policy="shop/a"), "duplicate-policy")


def test_a_rule_in_force_is_not_covered_by_one_on_trial() -> None:
    wide = {"ingress": [{"from": [pods()]}]}
    narrow = {"ingress": [{"from": [pods(app="web")]}, {"from": [pods(app="api")], "ports": [port(1)]}]}
    built = shop().policy("shop/narrow", narrow).policy("shop/wide", wide)
    assert found(built, "shadowed-policy")
    assert not found(built.audit(policy="shop/wide"), "shadowed-policy")
