"""Connections that were judged before: the mark says by which rules, and how (rules 2.9, 2.59)."""

import pytest

from controller.dataplane.ruleset import CtDirection, Ruleset
from controller.dataplane.settings import MarkLayout, Settings
from controller.dataplane.simulate import Conntrack, Hook, NoConnection, Packet
from tests.unit.builder import cluster, pods, port
from tests.unit.dataplane.compiled import judged, packet, passes

WEB, DB, NODE = "10.0.0.1", "10.0.0.2", "172.16.0.1"
BUILT = (
    cluster()
    .pod("shop/web", ip=(WEB, "fd00::1"))
    .pod("shop/db", ip=(DB, "fd00::2"))
    .policy(
        "shop/p",
        {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [pods()], "ports": [port(80)]}],
            "egress": [{"to": [pods()], "ports": [port(80)]}],
        },
    )
)
MARKS = MarkLayout()
MASK = MARKS.mask
FOREIGN = 0xE000ABCD
"""Bits that other programs may have set."""
NOW, BEFORE = 7, 6
ALLOWED, DENIED = MARKS.value(NOW), MARKS.value(NOW, denied=True)
RULES = BUILT.rules(4, Settings(generation=NOW))

ORIGINAL, REPLY = CtDirection.ORIGINAL, CtDirection.REPLY


def to_db(number: int, mark: int = 0) -> Packet:
    return packet(WEB, DB, number, connection=Conntrack(ORIGINAL, mark))


def reply(mark: int = 0, port: int = 40000) -> Packet:
    return packet(DB, WEB, port, connection=Conntrack(REPLY, mark))


def path(rules: Ruleset, given: Packet) -> list[str]:
    return [f"{step.chain}[{step.position}]" for step in judged(rules, given).trace]


def test_an_allowed_connection_is_marked_with_the_generation() -> None:
    found = judged(RULES, to_db(80))

    assert found.mark == ALLOWED


def test_a_denied_connection_is_marked_as_denied_by_the_generation() -> None:
    found = judged(RULES, to_db(81))

    assert found.mark == DENIED
    assert not passes(RULES, to_db(81))


def test_a_connection_that_these_rules_allowed_takes_the_fast_path() -> None:
    assert path(RULES, to_db(80, ALLOWED)) == ["FORWARD[0]", "PODGATE[0]"]
    assert path(RULES, reply(ALLOWED)) == ["FORWARD[0]", "PODGATE[0]"]


# The mark decides, not the port: RELATED errors and one-way UDP carry the mark of their connection.
@pytest.mark.parametrize("protocol", [1, 6, 17])
def test_whatever_carries_the_mark_of_an_allowed_connection_passes(protocol: int) -> None:
    given = packet(WEB, DB, None, protocol=protocol, connection=Conntrack(ORIGINAL, ALLOWED))

    assert passes(RULES, given)


@pytest.mark.parametrize(
    "old",
    [0, MARKS.value(BEFORE), MARKS.value(BEFORE, denied=True), MARKS.value(4095), DENIED],
    ids=["unmarked", "allowed before", "denied before", "another", "denied now"],
)
@pytest.mark.parametrize(("number", "mark"), [(80, ALLOWED), (81, DENIED)])
def test_a_connection_with_any_other_mark_is_judged_again_by_its_opener(
    old: int, number: int, mark: int
) -> None:
    given = to_db(number, old)

    assert (judged(RULES, given).mark, passes(RULES, given)) == (mark, number == 80)


# Rule 2.9
@pytest.mark.parametrize(
    "old",
    [0, MARKS.value(BEFORE), MARKS.value(BEFORE, denied=True)],
    ids=["unmarked", "allowed before", "denied before"],
)
def test_a_reply_passes_until_its_connection_was_judged_again_and_leaves_the_mark(old: int) -> None:
    found = judged(RULES, reply(old))

    assert passes(RULES, reply(old))
    assert found.mark == old


def test_a_reply_of_a_connection_that_these_rules_denied_is_dropped() -> None:
    assert not passes(RULES, reply(DENIED))
    assert judged(RULES, reply(DENIED)).mark == DENIED


def test_a_deny_is_not_taken_for_an_allow_of_any_generation() -> None:
    every_allow = {MARKS.value(generation) for generation in range(1, MARKS.generations + 1)}

    assert DENIED not in every_allow
    assert path(RULES, to_db(80, DENIED))[:2] != ["FORWARD[0]", "PODGATE[0]"]


# A connection that is denied and later allowed again goes on, as the deny carries its generation.
def test_what_is_allowed_again_resumes_with_the_next_packet_of_its_opener() -> None:
    denied = judged(RULES, to_db(81)).mark
    again = BUILT.policy("shop/more", {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]})
    later = again.rules(4, Settings(generation=NOW + 1))

    assert passes(later, reply(denied))
    assert judged(later, to_db(81, denied)).mark == MARKS.value(NOW + 1)


