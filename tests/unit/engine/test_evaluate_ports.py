"""What ports mean, numbers and names; asked of the policies and of the compiled rules."""

from typing import Any

import pytest

from tests.unit.builder import (
    Judge,
    Spec,
    namespaces,
    pods,
    port,
)
from tests.unit.engine.shop import OPEN, OUTSIDE, accepting, sending

# Ports


# Rule 2.5
def test_a_port_item_that_says_nothing_is_every_tcp_port(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [{}]}))

    assert allowed(built, "shop/web", "shop/db", "1")
    assert allowed(built, "shop/web", "shop/db", "65535")
    assert not any(
        allowed(built, "shop/web", "shop/db", service) for service in ("80/UDP", "80/SCTP", "ICMP")
    )


# Rules 2.32, 2.33
@pytest.mark.parametrize(
    ("item", "open_ports"),
    [
        (port(80), [80]),
        (port(79, end=81), [79, 80, 81]),
        (port(80, end=80), [80]),
        (port(81, end=65535), [81, 82, 65535]),
        (port(1, end=79), [78, 79]),
    ],
    ids=str,
)
def test_a_range_includes_both_ends(allowed: Judge, item: dict[str, Any], open_ports: list[int]) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [item]}))

    asked = [78, 79, 80, 81, 82, 65535]
    found = [number for number in asked if allowed(built, "shop/web", "shop/db", str(number))]
    assert found == open_ports


# Rule 2.33
@pytest.mark.parametrize("item", [port(80, end=79), port("http", end=90), port(end=90), port(80, end=70000)])
def test_a_refused_range_matches_no_port_at_all(allowed: Judge, item: dict[str, Any]) -> None:
    built = OPEN.flawed_policy("shop/p", accepting({"ports": [item]}))

    assert not any(allowed(built, "shop/web", "shop/db", service) for service in ("79", "80", "90", "8080"))


# Rule 2.34
def test_an_ingress_name_is_resolved_on_each_pod_that_the_policy_selects(allowed: Judge) -> None:
    built = OPEN.pod("shop/old", ports=["http:80"]).policy("shop/p", {"ingress": [{"ports": [port("http")]}]})

    assert allowed(built, OUTSIDE, "shop/db", "8080")
    assert not allowed(built, OUTSIDE, "shop/db", "80")
    assert allowed(built, OUTSIDE, "shop/old", "80")
    assert not allowed(built, OUTSIDE, "shop/old", "8080")


# Rule 2.34
def test_an_ingress_name_is_not_resolved_on_the_source(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces()], "ports": [port("http")]}))

    assert allowed(built, "bank/web", "shop/db", "8080")
    assert not allowed(built, "bank/web", "shop/db", "9090")


# Rule 2.35
@pytest.mark.parametrize(
    "rule", [{}, {"to": [namespaces()]}], ids=["to anybody", "to pods of all namespaces"]
)
def test_an_egress_name_is_resolved_on_each_destination_wherever_it_is(
    allowed: Judge, rule: dict[str, Any]
) -> None:
    built = OPEN.policy("shop/p", sending({**rule, "ports": [port("http")]}))

    assert allowed(built, "shop/web", "shop/api", "8080")
    assert allowed(built, "shop/web", "bank/web", "9090")
    assert not allowed(built, "shop/web", "bank/web", "8080")
    assert not allowed(built, "shop/web", OUTSIDE, "8080")


# Rule 2.35
def test_an_egress_name_is_resolved_on_the_pods_of_the_peer_and_no_others(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", sending({"to": [pods(app="api")], "ports": [port("http")]}))

    assert allowed(built, "shop/web", "shop/api", "8080")
    assert not allowed(built, "shop/web", "shop/db", "8080")


# Rule 2.35
def test_an_egress_name_is_not_resolved_on_the_source(allowed: Judge) -> None:
    built = OPEN.pod("shop/web", labels={"app": "web"}, ports=["http:7070"]).policy(
        "shop/p", sending({"ports": [port("http")]})
    )

    assert not allowed(built, "shop/web", "shop/api", "7070")


# Rule 2.36
@pytest.mark.parametrize("service", ["8080", "8080/UDP", "8080/SCTP", "80", "ICMP"])
def test_a_name_with_another_protocol_opens_nothing(allowed: Judge, service: str) -> None:
    into = OPEN.policy("shop/p", accepting({"ports": [port("http", "UDP")]}))
    out = OPEN.policy("shop/p", sending({"ports": [port("http", "UDP")]}))

    assert not allowed(into, "shop/web", "shop/db", service)
    assert not allowed(out, "shop/web", "shop/db", service)


# Rule 2.36
def test_a_name_that_no_pod_has_opens_nothing_and_the_pod_stays_isolated(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port("nothing")]}))

    assert not any(allowed(built, "shop/web", "shop/db", service) for service in ("80", "8080", "ICMP"))


# Rule 2.36
def test_a_name_that_opens_nothing_leaves_the_numbers_beside_it_in_force(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port("nothing"), port(80)]}))

    assert allowed(built, "shop/web", "shop/db", "80")


# Rule 2.37
@pytest.mark.parametrize("spec", [accepting({"ports": [port("http")]}), None], ids=["ingress", "egress"])
def test_a_name_that_two_containers_use_stands_for_both_numbers(allowed: Judge, spec: Spec | None) -> None:
    twice = OPEN.pod("shop/db", labels={"app": "db"}, ports=["http:80", "http:81", "http:82/UDP"])
    built = twice.policy("shop/p", spec or sending({"ports": [port("http")]}))

    assert allowed(built, "shop/web", "shop/db", "80")
    assert allowed(built, "shop/web", "shop/db", "81")
    assert not allowed(built, "shop/web", "shop/db", "82")
    assert not allowed(built, "shop/web", "shop/db", "82/UDP")


# Rule 2.38
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_a_port_of_one_protocol_isolates_for_all_of_them(allowed: Judge, protocol: str) -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port(80, protocol)]}))

    services = ["80/TCP", "80/UDP", "80/SCTP"]
    found = [service for service in services if allowed(built, "shop/web", "shop/db", service)]
    assert found == [f"80/{protocol}"]


# Rule 2.39
@pytest.mark.parametrize(
    ("rules", "passes"),
    [([{}], True), ([{"from": [pods()]}], True), ([{"ports": [port()]}], False), ([], False)],
    ids=["anything", "a peer's anything", "ports", "nothing"],
)
def test_other_protocols_pass_by_rules_without_ports_alone(
    allowed: Judge, rules: list[dict[str, Any]], passes: bool
) -> None:
    built = OPEN.policy("shop/p", accepting(*rules))

    assert allowed(built, "shop/web", "shop/db", "ICMP") is passes


# Rule 2.39
def test_every_port_of_every_protocol_is_not_every_protocol(allowed: Judge) -> None:
    all_ports = [port(protocol=protocol) for protocol in ("TCP", "UDP", "SCTP")]
    built = OPEN.policy("shop/p", accepting({"ports": all_ports}))

    assert not allowed(built, "shop/web", "shop/db", "ICMP")
