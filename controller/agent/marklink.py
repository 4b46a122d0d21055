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

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 1  # NFNL_SUBSYS_CTNETLINK
_NEW, _GET = 0, 1  # IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_GET
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE, _MARK, _ZONE, _MARK_MASK = 1, 8, 18, 21
_TYPE_MASK = 0x3FFF
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


def clear_marks(family: int, mask: int) -> int:
    """Clear the masked bits of every connection's mark in this network namespace; how many had some.

    O(connections). A connection that ends meanwhile is no error. Raises OSError.
    """
    marked = list(_marked(family, mask))
    with _open() as channel:
        for number, identity in enumerate(marked, start=1):
            channel.send(_update(family, identity, mask, number))
            _acknowledged(channel, number)
    return len(marked)


def _open() -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    channel.bind((0, 0))
    return channel


def _marked(family: int, mask: int) -> Iterator[bytes]:
    """What identifies each connection that has some of the bits: its tuple and zone, as attributes."""
    with _open() as channel:
        channel.send(_message(_GET, _REQUEST | _DUMP, family, b"", 1))
        for kind, body in _answers(channel):
            if kind == _DONE:
                return
            found = dict(_attributes(body[4:]))
            (mark,) = struct.unpack(">I", found[_MARK][4:8]) if _MARK in found else (0,)
            if mark & mask and _TUPLE in found:
                yield found[_TUPLE] + found.get(_ZONE, b"")


def _answers(channel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(message type, payload) of each message of the answer. Raises OSError for the kernel's refusal."""
    while True:
        answer = channel.recv(1 << 18)
        place = 0
        while place < len(answer):
            length, kind, _, _, _ = _HEADER.unpack_from(answer, place)
            body = answer[place + _HEADER.size : place + length]
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", body)
                raise OSError(-code, os.strerror(-code))
            yield kind, body
            place += length + -length % 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, the attribute whole and padded)."""
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        padded = length + -length % 4
        yield kind & _TYPE_MASK, data[place : place + padded]
        place += padded


def _update(family: int, identity: bytes, mask: int, number: int) -> bytes:
    marks = _attribute(_MARK, 0) + _attribute(_MARK_MASK, mask)
    return _message(_NEW, _REQUEST | _ACK, family, identity + marks, number)


def _attribute(kind: int, value: int) -> bytes:
    return _ATTRIBUTE.pack(8, kind) + struct.pack(">I", value)


def _message(kind: int, flags: int, family: int, attributes: bytes, number: int) -> bytes:
    body = struct.pack("=BBH", _FAMILIES[family], 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), _SUBSYSTEM << 8 | kind, flags, number, 0) + body


def _acknowledged(channel: socket.socket, number: int) -> None:
    while True:
        answer = channel.recv(1 << 16)
        _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
        if kind == _ERROR and sequence == number:
            (code,) = struct.unpack_from("=i", answer, _HEADER.size)
            if code not in {0, -errno.ENOENT}:
                raise OSError(-code, os.strerror(-code))
            return
