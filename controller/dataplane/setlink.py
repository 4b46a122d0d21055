"""Adding and removing set entries by netlink: the change that happens most, without starting a process.

An entry by `ipset restore` costs a fork and exec (1 ms); one by netlink 0.05 ms from Python, and the kernel's
acknowledgement says whether it took. Only ADD and DEL of the three set types in use are spoken here
(linux/netfilter/ipset/ip_set.h); creating, filling and destroying sets is `ipset restore`'s work, which is
also the fallback for these.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from controller.dataplane.netlink import (
    ACK,
    BIG_ENDIAN,
    NESTED,
    REQUEST,
    acknowledgement,
    attribute,
    netfilter_message,
    open_netfilter,
)
from controller.dataplane.ruleset import SetType
from controller.dataplane.words import parse_entry
from controller.objects.addresses import BITS

_SUBSYSTEM = 6  # NFNL_SUBSYS_IPSET
_ADD, _DELETE = 9, 10  # IPSET_CMD_ADD, IPSET_CMD_DEL
_PROTOCOL_VERSION = 6  # spoken by every kernel since 2.6.39
_ATTR_PROTOCOL, _ATTR_SETNAME, _ATTR_DATA, _ATTR_ADT, _ATTR_LINENO = 1, 2, 7, 8, 9
_DATA_IP, _DATA_CIDR, _DATA_PORT, _DATA_PROTO = 1, 3, 4, 7
_IPADDR = {4: 1, 6: 2}
_BATCH = 500
"""Entries a message: well below the 64 KiB that one netlink attribute can hold."""


_PATIENCE = 10.0
"""Seconds for an answer, which is there when `send` returns: only a kernel in trouble takes any."""


class SetLinkError(OSError):
    """The kernel refused a change; `errno` is its reason, the message names the set."""


class SetLink:
    """An open channel to the kernel's sets, of the network namespace it was opened in.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._socket = open_netfilter()
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; what it did stays."""
        self._socket.close()

    def add(self, name: str, kind: SetType, family: int, entries: Iterable[str]) -> None:
        """Add entries; one that is there already is no error.

        Raises SetLinkError: earlier batches stay applied.
        """
        self._change(_ADD, name, kind, family, entries)

    def remove(self, name: str, kind: SetType, family: int, entries: Iterable[str]) -> None:
        """Remove entries; one that is not there is no error.

        Raises SetLinkError: earlier batches stay applied.
        """
        self._change(_DELETE, name, kind, family, entries)

    def _change(self, command: int, name: str, kind: SetType, family: int, entries: Iterable[str]) -> None:
        for batch in _batches([_data(entry, kind, family) for entry in entries]):
            self._sequence += 1
            self._socket.send(_message(command, name, family, batch, self._sequence))
            code = acknowledgement(self._socket, self._sequence)
            if code:
                raise SetLinkError(code, f"set {name}: {_reason(code)}")


def _reason(code: int) -> str:
    own = {4097: "ipset protocol error", 4352: "the set is full"}  # IPSET_ERR_PROTOCOL, IPSET_ERR_HASH_FULL
    return own.get(code) or os.strerror(code)


def _batches(items: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _message(command: int, name: str, family: int, batch: list[bytes], sequence: int) -> bytes:
    body = attribute(_ATTR_PROTOCOL, bytes([_PROTOCOL_VERSION]))
    body += attribute(_ATTR_SETNAME, name.encode() + b"\0")
    body += attribute(_ATTR_LINENO, struct.pack("=I", 1))
    body += attribute(_ATTR_ADT | NESTED, b"".join(batch))
    return netfilter_message(_SUBSYSTEM, command, REQUEST | ACK, family, body, sequence)


def _data(entry: str, kind: SetType, family: int) -> bytes:
    found = parse_entry(entry, kind, family)
    address = attribute(_IPADDR[family] | BIG_ENDIAN, found.address.to_bytes(BITS[family] // 8, "big"))
    body = attribute(_DATA_IP | NESTED, address)
    if kind is SetType.NETWORKS:
        body += attribute(_DATA_CIDR, bytes([found.prefix]))
    if kind is SetType.ENDPOINTS:
        body += attribute(_DATA_PORT | BIG_ENDIAN, struct.pack(">H", found.port))
        body += attribute(_DATA_PROTO, bytes([found.protocol]))
    return attribute(_ATTR_DATA | NESTED, body + attribute(_ATTR_LINENO | BIG_ENDIAN, struct.pack(">I", 1)))
