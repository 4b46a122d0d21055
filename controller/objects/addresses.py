"""Addresses and CIDR blocks, as integers inside and as text at the edges.

The API server accepts spellings that strict parsers refuse, and keeps them in old objects: leading zeros
(decimal), host bits set, IPv4-mapped IPv6, a prefix length of "08" (rule 2.30). They are parsed here by hand,
once.
"""

import re
import socket

from msgspec import Struct

BITS = {4: 32, 6: 128}
"""Address width by family."""

_LONGEST = 100
_OCTET = re.compile(r"[0-9]{1,10}", re.ASCII)
_ZEROS = re.compile(r"(?<![0-9A-Fa-f])0+(?=[0-9A-Fa-f])", re.ASCII)
_PREFIX = re.compile(r"[0-9]{1,10}", re.ASCII)


class AddressError(ValueError):
    """A text that is no address or block; the message says why, without naming the object."""


class Cidr(Struct, frozen=True, order=True):
    """A block of addresses of one family; host bits of `network` are zero."""

    family: int
    network: int
    prefix: int

    @property
    def first(self) -> int:
        """Lowest address of the block."""
        return self.network

    @property
    def last(self) -> int:
        """Highest address of the block."""
        return self.network | ((1 << (BITS[self.family] - self.prefix)) - 1)

    def holds(self, family: int, value: int) -> bool:
        """Whether an address is in this block; never across families (rule 2.21)."""
        return self.family == family and self.first <= value <= self.last

    def contains(self, other: "Cidr") -> bool:
        """Whether every address of `other` is in this block (equal blocks contain each other)."""
        return (
            self.family == other.family
            and self.prefix <= other.prefix
            and self.first <= other.first <= self.last
        )

    def __str__(self) -> str:
        return f"{format_address(self.family, self.network)}/{self.prefix}"


def parse_address(text: str) -> tuple[int, int]:
    """(family, value) of an address as the API server would read it. Raises AddressError (rule 2.30)."""
    _refuse_odd(text)
    if ":" not in text:
        return 4, _parse_ipv4(text)
    value = _parse_ipv6(text)
    if value >> 32 == 0xFFFF:  # ::ffff:a.b.c.d is the IPv4 address a.b.c.d
        return 4, value & 0xFFFFFFFF
    return 6, value


def parse_cidr(text: str) -> Cidr:
    """A block as the API server would read it, host bits masked off. Raises AddressError (rule 2.30)."""
    _refuse_odd(text)
    address, slash, length = text.partition("/")
    if not slash:
        raise AddressError(f"{text!r} has no prefix length, as in 10.0.0.0/24")
    if not _PREFIX.fullmatch(length):
        raise AddressError(f"prefix length {length!r} is not a number")
    prefix = int(length)
    if ":" not in address:
        return _block(4, _parse_ipv4(address), prefix)
    value = _parse_ipv6(address)
    if value >> 32 == 0xFFFF and 96 <= prefix <= 128:
        return _block(4, value & 0xFFFFFFFF, prefix - 96)
    return _block(6, value, prefix)


def format_address(family: int, value: int) -> str:
    """Canonical text of an address (RFC 5952 for IPv6)."""
    if family == 4:
        return socket.inet_ntop(socket.AF_INET, value.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


def _refuse_odd(text: str) -> None:
    """Messages quote the text: one of 10 MB must not get that far. Nor may what no parser can encode."""
    if len(text) > _LONGEST:
        raise AddressError("the text is longer than any address")
    if not text.isascii():
        raise AddressError("an address has only ASCII characters")


def _block(family: int, value: int, prefix: int) -> Cidr:
    bits = BITS[family]
    if prefix > bits:
        raise AddressError(f"prefix length {prefix} is longer than the {bits} bits of an IPv{family} address")
    mask = ((1 << prefix) - 1) << (bits - prefix)
    return Cidr(family, value & mask, prefix)


def _parse_ipv4(text: str) -> int:
    try:  # the usual spelling, 15 times faster than by hand
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):
        return _parse_sloppy_ipv4(text)


def _parse_sloppy_ipv4(text: str) -> int:
    octets = text.split(".")
    if len(octets) != 4:
        raise AddressError(f"{text!r} is not an IP address")
    value = 0
    for octet in octets:
        # Leading zeros are decimal to the API server, never octal (rule 2.30).
        if not _OCTET.fullmatch(octet) or int(octet) > 255:
            raise AddressError(f"{text!r} is not an IP address")
        value = value << 8 | int(octet)
    return value


def _parse_ipv6(text: str) -> int:
    head, colon, tail = text.rpartition(":")
    if "." in tail:  # Go reads the embedded IPv4 part with leading zeros, inet_pton does not
        quad = _parse_ipv4(tail)
        text = f"{head}{colon}{quad >> 16:x}:{quad & 0xFFFF:x}"
    try:  # leading zeros beyond four digits: the API server takes them, inet_pton does not
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, _ZEROS.sub("", text)), "big")
    except (OSError, ValueError):
        raise AddressError(f"{text!r} is not an IP address") from None
