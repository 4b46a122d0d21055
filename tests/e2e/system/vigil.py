"""Watches, while something goes wrong, that a closed way never opens and an open one never closes.

On a closed way a datagram goes every few milliseconds and a connection is tried again and again; one answer
is a hole, whatever else recovers later. An open way is asked more slowly and has a while to answer.
"""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from msgspec import Struct

from controller.lab.lab import Lab
from controller.lab.namespaces import Namespace
from controller.lab.probing import Outcome, Shot, fire
from controller.lab.sockets import open_socket
from controller.objects.kinds import Protocol

_EVERY = 0.004
"""Seconds between two datagrams on a closed way."""
_SOCKET_FOR = 50
"""Datagrams from one port: each that is dropped is the first of its connection."""
_PATIENCE = 0.05
_OPEN_EVERY = 0.03
_OPEN_PATIENCE = 3.0


class Way(Struct, frozen=True):
    """From a pod `namespace/name` to another, or to an address; at port 80 by both protocols."""

    source: str
    destination: str
    family: int = 4

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} IPv{self.family}"


class Vigil:
    """Asks for as long as its `async with` lasts; then `verdict` says what happened."""

    def __init__(self, lab: Lab, *, closed: Sequence[Way] = (), opened: Sequence[Way] = ()) -> None:
        self._lab = lab
        self._closed = closed
        self._opened = opened
        self._leaving = ExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._began = 0.0
        self.asked = 0
        """Packets on closed ways."""
        self.heard = 0
        """Answers on open ways."""
        self.faults: list[str] = []

    async def __aenter__(self) -> Self:
        ends = await self._lab.ends()
        self._began = time.monotonic()
        for way in self._closed:
            for protocol, ask in ((Protocol.UDP, self._flood), (Protocol.TCP, self._knock)):
                shot = ends.shot(way.source, way.destination, 80, protocol, way.family)
                self._tasks.append(asyncio.create_task(ask(way, shot, self._enter(shot))))
        for way in self._opened:
            for protocol in (Protocol.UDP, Protocol.TCP):
                shot = ends.shot(way.source, way.destination, 80, protocol, way.family)
                self._tasks.append(asyncio.create_task(self._call(way, shot, self._enter(shot))))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._leaving.close()
        self.faults += [
            f"the vigil broke: {each!r}"
            for each in ended
            if isinstance(each, Exception) and not isinstance(each, asyncio.CancelledError)
        ]

    def verdict(self, least: int = 100) -> None:
        """Fails if a closed way was open or an open one closed, or if nobody looked."""
        assert self.faults == []
        assert self.asked >= least * bool(self._closed), f"only {self.asked} packets in all the time"
        assert self.heard or not self._opened

    def _enter(self, shot: Shot) -> Namespace:
        return self._leaving.enter_context(Namespace(shot.namespace))

    def _note(self, way: Way, what: str) -> None:
        self.faults.append(f"{way} {what} after {time.monotonic() - self._began:.3f} s")

    async def _flood(self, way: Way, shot: Shot, namespace: Namespace) -> None:
        while True:
            with open_socket(namespace, shot.source, socket.SOCK_DGRAM) as client:
                client.connect((shot.address, shot.port))
                for _ in range(_SOCKET_FOR):
                    try:
                        client.send(secrets.token_bytes(8))
                        self.asked += 1
                        client.recv(2048)
                        self._note(way, "was open: a datagram came back")
                    except BlockingIOError:
                        pass
                    except ConnectionRefusedError:
                        self._note(way, "was open: nobody listens there, and that was said")
                    except OSError:
                        pass  # there is nobody at this address at present
                    await asyncio.sleep(_EVERY)

    async def _knock(self, way: Way, shot: Shot, namespace: Namespace) -> None:
        while True:
            with contextlib.suppress(OSError):
                outcome, *_ = await fire([shot], {shot.namespace: namespace}, _PATIENCE)
                self.asked += 1
                if outcome is Outcome.ANSWERED:
                    self._note(way, "was open: a connection was taken")
            await asyncio.sleep(_EVERY)

    async def _call(self, way: Way, shot: Shot, namespace: Namespace) -> None:
        while True:
            outcome, *_ = await fire([shot], {shot.namespace: namespace}, _OPEN_PATIENCE)
            self.heard += outcome is Outcome.ANSWERED
            if outcome is not Outcome.ANSWERED:
                word = "TCP" if shot.protocol is Protocol.TCP else "UDP"
                self._note(way, f"was closed: {word} was {outcome}")
            await asyncio.sleep(_OPEN_EVERY)
