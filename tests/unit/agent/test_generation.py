"""Which number the rules in the kernel mark with, which comes next, and when it has to come."""

import pytest
from msgspec.structs import replace

from controller.agent.generation import (
    installed_generation,
    may_tighten,
    next_generation,
    stated_generation,
)
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries
from controller.dataplane.readback import SPOILT
from controller.dataplane.ruleset import (
    AddressSet,
    Chain,
    ConnmarkMatch,
    Goto,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    SetType,
    Side,
)
from controller.dataplane.settings import MarkLayout, Settings
from tests.unit.builder import cluster

MARKS = MarkLayout()
NARROW = MarkLayout(0b111 << 16)


def installed(generation: int, marks: MarkLayout = MARKS, *, own_node_free: bool = False) -> Ruleset:
    settings = Settings(marks=marks, generation=generation, own_node_egress_allowed=own_node_free)
    return cluster().pod("x/a").policy("x/deny", {}).rules(settings=settings)


def with_chain(ruleset: Ruleset, name: str, *rules: Rule) -> Ruleset:
    chains = (Chain(name, rules) if each.name == name else each for each in ruleset.chains)
    return replace(ruleset, chains=tuple(chains))


def without_chain(ruleset: Ruleset, name: str) -> Ruleset:
    return replace(ruleset, chains=tuple(each for each in ruleset.chains if each.name != name))


# The installed one


@pytest.mark.parametrize("generation", [1, 2, 77, 4095])
@pytest.mark.parametrize("own_node_free", [False, True])
def test_the_rules_say_which_generation_they_are_of(generation: int, own_node_free: bool) -> None:
    assert installed_generation(installed(generation, own_node_free=own_node_free), MARKS) == generation


def test_where_nothing_is_installed_there_is_none() -> None:
    assert installed_generation(Ruleset(4), MARKS) is None


def test_marks_of_another_layout_say_nothing() -> None:
    assert installed_generation(installed(2, NARROW), MARKS) is None
    assert installed_generation(installed(2), NARROW) is None


@pytest.mark.parametrize("name", ["PODGATE", "PODGATE-IN", "PODGATE-D"])
def test_one_rule_of_another_number_and_no_number_is_believed(name: str) -> None:
    other = Rule((ConnmarkMatch(MARKS.value(1), MARKS.mask),), Return())

    assert installed_generation(with_chain(installed(5), name, other), MARKS) is None


@pytest.mark.parametrize("rules", [(), SPOILT, (Rule((), SetConnmark(0, MARKS.mask)),)])
def test_an_entry_chain_that_does_not_mark_says_nothing(rules: tuple[Rule, ...]) -> None:
    assert installed_generation(with_chain(installed(5), "PODGATE", *rules), MARKS) is None
    assert installed_generation(without_chain(installed(5), "PODGATE"), MARKS) is None


@pytest.mark.parametrize("name", ["PODGATE-IN", "PODGATE-D"])
def test_the_entry_chain_alone_is_enough(name: str) -> None:
    assert installed_generation(without_chain(installed(5), name), MARKS) == 5


def test_what_most_rules_state_is_what_the_others_are_compared_with() -> None:
    assert stated_generation(with_chain(installed(5), "PODGATE", *SPOILT), MARKS) == 5
    assert stated_generation(without_chain(installed(5), "PODGATE-D"), MARKS) == 5
    assert stated_generation(Ruleset(4), MARKS) == 1


# The next one


def test_numbers_go_up_and_begin_again_at_1_as_0_is_no_mark_at_all() -> None:
    assert [next_generation(current, NARROW) for current in (1, 2, 3)] == [2, 3, 1]
    assert next_generation(4095, MARKS) == 1


@pytest.mark.parametrize("mask", [0b11, 0b111, 0xF0, 0x1FFF0000, 0xFFFFFFFF])
def test_the_next_number_always_has_a_mark(mask: int) -> None:
    marks = MarkLayout(mask)

    for current in (1, marks.generations):
        marks.value(next_generation(current, marks))


# When it has to come


SET = "pg4-aaaaaaaaaaaaaaaa"
DENY = Goto("PODGATE-D")


def held(match: SetMatch, target: Return | Goto) -> Ruleset:
    return Ruleset(4, (Chain("PODGATE-IP-aaaaaaaaaaaaaaaa", (Rule((match,), target),)),))


def lookup(*, negated: bool = False) -> SetMatch:
    return SetMatch(SET, (Side.SOURCE,), negated)


@pytest.mark.parametrize(
    "step", [RemoveEntries(SET, ("10.0.0.1",)), Commit(())], ids=["entries go", "rules change"]
)
def test_what_may_take_something_away_needs_it(step: RemoveEntries | Commit) -> None:
    assert may_tighten((step,), held(lookup(), Return()))


def test_sets_that_nobody_asks_yet_or_any_more_need_it_not() -> None:
    steps = (FillSet(AddressSet(SET, SetType.ADDRESSES)), DestroySets((SET,)))

    assert not may_tighten(steps, held(lookup(), Return()))
    assert not may_tighten((), Ruleset(4))


@pytest.mark.parametrize(
    ("negated", "target", "closes"),
    [
        pytest.param(False, Return(), False, id="peers that are allowed"),
        pytest.param(True, DENY, False, id="known pods, as others are denied"),
        pytest.param(True, Return(), True, id="a gate, as others pass it by"),
        pytest.param(False, DENY, True, id="peers that are denied"),
        pytest.param(False, Goto("PODGATE-IP-bbbbbbbbbbbbbbbb"), True, id="peers that the next tier judges"),
    ],
)
def test_what_a_new_entry_does_is_for_the_rules_to_say_that_ask_for_it(
    negated: bool, target: Return | Goto, closes: bool
) -> None:
    steps = (AddEntries(SET, ("10.0.0.1",)),)

    assert may_tighten(steps, held(lookup(negated=negated), target)) is closes
