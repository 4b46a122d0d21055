"""A packet's way through chains, as netfilter goes it."""

import pytest

from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    ConnmarkMatch,
    CtDirection,
    CtDirectionMatch,
    Drop,
    Goto,
    HairpinMatch,
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
    UntrackedMatch,
)
from controller.dataplane.simulate import (
    NEW_CONNECTION,
    Conntrack,
    Hook,
    NoConnection,
    Outcome,
    Packet,
    Simulator,
    Verdict,
    simulate,
)
from controller.dataplane.validity import RulesetError
from controller.objects.addresses import parse_address

HOST = 0xFFFFFFFF
ENTRY = Chain("FORWARD", (Rule((), Jump("PODGATE")),))
DROPS = Rule((), Drop())
RETURNS = Rule((), Return())
ADDRESSES = AddressSet("pg4-ip", SetType.ADDRESSES, ("10.0.0.1", "10.0.0.2"))
NETWORKS = AddressSet("pg4-net", SetType.NETWORKS, ("10.0.0.0/30", "10.0.0.0/24", "10.9.0.1"))
ENDPOINTS = AddressSet("pg4-ep", SetType.ENDPOINTS, ("10.0.0.1,tcp:80", "10.0.0.1,udp:53"))
SETS = (ENDPOINTS, ADDRESSES, NETWORKS)


def packet(
    source: str = "10.0.0.1",
    destination: str = "10.0.0.2",
    protocol: int = 6,
    port: int | None = 80,
    *,
    connection: Conntrack | NoConnection = NEW_CONNECTION,
    hook: Hook = Hook.FORWARD,
) -> Packet:
    family, value = parse_address(source)
    return Packet(hook, family, value, parse_address(destination)[1], protocol, port, connection)


PACKET = packet()


def run(*chains: Chain, packet: Packet = PACKET) -> Outcome:
    return simulate(Ruleset(packet.family, (ENTRY, *chains)), packet)


def matches(*tests: Match, packet: Packet) -> bool:
    """Whether a rule of these tests drops the packet."""
    sets = SETS if packet.family == 4 else ()
    ruleset = Ruleset(packet.family, (ENTRY, Chain("PODGATE", (Rule(tests, Drop()),))), sets)
    return simulate(ruleset, packet).verdict is Verdict.DROP


def path(outcome: Outcome) -> list[str]:
    return [f"{step.chain}[{step.position}]" for step in outcome.trace]


# Chains


def test_a_packet_that_no_rule_drops_is_accepted() -> None:
    assert run(Chain("PODGATE")).verdict is Verdict.ACCEPT


def test_a_hook_without_rules_of_ours_accepts() -> None:
    ruleset = Ruleset(4, (ENTRY, Chain("PODGATE", (DROPS,))))

    assert simulate(ruleset, packet(hook=Hook.FORWARD)).verdict is Verdict.DROP
    assert simulate(ruleset, packet(hook=Hook.INPUT)).verdict is Verdict.ACCEPT
    assert simulate(ruleset, packet(hook=Hook.OUTPUT)).verdict is Verdict.ACCEPT


def test_return_goes_on_behind_the_jump() -> None:
    outcome = run(
        Chain("PODGATE", (Rule((), Jump("PODGATE-E")), DROPS)), Chain("PODGATE-E", (RETURNS, DROPS))
    )

    assert path(outcome) == ["FORWARD[0]", "PODGATE[0]", "PODGATE-E[0]", "PODGATE[1]"]
    assert outcome.verdict is Verdict.DROP


def test_the_end_of_a_chain_goes_on_behind_the_jump() -> None:
    outcome = run(Chain("PODGATE", (Rule((), Jump("PODGATE-E")), DROPS)), Chain("PODGATE-E"))

    assert path(outcome) == ["FORWARD[0]", "PODGATE[0]", "PODGATE[1]"]


@pytest.mark.parametrize("rules", [(), (RETURNS,)], ids=["end of chain", "return"])
def test_what_returns_from_a_goto_returns_to_the_last_jump(rules: tuple[Rule, ...]) -> None:
    outcome = run(
        Chain("PODGATE", (Rule((), Jump("PODGATE-E")), Rule((), SetConnmark(7, 7)))),
        Chain("PODGATE-E", (Rule((), Goto("PODGATE-E1")), DROPS)),
        Chain("PODGATE-E1", rules),
    )

    assert outcome.verdict is Verdict.ACCEPT
    assert outcome.mark == 7


