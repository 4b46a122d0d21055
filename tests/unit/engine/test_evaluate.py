"""Whom policies select and what rules allow; asked of the policies and of the compiled rules."""

from typing import Any

import pytest

from tests.unit.builder import (
    Judge,
    Spec,
    block,
    in_namespace,
    labels,
    namespaces,
    pods,
    port,
)
from tests.unit.engine.shop import NODE_1, OPEN, OUTSIDE, PEERS, accepting, sending, who_reaches

# Selecting and isolating


# Rule 2.6
@pytest.mark.parametrize("service", ["80", "53/UDP", "9/SCTP", "ICMP"])
def test_without_a_policy_everything_is_allowed(allowed: Judge, service: str) -> None:
    assert who_reaches(allowed, OPEN, "shop/db", service, PEERS) == list(PEERS)


# Rule 2.1
def test_a_policy_selects_pods_of_its_own_namespace_only(allowed: Judge) -> None:
    built = OPEN.policy("bank/deny", {"podSelector": {}})

    assert not allowed(built, "shop/web", "bank/web")
    assert allowed(built, "shop/web", "shop/db")


# Rule 2.2
@pytest.mark.parametrize("spec", [{}, {"podSelector": None}, {"podSelector": {}}], ids=str)
def test_a_missing_null_or_empty_pod_selector_isolates_every_pod_for_ingress_and_allows_nothing(
    allowed: Judge, spec: Spec
) -> None:
    built = OPEN.policy("shop/all", spec)

    assert who_reaches(allowed, built, "shop/db") == []
    assert who_reaches(allowed, built, "shop/api") == ["shop/api"]  # rule 2.44
    assert allowed(built, "shop/db", OUTSIDE)


# Rule 2.3
def test_an_empty_list_of_egress_rules_without_policy_types_does_not_isolate_egress(allowed: Judge) -> None:
    assert allowed(OPEN.policy("shop/p", {"egress": []}), "shop/web", OUTSIDE)


# Rule 2.3
def test_egress_rules_without_policy_types_isolate_both_ways(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", {"egress": [{"to": [block("198.51.100.0/24")]}]})

    assert not allowed(built, "shop/web", OUTSIDE)
    assert allowed(built, "shop/web", "198.51.100.7")
    assert not allowed(built, "bank/web", "shop/web")


# Rule 2.4
def test_a_section_whose_type_is_not_listed_neither_isolates_nor_allows(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", {"policyTypes": ["Egress"], "ingress": [{"from": [pods()]}]})

    assert allowed(built, OUTSIDE, "shop/db")


# Rule 2.4
def test_rules_of_an_unlisted_type_do_not_add_to_those_of_another_policy(allowed: Judge) -> None:
    built = OPEN.policy("shop/deny", {}).policy("shop/p", {"policyTypes": ["Egress"], "ingress": [{}]})

    assert not allowed(built, OUTSIDE, "shop/db")


# Rule 2.7
def test_what_any_applying_policy_allows_is_allowed(allowed: Judge) -> None:
    built = OPEN.policy("shop/one", accepting({"from": [pods(app="web")]})).policy(
        "shop/two", accepting({"from": [pods(app="api")]}, {"from": [block("192.0.2.0/24")]})
    )

    assert who_reaches(allowed, built, "shop/db") == ["shop/web", "shop/api", OUTSIDE]


# Rule 2.7
@pytest.mark.parametrize("name", ["a-deny", "z-deny"])
def test_a_policy_that_denies_takes_nothing_from_one_that_allows_in_whatever_order(
    allowed: Judge, name: str
) -> None:
    built = OPEN.policy(f"shop/{name}", {}).policy("shop/m", accepting({"from": [pods(app="web")]}))

    assert allowed(built, "shop/web", "shop/db")


# Rule 2.7
def test_a_policy_whose_rules_match_nobody_still_isolates(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="nobody")]}))

    assert who_reaches(allowed, built, "shop/db", among=PEERS) == [NODE_1]  # rule 2.40


