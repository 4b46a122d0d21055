"""Flows: connections that stay open and keep talking, to see what a change of rules does to them.

A flow that is denied is not told: its packets are dropped, and `heard` stands still. A flow that is
disturbed, by a reset above all, says so in `ended`.
"""

import asyncio
import socket
import time
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, Self

from controller.objects.kinds import Protocol
from tests.kernel.ends import End, bound
from tests.kernel.loop import LoopThread
from tests.kernel.namespaces import Namespaces
from tests.kernel.probing import Shot

_CHUNK = bytes(16384)
_TCP_PACE = 0.002
_UDP_PACE = 0.005
_LARGEST = 65536


class Talk(StrEnum):
    """Who sends: the client, the server, or both in turn. TCP knows the first two, UDP the last two."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    ECHO = "echo"


class Flow:
    """One connection with traffic on it, until it is closed.

    Counters are written by the event loop's thread, and may be read by any.
    """

    def __init__(self, loop: LoopThread, namespaces: Namespaces, shot: Shot, talk: Talk) -> None:
        self._loop = loop
        self._namespaces = namespaces
        self._shot = shot
        self._talk = talk
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.heard = 0
        """Octets (TCP) or datagrams (UDP) that arrived: at the server for an upload, else at the client."""
        self.last_heard = 0.0
        """When something arrived last, on the clock of `time.monotonic`."""
        self.ended = ""
        """Why the flow ended by itself: `ConnectionResetError`, say; "" while it lives."""

    def __enter__(self) -> Self:
        try:
            self._loop.run(self._open())
        except BaseException:
            self._loop.run(self._close())
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._close())

    def goes_on(self, within: float = 1.0) -> bool:
        """Whether anything arrives in the next `within` seconds; returns as soon as it does."""
        before, deadline = self.heard, time.monotonic() + within
        while self.heard == before:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    async def _open(self) -> None:
        """Raises TimeoutError where the connection is not to be had."""
        async with asyncio.timeout(2):
            if self._shot.protocol is Protocol.TCP:
                await self._open_tcp()
            else:
                await self._open_udp()

    async def _open_tcp(self) -> None:
        loop = asyncio.get_running_loop()
        listener = self._socket(self._arrival(), socket.SOCK_STREAM, self._shot.arrival_port)
        listener.listen()
        client = self._socket(self._shot.source, socket.SOCK_STREAM)
        await loop.sock_connect(client, (self._shot.address, self._shot.port))
        server, _ = await loop.sock_accept(listener)
        self._sockets.append(server)
        sender, receiver = (server, client) if self._talk is Talk.DOWNLOAD else (client, server)
        self._start(self._pour(sender), self._drain(receiver))

    async def _open_udp(self) -> None:
        server = self._socket(self._arrival(), socket.SOCK_DGRAM, self._shot.arrival_port)
        client = self._socket(self._shot.source, socket.SOCK_DGRAM)
        client.connect((self._shot.address, self._shot.port))
        client.send(b"first")
        loop = asyncio.get_running_loop()
        _, address = await loop.sock_recvfrom(server, _LARGEST)
        if self._talk is Talk.DOWNLOAD:
            server.connect(address)
            self._start(self._drip(server), self._drain(client, datagrams=True))
        else:
            self._start(self._drip(client), self._echo(server), self._drain(client, datagrams=True))

    def _arrival(self) -> End:
        if self._shot.arrival is None:
            raise ValueError(f"nobody lives at {self._shot.address}")
        return self._shot.arrival

    def _socket(self, end: End, kind: int, port: int = 0) -> socket.socket:
        found = bound(self._namespaces[end.place], end, kind, port=port)
        self._sockets.append(found)
        return found

    def _start(self, *parts: Coroutine[Any, Any, None]) -> None:
        self._tasks = [asyncio.create_task(self._guard(part)) for part in parts]

    async def _guard(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except OSError as error:
            self.ended = self.ended or type(error).__name__

    async def _pour(self, sender: socket.socket) -> None:
        while True:
            await asyncio.get_running_loop().sock_sendall(sender, _CHUNK)
            await asyncio.sleep(_TCP_PACE)

    async def _drip(self, sender: socket.socket) -> None:
        while True:
            sender.send(b"drop")
            await asyncio.sleep(_UDP_PACE)

    async def _echo(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            octets, address = await loop.sock_recvfrom(server, _LARGEST)
            server.sendto(octets, address)

    async def _drain(self, receiver: socket.socket, *, datagrams: bool = False) -> None:
        while octets := await asyncio.get_running_loop().sock_recv(receiver, _LARGEST):
            self.heard += 1 if datagrams else len(octets)
            self.last_heard = time.monotonic()
        self.ended = self.ended or "closed"

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self._sockets:
            each.close()
        self._sockets.clear()