def test_what_returns_from_a_goto_of_forward_is_accepted() -> None:
    entry = Chain("FORWARD", (Rule((), Goto("PODGATE")), Rule((), Jump("PODGATE-D"))))

    outcome = simulate(Ruleset(4, (entry, Chain("PODGATE"), Chain("PODGATE-D", (DROPS,)))), packet())

    assert outcome.verdict is Verdict.ACCEPT


def test_a_chain_can_be_entered_twice() -> None:
    twice = Rule((), Jump("PODGATE-E"))

    assert path(run(Chain("PODGATE", (twice, twice)), Chain("PODGATE-E", (RETURNS,)))) == [
        "FORWARD[0]",
        "PODGATE[0]",
        "PODGATE-E[0]",
        "PODGATE[1]",
        "PODGATE-E[0]",
    ]


def test_the_trace_holds_the_rules_that_matched_and_no_others() -> None:
    missed = Rule((ProtocolMatch(17),), Drop())
    hit = Rule((ProtocolMatch(6),), Drop(), "hit")

    outcome = run(Chain("PODGATE", (missed, hit)))

    assert [tuple(step) for step in outcome.trace] == [("FORWARD", 0, ENTRY.rules[0]), ("PODGATE", 1, hit)]


# Marks


def test_setting_the_mark_goes_on_with_the_next_rule_and_is_seen_there() -> None:
    marked = packet(connection=Conntrack(mark=0xAB))

    outcome = run(
        Chain("PODGATE", (Rule((), SetConnmark(0x10, 0xF0)), Rule((ConnmarkMatch(0x1B, 0xFF),), Drop()))),
        packet=marked,
    )

    assert (outcome.verdict, outcome.mark) == (Verdict.DROP, 0x1B)


@pytest.mark.parametrize("nothing", NoConnection)
def test_without_a_connection_there_is_no_mark_to_set(nothing: NoConnection) -> None:
    outcome = run(Chain("PODGATE", (Rule((), SetConnmark(1, 1)),)), packet=packet(connection=nothing))

    assert outcome.mark == 0


@pytest.mark.parametrize(("negated", "matched"), [(False, True), (True, False)])
def test_the_mark_is_compared_under_its_mask(negated: bool, matched: bool) -> None:
    marked = packet(connection=Conntrack(mark=0xAB))

    assert matches(ConnmarkMatch(0xA0, 0xF0, negated), packet=marked) is matched


@pytest.mark.parametrize("nothing", NoConnection)
@pytest.mark.parametrize(
    "test",
    [
        ConnmarkMatch(0, 1),
        ConnmarkMatch(1, 1, negated=True),
        CtDirectionMatch(CtDirection.ORIGINAL),
        CtDirectionMatch(CtDirection.REPLY),
    ],
    ids=str,
)
def test_without_a_connection_no_test_of_it_matches_not_even_a_negated_one(
    nothing: NoConnection, test: Match
) -> None:
    assert not matches(test, packet=packet(connection=nothing))


@pytest.mark.parametrize("direction", CtDirection)
def test_directions_are_told_apart(direction: CtDirection) -> None:
    found = [
        each
        for each in CtDirection
        if matches(CtDirectionMatch(each), packet=packet(connection=Conntrack(direction)))
    ]

    assert found == [direction]


def test_untracked_is_neither_invalid_nor_a_connection() -> None:
    states: list[Conntrack | NoConnection] = [NoConnection.UNTRACKED, NoConnection.INVALID, NEW_CONNECTION]

    assert [matches(UntrackedMatch(), packet=packet(connection=state)) for state in states] == [
        True,
        False,
        False,
    ]


# Addresses and ports


@pytest.mark.parametrize(
    ("value", "mask", "matched"),
    [(0x0A000001, HOST, True), (0x0A000000, 0xFF000000, True), (1, 15, True), (2, 15, False)],
)
def test_addresses_are_compared_under_any_mask(value: int, mask: int, matched: bool) -> None:
    assert matches(AddressMatch(Side.SOURCE, value, mask), packet=packet(source="10.0.0.1")) is matched


