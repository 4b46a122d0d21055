"""The rule that logs, and what chains have counted."""

import pytest
from msgspec.structs import replace

from controller.dataplane import names
from controller.dataplane.counters import Growing, last_count
from controller.dataplane.edits import DeleteRule, InsertRule, chain_edits
from controller.dataplane.parse import parse_rules
from controller.dataplane.render import render_rules, rule_text
from controller.dataplane.ruleset import LimitMatch, Log, Return, Rule, Ruleset
from controller.dataplane.settings import DEFAULTS, DropLog
from controller.dataplane.validity import LIMIT_MAX, RulesetError
from tests.unit.dataplane.compiled import SHOP

LOGGED = replace(DEFAULTS, drop_log=DropLog(10, 9441))


def chain(ruleset: Ruleset, name: str) -> tuple[Rule, ...]:
    return next(each.rules for each in ruleset.chains if each.name == name)


def test_by_default_nothing_is_logged() -> None:
    rules = [rule for each in SHOP.rules().chains for rule in each.rules]

    assert not any(isinstance(rule.target, Log) for rule in rules)


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_denied_is_logged_before_it_is_dropped(family: int) -> None:
    rules = chain(SHOP.rules(family, LOGGED), names.DENY)

    assert [rule.target for rule in rules if isinstance(rule.target, Log)] == [Log(9441, "podgate-drop")]
    assert rules.index(Rule((LimitMatch(10, 10),), Log(9441, "podgate-drop"), "drop log")) < len(rules) - 1


def test_the_log_rule_is_read_back_as_iptables_prints_it() -> None:
    saved = (
        "*mangle\n:PODGATE-D - [0:0]\n-A PODGATE-D -m limit --limit 10/sec --limit-burst 10 -m comment "
        '--comment "drop log" -j NFLOG --nflog-prefix podgate-drop --nflog-group 9441\nCOMMIT\n'
    )

    (found,) = parse_rules(saved, 4)

    assert found.rules == (Rule((LimitMatch(10, 10),), Log(9441, "podgate-drop"), "drop log"),)


def test_the_usual_burst_is_left_out_by_iptables() -> None:
    saved = (
        "*mangle\n:PODGATE-D - [0:0]\n-A PODGATE-D -m limit --limit 5/sec -j NFLOG "
        "--nflog-prefix podgate-drop --nflog-group 1\nCOMMIT\n"
    )

    assert parse_rules(saved, 4)[0].rules[0].matches == (LimitMatch(5, 5),)


@pytest.mark.parametrize(
    "rule",
    [
        Rule((LimitMatch(0, 1),), Return()),
        Rule((LimitMatch(LIMIT_MAX + 1, 1),), Return()),
        Rule((), Log(0, "podgate-drop")),
        Rule((), Log(1, "two words")),
    ],
)
def test_limits_and_logs_that_would_not_come_back_as_they_are_said_are_refused(rule: Rule) -> None:
    with pytest.raises(RulesetError):
        rule_text(rule, 4)


def test_a_new_generation_leaves_the_rule_that_counts_where_it_is() -> None:
    old, new = (SHOP.rules(settings=replace(DEFAULTS, generation=number)) for number in (1, 2))

    edits = [each for each in chain_edits(old.chains, new.chains) if getattr(each, "chain", "") == names.DENY]

    assert [type(each) for each in edits] == [DeleteRule, InsertRule]


def test_the_text_with_the_log_is_loaded_as_it_was_compiled() -> None:
    ruleset = SHOP.rules(settings=LOGGED)

    assert parse_rules(render_rules(ruleset), 4) == ruleset.chains


def test_the_last_rule_of_a_chain_counts() -> None:
    listing = (
        '-N PODGATE-D\n-A PODGATE-D -m comment --comment "a -c 7 7 -j DROP" -c 5 300 -j CONNMARK '
        "--set-xmark 0x1/0x3\n-A PODGATE-D -m comment --comment denied -c 41 2460 -j DROP\n"
    )

    assert last_count(listing) == 41
    assert last_count("-N PODGATE-D\n") == 0


def test_a_counter_that_starts_again_goes_on() -> None:
    growing = Growing()

    assert [growing.grown(4, names.DENY, count) for count in (100, 140, 140, 3)] == [0, 40, 0, 3]
