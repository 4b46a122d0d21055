"""Compiling one node again and again gives what compiling it once would give, whatever changed in between."""

import itertools
import random

import msgspec
import pytest

from controller.dataplane.compile import NodeCompiler, compile_family, compile_node
from controller.dataplane.ruleset import AddressSet
from controller.dataplane.settings import Settings
from tests.unit.builder import NODE, ClusterBuilder, block, labels, namespaces, pods, port
from tests.unit.dataplane.compiled import SHOP

OPTIONS = Settings(gates=(4, 6), unknown_pods_denied=True, bucket_size=1)
IN_ONE_FAMILY = SHOP.policy(
    "shop/web",
    {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"to": [block("10.0.0.0/8")], "ports": [port("sql")]}],
    },
)
STATES: dict[str, ClusterBuilder] = {
    "as it is": SHOP,
    "a peer came": SHOP.pod("bank/new", ip=("10.0.1.99", "fd00::1:99"), node="node-2", ports=["sql:7"]),
    "a peer went": SHOP.without_pod("bank/web"),
    "a peer has another address": SHOP.pod("bank/web", ip="10.0.1.8", node="node-2", ports=["sql:1"]),
    "a peer's port has another number": SHOP.pod("bank/web", node="node-2", ports=["sql:2"]),
    "a namespace was relabelled": SHOP.ns("bank", team="z"),
    "a subject came": SHOP.pod("shop/web-3", ip=("10.0.0.37", "fd00::37"), labels={"app": "web"}),
    "a subject went": SHOP.without_pod("shop/web"),
    "a subject's port has another number": SHOP.pod("shop/db", labels={"app": "db"}, ports=["sql:9"]),
    "a subject was relabelled": SHOP.pod("shop/db", labels={"app": "other"}),
    "a free pod came": SHOP.pod("lab/free", ip=("10.0.0.40", "fd00::40")),
    "the pod block changed": SHOP.node(NODE, "172.16.0.1", pods=["10.0.0.0/25"]),
    "a policy was edited": SHOP.policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{}]}),
    "a policy has another port, and the same peers": SHOP.policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces()], "ports": [port("sql"), port(1, end=98)]}],
        },
    ),
    "a policy asks for others": SHOP.policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces(team="b"), pods()], "ports": [port("sql")]}],
        },
    ),
    "a policy asks for a port by its name alone": SHOP.policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces()], "ports": [port("sql")]}],
        },
    ),
    "a name in a block of one family": IN_ONE_FAMILY,
    "a name in a block of one family, and a free pod came": IN_ONE_FAMILY.pod("lab/free", ip="10.0.0.40"),
    "no policy is left": SHOP.without_policies(),
}
VIEWS = {name: built.view() for name, built in STATES.items()}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("settings", [Settings(), OPTIONS], ids=["default", "options"])
@pytest.mark.parametrize("before", STATES)
def test_after_any_change_the_result_is_that_of_a_fresh_compilation(
    before: str, settings: Settings, family: int
) -> None:
    for after, view in VIEWS.items():
        again = NodeCompiler(family, settings)
        again.compile(VIEWS[before], 1)
        assert again.compile(view, 1) == compile_family(view, family, settings), after


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_after_many_changes_too(seed: int, family: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    again = NodeCompiler(family, OPTIONS)

    for generation in range(1, 40):
        view = VIEWS[chance.choice(list(VIEWS))]
        fresh = NodeCompiler(family, OPTIONS)
        assert again.compile(view, generation) == fresh.compile(view, generation)


def test_the_generation_is_that_of_each_compilation() -> None:
    again = NodeCompiler(4)
    again.compile(VIEWS["as it is"], 1)

    second = again.compile(VIEWS["as it is"], 2)

    assert second == compile_family(VIEWS["as it is"], 4, Settings(generation=2))


def test_two_compilers_know_nothing_of_each_other() -> None:
    one, other = NodeCompiler(4), NodeCompiler(6)
    one.compile(VIEWS["as it is"], 1)
    other.compile(VIEWS["no policy is left"], 1)

    assert one.compile(VIEWS["a peer came"], 1) == compile_family(VIEWS["a peer came"], 4)


def test_what_was_given_out_before_is_not_changed_by_what_comes_after() -> None:
    again = NodeCompiler(4)
    first = again.compile(VIEWS["as it is"], 1)

    for name in ("a peer came", "no policy is left"):
        again.compile(VIEWS[name], 2)

    assert first == compile_family(VIEWS["as it is"], 4)


# What the incremental way is for: a peer that comes costs the sets it is in.
def test_a_set_whose_members_did_not_change_is_not_made_again() -> None:
    view = VIEWS["as it is"]
    (grown,) = (group for group in view.groups if "team=b" in str(group))
    members = {**view.groups, grown: view.groups[grown] | {"10.0.1.99"}}
    again = NodeCompiler(4)
    before = _by_name(again.compile(view, 1).sets)

    after = _by_name(again.compile(msgspec.structs.replace(view, groups=members), 1).sets)

    made_again = [name for name in after if after[name] is not before[name]]
    assert len(made_again) == 1
    assert "10.0.1.99" in after[made_again[0]].entries


@pytest.mark.parametrize("number", [1, 20, 500])
@pytest.mark.parametrize("family", [4, 6])
def test_members_that_come_and_go_in_any_number_are_those_of_a_fresh_compilation(
    number: int, family: int
) -> None:
    """Few are put in and taken out one by one, many are sorted anew; some are in several groups of a set."""
    view = VIEWS["a policy asks for others"]
    chance = random.Random(number)  # noqa: S311
    again = NodeCompiler(family)
    pool = [f"10.9.{n >> 8}.{n & 255}" for n in range(600)] + [f"fd00:9::{n:x}" for n in range(1, 600)]
    for generation in range(1, 12):
        changing = chance.sample(pool, number)
        some = {group: chance.sample(changing, number // 2) for group in view.groups}
        groups = {
            group: members ^ frozenset(changing if chance.random() < 0.5 else some[group])
            for group, members in view.groups.items()
        }
        view = msgspec.structs.replace(view, groups=groups)

        compiled = again.compile(view, generation)

        assert compiled == compile_family(view, family, Settings(generation=generation))


def test_chains_that_did_not_change_are_the_same_objects() -> None:
    """By which a plan knows that it need not look at them."""
    again = NodeCompiler(4)
    before = {chain.name: chain for chain in again.compile(VIEWS["as it is"], 1).chains}

    after = again.compile(VIEWS["a subject came"], 1).chains

    changed = [chain.name for chain in after if before.get(chain.name) is not chain]
    assert changed
    assert all(before.get(chain.name) != chain for chain in after if chain.name in changed)


def _by_name(found: tuple[AddressSet, ...]) -> dict[str, AddressSet]:
    return {each.name: each for each in found}


# Else the tests above would show less than they seem to.
def test_each_state_differs_from_every_other() -> None:
    found = {name: compile_node(view, OPTIONS) for name, view in VIEWS.items()}

    assert [pair for pair in itertools.combinations(found, 2) if found[pair[0]] == found[pair[1]]] == []
