"""Names: short enough for the kernel, ours by their looks, and never one for two things."""

import itertools

import pytest

from controller.dataplane import names
from controller.dataplane.ruleset import CHAIN_NAME_MAX, SET_NAME_MAX
from controller.dataplane.validity import is_own_chain, is_own_set
from controller.engine.identity import digest
from controller.objects.kinds import Direction

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
FIXED = [names.ENTRY, names.NODE_ENTRY, names.DENY, *names.AUDIT.values(), *map(names.dispatch, Direction)]
BUCKETS = [
    names.bucket(direction, "".join(digits))
    for direction in Direction
    for depth in (1, 2)
    for digits in itertools.product("0123456789ABCDEF", repeat=depth)
]
PROFILES = [names.profile(direction, ["x"]) for direction in Direction]


def test_the_fixed_chains_have_the_names_of_the_layout() -> None:
    assert FIXED == [
        "PODGATE",
        "PODGATE-IN",
        "PODGATE-D",
        "PODGATE-AI",
        "PODGATE-AE",
        "PODGATE-I",
        "PODGATE-E",
    ]


def test_chains_of_every_kind_are_short_ours_and_different() -> None:
    chains = FIXED + BUCKETS + PROFILES

    assert len(set(chains)) == len(chains)
    assert [name for name in chains if len(name) > CHAIN_NAME_MAX or not is_own_chain(name)] == []


@pytest.mark.parametrize("family", [4, 6])
def test_sets_of_every_kind_are_short_ours_and_different(family: int) -> None:
    found = [
        names.address_set(family, ["x"]),
        names.known_set(family),
        *(names.isolated_set(family, direction) for direction in Direction),
    ]

    assert len(set(found)) == len(found)
    assert [name for name in found if len(name) > SET_NAME_MAX or not is_own_set(name, family)] == []


# One name space for both families: one handler overwrote the other's sets in another implementation.
def test_the_sets_of_the_two_families_never_share_a_name() -> None:
    ipv4, ipv6 = (
        {
            names.address_set(family, ["x"]),
            names.known_set(family),
            names.isolated_set(family, INGRESS),
            names.isolated_set(family, EGRESS),
        }
        for family in (4, 6)
    )

    assert ipv4.isdisjoint(ipv6)


def test_profiles_of_the_two_directions_never_share_a_name() -> None:
    assert names.profile(INGRESS, ["x"]) != names.profile(EGRESS, ["x"])


def test_buckets_and_profiles_are_told_by_their_names() -> None:
    chains = FIXED + BUCKETS + PROFILES

    assert [name for name in chains if names.is_bucket(name)] == BUCKETS
    assert [name for name in chains if names.is_profile(name)] == PROFILES


def test_a_name_holds_80_bits_of_hash_in_letters_and_digits() -> None:
    assert names.profile(INGRESS, ["x"]).removeprefix("PODGATE-IP-") == digest(["x"])
    assert names.address_set(4, ["x"]).removeprefix("pg4-") == digest(["x"])
    assert len(digest(["x"])) * 5 == 80


# A name that moved with the program's version, machine or run would rewrite every node's rules.
def test_a_digest_is_the_same_for_ever() -> None:
    assert digest(["pods", "app=web"]) == "yi2o3knhr6tskqg2"
    assert digest([]) == "4oymiquy7qobjgx3"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["prod", "1allow"], ["prod1", "allow"]),
        (["1", "11"], ["11", "1"]),
        (["a", "b"], ["ab"]),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", ""]),
        ([], [""]),
        (["1:a"], ["1", "a"]),
        (["a", "2:bc"], ["a", "2", "bc"]),
        (["é"], ["e"]),
        (["a"], ["A"]),
    ],
    ids=str,
)
def test_texts_that_run_together_alike_have_different_digests(one: list[str], other: list[str]) -> None:
    assert digest(one) != digest(other)
