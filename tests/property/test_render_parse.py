"""Text and back: the text says everything a ruleset says, and nothing in it can say more."""

import re
from collections.abc import Callable
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.parse import parse, parse_rules
from controller.dataplane.render import (
    canonical_order,
    render_rules,
    render_sets,
    rule_text,
    safe_comment,
    safe_line,
)
from controller.dataplane.ruleset import AddressSet, Chain, Match, Return, Rule, Ruleset, SetType
from tests.property.rulesets import any_rulesets, families, match_lists

# Unicode text, with the characters that end things in a restore file far more often than chance has them.
hostile = st.text(st.sampled_from("\"'\\\n\r\0\t #!-;`$:&é\u2028\x85") | st.characters(), max_size=400)


@given(any_rulesets)
def test_what_is_rendered_is_parsed_back(ruleset: Ruleset) -> None:
    assert parse(render_rules(ruleset), render_sets(ruleset), ruleset.family) == ruleset


@given(any_rulesets)
def test_equal_rulesets_render_to_equal_bytes(ruleset: Ruleset) -> None:
    copy = msgspec.json.decode(msgspec.json.encode(ruleset), type=Ruleset)

    assert (render_rules(copy), render_sets(copy)) == (render_rules(ruleset), render_sets(ruleset))


@given(any_rulesets)
def test_every_chain_but_forward_and_input_is_declared_once_before_the_first_rule(ruleset: Ruleset) -> None:
    lines = render_rules(ruleset).splitlines()

    declared = [chain.name for chain in ruleset.chains if chain.name not in {"FORWARD", "INPUT"}]
    rules = sum(len(chain.rules) for chain in ruleset.chains)
    assert lines[: len(declared) + 1] == ["*mangle", *(f":{name} - [0:0]" for name in declared)]
    assert len(lines) == 1 + len(declared) + rules + 1


@given(hostile)
def test_no_comment_leaves_its_quotes(text: str) -> None:
    rendered = rule_text(Rule((), Return(), text), 4)

    assert re.fullmatch(r'(-m comment --comment "[^"\\\n\r\0]{1,255}" )?-j RETURN', rendered, re.ASCII)


@given(hostile)
def test_a_hostile_comment_is_one_rule_with_a_safe_comment(text: str) -> None:
    chains = (Chain("PODGATE", (Rule((), Return(), text), Rule((), Return(), "next"))),)

    (parsed,) = parse_rules(render_rules(Ruleset(4, chains)), 4)

    assert [rule.comment for rule in parsed.rules] == [safe_comment(text), "next"]


@given(hostile)
def test_a_hostile_set_comment_is_one_line(text: str) -> None:
    ruleset = Ruleset(4, (), (AddressSet("pg4-a", SetType.ADDRESSES, ("10.0.0.1",), text),))

    assert len(render_sets(ruleset).split("\n")) == 4 + bool(safe_line(text))


@given(hostile, st.sampled_from([safe_comment, safe_line]))
def test_making_a_text_safe_twice_changes_nothing(text: str, safe: Callable[[str], str]) -> None:
    once = safe(text)

    assert safe(once) == once
    assert len(once.encode()) <= 255


@given(families.flatmap(lambda family: match_lists(family, ())), st.randoms(use_true_random=False))
def test_the_order_in_which_matches_are_given_does_not_show(
    matches: tuple[Match, ...], random: Random
) -> None:
    shuffled = [*matches]
    random.shuffle(shuffled)

    assert canonical_order(shuffled) == matches