# Rule 2.7
def test_directions_are_isolated_each_on_its_own(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", {"podSelector": labels(app="db"), "policyTypes": ["Egress"]})

    assert allowed(built, OUTSIDE, "shop/db")
    assert not allowed(built, "shop/db", OUTSIDE)


# Rule 2.8
@pytest.mark.parametrize("destination", ["shop/db", "shop/api"], ids=["same node", "another node"])
@pytest.mark.parametrize(
    ("egress", "ingress", "together"),
    [([{}], [{}], True), ([{}], [], False), ([], [{}], False), ([], [], False)],
)
def test_both_ends_have_to_allow(
    allowed: Judge, egress: list[Any], ingress: list[Any], together: bool, destination: str
) -> None:
    built = OPEN.policy("shop/out", sending(*egress)).policy(
        "shop/in",
        {"ingress": ingress, "podSelector": labels(app=destination.removeprefix("shop/"))},
    )

    assert allowed(built, "shop/web", destination) is together


# Rule 2.8
def test_ports_have_to_be_allowed_at_both_ends(allowed: Judge) -> None:
    built = OPEN.policy("shop/out", sending({"ports": [port(80), port(81)]})).policy(
        "shop/in", accepting({"ports": [port(81), port(82)]})
    )

    assert [allowed(built, "shop/web", "shop/db", service) for service in ("80", "81", "82")] == [
        False,
        True,
        False,
    ]


# Rules and peers


# Rule 2.10
@pytest.mark.parametrize("rules", [{}, {"ingress": None}, {"ingress": []}], ids=str)
def test_missing_null_or_no_rules_allow_nothing(allowed: Judge, rules: Spec) -> None:
    built = OPEN.policy("shop/p", {"podSelector": labels(app="db"), **rules})

    assert who_reaches(allowed, built, "shop/db") == []


# Rules 2.10, 2.39
@pytest.mark.parametrize("service", ["80", "53/UDP", "9/SCTP", "ICMP"])
def test_an_empty_rule_allows_everybody_everything(allowed: Judge, service: str) -> None:
    built = OPEN.policy("shop/p", accepting({}))

    assert who_reaches(allowed, built, "shop/db", service, PEERS) == list(PEERS)


# Rule 2.11
@pytest.mark.parametrize("peers", [{}, {"from": None}, {"from": []}], ids=str)
def test_a_rule_without_peers_allows_nodes_and_the_outside_too(allowed: Judge, peers: dict[str, Any]) -> None:
    built = OPEN.policy("shop/p", accepting({**peers, "ports": [port(80)]}))

    assert who_reaches(allowed, built, "shop/db", "80", PEERS) == list(PEERS)
    assert who_reaches(allowed, built, "shop/db", "81", PEERS) == [NODE_1]  # rule 2.40


# Rule 2.11
@pytest.mark.parametrize("ports", [{}, {"ports": None}, {"ports": []}], ids=str)
@pytest.mark.parametrize("service", ["80", "53/UDP", "9/SCTP", "ICMP"])
def test_a_rule_without_ports_allows_every_protocol(
    allowed: Judge, ports: dict[str, Any], service: str
) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")], **ports}))

    assert who_reaches(allowed, built, "shop/db", service) == ["shop/web"]


# Rule 2.11
def test_within_a_rule_peer_and_port_must_both_match(allowed: Judge) -> None:
    built = OPEN.policy(
        "shop/p",
        accepting(
            {"from": [pods(app="web")], "ports": [port(80)]},
            {"from": [pods(app="api")], "ports": [port(81)]},
        ),
    )

    assert who_reaches(allowed, built, "shop/db", "80") == ["shop/web"]
    assert who_reaches(allowed, built, "shop/db", "81") == ["shop/api"]


# Rule 2.11
def test_any_of_several_peers_goes_with_any_of_several_ports(allowed: Judge) -> None:
    built = OPEN.policy(
        "shop/p",
        accepting({"from": [pods(app="web"), block("192.0.2.0/24")], "ports": [port(80), port(53, "UDP")]}),
    )

    for service in ("80", "53/UDP"):
        assert who_reaches(allowed, built, "shop/db", service) == ["shop/web", OUTSIDE]
    assert who_reaches(allowed, built, "shop/db", "80/UDP") == []


# Rule 2.12
def test_a_pod_selector_looks_in_the_namespace_of_the_policy(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")]}))

    assert who_reaches(allowed, built, "shop/db", among=PEERS) == ["shop/web", NODE_1]


# Rule 2.12
def test_an_empty_pod_selector_is_every_pod_of_the_namespace_and_nobody_else(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods()]}))

    assert who_reaches(allowed, built, "shop/db", among=PEERS) == ["shop/web", "shop/api", NODE_1]


