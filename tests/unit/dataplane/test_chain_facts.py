"""What is found of a chain is what its rules say, is found once, and is forgotten with the chain."""

from msgspec.structs import replace

from controller.dataplane.chain_facts import ChainFacts, Contents, FactsKept
from controller.dataplane.ruleset import (
    AddressMatch,
    Chain,
    ConnmarkMatch,
    Drop,
    Goto,
    Jump,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    Side,
)

WHOLE = 0xFFFFFFFF
ALLOWS = Rule((SetMatch("pg4-a", (Side.SOURCE,)),), Return())
DENIES = Rule((SetMatch("pg4-b", (Side.SOURCE,)),), Drop())
PROFILE = "PODGATE-IP-aaaaaaaaaaaaaaaa"
NEXT = "PODGATE-IP-bbbbbbbbbbbbbbbb"
BUCKET = Chain(
    "PODGATE-I1",
    (
        Rule((AddressMatch(Side.DESTINATION, 1, WHOLE),), Jump(PROFILE), "shop/a"),
        Rule((AddressMatch(Side.DESTINATION, 1, WHOLE),), Goto(NEXT), "shop/b"),
        Rule((AddressMatch(Side.DESTINATION, 0, 15),), Goto("PODGATE-I10")),
    ),
)
RULESET = Ruleset(
    4, (BUCKET, Chain(PROFILE, (ALLOWS, Rule((), Goto(NEXT)))), Chain(NEXT, (DENIES, Rule((), Drop()))))
)


def test_sets_are_told_by_what_their_rules_do() -> None:
    facts = ChainFacts(Chain(PROFILE, (ALLOWS, DENIES)))

    assert facts.asked == {"pg4-a", "pg4-b"}
    assert facts.denying == {"pg4-b"}


def test_pods_are_dispatched_by_their_whole_address() -> None:
    place = (Side.DESTINATION, 1)

    assert ChainFacts(BUCKET).dispatched == ((place, PROFILE), (place, NEXT))


def test_what_decides_about_a_pod_is_all_that_its_packets_can_reach() -> None:
    contents = Contents(RULESET, map(ChainFacts, RULESET.chains))
    profile, following = RULESET.chains[1].rules, RULESET.chains[2].rules

    assert contents.dispatch() == {(Side.DESTINATION, 1): ((profile, following), (following,))}
    assert contents.sets_of((Side.DESTINATION, 1)) == {"pg4-a", "pg4-b"}
    assert contents.addresses() == {"0.0.0.1"}


def marking(generation: int) -> Chain:
    mark = ConnmarkMatch(generation << 4, 0xF0)
    return Chain("PODGATE", (Rule((mark,), Return()), Rule((), SetConnmark(generation << 4, 0xF0))))


def test_chains_of_two_generations_differ_in_their_marks_alone() -> None:
    kept = FactsKept()
    more = replace(marking(1), rules=(*marking(1).rules, ALLOWS))

    assert kept.only_marks_differ(marking(1), marking(2))
    assert not kept.only_marks_differ(marking(1), more)
    assert not kept.only_marks_differ(None, marking(1))
    assert kept.same_but_marks(Ruleset(4, (marking(1),)), Ruleset(4, (marking(2),)))
    assert not kept.same_but_marks(Ruleset(4, (marking(1),)), Ruleset(4, (more,)))
    assert not kept.same_but_marks(Ruleset(4, (marking(1),)), Ruleset(4, ()))


def test_of_a_chain_in_use_facts_are_found_once() -> None:
    kept = FactsKept()
    facts, contents = kept.of(BUCKET), kept.contents(RULESET)

    kept.keep(RULESET)

    assert kept.of(BUCKET) is facts
    assert kept.contents(RULESET) is contents


def test_of_a_chain_that_is_no_longer_used_nothing_is_kept() -> None:
    kept = FactsKept()
    facts, contents = kept.of(BUCKET), kept.contents(RULESET)

    kept.keep(Ruleset(4))

    assert kept.of(BUCKET) is not facts
    assert kept.contents(RULESET) is not contents


def test_an_equal_chain_is_not_taken_for_the_same() -> None:
    """Its place in memory may have been another's before."""
    kept = FactsKept()
    equal = Chain(BUCKET.name, BUCKET.rules)

    assert kept.of(equal).chain is equal
    assert kept.of(BUCKET).chain is BUCKET
