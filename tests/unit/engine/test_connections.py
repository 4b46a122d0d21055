"""What may flow between two ends: ports by protocol, and all other protocols as one."""

import itertools

import pytest

from controller.engine.connections import ALL_PORTS, EVERYTHING, NOTHING, ConnectionSet
from controller.engine.intervals import IntervalSet
from controller.objects.kinds import Protocol

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP

SAMPLES = [
    NOTHING,
    EVERYTHING,
    ConnectionSet.of([(TCP, 80, 80)]),
    ConnectionSet.of([(TCP, 80, 90), (UDP, 53, 53)]),
    ConnectionSet.of([(UDP, 1, 65535)]),
    ConnectionSet.of([(SCTP, 80, 80)]),
    ConnectionSet(other=True),
]
PACKETS: list[tuple[Protocol | None, int | None]] = [
    (None, None),
    *((protocol, number) for protocol in Protocol for number in (1, 53, 80, 85, 65535)),
]


def packets_of(found: ConnectionSet) -> set[tuple[Protocol | None, int | None]]:
    return {packet for packet in PACKETS if found.allows(*packet)}


@pytest.mark.parametrize(("left", "right"), list(itertools.product(SAMPLES, repeat=2)), ids=str)
def test_operations_are_those_of_sets_of_packets(left: ConnectionSet, right: ConnectionSet) -> None:
    one, other = packets_of(left), packets_of(right)

    assert packets_of(left | right) == one | other
    assert packets_of(left & right) == one & other
    assert packets_of(left - right) == one - other


@pytest.mark.parametrize("found", SAMPLES, ids=str)
def test_everything_and_nothing_are_the_ends_of_the_algebra(found: ConnectionSet) -> None:
    assert (found | NOTHING, found & EVERYTHING, found - NOTHING) == (found, found, found)
    assert (found | EVERYTHING, found & NOTHING, found - EVERYTHING) == (EVERYTHING, NOTHING, NOTHING)


@pytest.mark.parametrize("protocol", Protocol)
def test_one_port_of_one_protocol_is_not_nothing(protocol: Protocol) -> None:
    assert ConnectionSet.of([(protocol, 80, 80)])


def test_other_protocols_alone_are_not_nothing() -> None:
    assert ConnectionSet(other=True)
    assert not NOTHING


# Rule 2.38
@pytest.mark.parametrize("protocol", Protocol)
def test_a_port_of_one_protocol_is_allowed_for_that_protocol_alone(protocol: Protocol) -> None:
    found = ConnectionSet.of([(protocol, 80, 80)])

    assert [each for each in Protocol if found.allows(each, 80)] == [protocol]
    assert found.ports(protocol) == IntervalSet([(80, 80)])


# Rule 2.39
def test_no_list_of_ports_allows_other_protocols() -> None:
    every_port = ConnectionSet.of((protocol, 1, 65535) for protocol in Protocol)

    assert not every_port.allows(None, None)
    assert every_port != EVERYTHING


def test_a_transport_without_a_port_is_in_no_set_of_ports() -> None:
    assert not EVERYTHING.allows(TCP, None)


def test_ports_outside_of_1_to_65535_are_cut_off() -> None:
    assert ConnectionSet.of([(TCP, 0, 99999)]).tcp == ALL_PORTS
    assert not ConnectionSet.of([(TCP, 65536, 70000)])


def test_overlapping_ports_become_one_range() -> None:
    assert ConnectionSet.of([(TCP, 80, 85), (TCP, 84, 90), (TCP, 91, 91)]).tcp == IntervalSet([(80, 91)])


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (EVERYTHING, "all"),
        (NOTHING, "none"),
        (ConnectionSet.of([(UDP, 53, 53), (TCP, 443, 443), (TCP, 80, 80)]), "80,443/TCP 53/UDP"),
        (ConnectionSet.of([(TCP, 8000, 8080)]), "8000-8080/TCP"),
        (ConnectionSet(sctp=ALL_PORTS), "SCTP"),
        (EVERYTHING - ConnectionSet.of([(TCP, 1, 65535)]), "UDP SCTP other protocols"),
        (ConnectionSet(other=True), "other protocols"),
    ],
)
def test_people_read_a_set_in_a_few_words(found: ConnectionSet, text: str) -> None:
    assert str(found) == text
