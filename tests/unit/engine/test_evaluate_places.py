"""Nodes, the host network, a pod itself, and pods that come and go."""

from typing import Any

import pytest

from tests.unit.builder import (
    Judge,
    block,
    cluster,
    in_namespace,
    labels,
    namespaces,
    pods,
    port,
)
from tests.unit.engine.shop import NODE_1, NODE_2, OPEN, OUTSIDE, accepting, sending, who_reaches

# Nodes, host network, self


# Rule 2.40
@pytest.mark.parametrize("service", ["80", "53/UDP", "ICMP"])
def test_a_pods_own_node_always_reaches_it_and_other_nodes_do_not(allowed: Judge, service: str) -> None:
    built = OPEN.policy("shop/deny", {})

    assert who_reaches(allowed, built, "shop/db", service, (NODE_1, NODE_2)) == [NODE_1]


# Rules 2.40, 2.43
def test_a_host_network_pod_of_the_same_node_is_that_node(allowed: Judge) -> None:
    built = (
        OPEN.policy("shop/deny", {})
        .pod("shop/probe", ip=NODE_1, host_network=True)
        .pod("shop/far", ip=NODE_2, node="node-2", host_network=True)
    )

    assert who_reaches(allowed, built, "shop/db", among=("shop/probe", "shop/far")) == ["shop/probe"]


# Rule 2.40
def test_a_pod_of_the_same_node_is_not_that_node(allowed: Judge) -> None:
    assert not allowed(OPEN.policy("shop/deny", {}), "shop/web", "shop/db")


# Rule 2.41
def test_egress_to_the_own_node_is_judged_like_any_other(allowed: Judge) -> None:
    denied = OPEN.policy("shop/p", sending())
    named = OPEN.policy("shop/p", sending({"to": [block(f"{NODE_1}/32")], "ports": [port(10250)]}))

    assert not allowed(denied, "shop/web", NODE_1)
    assert allowed(named, "shop/web", NODE_1, "10250")
    assert not allowed(named, "shop/web", NODE_1, "10255")
    assert not allowed(named, "shop/web", NODE_2, "10250")


# Rule 2.42
def test_no_policy_ever_applies_to_a_host_network_pod(allowed: Judge) -> None:
    built = OPEN.pod("shop/agent", ip=NODE_1, host_network=True).policy(
        "shop/deny", {"policyTypes": ["Ingress", "Egress"]}
    )

    assert allowed(built, OUTSIDE, "shop/agent")
    assert allowed(built, "shop/agent", OUTSIDE)


# Rule 2.43
@pytest.mark.parametrize("peer", [pods(), pods(app="web"), namespaces(), namespaces(team="a") | pods()])
def test_no_selector_picks_a_host_network_pod(allowed: Judge, peer: dict[str, Any]) -> None:
    built = OPEN.pod("shop/agent", ip=NODE_2, node="node-2", labels={"app": "web"}, host_network=True).policy(
        "shop/p", accepting({"from": [peer]})
    )

    assert not allowed(built, "shop/agent", "shop/db")
    assert not allowed(built, NODE_2, "shop/db")


# Rules 2.43, 2.46
@pytest.mark.parametrize("rule", [{"from": [block(f"{NODE_2}/32")]}, {}], ids=["block", "no peers"])
def test_a_host_network_pod_and_another_node_are_matched_by_their_address_or_by_everybody(
    allowed: Judge, rule: dict[str, Any]
) -> None:
    built = OPEN.pod("shop/agent", ip=NODE_2, node="node-2", host_network=True).policy(
        "shop/p", accepting(rule)
    )

    assert allowed(built, "shop/agent", "shop/db")
    assert allowed(built, NODE_2, "shop/db")


# Rules 2.44, 2.45
@pytest.mark.parametrize("service", ["80", "53/UDP", "ICMP"])
def test_nothing_keeps_a_pod_from_itself(allowed: Judge, service: str) -> None:
    built = OPEN.policy("shop/deny", {"policyTypes": ["Ingress", "Egress"]})

    assert allowed(built, "shop/db", "shop/db", service)


