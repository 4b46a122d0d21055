"""Taking marks off connections by ctnetlink, one connection at a time.

`conntrack -U` sends an update for every connection while it is still reading the table, and its own
acknowledgements overrun its socket: with more than 256 connections it stops there (conntrack 1.4.7,
measured). Here the table is read first and the updates are acknowledged one by one
(linux/netfilter/nfnetlink_conntrack.h).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

from controller.dataplane.netlink import (
    ACK,
    BIG_ENDIAN,
    DONE,
    DUMP,
    ERROR,
    NESTED,
    REQUEST,
    Message,
    acknowledgement,
    attribute,
    messages,
    netfilter_attributes,
    netfilter_message,
    open_netfilter,
)

_SUBSYSTEM = 1  # NFNL_SUBSYS_CTNETLINK
_NEW, _GET = 0, 1  # IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_GET
_TUPLE, _MARK, _ZONE, _MARK_MASK = 1, 8, 18, 21


def clear_marks(family: int, mask: int) -> int:
    """Clear the masked bits of every connection's mark in this network namespace; how many had some.

    O(connections). A connection that ends meanwhile is no error. Raises OSError.
    """
    marked = list(_marked(family, mask))
    with open_netfilter() as channel:
        for number, identity in enumerate(marked, start=1):
            channel.send(_update(family, identity, mask, number))
            code = acknowledgement(channel, number)
            if code not in {0, errno.ENOENT}:
                raise OSError(code, os.strerror(code))
    return len(marked)


def _marked(family: int, mask: int) -> Iterator[bytes]:
    """What identifies each connection that has some of the bits: its tuple and zone, as attributes."""
    with open_netfilter() as channel:
        channel.send(netfilter_message(_SUBSYSTEM, _GET, REQUEST | DUMP, family, b"", 1))
        for each in _answers(channel):
            if each.kind == DONE:
                return
            found = dict(netfilter_attributes(each.body))
            if int.from_bytes(found.get(_MARK, b""), "big") & mask and _TUPLE in found:
                zone = attribute(_ZONE | BIG_ENDIAN, found[_ZONE]) if _ZONE in found else b""
                yield attribute(_TUPLE | NESTED, found[_TUPLE]) + zone


def _answers(channel: socket.socket) -> Iterator[Message]:
    """The messages of the answer. Raises OSError for the kernel's refusal."""
    while True:
        for each in messages(channel.recv(1 << 18)):
            if each.kind == ERROR:
                raise OSError(each.code, os.strerror(each.code))
            yield each


def _update(family: int, identity: bytes, mask: int, number: int) -> bytes:
    marks = attribute(_MARK, bytes(4)) + attribute(_MARK_MASK, struct.pack(">I", mask))
    return netfilter_message(_SUBSYSTEM, _NEW, REQUEST | ACK, family, identity + marks, number)
