"""The beginnings of packets, also of those that somebody made to be misread."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.agent.packet import Packet, decode

TCP_SYN = struct.pack(">HH", 40000, 5432) + bytes(16)


def ipv4(payload: bytes, *, protocol: int = 6, offset: int = 0, words: int = 5) -> bytes:
    head = bytes([0x40 | words, 0, 0, 60, 0, 0]) + struct.pack(">HBBH", offset, 64, protocol, 0)
    addresses = socket.inet_aton("10.0.0.4") + socket.inet_aton("10.0.0.3")
    return head + addresses + bytes(4 * words - 20) + payload


def ipv6(payload: bytes, protocol: int = 6) -> bytes:
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, each) for each in ("fd00::4", "fd00::3"))
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload


def test_an_ipv4_packet_says_from_whom_to_which_port() -> None:
    assert decode(ipv4(TCP_SYN)) == Packet(4, "10.0.0.4", "10.0.0.3", 6, 5432)


def test_options_of_ipv4_are_passed_over() -> None:
    assert decode(ipv4(TCP_SYN, words=8)) == Packet(4, "10.0.0.4", "10.0.0.3", 6, 5432)


def test_a_later_fragment_has_no_port() -> None:
    assert decode(ipv4(TCP_SYN, offset=100)) == Packet(4, "10.0.0.4", "10.0.0.3", 6, None)


@pytest.mark.parametrize("kind", [0, 43, 60])
def test_extension_headers_of_ipv6_are_passed_over(kind: int) -> None:
    headers = bytes([60, 1]) + bytes(14) + bytes([17, 0]) + bytes(6)

    assert decode(ipv6(headers + TCP_SYN, kind)) == Packet(6, "fd00::4", "fd00::3", 17, 5432)


def test_a_later_fragment_of_ipv6_has_its_protocol_and_no_port() -> None:
    assert decode(ipv6(bytes([6, 0, 0x10, 0, 0, 0, 0, 1]) + TCP_SYN, 44)) == Packet(
        6, "fd00::4", "fd00::3", 6, None
    )


def test_icmp_has_no_port() -> None:
    found = decode(ipv6(bytes([128, 0]) + bytes(6), 58))

    assert found is not None
    assert (found.protocol_name, found.port) == ("ICMPv6", None)


def test_a_port_that_was_cut_off_is_unknown() -> None:
    assert decode(ipv4(TCP_SYN[:3])) == Packet(4, "10.0.0.4", "10.0.0.3", 6, None)


@given(st.binary(max_size=128) | st.binary(max_size=128).map(lambda rest: b"\x60" + rest))
def test_no_packet_is_too_odd_to_be_looked_at(octets: bytes) -> None:
    found = decode(octets)

    assert found is None or found.family in {4, 6}


@given(st.binary(max_size=88), st.sampled_from([0, 43, 44, 51, 60]))
def test_extension_headers_end_however_they_are_nested(rest: bytes, kind: int) -> None:
    assert decode(ipv6(rest, kind)) is not None
