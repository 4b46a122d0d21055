"""The words of iptables and ipset as numbers: addresses, masks, protocols, set entries.

The tools print strict and regular texts, but not one spelling: with and without /etc/protocols, with and
without a prefix length. Both spellings become one number here.
"""

import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from controller.dataplane.ruleset import SetType
from controller.dataplane.validity import PROTOCOLS, TRANSPORTS
from controller.objects.addresses import BITS, format_address

_PROTOCOL_NUMBERS = {name: number for number, name in PROTOCOLS.items()} | {"icmpv6": 58}
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,8}|[0-9]{1,10}", re.ASCII)
_PTON = {4: socket.AF_INET, 6: socket.AF_INET6}


class UnreadableError(ValueError):
    """A word, or a line of words, that podgate never writes; the message says why, without the line."""


class Entry(NamedTuple):
    """A set's entry as numbers, in sorting order; `protocol` and `port` are 0 where there is no port."""

    address: int
    prefix: int
    protocol: int = 0
    port: int = 0


def parse_entry(text: str, kind: SetType, family: int) -> Entry:
    """An entry of a set of this type and family as numbers. Raises UnreadableError.

    >>> parse_entry("10.0.0.1,tcp:80", SetType.ENDPOINTS, 4)
    Entry(address=167772161, prefix=32, protocol=6, port=80)
    """
    address, comma, port = text.partition(",")
    if bool(comma) != (kind is SetType.ENDPOINTS):
        raise UnreadableError(f"{text!r} is no entry of a {kind} set")
    if kind is SetType.ENDPOINTS:
        return Entry(read_address(address, family), BITS[family], *_endpoint_port(port))
    address, slash, prefix = address.partition("/")
    if not slash:
        return Entry(read_address(address, family), BITS[family])
    length = read_number(prefix)
    if length > BITS[family] or (kind is SetType.ADDRESSES and length < BITS[family]):
        raise UnreadableError(f"{text!r} is no entry of a {kind} set")
    return Entry(read_address(address, family) & prefix_mask(length, family), length)


def in_order(addresses: Iterable[str], family: int) -> tuple[str, ...]:
    """Address texts sorted as the addresses are; ten times quicker than by way of `parse_entry`."""
    kind = _PTON[family]
    return tuple(sorted(addresses, key=lambda address: socket.inet_pton(kind, address)))


def format_entry(entry: Entry, family: int) -> str:
    """The entry as `ipset save` prints it: the inverse of `parse_entry`, one spelling each."""
    address = format_address(family, entry.address)
    if entry.protocol:
        return f"{address},{PROTOCOLS[entry.protocol]}:{entry.port}"
    return address if entry.prefix == BITS[family] else f"{address}/{entry.prefix}"


def read_protocol(text: str) -> int:
    """An IP protocol by name or number, one of `PROTOCOLS`. Raises UnreadableError."""
    number = _PROTOCOL_NUMBERS.get(text) or (read_number(text) if text[:1].isdecimal() else 0)
    if number not in PROTOCOLS:
        raise UnreadableError(f"protocol {text} is nothing podgate writes")
    return number


def read_number(text: str) -> int:
    """A number, decimal or after 0x hexadecimal. Raises UnreadableError."""
    if not _NUMBER.fullmatch(text):
        raise UnreadableError(f"{text!r} is no number")
    return int(text, 16 if text.startswith("0x") else 10)


def read_address(text: str, family: int) -> int:
    """An address of the family. Raises UnreadableError.

    Not `objects.addresses.parse_address`, which is as lenient as the API server: the kernel's texts are
    strict, and `::ffff:1.2.3.4` is an IPv6 address to it.
    """
    try:
        return int.from_bytes(socket.inet_pton(_PTON[family], text), "big")
    except (OSError, ValueError):
        raise UnreadableError(f"{text!r} is no IPv{family} address") from None


def prefix_mask(length: int, family: int) -> int:
    """The mask of a prefix length. Raises UnreadableError for a length beyond the family's addresses."""
    if length > BITS[family]:
        raise UnreadableError(f"prefix length {length} is longer than an IPv{family} address")
    return ((1 << length) - 1) << (BITS[family] - length)


def _endpoint_port(text: str) -> tuple[int, int]:
    """`tcp:80` or `6:80`: the latter is what ipset prints where /etc/protocols is missing."""
    protocol_text, colon, port_text = text.partition(":")
    protocol, port = read_protocol(protocol_text), read_number(port_text)
    if not colon or protocol not in TRANSPORTS or port > 65535:
        raise UnreadableError(f"{text!r} is no protocol and port")
    return protocol, port
