"""One policy to its rulesets, before anybody asks which pods there are."""

from typing import Any

import pytest

from controller.engine.rulesets import (
    NamedPort,
    NamedPortGroup,
    PodGroup,
    PolicyRuleset,
    PortRange,
    RulesetRule,
)
from controller.engine.tiers import Action, Tier
from controller.engine.translate import ALL_PODS, groups_of, named_port_groups, rulesets_of
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import Direction, IPBlock, Protocol
from controller.objects.labels import EVERYTHING, LabelSelector
from tests.unit.builder import Spec, block, labels, namespaces, pods, port, read_policy

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
OWN_NAMESPACE = PodGroup("shop", None, EVERYTHING)


def rulesets(spec: Spec) -> dict[Direction, PolicyRuleset]:
    return {ruleset.id.direction: ruleset for ruleset in rulesets_of(read_policy("shop/web", spec))}


def ingress_rule(rule: dict[str, Any]) -> RulesetRule:
    (found,) = rulesets({"ingress": [rule]})[INGRESS].rules
    return found


def egress_rule(rule: dict[str, Any]) -> RulesetRule:
    (found,) = rulesets({"policyTypes": ["Egress"], "egress": [rule]})[EGRESS].rules
    return found


# Directions


# Rule 2.3
@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, [INGRESS]),
        ({"policyTypes": []}, [INGRESS]),
        ({"egress": []}, [INGRESS]),
        ({"egress": [{}]}, [EGRESS, INGRESS]),
        ({"policyTypes": ["Egress"]}, [EGRESS]),
        ({"policyTypes": ["Egress", "Ingress"]}, [EGRESS, INGRESS]),
        ({"policyTypes": ["Ingress", "Ingress"]}, [INGRESS]),
    ],
    ids=str,
)
def test_there_is_one_ruleset_for_each_policy_type_defaulted(spec: Spec, directions: list[Direction]) -> None:
    found = rulesets_of(read_policy("shop/web", spec))

    assert sorted(ruleset.id.direction for ruleset in found) == directions


# Rule 2.4
def test_rules_of_a_direction_that_is_no_policy_type_are_left_out() -> None:
    found = rulesets({"policyTypes": ["Egress"], "ingress": [{}]})

    assert found[EGRESS].rules == ()
    assert INGRESS not in found


def test_a_ruleset_is_known_by_policy_and_direction_in_the_middle_tier() -> None:
    (found,) = rulesets_of(read_policy("shop/web", {}))

    assert (found.id.tier, found.id.policy, str(found.id)) == (
        Tier.NETWORK_POLICY,
        "shop/web",
        "shop/web ingress",
    )


def test_a_rule_accepts_and_knows_its_place_in_the_policy() -> None:
    found = rulesets({"ingress": [{}, {}], "egress": [{}]})

    assert [rule.path for rule in found[INGRESS].rules] == ["spec.ingress[0]", "spec.ingress[1]"]
    assert [(rule.path, rule.action) for rule in found[EGRESS].rules] == [("spec.egress[0]", Action.ACCEPT)]


# Peers


# Rule 2.11
@pytest.mark.parametrize("rule", [{}, {"from": []}, {"from": None}], ids=str)
def test_a_rule_without_peers_is_about_any_peer(rule: dict[str, Any]) -> None:
    found = ingress_rule(rule)

    assert (found.any_peer, found.groups, found.blocks) == (True, (), ())


# Rule 2.15: `from: [{}]` is refused, and must not become "any"
def test_a_rule_whose_peers_were_all_refused_is_about_nobody() -> None:
    found = ingress_rule({"from": [{}]})

    assert (found.any_peer, found.groups, found.blocks) == (False, (), ())


# Rules 2.12 to 2.14
@pytest.mark.parametrize(
    ("peer", "group"),
    [
        (pods(app="a"), PodGroup("shop", None, LabelSelector.of({"app": "a"}))),
        (pods(), OWN_NAMESPACE),
        (namespaces(team="b"), PodGroup("", LabelSelector.of({"team": "b"}), EVERYTHING)),
        (namespaces(), PodGroup("", EVERYTHING, EVERYTHING)),
        (
            namespaces(team="b") | pods(app="a"),
            PodGroup("", LabelSelector.of({"team": "b"}), LabelSelector.of({"app": "a"})),
        ),
        (namespaces() | pods(), PodGroup("", EVERYTHING, EVERYTHING)),
        ({"podSelector": {}, "namespaceSelector": None}, OWN_NAMESPACE),
    ],
    ids=str,
)
def test_selectors_become_a_group(peer: dict[str, Any], group: PodGroup) -> None:
    found = ingress_rule({"from": [peer]})

    assert (found.any_peer, found.groups, found.blocks) == (False, (group,), ())


def test_groups_are_sorted_and_there_once_whatever_the_order_of_peers() -> None:
    peers = [pods(app="b"), pods(app="a"), namespaces(team="x"), pods(app="b")]

    forward, backward = ingress_rule({"from": peers}), ingress_rule({"from": peers[::-1]})

    assert forward.groups == backward.groups
    assert len(forward.groups) == 3


