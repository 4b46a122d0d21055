"""What the kernel sends of logged packets, whole, cut short and made up."""

from hypothesis import given
from hypothesis import strategies as st

from controller.agent.packet_log import Logged, logged_packets
from controller.dataplane.netlink import attribute, messages, netfilter_message

_PAYLOAD, _PREFIX, _SEQUENCE = 9, 10, 12
_ULOG = 4


def sent(octets: bytes, number: int, prefix: bytes = b"podgate-drop\0") -> bytes:
    body = attribute(_PREFIX, prefix) + attribute(_PAYLOAD, octets)
    return netfilter_message(_ULOG, 0, 0, 4, body + attribute(_SEQUENCE, number.to_bytes(4, "big")), 0)


def test_packets_that_come_together_are_read_in_order() -> None:
    found = [*logged_packets(sent(b"one", 1) + sent(b"two", 2))]

    assert found == [Logged("podgate-drop", b"one", 1), Logged("podgate-drop", b"two", 2)]


def test_other_messages_are_passed_over() -> None:
    assert [*logged_packets(netfilter_message(1, 0, 0, 4, b"", 0) + sent(b"one", 1))] == [
        Logged("podgate-drop", b"one", 1)
    ]


@given(st.integers(0, 200))
def test_what_is_cut_short_ends_there(length: int) -> None:
    whole = sent(b"one", 1)

    assert [*logged_packets((whole + sent(b"two", 2))[:length])][:1] == (
        [Logged("podgate-drop", b"one", 1)] if length >= len(whole) else []
    )


@given(st.binary(max_size=300))
def test_nothing_the_kernel_could_send_is_too_odd(octets: bytes) -> None:
    assert len([*messages(octets)]) <= len(octets) // 16
    assert all(each.prefix is not None for each in logged_packets(octets))
