"""Sockets with an address of a place, and whoever answers there: a TCP listener, a UDP echo, an SCTP host.

All of them are non-blocking and belong to the event loop that runs in this thread.
"""

import asyncio
import secrets
import socket

from msgspec import Struct

from controller.lab.addressing import family_of
from controller.lab.namespaces import Namespace
from controller.lab.sockets import open_socket
from controller.objects.kinds import Protocol
from tests.kernel import sctp

_MANY = 1024


class End(Struct, frozen=True):
    """An address where it lives. `place` is the name of a namespace of the lab."""

    place: str
    address: str

    @property
    def family(self) -> int:
        """4 or 6."""
        return family_of(self.address)


def bound(namespace: Namespace, end: End, kind: int, protocol: int = 0, port: int = 0) -> socket.socket:
    """A socket in a namespace, with an address of it. `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_RAW."""
    return open_socket(namespace, end.address, kind, protocol, port)


class Listener:
    """Somebody at an address and port: TCP takes connections and closes them, UDP sends everything back."""

    def __init__(self, namespace: Namespace, end: End, protocol: Protocol, port: int) -> None:
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        self._socket = bound(namespace, end, kind, port=port)
        if protocol is Protocol.TCP:
            self._socket.listen(_MANY)
        answer = self._accept if protocol is Protocol.TCP else self._echo
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, answer)

    def close(self) -> None:
        """Nobody is there any more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(_MANY):
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            connection.close()

    def _echo(self) -> None:
        for _ in range(_MANY):
            try:
                octets, sender = self._socket.recvfrom(2048)
                self._socket.sendto(octets, sender)
            except ConnectionRefusedError:  # somebody who asked has gone
                continue
            except BlockingIOError:
                return


class SctpHost:
    """SCTP at one address, as far as opening an association goes: answers each INIT, whatever the port."""

    def __init__(self, namespace: Namespace, end: End) -> None:
        self._socket = bound(namespace, end, socket.SOCK_RAW, sctp.PROTOCOL)
        self._family = end.family
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    async def ask(self, address: str, port: int) -> None:
        """Send an INIT from a random port, and return when it is answered."""
        tag = secrets.randbits(32) | 1
        self._asked[tag] = self._loop.create_future()
        try:
            self._send(sctp.Opening(sctp.Chunk.INIT, 32768 + secrets.randbelow(16384), port, tag), address)
            await self._asked[tag]
        finally:
            del self._asked[tag]

    def close(self) -> None:
        """Nobody is there any more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _send(self, opening: sctp.Opening, address: str) -> None:
        self._socket.sendto(opening.octets(), (address, 0))

    def _receive(self) -> None:
        for _ in range(_MANY):
            try:
                octets, sender = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            # An IPv4 raw socket hands over the IP header too.
            opening = sctp.parse(octets[(octets[0] & 15) * 4 :] if self._family == 4 else octets)
            if opening is not None:
                self._take(opening, sender[0])

    def _take(self, opening: sctp.Opening, sender: str) -> None:
        if opening.chunk is sctp.Chunk.INIT:
            self._send(opening.answer(secrets.randbits(32) | 1), sender)
            return
        asked = self._asked.get(opening.verification)
        if asked is not None and not asked.done():
            asked.set_result(None)
