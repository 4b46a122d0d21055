"""Netlink as its messages are framed: headers, attributes, and the sockets they travel through.

What the messages say is the business of those who speak: `setlink` of sets, `agent.marklink` of connections,
`agent.packet_log` of logged packets. Reading never fails on what is cut short: it ends there.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

NETLINK_NETFILTER = 12
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
NESTED, BIG_ENDIAN = 0x8000, 0x4000
_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NETFILTER = struct.Struct("=BBH")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Message(NamedTuple):
    """A message without its header; `body` begins with what the protocol puts before attributes."""

    kind: int
    sequence: int
    body: bytes

    @property
    def code(self) -> int:
        """The errno of an answer of kind ERROR, 0 for success or where it is cut short."""
        return -int.from_bytes(self.body[:4], sys.byteorder, signed=True)


def open_netfilter() -> socket.socket:
    """A socket to the kernel's netfilter, of the network namespace of this thread. Raises OSError."""
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    try:
        channel.bind((0, 0))
    except OSError:
        channel.close()
        raise
    return channel


def netfilter_message(  # noqa: PLR0913, PLR0917 - the fields of the two headers
    subsystem: int, command: int, flags: int, family: int, attributes: bytes, sequence: int, resource: int = 0
) -> bytes:
    """A message to a subsystem of netfilter; `family` is 4, 6, or 0 for none."""
    body = _NETFILTER.pack(_FAMILIES.get(family, 0), 0, socket.htons(resource)) + attributes
    return HEADER.pack(HEADER.size + len(body), subsystem << 8 | command, flags, sequence, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute, padded. `kind` may have NESTED or BIG_ENDIAN in it."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def messages(octets: bytes) -> Iterator[Message]:
    """The messages that one read brought."""
    place = 0
    while place + HEADER.size <= len(octets):
        length, kind, _, sequence, _ = HEADER.unpack_from(octets, place)
        if not HEADER.size <= length <= len(octets) - place:
            return
        yield Message(kind, sequence, octets[place + HEADER.size : place + length])
        place += length + -length % 4


def acknowledgement(channel: socket.socket, sequence: int) -> int:
    """The errno with which the kernel answers a message that asked for it, 0 for success. Raises OSError."""
    while True:
        for each in messages(channel.recv(1 << 16)):
            if each.kind == ERROR and each.sequence == sequence:
                return each.code


def attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each attribute of a message, what stands before them left out."""
    place = 0
    while place + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, place)
        if not _ATTRIBUTE.size <= length <= len(octets) - place:
            return
        yield kind & _TYPE_MASK, octets[place + _ATTRIBUTE.size : place + length]
        place += length + -length % 4


def netfilter_attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a netfilter message's body."""
    return attributes(body[_NETFILTER.size :])
