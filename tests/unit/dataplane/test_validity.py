"""What no kernel shall be asked for: one bad rule would fail the commit of all, or mean something else."""

import pytest

from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    ConnmarkMatch,
    Drop,
    Goto,
    Jump,
    Match,
    PortMatch,
    ProtocolMatch,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    SetType,
    Side,
    Target,
)
from controller.dataplane.validity import RulesetError, check_loadable, check_rule, is_own_chain, is_own_set

TCP = ProtocolMatch(6)
HOST = AddressMatch(Side.SOURCE, 1, 0xFFFFFFFF)


def ruleset(*chains: Chain, sets: tuple[AddressSet, ...] = (), family: int = 4) -> Ruleset:
    return Ruleset(family, chains, sets)


@pytest.mark.parametrize(
    "matches",
    [
        (AddressMatch(Side.SOURCE, 1, 0),),
        (AddressMatch(Side.SOURCE, 0x0A000001, 0xFF000000),),
        (AddressMatch(Side.SOURCE, 1, 1 << 32 | 1),),
        (HOST, HOST),
        (ProtocolMatch(0),),
        (ProtocolMatch(47),),
        (PortMatch(((80, 80),)),),
        (ProtocolMatch(58), PortMatch(((80, 80),))),
        (TCP, PortMatch(())),
        (TCP, PortMatch(((2, 1),))),
        (TCP, PortMatch(((1, 65536),))),
        (TCP, PortMatch(tuple((port, port) for port in range(16)))),
        (TCP, PortMatch(tuple((port, port + 1) for port in range(0, 32, 4)))),
        (ConnmarkMatch(3, 1),),
        (ConnmarkMatch(1 << 32, 1 << 32),),
        (SetMatch("pg6-peers", (Side.SOURCE,)),),
        (SetMatch("peers", (Side.SOURCE,)),),
        (SetMatch("pg4-" + "a" * 28, (Side.SOURCE,)),),
        (SetMatch("pg4-peers", ()),),
        (SetMatch("pg4-peers", (Side.SOURCE, Side.SOURCE)),),
    ],
    ids=str,
)
def test_a_rule_without_an_exact_text_is_refused(matches: tuple[Match, ...]) -> None:
    with pytest.raises(RulesetError):
        check_rule(Rule(matches, Return()), 4)


@pytest.mark.parametrize(
    "target",
    [Jump("ACCEPT"), Goto("PODGATE-D -j ACCEPT"), Jump("PODGATE-" + "a" * 21), SetConnmark(2, 1)],
    ids=str,
)
def test_a_target_beyond_podgate_is_refused(target: Target) -> None:
    with pytest.raises(RulesetError):
        check_rule(Rule((), target), 4)


def test_fifteen_slots_fit_one_multiport() -> None:
    check_rule(Rule((TCP, PortMatch((*((port, port) for port in range(13)), (20, 30)))), Drop()), 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ruleset(Chain("PODGATE", (Rule((), Jump("PODGATE-E")),))), "PODGATE-E does not exist"),
        (
            ruleset(Chain("PODGATE", (Rule((SetMatch("pg4-a", (Side.SOURCE,)),), Drop()),))),
            "pg4-a does not exist",
        ),
        (ruleset(Chain("PODGATE"), Chain("PODGATE")), "PODGATE is there twice"),
        (ruleset(Chain("KUBE-FORWARD")), "no chain name"),
        (ruleset(Chain("FORWARD", (Rule((), Drop()),))), "lead to a chain of podgate"),
        (ruleset(sets=(AddressSet("pg6-a", SetType.ADDRESSES),)), "no set name"),
        (ruleset(family=5), "no address family 5"),
    ],
)
def test_a_ruleset_that_would_not_load_is_refused(wrong: Ruleset, message: str) -> None:
    with pytest.raises(RulesetError, match=message):
        check_loadable(wrong)


def test_chains_that_lead_back_to_themselves_are_refused() -> None:
    chains = (
        Chain("PODGATE-E", (Rule((), Jump("PODGATE-I")),)),
        Chain("PODGATE-I", (Rule((), Goto("PODGATE-E")),)),
    )

    with pytest.raises(RulesetError, match="lead back"):
        check_loadable(ruleset(*chains))


def test_an_error_names_the_chain_and_the_rule() -> None:
    chain = Chain("PODGATE", (Rule((), Drop()), Rule((ProtocolMatch(47),), Drop())))

    with pytest.raises(RulesetError, match=r"^PODGATE\[1\]: protocol 47"):
        check_loadable(ruleset(chain))


@pytest.mark.parametrize(
    ("name", "own"),
    [("PODGATE", True), ("PODGATE-IP-a2b3", True), ("PODGATEWAY", False), ("PODGATE-", False)],
)
def test_own_chains_are_known_by_the_whole_first_word(name: str, own: bool) -> None:
    assert is_own_chain(name) is own


def test_a_set_belongs_to_the_family_in_its_name() -> None:
    assert is_own_set("pg6-known", 6)
    assert not is_own_set("pg6-known", 4)
    assert not is_own_set("pg6known", 6)