def test_a_raised_generation_cuts_what_is_no_longer_allowed() -> None:
    opened = judged(RULES, to_db(80)).mark
    stricter = BUILT.policy("shop/p", {"policyTypes": ["Ingress", "Egress"]})
    later = stricter.rules(4, Settings(generation=NOW + 1))

    found = judged(later, to_db(80, opened))

    assert not passes(later, to_db(80, opened))
    assert not passes(later, reply(found.mark))


@pytest.mark.parametrize("number", [80, 81])
@pytest.mark.parametrize("old", [0, ALLOWED, DENIED, MARKS.value(BEFORE)])
def test_the_bits_of_other_programs_stay_as_they_are_and_decide_nothing(number: int, old: int) -> None:
    plain, mixed = to_db(number, old), to_db(number, old | FOREIGN)

    assert judged(RULES, mixed).mark == judged(RULES, plain).mark | FOREIGN
    assert passes(RULES, mixed) == passes(RULES, plain)


@pytest.mark.parametrize("mask", [0x7, 0xC0000000, 0x70])
@pytest.mark.parametrize("number", [80, 81])
def test_any_mask_will_do(mask: int, number: int) -> None:
    marks = MarkLayout(mask)
    rules = BUILT.rules(4, Settings(generation=1, marks=marks))
    others = 0xFFFFFFFF & ~mask

    found = judged(rules, to_db(number, others))

    assert found.mark == others | marks.value(1, denied=number == 81)


@pytest.mark.parametrize("state", NoConnection)
def test_a_packet_without_a_connection_is_judged_by_the_policies(state: NoConnection) -> None:
    for number, allowed in ((80, True), (81, False)):
        assert passes(RULES, packet(WEB, DB, number, connection=state)) is allowed


# Rule 2.39
def test_untracked_icmpv6_passes_and_other_icmpv6_is_judged() -> None:
    ipv6 = BUILT.rules(6, Settings(generation=NOW))
    untracked = packet("fd00::1", "fd00::2", None, protocol=58, connection=NoConnection.UNTRACKED)
    echo = packet("fd00::1", "fd00::2", None, protocol=58)

    assert passes(ipv6, untracked)
    assert not passes(ipv6, echo)


def test_untracked_packets_of_other_protocols_are_judged() -> None:
    ipv6 = BUILT.rules(6, Settings(generation=NOW))

    assert not passes(ipv6, packet("fd00::1", "fd00::2", 81, connection=NoConnection.UNTRACKED))


# Rule 2.8: the egress of one pod does not answer for the ingress of the other
def test_a_connection_is_marked_only_after_both_ends_agreed() -> None:
    one_sided = BUILT.policy("shop/out", {"policyTypes": ["Egress"], "egress": [{}]})

    assert judged(one_sided.rules(4, Settings(generation=NOW)), to_db(81)).mark == DENIED


def test_connections_that_are_nobodys_business_are_marked_too_and_so_take_the_fast_path() -> None:
    given = packet("192.0.2.1", "198.51.100.1", 80)

    assert judged(RULES, given).mark == ALLOWED


# The own node


def to_node(number: int, mark: int = 0, direction: CtDirection = ORIGINAL) -> Packet:
    return packet(WEB, NODE, number, hook=Hook.INPUT, connection=Conntrack(direction, mark))


# Rule 2.41
def test_what_a_pod_opens_to_its_own_node_is_judged_and_marked() -> None:
    assert not passes(RULES, to_node(80))
    assert judged(RULES, to_node(80)).mark == DENIED


# Rule 2.41
def test_what_a_pod_may_open_to_its_own_node_is_marked_and_then_fast() -> None:
    opened = BUILT.policy("shop/out", {"policyTypes": ["Egress"], "egress": [{}]})
    rules = opened.rules(4, Settings(generation=NOW))

    assert judged(rules, to_node(80)).mark == ALLOWED
    assert path(rules, to_node(80, ALLOWED)) == ["INPUT[0]", "PODGATE-IN[0]"]


# Rule 2.40: probes; what the node opened, the pod may answer, whatever the mark
@pytest.mark.parametrize("mark", [0, ALLOWED, DENIED, MARKS.value(BEFORE)])
def test_the_answer_to_the_own_node_always_passes(mark: int) -> None:
    assert passes(RULES, to_node(40000, mark, REPLY))


# Rule 2.40
@pytest.mark.parametrize("mark", [0, DENIED])
def test_what_the_own_node_sends_passes(mark: int) -> None:
    given = packet(NODE, DB, 9999, hook=Hook.OUTPUT, connection=Conntrack(ORIGINAL, mark))

    assert passes(RULES, given)


# Rule 2.41: the opt-out
def test_with_egress_to_the_own_node_exempted_it_is_not_judged() -> None:
    rules = BUILT.rules(4, Settings(own_node_egress_allowed=True))

    assert passes(rules, to_node(80))
    assert not passes(rules, to_db(81))