# Rules 2.31, 2.48
def test_only_the_port_of_the_pod_counts_not_that_of_a_service_before_it(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port(80)]}))  # the Service listens on 80

    assert not allowed(built, "shop/web", "shop/db", "8080")  # ... and its pods on 8080


# Rules 2.48, 2.49
def test_a_service_address_in_a_block_opens_no_pod_behind_it(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", sending({"to": [block("10.96.0.0/12")]}))

    assert not allowed(built, "shop/web", "shop/api", "8080")


# Lifecycle


# Rule 2.54
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_no_peer_though_it_keeps_its_address(allowed: Judge, phase: str) -> None:
    built = OPEN.pod("shop/job", ip=OUTSIDE, labels={"app": "web"}, phase=phase).policy(
        "shop/p", accepting({"from": [pods(app="web")]})
    )

    assert not allowed(built, OUTSIDE, "shop/db")


# Rule 2.54
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_no_subject_even_where_its_address_is_another_pods_now(
    allowed: Judge, phase: str
) -> None:
    built = OPEN.pod("shop/job", ip="10.0.1.9", labels={"app": "db"}, phase=phase).pod(
        "bank/new", ip="10.0.1.9"
    )

    assert allowed(built.policy("shop/deny", {}), OUTSIDE, "bank/new")


# Rule 2.55
@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_pod_that_has_not_finished_is_subject_and_peer(allowed: Judge, phase: str) -> None:
    built = OPEN.pod("shop/late", ip="10.0.1.9", labels={"app": "late"}, phase=phase)

    assert not allowed(built.policy("shop/deny", {}), OUTSIDE, "shop/late")
    assert allowed(built.policy("shop/p", accepting({"from": [pods(app="late")]})), "shop/late", "shop/db")


# Rule 2.56
@pytest.mark.parametrize("names", [("old", "new"), ("new", "old")])
def test_two_pods_with_one_address_must_both_allow(allowed: Judge, names: tuple[str, str]) -> None:
    one, other = names
    built = (
        OPEN.pod(f"shop/{one}", ip="10.0.1.9", labels={"app": "one"})
        .pod(f"shop/{other}", ip="10.0.1.9", labels={"app": "other"})
        .policy("shop/one", {"podSelector": labels(app="one"), "ingress": [{"ports": [port(80), port(81)]}]})
        .policy("shop/other", {"podSelector": labels(app="other"), "ingress": [{"ports": [port(81)]}]})
    )

    assert [allowed(built, OUTSIDE, "10.0.1.9", service) for service in ("80", "81")] == [False, True]


# Rule 2.56
def test_an_address_of_two_pods_is_a_peer_where_either_pod_is(allowed: Judge) -> None:
    built = (
        OPEN.pod("shop/one", ip="10.0.1.9", labels={"app": "one"})
        .pod("shop/other", ip="10.0.1.9", labels={"app": "other"})
        .policy("shop/p", accepting({"from": [pods(app="other")]}))
    )

    assert allowed(built, "10.0.1.9", "shop/db")


# Rule 2.56
def test_two_pods_with_one_address_reach_each_other_as_one(allowed: Judge) -> None:
    built = OPEN.pod("shop/one", ip="10.0.1.9").pod("shop/other", ip="10.0.1.9").policy("shop/deny", {})

    assert allowed(built, "shop/one", "shop/other")


# Rule 2.57
@pytest.mark.parametrize("family", [4, 6])
def test_both_addresses_of_a_pod_are_isolated_and_are_peers(allowed: Judge, family: int) -> None:
    built = (
        cluster()
        .pod("shop/web", ip=("10.0.0.1", "fd00::1"), labels={"app": "web"})
        .pod("shop/api", ip=("10.0.0.2", "fd00::2"), labels={"app": "api"})
        .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"}, node="node-2")
        .policy("shop/p", accepting({"from": [pods(app="web")], "ports": [port(80)]}))
    )

    assert allowed(built, "shop/web", "shop/db", "80", family=family)
    assert not allowed(built, "shop/web", "shop/db", "81", family=family)
    assert not allowed(built, "shop/api", "shop/db", "80", family=family)


# Rule 2.57
def test_a_second_address_of_the_same_family_is_the_pods_too(allowed: Judge) -> None:
    built = OPEN.pod("shop/multi", ip=("10.0.1.8", "10.0.1.9"), labels={"app": "multi"})

    denied = built.policy("shop/deny", {"podSelector": labels(app="multi")})
    named = built.policy("shop/p", accepting({"from": [pods(app="multi")]}))
    assert not allowed(denied, OUTSIDE, "10.0.1.9")
    assert allowed(named, "10.0.1.9", "shop/db")


# Rule 2.57: IPv4-only rules must not leave the other family open
@pytest.mark.parametrize("family", [4, 6])
def test_a_policy_that_only_names_one_family_isolates_the_other(allowed: Judge, family: int) -> None:
    built = (
        cluster()
        .pod("shop/web", ip=("10.0.0.1", "fd00::1"))
        .policy("shop/p", {"policyTypes": ["Egress"], "egress": [{"to": [block("192.0.2.0/24")]}]})
    )

    destination = {4: "198.51.100.1", 6: "2001:db8::1"}[family]
    assert not allowed(built, "shop/web", destination, family=family)


# Rule 2.58
@pytest.mark.parametrize("peer", [pods(), namespaces(), in_namespace("shop")], ids=str)
def test_pods_of_a_namespace_that_is_gone_are_peers_of_nobody(allowed: Judge, peer: dict[str, Any]) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [peer]}))

    assert allowed(built, "shop/web", "shop/db")
    assert not allowed(built.without_ns("shop"), "shop/web", "shop/db")


