"""SCTP packets by hand, for kernels without SCTP sockets: the two that open an association.

Netfilter tracks and matches them without sockets (RFC 9260 sections 3.1, 3.3.2, 3.3.3; checksum: appendix A).
"""

import struct
from enum import IntEnum

from msgspec import Struct

PROTOCOL = 132

_COMMON = struct.Struct("!HHI")
_INIT = struct.Struct("!BBHIIHHI")
_COOKIE = struct.pack("!HHI", 7, 8, 0)
"""The state cookie that an INIT ACK must carry."""


class Chunk(IntEnum):
    """The type of the first chunk."""

    INIT = 1
    INIT_ACK = 2


class Opening(Struct, frozen=True):
    """An INIT or INIT ACK.

    `tag` is the number that its sender wants back; `verification` the one it gives back, 0 in an INIT.
    """

    chunk: Chunk
    source_port: int
    destination_port: int
    tag: int
    verification: int = 0

    def octets(self) -> bytes:
        """The packet from the SCTP header on."""
        extra = _COOKIE if self.chunk is Chunk.INIT_ACK else b""
        size = _INIT.size + len(extra)
        body = _INIT.pack(self.chunk, 0, size, self.tag, 65535, 1, 1, 1) + extra
        common = _COMMON.pack(self.source_port, self.destination_port, self.verification)
        checksum = crc32c(common + bytes(4) + body)
        return common + checksum.to_bytes(4, "little") + body

    def answer(self, tag: int) -> "Opening":
        """The INIT ACK to this INIT."""
        return Opening(Chunk.INIT_ACK, self.destination_port, self.source_port, tag, verification=self.tag)


def parse(octets: bytes) -> Opening | None:
    """What a packet opens, from its SCTP header on; None for any other packet."""
    if len(octets) < _COMMON.size + 4 + _INIT.size:
        return None
    source_port, destination_port, verification = _COMMON.unpack_from(octets)
    kind, _, _, tag, *_ = _INIT.unpack_from(octets, _COMMON.size + 4)
    if kind not in {Chunk.INIT, Chunk.INIT_ACK}:
        return None
    return Opening(Chunk(kind), source_port, destination_port, tag, verification)


def crc32c(octets: bytes) -> int:
    """The Castagnoli CRC of a text of octets."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = _TABLE[(value ^ octet) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _table_entry(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_TABLE = tuple(map(_table_entry, range(256)))