# Rule 2.13
def test_a_namespace_selector_is_every_pod_of_the_namespaces_it_matches(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces(team="b")]}))

    assert who_reaches(allowed, built, "shop/db") == ["bank/web"]


# Rule 2.13
def test_an_empty_namespace_selector_is_every_pod_and_not_the_outside(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces()]}))

    assert who_reaches(allowed, built, "shop/db", among=PEERS) == ["shop/web", "shop/api", "bank/web", NODE_1]


# Rule 2.14
def test_both_selectors_in_one_peer_must_match(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces(team="a") | pods(app="web")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/web"]


# Rule 2.14
def test_selectors_in_two_peers_are_alternatives(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces(team="b"), pods(app="api")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/api", "bank/web"]


# Rule 2.14
def test_a_null_selector_is_absent_which_an_empty_one_is_not(allowed: Judge) -> None:
    absent = OPEN.policy("shop/p", accepting({"from": [pods() | {"namespaceSelector": None}]}))
    empty = OPEN.policy("shop/p", accepting({"from": [pods() | {"namespaceSelector": {}}]}))

    assert who_reaches(allowed, absent, "shop/db") == ["shop/web", "shop/api"]
    assert who_reaches(allowed, empty, "shop/db") == ["shop/web", "shop/api", "bank/web"]


# Rule 2.15
@pytest.mark.parametrize(
    "peer", [{}, pods() | block("0.0.0.0/0"), namespaces() | block("0.0.0.0/0")], ids=str
)
def test_a_refused_peer_matches_nobody_and_its_rule_does_not_widen(
    allowed: Judge, peer: dict[str, Any]
) -> None:
    built = OPEN.flawed_policy("shop/p", accepting({"from": [peer]}))

    assert who_reaches(allowed, built, "shop/db") == []


# Rule 2.15
def test_a_refused_peer_leaves_its_neighbours_in_force(allowed: Judge) -> None:
    built = OPEN.flawed_policy("shop/p", accepting({"from": [{}, pods(app="api")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/api"]


# Rule 2.16
def test_not_in_picks_pods_without_the_label(allowed: Judge) -> None:
    not_web = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}
    built = OPEN.pod("shop/bare", node="node-2").policy(
        "shop/p", accepting({"from": [{"podSelector": not_web}]})
    )

    assert who_reaches(allowed, built, "shop/db", among=("shop/web", "shop/api", "shop/bare")) == [
        "shop/api",
        "shop/bare",
    ]


# Rule 2.17
def test_every_namespace_can_be_named(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [in_namespace("bank")]}))

    assert who_reaches(allowed, built, "shop/db") == ["bank/web"]


# Rules 2.18, 2.44
def test_a_pod_reaches_itself_whether_or_not_a_peer_picks_it(allowed: Judge) -> None:
    for rule in ({"from": [pods(app="db")]}, {"from": [pods(app="web")]}):
        assert allowed(OPEN.policy("shop/p", accepting(rule)), "shop/db", "shop/db")
