"""What IP blocks mean; asked of the policies and of the compiled rules."""

from typing import Any

import pytest

from tests.unit.builder import (
    Judge,
    block,
    cluster,
    pods,
    port,
)
from tests.unit.engine.shop import OPEN, OUTSIDE, accepting, sending, who_reaches

# IP blocks


# Rule 2.19
def test_a_block_is_the_source_for_ingress_and_the_destination_for_egress(allowed: Judge) -> None:
    into = OPEN.policy("shop/p", accepting({"from": [block("192.0.2.0/24")]}))
    out = OPEN.policy("shop/p", sending({"to": [block("192.0.2.0/24")]}))

    assert who_reaches(allowed, into, "shop/db") == [OUTSIDE]
    assert allowed(out, "shop/web", OUTSIDE)
    assert not allowed(out, "shop/web", "198.51.100.1")
    assert not allowed(out, "shop/web", "shop/db")


# Rule 2.19
def test_a_block_matches_pods_by_their_address_in_whatever_namespace(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [block("10.0.2.0/24")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/api", "bank/web"]


# Rule 2.19
@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("192.0.1.255", False),
        ("192.0.2.0", True),
        ("192.0.2.63", True),
        ("192.0.2.64", False),
        ("192.0.2.127", False),
        ("192.0.2.128", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
    ],
)
def test_blocks_and_their_excepts_include_their_first_and_last_address(
    allowed: Judge, address: str, inside: bool
) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [block("192.0.2.0/24", "192.0.2.64/26")]}))

    assert allowed(built, address, "shop/db") is inside


# Rule 2.20
@pytest.mark.parametrize(
    "other",
    [block("192.0.2.64/27"), block("192.0.0.0/16"), block("192.0.2.64/26"), block("192.0.2.70/32")],
    ids=["inside the hole", "around it all", "the hole itself", "one address"],
)
def test_an_except_narrows_its_own_peer_and_no_other(allowed: Judge, other: dict[str, Any]) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [block("192.0.2.0/24", "192.0.2.64/26"), other]}))

    assert allowed(built, "192.0.2.70", "shop/db")


# Rule 2.20
@pytest.mark.parametrize("same_policy", [True, False])
def test_an_except_narrows_no_other_rule_or_policy(allowed: Judge, same_policy: bool) -> None:
    narrow = {"from": [block("192.0.2.0/24", "192.0.2.64/26")]}
    other = {"from": [block("192.0.2.70/32")]}
    built = OPEN.policy("shop/p", accepting(narrow, *([other] if same_policy else [])))
    if not same_policy:
        built = built.policy("shop/q", accepting(other))

    assert allowed(built, "192.0.2.70", "shop/db")
    assert not allowed(built, "192.0.2.71", "shop/db")


# Rule 2.20
def test_a_pod_in_an_except_can_still_be_allowed_by_its_labels(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [block("10.0.0.0/8", "10.0.2.0/24"), pods(app="api")]}))

    assert who_reaches(allowed, built, "shop/db") == ["shop/web", "shop/api"]


# Rule 2.21
@pytest.mark.parametrize(
    ("cidr", "ipv4", "ipv6"), [("0.0.0.0/0", True, False), ("::/0", False, True), ("::/1", False, True)]
)
def test_a_block_of_one_family_never_matches_the_other(
    allowed: Judge, cidr: str, ipv4: bool, ipv6: bool
) -> None:
    built = (
        cluster()
        .pod("shop/db", ip=("10.0.0.1", "fd00::1"))
        .policy("shop/p", {"ingress": [{"from": [block(cidr)]}]})
    )

    assert allowed(built, OUTSIDE, "shop/db", family=4) is ipv4
    assert allowed(built, "64:ff9b::c000:201", "shop/db", family=6) is ipv6


# Rules 2.21, 2.57
def test_one_policy_can_name_blocks_of_both_families(allowed: Judge) -> None:
    built = (
        cluster()
        .pod("shop/db", ip=("10.0.0.1", "fd00::1"))
        .policy("shop/p", {"ingress": [{"from": [block("192.0.2.0/24"), block("2001:db8::/32")]}]})
    )

    assert allowed(built, OUTSIDE, "shop/db", family=4)
    assert allowed(built, "2001:db8::9", "shop/db", family=6)
    assert not allowed(built, "2001:db9::9", "shop/db", family=6)


# Rule 2.22
@pytest.mark.parametrize("hole", ["192.0.2.0/24", "192.0.0.0/16", "198.51.100.0/28", "2001:db8::/64"])
def test_a_block_with_a_refused_except_matches_nothing(allowed: Judge, hole: str) -> None:
    built = OPEN.flawed_policy("shop/p", accepting({"from": [block("192.0.2.0/24", hole)]}))

    assert who_reaches(allowed, built, "shop/db") == []


# Rule 2.23
def test_overlapping_excepts_are_all_left_out(allowed: Judge) -> None:
    built = OPEN.policy(
        "shop/p",
        accepting({"from": [block("192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/28", "192.0.2.200/32")]}),
    )

    assert not allowed(built, "192.0.2.1", "shop/db")
    assert not allowed(built, "192.0.2.200", "shop/db")
    assert allowed(built, "192.0.2.201", "shop/db")


# Rule 2.24
def test_a_named_port_to_a_block_is_open_on_pods_that_have_it_and_never_outside(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", sending({"to": [block("0.0.0.0/0")], "ports": [port("http")]}))

    assert allowed(built, "shop/web", "shop/api", "8080")
    assert allowed(built, "shop/web", "bank/web", "9090")
    assert not allowed(built, "shop/web", "bank/web", "8080")
    assert not any(allowed(built, "shop/web", OUTSIDE, service) for service in ("8080", "9090", "80"))


# Rule 2.24
def test_a_named_port_to_a_block_is_closed_on_pods_outside_of_the_block(allowed: Judge) -> None:
    built = OPEN.policy("shop/p", sending({"to": [block("10.0.2.0/24")], "ports": [port("http")]}))

    assert allowed(built, "shop/web", "shop/api", "8080")
    assert not allowed(built, "shop/web", "shop/db", "8080")