def test_selectors_written_differently_that_ask_the_same_are_one_group() -> None:
    expression = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}

    found = ingress_rule({"from": [pods(app="a"), {"podSelector": expression}]})

    assert len(found.groups) == 1


# Rules 2.20, 2.23
def test_each_block_keeps_its_own_excepts() -> None:
    found = ingress_rule({"from": [block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.0/24")]})

    assert found.blocks == (
        IPBlock(parse_cidr("10.0.0.0/8"), (parse_cidr("10.1.0.0/16"),)),
        IPBlock(parse_cidr("10.1.2.0/24")),
    )


# Ports


# Rule 2.11
@pytest.mark.parametrize("rule", [{}, {"ports": []}, {"ports": None}], ids=str)
def test_a_rule_without_ports_is_about_any_port(rule: dict[str, Any]) -> None:
    found = ingress_rule(rule)

    assert (found.any_port, found.ports, found.named) == (True, (), ())


# Rule 2.32: "80" is a name to the API, and no legal one
def test_a_rule_whose_ports_were_all_refused_is_about_no_port() -> None:
    found = ingress_rule({"ports": [port("80")]})

    assert (found.any_port, found.ports, found.named) == (False, (), ())


# Rules 2.5, 2.32, 2.33
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (port(80), PortRange(Protocol.TCP, 80, 80)),
        (port(53, "UDP"), PortRange(Protocol.UDP, 53, 53)),
        (port(), PortRange(Protocol.TCP, 0, 65535)),
        (port(protocol="SCTP"), PortRange(Protocol.SCTP, 0, 65535)),
        (port(80, end=90), PortRange(Protocol.TCP, 80, 90)),
        (port(80, end=80), PortRange(Protocol.TCP, 80, 80)),
        (port(1, end=65535), PortRange(Protocol.TCP, 1, 65535)),
    ],
    ids=str,
)
def test_numbers_become_ranges(item: dict[str, Any], expected: PortRange) -> None:
    found = ingress_rule({"ports": [item]})

    assert (found.any_port, found.ports, found.named) == (False, (expected,), ())


# Rule 2.36
def test_names_keep_their_protocol() -> None:
    found = ingress_rule({"ports": [port("dns"), port("dns", "UDP"), port("dns")]})

    assert found.named == (NamedPort(Protocol.TCP, "dns"), NamedPort(Protocol.UDP, "dns"))


def test_ports_are_sorted_and_there_once() -> None:
    found = ingress_rule({"ports": [port(90), port(80), port(90), port(80, "UDP")]})

    assert found.ports == (
        PortRange(Protocol.TCP, 80, 80),
        PortRange(Protocol.TCP, 90, 90),
        PortRange(Protocol.UDP, 80, 80),
    )


# The groups a ruleset needs


# Rule 2.34
def test_ingress_names_need_no_group_since_the_subject_resolves_them() -> None:
    found = rulesets({"ingress": [{"from": [pods(app="a")], "ports": [port("http")]}]})[INGRESS]

    assert [type(ref) for ref in groups_of(found)] == [PodGroup]


# Rule 2.35
def test_egress_names_are_resolved_on_the_pods_of_the_peers() -> None:
    rule = egress_rule({"to": [pods()], "ports": [port("http"), port("dns", "UDP")]})

    assert list(named_port_groups(rule)) == [
        NamedPortGroup(OWN_NAMESPACE, "http", Protocol.TCP),
        NamedPortGroup(OWN_NAMESPACE, "dns", Protocol.UDP),
    ]


# Rules 2.24, 2.35
@pytest.mark.parametrize("rule", [{}, {"to": [block("10.0.0.0/8")]}], ids=["any peer", "block"])
def test_egress_names_without_selectors_are_resolved_on_all_pods(rule: dict[str, Any]) -> None:
    found = egress_rule({**rule, "ports": [port("http")]})

    assert list(named_port_groups(found)) == [NamedPortGroup(ALL_PODS, "http", Protocol.TCP)]


# Rules 2.24, 2.35
def test_beside_a_block_the_selectors_keep_their_own_pods() -> None:
    rule = egress_rule({"to": [block("10.0.0.0/8"), pods()], "ports": [port("http")]})

    assert {ref.pods for ref in named_port_groups(rule)} == {OWN_NAMESPACE, ALL_PODS}


def test_numbers_need_no_named_port_group() -> None:
    rule = egress_rule({"to": [pods(), block("10.0.0.0/8")], "ports": [port(80)]})

    assert not list(named_port_groups(rule))


def test_groups_of_two_namespaces_differ_even_for_equal_selectors() -> None:
    found = [
        rulesets_of(read_policy(f"{namespace}/web", {"ingress": [{"from": [{"podSelector": labels()}]}]}))
        for namespace in ("shop", "bank")
    ]

    ids = {ref.id for (ruleset,) in found for ref in groups_of(ruleset)}
    assert len(ids) == 2
