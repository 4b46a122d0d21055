"""The order in which a change goes into the kernel, case by case.

That none ever opens a hole or closes a door is the property test's to show; here stand the steps themselves.
"""

import functools

import pytest
from msgspec.structs import replace

from controller.dataplane.compile import NodeCompiler, compile_family
from controller.dataplane.edits import InsertRule, ReplaceChain
from controller.dataplane.plan import (
    AddEntries,
    Commit,
    DestroySets,
    FillSet,
    Planner,
    RemoveEntries,
    Step,
    advance,
    plan,
)
from controller.dataplane.ruleset import AddressSet, Chain, Jump, Rule, Ruleset, SetMatch, SetType
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.simulate import Simulator, Verdict
from controller.engine.rulesets import LocalPod, NodeView, PodGroup, PolicyRuleset, RulesetId, RulesetRule
from controller.engine.tiers import Action, Tier
from controller.objects.kinds import Direction
from controller.objects.labels import LabelSelector
from tests.kernel.changes import CHANGES, STRICT, allowed, barriers, holes
from tests.unit.builder import ClusterBuilder, cluster, labels, pods
from tests.unit.dataplane.compiled import packet

PLAIN = Settings(gates=())
GATED = Settings(gates=(4,))
SHOP = (
    cluster()
    .pod("shop/web", ip="10.0.9.1", labels={"app": "web"}, node="elsewhere")
    .pod("shop/db", ip="10.0.0.3", labels={"app": "db"})
    .pod("shop/api", ip="10.0.0.4", labels={"app": "api"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)
MORE_PEERS = SHOP.pod("shop/web-1", ip="10.0.9.2", labels={"app": "web"}, node="elsewhere")
MORE_PODS = SHOP.pod("shop/db-1", ip="10.0.0.19", labels={"app": "db"})
OTHER_RULES = SHOP.policy(
    "shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="api")]}]}
)


def steps(
    old: ClusterBuilder, new: ClusterBuilder, settings: Settings = PLAIN, generation: int = 1
) -> tuple[Step, ...]:
    return plan(old.rules(settings=settings), new.rules(settings=replace(settings, generation=generation)))


def kinds(found: tuple[Step, ...]) -> list[str]:
    return [type(step).__name__ for step in found]


# Which steps, in which order


def test_equal_rulesets_need_none() -> None:
    assert steps(SHOP, SHOP) == ()


def test_comments_of_sets_are_not_in_the_kernel_and_make_no_difference() -> None:
    new = SHOP.rules()
    held = replace(new, sets=tuple(replace(each, comment="") for each in new.sets))

    assert plan(held, new) == ()


def test_the_first_ruleset_is_its_sets_and_then_one_commit() -> None:
    new = SHOP.rules(settings=GATED)

    assert kinds(plan(Ruleset(4), new)) == [*["FillSet"] * len(new.sets), "Commit"]


def test_a_peer_that_comes_is_an_entry() -> None:
    (step,) = steps(SHOP, MORE_PEERS)

    assert isinstance(step, AddEntries)
    assert step.entries == ("10.0.9.2",)


def test_a_peer_that_goes_is_an_entry_and_then_the_new_generation() -> None:
    removal, commit = steps(MORE_PEERS, SHOP, generation=2)

    assert isinstance(removal, RemoveEntries)
    assert removal.entries == ("10.0.9.2",)
    assert isinstance(commit, Commit)
    assert not [edit for edit in commit.edits if isinstance(edit, ReplaceChain) and "P-" in edit.chain.name]


def test_of_peers_that_change_places_the_new_ones_come_first() -> None:
    moved = SHOP.pod("shop/web", ip="10.0.9.7", node="elsewhere", labels={"app": "web"})

    assert kinds(steps(SHOP, moved, generation=2)) == ["AddEntries", "RemoveEntries", "Commit"]


def test_a_pod_that_comes_is_in_the_gate_before_it_is_dispatched() -> None:
    gate, commit = steps(SHOP, MORE_PODS, GATED)

    assert gate == AddEntries("pg4-iso-i", ("10.0.0.19",))
    assert isinstance(commit, Commit)
    assert [type(edit) for edit in commit.edits] == [InsertRule]


def test_a_pod_that_goes_is_dispatched_no_more_before_it_leaves_the_gate() -> None:
    commit, gate, generation = steps(MORE_PODS, SHOP, GATED, generation=2)

    assert isinstance(commit, Commit)
    (edit,) = commit.edits
    assert isinstance(edit, ReplaceChain)  # of two rules one is left
    assert edit.chain.name == "PODGATE-I3"
    assert gate == RemoveEntries("pg4-iso-i", ("10.0.0.19",))
    assert isinstance(generation, Commit)


def test_what_a_pod_may_do_to_others_is_added_before_it_is_isolated_and_what_it_asks_about_itself_after() -> (
    None
):
    peers = {"from": [pods(app="db"), pods(app="web")]}
    friends = SHOP.policy("shop/db", {"podSelector": labels(app="db"), "ingress": [peers]})
    more = friends.pod("shop/db-1", ip="10.0.0.19", labels={"app": "db"})

    assert kinds(steps(friends, more)) == ["Commit", "AddEntries"]


def test_a_policy_that_is_written_anew_finds_its_sets_filled_and_leaves_its_old_ones_last() -> None:
    fill, commit, destroy = steps(SHOP, OTHER_RULES, generation=2)

    assert isinstance(fill, FillSet)
    assert fill.set.entries == ("10.0.0.4",)
    assert isinstance(commit, Commit)
    assert isinstance(destroy, DestroySets)
    assert destroy.names == tuple(
        each.name for each in SHOP.rules().sets if not each.name.startswith("pg4-iso")
    )


def test_a_pod_that_is_known_no_more_loses_that_first_and_one_that_becomes_known_gets_it_last() -> None:
    settings = Settings(gates=(), unknown_pods_denied=True)
    built = SHOP.node("node-1", "172.16.0.1", pods=["10.0.0.0/24"])
    new = built.without_pod("shop/api").pod("shop/db-1", ip="10.0.0.19", labels={"app": "db"})

    first, *_, last = steps(built, new, settings, generation=2)

    assert first == RemoveEntries("pg4-known", ("10.0.0.4",))
    assert last == AddEntries("pg4-known", ("10.0.0.19",))


# Over copies


SEVERAL = (
    SHOP.pod("shop/web-1", ip="10.0.9.2", labels={"app": "web"}, node="elsewhere")
    .without_pod("shop/web")
    .pod("shop/api", labels={"app": "db"})
    .policy(
        "shop/db",
        {
            "podSelector": labels(app="db"),
            "ingress": [{"from": [pods(app="web")]}, {"from": [pods(app="db")]}],
        },
    )
)


def test_several_changes_at_once_go_over_copies_of_the_sets() -> None:
    found = steps(SHOP, SEVERAL, generation=2)

    assert kinds(found) == [
        "FillSet",
        "FillSet",
        "Commit",
        "AddEntries",
        "RemoveEntries",
        "Commit",
        "DestroySets",
    ]
    copy = found[1]
    assert isinstance(copy, FillSet)
    assert copy.set.name.endswith("-a")
    assert found[-1] == DestroySets((copy.set.name,))


def test_while_rules_look_at_a_copy_nothing_asks_the_set() -> None:
    old, new = SHOP.rules(settings=PLAIN), SEVERAL.rules(settings=PLAIN)
    held = old
    for step in plan(old, new):
        if isinstance(step, AddEntries | RemoveEntries):
            assert step.name not in asked(held)
        held = advance(held, step)


def asked(ruleset: Ruleset) -> set[str]:
    return {
        match.name
        for chain in ruleset.chains
        for rule in chain.rules
        for match in rule.matches
        if isinstance(match, SetMatch)
    }


def test_a_copy_never_takes_the_name_of_one_in_use() -> None:
    """An interrupted change left rules that look at its copies."""
    old, new = SHOP.rules(settings=PLAIN), SEVERAL.rules(settings=PLAIN)
    held = old
    for step in plan(old, new)[:4]:
        held = advance(held, step)
    in_use = {name for name in asked(held) if name.endswith("-a")}
    assert in_use

    found = plan(held, new)

    assert not in_use & {step.set.name for step in found if isinstance(step, FillSet)}
    assert any(in_use <= set(step.names) for step in found if isinstance(step, DestroySets))


def test_a_change_that_is_interrupted_any_number_of_times_can_still_be_made() -> None:
    held, new = SHOP.rules(settings=PLAIN), SEVERAL.rules(settings=PLAIN)

    for _ in range(20):
        for step in plan(held, new):
            held = advance(held, step)
            if isinstance(step, Commit):
                break

    assert len(held.sets) <= len(new.sets) + 2


# From where an interrupted change stopped


CORRIDORS = {change: tuple(each.rules(settings=STRICT) for each in pair) for change, pair in CHANGES.items()}


def half(step: Step) -> Step | None:
    """What was done of a step in the middle of it."""
    match step:
        case FillSet(each):
            return FillSet(replace(each, entries=each.entries[: len(each.entries) // 2]))
        case AddEntries(name, entries):
            return AddEntries(name, entries[: len(entries) // 2])
        case RemoveEntries(name, entries):
            return RemoveEntries(name, entries[: len(entries) // 2])
        case _:
            return None


FIRST = "the first application"


@pytest.mark.parametrize("change", CHANGES)
def test_going_on_from_the_middle_of_a_change_is_safe_at_every_step(change: str) -> None:
    old, new = CORRIDORS[change]
    if change == FIRST:
        old = Ruleset(4)
    held = old
    stopped = []
    for step in plan(old, new):
        part = half(step)
        stopped += [advance(held, part)] if part is not None else []
        held = advance(held, step)
        stopped.append(held)

    passing = functools.cache(allowed)  # most states are met more than once
    for start in stopped:
        held = start
        for step in plan(start, new):
            held = advance(held, step)
            assert not holes(passing(held), passing(start), passing(new))
            assert not barriers(passing(held), passing(start), passing(new))
        assert held.chains == new.chains
        assert [(each.name, each.entries) for each in held.sets] == [
            (each.name, each.entries) for each in new.sets
        ]


# Rules that deny what is in a set


DENIED, ALLOWED = (PodGroup("shop", None, LabelSelector.of({"app": name})) for name in ("denied", "allowed"))


def tiered(denied: set[str], let: set[str]) -> Ruleset:
    """A pod that an admin's policy closes to one group, and its own opens to another."""
    ids = [
        RulesetId(tier, 0, "shop", "policy", Direction.INGRESS) for tier in (Tier.ADMIN, Tier.NETWORK_POLICY)
    ]
    rulesets = {
        ids[0]: PolicyRuleset(ids[0], (RulesetRule("x", Action.DENY, groups=(DENIED,), any_port=True),)),
        ids[1]: PolicyRuleset(ids[1], (RulesetRule("y", groups=(ALLOWED,), any_port=True),)),
    }
    pod = LocalPod("shop", "db", ("10.0.0.3",), (Direction.INGRESS,), tuple(ids))
    groups = {DENIED: frozenset(denied), ALLOWED: frozenset(let)}
    return compile_family(NodeView("node-1", (pod,), rulesets, groups), 4, DEFAULTS)


def test_a_peer_that_enters_or_leaves_two_groups_never_gets_through_in_between() -> None:
    outside, inside = tiered(set(), set()), tiered({"10.0.9.1"}, {"10.0.9.1"})

    for old, new in ((outside, inside), (inside, outside)):
        held = old
        for step in plan(old, new):
            held = advance(held, step)
            assert Simulator(held).run(packet("10.0.9.1", "10.0.0.3")).verdict is Verdict.DROP


# What a step makes of a ruleset


def test_advance_says_what_the_kernel_holds() -> None:
    own = AddressSet("pg4-aaaaaaaaaaaaaaaa", SetType.ADDRESSES, ("10.0.0.9",))
    jump = Chain("FORWARD", (Rule((), Jump("PODGATE")),))
    held = Ruleset(4)

    held = advance(held, FillSet(own))
    held = advance(held, AddEntries(own.name, ("10.0.0.10", "10.0.0.2")))
    assert held.sets == (replace(own, entries=("10.0.0.2", "10.0.0.9", "10.0.0.10")),)
    held = advance(held, RemoveEntries(own.name, ("10.0.0.9", "10.0.0.1")))
    assert held.sets == (replace(own, entries=("10.0.0.2", "10.0.0.10")),)
    held = advance(held, Commit((ReplaceChain(jump),)))
    assert held.chains == (jump,)
    held = advance(held, DestroySets((own.name, "pg4-bbbbbbbbbbbbbbbb")))
    assert held.sets == ()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("settings", [PLAIN, GATED, STRICT])
def test_taking_all_steps_leads_to_the_new_ruleset(change: str, settings: Settings) -> None:
    old, new = (each.rules(settings=settings) for each in CHANGES[change])
    held = old

    for step in plan(old, new):
        held = advance(held, step)

    assert held == new


@pytest.mark.parametrize("settings", [PLAIN, GATED, STRICT])
def test_what_a_planner_remembers_changes_no_plan(settings: Settings) -> None:
    """The chains come from one compiler, so that most of them are the same objects again and again."""
    planner, compiler = Planner(), NodeCompiler(4, settings)
    held = Ruleset(4)
    generation = 0
    for old, new in (*CHANGES.values(), *reversed(CHANGES.values())):
        for state in (old, new):
            for _ in range(2):
                generation += 1
                target = compiler.compile(state.view(), generation)
                assert planner.plan(held, target) == plan(held, target)
                held = target
