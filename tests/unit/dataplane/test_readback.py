"""A saved table is read although others wrote into it: what they spoilt is known, and nothing is guessed."""

import pytest

from controller.dataplane.edits import ReplaceChain, chain_edits
from controller.dataplane.parse import ParseError, parse_sets
from controller.dataplane.readback import SPOILT, Entry, Readback, entries, read_sets, read_table
from controller.dataplane.ruleset import Chain, Goto, Jump, Return, Rule

OURS = "-A FORWARD -m comment --comment podgate -j PODGATE"


def saved(*rules: str) -> str:
    chains = (f":{name} - [0:0]" for name in ("FORWARD", "INPUT", "PODGATE", "PODGATE-D", "PODGATE-IN"))
    return "".join(f"{line}\n" for line in ("*mangle", *chains, *rules, "COMMIT"))


def chain(found: Readback, name: str) -> tuple[Rule, ...]:
    return next(each.rules for each in found.chains if each.name == name)


# Chains


def test_what_podgate_writes_is_read() -> None:
    found = read_table(saved("-A PODGATE -g PODGATE-D", OURS), 4)

    assert chain(found, "PODGATE") == (Rule((), Goto("PODGATE-D")),)
    assert chain(found, "FORWARD") == (Rule((), Jump("PODGATE"), "podgate"),)
    assert found.strays == ()


@pytest.mark.parametrize(
    "rule",
    [
        "-A PODGATE -j ACCEPT",
        "-A PODGATE -p tcp -j LOG",
        "-A PODGATE",
        "-A PODGATE -j OTHERS",
        '-A PODGATE "',
    ],
)
def test_one_foreign_rule_spoils_a_chain_and_no_other(rule: str) -> None:
    found = read_table(
        saved("-A PODGATE -j RETURN", rule, "-A PODGATE -j RETURN", "-A PODGATE-D -j RETURN"), 4
    )

    assert chain(found, "PODGATE") == SPOILT
    assert chain(found, "PODGATE-D") == (Rule((), Return()),)


def test_several_chains_can_be_spoilt() -> None:
    found = read_table(saved("-A PODGATE -j ACCEPT", "-A PODGATE-D -j ACCEPT", "-A PODGATE-D -j LOG"), 4)

    assert [each.name for each in found.chains if each.rules == SPOILT] == ["PODGATE", "PODGATE-D"]


@pytest.mark.parametrize(
    "wanted", [(), (Rule((), Return()),), SPOILT[:1], (SPOILT[0], *(Rule((), Goto("PODGATE-D")),) * 9)]
)
def test_a_spoilt_chain_is_written_anew_whatever_it_shall_hold(wanted: tuple[Rule, ...]) -> None:
    new = Chain("PODGATE", wanted)

    assert chain_edits([Chain("PODGATE", SPOILT)], [new]) == (ReplaceChain(new),)


@pytest.mark.parametrize("text", ["*mangle\n:PODGATE - [0:0]\n", "COMMITTED\n"])
def test_what_is_no_table_is_an_error_and_not_an_empty_table(text: str) -> None:
    with pytest.raises(ParseError):
        read_table(text, 4)


def test_no_text_is_no_table_at_all() -> None:
    assert read_table("", 4) == Readback(())


# Sets


OWN = "create pg4-a hash:ip family inet hashsize 64 maxelem 1048576 bucketsize 12\nadd pg4-a 10.0.0.1\n"


@pytest.mark.parametrize(
    "odd", ["hash:ip family inet timeout 60", "bitmap:port range 1-9", "hash:net family inet6", "hash:newest"]
)
def test_a_set_of_our_name_that_is_not_of_our_making_counts_as_empty_and_is_named(odd: str) -> None:
    sets, names = read_sets(f"create pg4-b {odd}\nadd pg4-b 10.0.0.1 timeout 9\n{OWN}", 4)

    assert [(each.name, each.entries) for each in sets] == [("pg4-a", ("10.0.0.1",)), ("pg4-b", ())]
    assert names == ("pg4-b",)


def test_sets_of_our_making_are_read_as_they_are() -> None:
    assert read_sets(OWN, 4) == (parse_sets(OWN, 4), ())
    assert read_sets("", 4) == ((), ())


# Jumps


def test_a_jump_to_us_that_cannot_be_read_is_a_stray_and_the_others_are_read() -> None:
    found = read_table(
        saved("-A FORWARD -i lo -j PODGATE", OURS, "-A INPUT -j PODGATE-IN -m x -j PODGATE-IN"), 4
    )

    assert found.strays == ("-A FORWARD -i lo -j PODGATE", "-A INPUT -j PODGATE-IN -m x -j PODGATE-IN")
    assert chain(found, "FORWARD") == (Rule((), Jump("PODGATE"), "podgate"),)


def test_foreign_rules_are_nobodys_business() -> None:
    found = read_table(
        saved("-A FORWARD -m whatever --comment PODGATE -j PODGATEWAY", '-A OTHERS "', OURS), 4
    )

    assert found.strays == ()


def test_a_jump_is_first_or_stands_below_others() -> None:
    foreign = "-A FORWARD -j ACCEPT"

    assert entries(saved(OURS, foreign)) == (Entry("FORWARD", (OURS,), first=True),)
    assert entries(saved(foreign, OURS)) == (Entry("FORWARD", (OURS,), first=False),)
    assert entries(saved("-A FORWARD", OURS)) == (Entry("FORWARD", (OURS,), first=False),)


def test_a_chain_that_does_not_lead_to_us_is_no_entry() -> None:
    assert entries(saved("-A FORWARD -j ACCEPT", "-A OUTPUT -j PODGATE", "-A PODGATE -j PODGATE-D")) == ()
    assert entries("") == ()


def test_every_jump_to_us_counts() -> None:
    other = "-A INPUT -i lo -g PODGATE-IN"

    assert entries(saved(other, "-A INPUT -j ACCEPT", other, OURS)) == (
        Entry("FORWARD", (OURS,), first=True),
        Entry("INPUT", (other, other), first=True),
    )