# Rules 2.35, 2.58
def test_the_ports_of_a_pod_of_a_namespace_that_is_gone_have_no_names(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", sending({"ports": [port("http")]}))

    assert allowed(built, "shop/web", "bank/web", "9090")
    assert not allowed(built.without_ns("bank"), "shop/web", "bank/web", "9090")


# Rules 2.58, 2.61
def test_policies_of_a_namespace_that_is_gone_still_isolate(allowed: Judge) -> None:
    assert not allowed(OPEN.policy("shop/deny", {}).without_ns("shop"), OUTSIDE, "shop/db")


# Rule 2.58
def test_labels_count_as_they_are_now(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces(team="b"), pods(app="web")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/web", "bank/web"]
    assert who_reaches(allowed, built.ns("bank", team="c"), "shop/db") == ["shop/web"]
    assert who_reaches(allowed, built.pod("shop/web", labels={"app": "x"}), "shop/db") == ["bank/web"]


# Pods that could not be read


def test_a_quarantined_pod_is_isolated_both_ways_and_a_peer_of_nobody(allowed: Judge) -> None:
    built = OPEN.pod(
        "shop/odd", ip="10.0.2.9", node="node-2", labels={"app": "web"}, quarantined=True
    ).policy("shop/p", accepting({"from": [pods(app="web")]}))

    assert not allowed(built, OUTSIDE, "shop/odd")
    assert not allowed(built, "shop/odd", OUTSIDE)
    assert not allowed(built, "shop/odd", "shop/db")
    assert allowed(built, NODE_2, "shop/odd")  # rule 2.40


def test_the_ports_of_a_quarantined_pod_have_no_names() -> None:
    built = OPEN.pod("bank/web", labels={"app": "web"}, node="node-2", ports=["http:9090"], quarantined=True)

    verdict = built.policy("shop/p", sending({"ports": [port("http")]})).verdict(
        "shop/web", "bank/web", "9090"
    )
    assert not verdict.egress.allowed


def test_a_block_still_matches_the_address_of_a_quarantined_pod(allowed: Judge) -> None:
    built = OPEN.pod("bank/web", node="node-2", quarantined=True).policy(
        "shop/p", sending({"to": [block("10.0.2.0/24")]})
    )

    assert built.verdict("shop/web", "bank/web").egress.allowed
    assert not allowed(built, "shop/web", "bank/web")
