"""What the kernel logs of packets (NFLOG), by netlink: linux/netfilter/nfnetlink_log.h.

One reader a group; the kernel sends what it has gathered five times a second at most. The protocol families
are not bound to this log: an NFLOG rule names it itself, and binding them would take the log of others.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from controller.dataplane.netlink import (
    ACK,
    REQUEST,
    Message,
    acknowledgement,
    attribute,
    messages,
    netfilter_attributes,
    netfilter_message,
    open_netfilter,
)

COPIED = 128
"""Octets of each packet: IPv6 with extension headers, and ports."""

_SUBSYSTEM = 4  # NFNL_SUBSYS_ULOG
_PACKET, _CONFIG = 0, 1  # NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG
_PACKET_KIND = _SUBSYSTEM << 8 | _PACKET
_COMMAND, _MODE, _TIMEOUT, _FLAGS = 1, 2, 4, 6
_BIND = 1
_COPY_PACKET = 2
_NUMBERED = 1  # NFULNL_CFG_F_SEQ
_HUNDREDTHS = 20
_PAYLOAD, _PREFIX, _SEQUENCE = 9, 10, 12
_PATIENCE = 10.0
_READS_AT_ONCE = 16


class Logged(NamedTuple):
    """A packet as it was logged: the prefix of the rule, the first octets, and its number."""

    prefix: str
    octets: bytes
    number: int


class PacketLogError(OSError):
    """The group cannot be listened to; the message says which and why."""


class PacketLog:
    """A group of this network namespace, listened to. Owns its socket."""

    def __init__(self, group: int) -> None:
        """Raises PacketLogError."""
        self._next: int | None = None
        try:
            self._socket = open_netfilter()
        except OSError as error:
            raise PacketLogError(error.errno, f"NFLOG: {os.strerror(error.errno or 0)}") from error
        try:
            self._socket.settimeout(_PATIENCE)
            for number, each in enumerate(_settings(), start=1):
                self._set(each, number, group)
            self._socket.settimeout(0)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """To wait on."""
        return self._socket.fileno()

    def read(self, take: Callable[[Logged], None]) -> int:
        """Hand over what is there, some messages at most; returns how many packets were lost before them.

        The kernel numbers what it logs: what is missing was lost, as is told of a socket that overflows.
        """
        lost = 0
        for _ in range(_READS_AT_ONCE):
            try:
                octets = self._socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            for each in logged_packets(octets):
                lost += self._missed(each.number)
                take(each)
        return lost

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _set(self, setting: bytes, number: int, group: int) -> None:
        self._socket.send(netfilter_message(_SUBSYSTEM, _CONFIG, REQUEST | ACK, 0, setting, number, group))
        if code := acknowledgement(self._socket, number):
            raise PacketLogError(code, f"NFLOG group {group}: {_reason(code)}")

    def _missed(self, number: int) -> int:
        expected, self._next = self._next, (number + 1) & 0xFFFFFFFF
        return 0 if expected is None else (number - expected) & 0xFFFFFFFF


def logged_packets(octets: bytes) -> Iterator[Logged]:
    """The packets that one read brought; what is none is left out."""
    for each in messages(octets):
        if each.kind == _PACKET_KIND:
            yield _logged(each)


def _logged(message: Message) -> Logged:
    found = dict(netfilter_attributes(message.body))
    prefix = found.get(_PREFIX, b"").partition(b"\0")[0].decode("ascii", "replace")
    return Logged(prefix, found.get(_PAYLOAD, b""), int.from_bytes(found.get(_SEQUENCE, b"")[:4], "big"))


def _settings() -> Iterator[bytes]:
    yield attribute(_COMMAND, bytes([_BIND]))
    yield attribute(_MODE, struct.pack(">IBx", COPIED, _COPY_PACKET))
    yield attribute(_TIMEOUT, struct.pack(">I", _HUNDREDTHS))
    yield attribute(_FLAGS, struct.pack(">H", _NUMBERED))


_TAKEN = "another program listens to it (--log-drops-group names another)"
_REASONS = {
    errno.EBUSY: _TAKEN,
    errno.EPERM: f"{_TAKEN}, or CAP_NET_ADMIN is missing",
    errno.EINVAL: "this kernel has no nfnetlink_log",
}


def _reason(code: int) -> str:
    return _REASONS.get(code) or os.strerror(code)
