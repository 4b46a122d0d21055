"""Chains change by as few edits as a transaction can do it with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.edits import (
    ChainEdit,
    DeleteRule,
    EnterRule,
    InsertRule,
    RemoveChain,
    ReplaceChain,
    chain_edits,
    edited,
)
from controller.dataplane.ruleset import Chain, Drop, Goto, Jump, ProtocolMatch, Return, Rule

A, B, C, D, E, F, G, H = (Rule((), Return(), comment) for comment in "abcdefgh")
JUMP, OTHER_JUMP = Rule((), Jump("PODGATE"), "podgate"), Rule((ProtocolMatch(6),), Jump("PODGATE"))
NAME = "PODGATE-E1"


def edits(old: list[Rule], new: list[Rule], name: str = NAME) -> tuple[ChainEdit, ...]:
    return chain_edits([Chain(name, tuple(old))], [Chain(name, tuple(new))])


# A chain of ours


def test_what_is_equal_needs_no_edit() -> None:
    assert edits([A, B], [A, B]) == ()
    assert chain_edits([], []) == ()


def test_a_new_chain_is_written() -> None:
    assert chain_edits([], [Chain(NAME, (A,))]) == (ReplaceChain(Chain(NAME, (A,))),)


def test_a_new_chain_without_rules_is_written_too() -> None:
    assert chain_edits([], [Chain(NAME)]) == (ReplaceChain(Chain(NAME)),)


def test_an_obsolete_chain_is_removed() -> None:
    assert chain_edits([Chain(NAME, (A,))], []) == (RemoveChain(NAME),)


@pytest.mark.parametrize("place", range(5))
def test_one_more_rule_is_inserted_at_its_place(place: int) -> None:
    old = [A, B, C, D]

    assert edits(old, [*old[:place], E, *old[place:]]) == (InsertRule(NAME, place, E),)


@pytest.mark.parametrize("gone", [A, B, D])
def test_one_rule_less_is_deleted_by_its_value(gone: Rule) -> None:
    old = [A, B, C, D]

    assert edits(old, [rule for rule in old if rule != gone]) == (DeleteRule(NAME, gone),)


def test_deletions_come_before_insertions_so_that_places_are_those_of_the_new_chain() -> None:
    assert edits([A, B, C, D, E, F], [B, C, G, D, E, F]) == (DeleteRule(NAME, A), InsertRule(NAME, 2, G))


def test_a_chain_of_which_most_changes_is_written_anew() -> None:
    new = Chain(NAME, (E, F, G, H))

    assert edits([A, B, C, D], [*new.rules]) == (ReplaceChain(new),)


def test_a_chain_whose_rules_change_places_is_written_anew() -> None:
    assert edits([A, B, C, D], [A, C, B, D]) == (ReplaceChain(Chain(NAME, (A, C, B, D))),)


@pytest.mark.parametrize(
    ("old", "new"), [([A, A, B, C, D, E], [A, B, C, D, E]), ([A, B, C, D, E], [A, B, C, D, E, A])]
)
def test_a_chain_with_a_rule_twice_is_written_anew_as_no_value_says_which_of_them(
    old: list[Rule], new: list[Rule]
) -> None:
    assert edits(old, new) == (ReplaceChain(Chain(NAME, tuple(new))),)


def test_chains_are_written_before_rules_lead_there_and_removed_after_none_does() -> None:
    to_old, to_new = Rule((), Goto("PODGATE-E2")), Rule((), Goto("PODGATE-E3"))
    old = [Chain("PODGATE-E1", (A, B, C, D, to_old)), Chain("PODGATE-E2", (A,))]
    new = [Chain("PODGATE-E1", (A, B, C, D, to_new)), Chain("PODGATE-E3", (A,))]

    assert chain_edits(old, new) == (
        ReplaceChain(Chain("PODGATE-E3", (A,))),
        DeleteRule("PODGATE-E1", to_old),
        InsertRule("PODGATE-E1", 4, to_new),
        RemoveChain("PODGATE-E2"),
    )


# FORWARD and INPUT, which are everybody's


def test_our_jump_enters_a_foreign_chain() -> None:
    assert chain_edits([], [Chain("FORWARD", (JUMP,))]) == (EnterRule("FORWARD", JUMP),)


def test_our_jump_leaves_a_foreign_chain_by_its_value_and_before_chains_are_removed() -> None:
    old = [Chain("FORWARD", (JUMP,)), Chain("PODGATE", (A,))]

    assert chain_edits(old, []) == (DeleteRule("FORWARD", JUMP), RemoveChain("PODGATE"))


def test_a_foreign_chain_is_never_written_or_removed() -> None:
    assert edits([OTHER_JUMP], [JUMP], "INPUT") == (DeleteRule("INPUT", OTHER_JUMP), EnterRule("INPUT", JUMP))


def test_a_jump_that_is_there_twice_leaves_once() -> None:
    assert edits([JUMP, JUMP], [JUMP], "FORWARD") == (DeleteRule("FORWARD", JUMP),)


# What they make of the chains

rules = st.lists(st.sampled_from([A, B, C, D, E, F, G, H, Rule((), Drop())]), max_size=8)
chains = st.dictionaries(
    st.sampled_from(["PODGATE", "PODGATE-E", "PODGATE-E1", "PODGATE-D"]), rules, max_size=4
).map(lambda found: tuple(Chain(name, tuple(found[name])) for name in sorted(found)))


@given(chains, chains)
def test_edits_lead_from_any_chains_to_any_others(old: tuple[Chain, ...], new: tuple[Chain, ...]) -> None:
    assert edited(old, chain_edits(old, new)) == new


@given(chains)
def test_no_more_rules_are_written_than_writing_the_chain_would_take(new: tuple[Chain, ...]) -> None:
    for chain in new:
        fewer = Chain(chain.name, chain.rules[1:])

        assert len(chain_edits([fewer], [chain])) <= max(1, len(chain.rules))
