"""How large a policy may be, and what becomes of one that is larger."""

from typing import Any

import pytest

from controller.objects.kinds import Direction
from controller.objects.limits import BLOCKS_MAX, GROUPS_MAX
from tests.unit.objects.writing import errors, policy

PODS = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def selectors(count: int) -> list[Any]:
    return [{"podSelector": {"matchLabels": {"a": f"v{number}"}}} for number in range(count)]


def names(count: int) -> list[Any]:
    return [{"port": f"n{number}"} for number in range(count)]


def odd_ports(count: int) -> list[Any]:
    return [{"port": 2 * number + 1} for number in range(count)]


def hosts(count: int) -> list[str]:
    return [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32" for number in range(count)]


TOO_LARGE = {
    "selectors": ("ingress", {"from": selectors(GROUPS_MAX + 1)}),
    "names times selectors": ("egress", {"to": selectors(30), "ports": names(30)}),
    "names anywhere": ("egress", {"ports": names(GROUPS_MAX + 1)}),
    "ports times blocks": (
        "ingress",
        {
            "from": [{"ipBlock": {"cidr": each}} for each in hosts(5)],
            "ports": [*odd_ports(32768), *odd_ports(6000)],
        },
    ),
    "exceptions": (
        "egress",
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": hosts(BLOCKS_MAX // 32 + 1)}}]},
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_direction_that_needs_too_much_allows_nothing_and_stays_isolated(case: str) -> None:
    field, rule = TOO_LARGE[case]
    other = "egress" if field == "ingress" else "ingress"

    found = policy({**PODS, field: [rule], other: [{}]})

    assert errors(found) == [("policy-too-large", f"spec.{field}")]
    assert found.directions == (Direction.INGRESS, Direction.EGRESS)
    assert getattr(found, field) == ()
    assert len(getattr(found, other)) == 1
    assert "are the most" in found.findings[0].message


WITHIN = {
    "selectors": ("ingress", {"from": selectors(GROUPS_MAX)}),
    "names of a pod's own ports": ("ingress", {"from": selectors(30), "ports": names(30)}),
    "names times selectors": ("egress", {"to": selectors(20), "ports": names(20)}),
    "every second port": ("ingress", {"ports": odd_ports(32768)}),
    "blocks": ("ingress", {"from": [{"ipBlock": {"cidr": each}} for each in hosts(20_000)]}),
    "exceptions": ("egress", {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": hosts(20_000)}}]}),
}


@pytest.mark.parametrize("case", WITHIN)
def test_what_is_large_and_of_use_is_taken_whole(case: str) -> None:
    field, rule = WITHIN[case]

    found = policy({**PODS, field: [rule]})

    assert found.findings == ()
    assert len(getattr(found, field)) == 1


def test_the_rules_of_a_direction_count_together() -> None:
    rules = [{"from": [selector], "ports": [{"port": 80}]} for selector in selectors(GROUPS_MAX + 1)]

    assert errors(policy({**PODS, "ingress": rules})) == [("policy-too-large", "spec.ingress")]


def test_a_selector_that_stands_in_many_rules_counts_once() -> None:
    rules = [{"from": selectors(1), "ports": [each]} for each in odd_ports(GROUPS_MAX + 1)]

    assert policy({**PODS, "ingress": rules}).findings == ()