def test_source_and_destination_must_both_match() -> None:
    tests = (AddressMatch(Side.SOURCE, 1, 15), AddressMatch(Side.DESTINATION, 2, 15))

    assert matches(*tests, packet=packet("10.0.0.1", "10.0.0.2"))
    assert not matches(*tests, packet=packet("10.0.0.1", "10.0.0.3"))
    assert not matches(*tests, packet=packet("10.0.0.3", "10.0.0.2"))


def test_ipv6_addresses_are_compared_as_a_whole() -> None:
    full = (1 << 128) - 1
    test = AddressMatch(Side.DESTINATION, parse_address("fd00::2")[1], full)

    assert matches(test, packet=packet("fd00::1", "fd00::2"))
    assert not matches(test, packet=packet("fd00::1", "fd01::2"))


@pytest.mark.parametrize(
    ("port", "matched"), [(79, False), (80, True), (1000, True), (2000, True), (2001, False)]
)
def test_ports_match_in_any_of_the_ranges_ends_included(port: int, matched: bool) -> None:
    tests = (ProtocolMatch(6), PortMatch(((80, 80), (1000, 2000))))

    assert matches(*tests, packet=packet(port=port)) is matched


def test_ports_match_only_under_their_protocol() -> None:
    tests = (ProtocolMatch(6), PortMatch(((0, 65535),)))

    assert not matches(*tests, packet=packet(protocol=17, port=80))
    assert not matches(*tests, packet=packet(protocol=1, port=None))


def test_hairpin_is_source_equal_to_destination() -> None:
    assert matches(HairpinMatch(), packet=packet("10.0.0.1", "10.0.0.1"))
    assert not matches(HairpinMatch(), packet=packet("10.0.0.1", "10.0.0.2"))


# Sets


@pytest.mark.parametrize(
    ("name", "source", "matched"),
    [
        ("pg4-ip", "10.0.0.2", True),
        ("pg4-ip", "10.0.0.3", False),
        ("pg4-net", "10.0.0.200", True),
        ("pg4-net", "10.0.1.0", False),
        ("pg4-net", "10.9.0.1", True),
        ("pg4-net", "10.9.0.2", False),
    ],
)
def test_addresses_are_found_in_sets_of_addresses_and_of_networks(
    name: str, source: str, matched: bool
) -> None:
    assert matches(SetMatch(name, (Side.SOURCE,)), packet=packet(source=source)) is matched
    assert matches(SetMatch(name, (Side.SOURCE,), negated=True), packet=packet(source=source)) is not matched


def test_a_set_is_asked_for_the_side_named() -> None:
    lookup = SetMatch("pg4-net", (Side.DESTINATION,))

    assert matches(lookup, packet=packet("10.5.0.1", "10.0.0.9"))
    assert not matches(lookup, packet=packet("10.0.0.9", "10.5.0.1"))


@pytest.mark.parametrize(
    ("protocol", "port", "matched"),
    [(6, 80, True), (6, 81, False), (17, 80, False), (17, 53, True), (1, None, False)],
)
def test_endpoints_are_found_by_address_protocol_and_destination_port(
    protocol: int, port: int | None, matched: bool
) -> None:
    lookup = SetMatch("pg4-ep", (Side.DESTINATION, Side.DESTINATION))

    assert matches(lookup, packet=packet("10.0.0.9", "10.0.0.1", protocol, port)) is matched


def test_a_set_that_is_asked_too_little_holds_nothing() -> None:
    asked = packet("10.0.0.1", "10.0.0.1")

    assert not matches(SetMatch("pg4-ep", (Side.DESTINATION,)), packet=asked)
    assert matches(SetMatch("pg4-ep", (Side.DESTINATION,), negated=True), packet=asked)


def test_a_set_that_is_asked_too_much_takes_what_it_needs() -> None:
    asked = packet("10.0.0.1", "10.0.0.9", port=5)

    assert matches(SetMatch("pg4-ip", (Side.SOURCE, Side.DESTINATION)), packet=asked)


# What cannot be simulated


def test_a_ruleset_that_would_not_load_is_not_simulated() -> None:
    with pytest.raises(RulesetError):
        Simulator(Ruleset(4, (ENTRY,)))


def test_a_packet_of_the_other_family_is_an_error() -> None:
    with pytest.raises(ValueError, match="IPv6 packet"):
        Simulator(Ruleset(4)).run(packet("fd00::1", "fd00::2"))
