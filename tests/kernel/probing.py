"""Probes: one attempt each to reach somebody with a real packet, hundreds at a time.

A probe counts as answered when the answer is back at its source, so replies are tested with it. Nothing
that drops a packet says so: a probe that is denied only stays silent. Packets of a lab are handled in the
system call that sends them, or a softirq later, so silence is an answer once no probe of the batch has been
answered for a good while; nor was there a false one beside six busy loops on two processors.
"""

import asyncio
import errno
import secrets
import socket
import struct
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from controller.objects.kinds import Protocol
from tests.kernel.ends import End, Listener, SctpHost, bound
from tests.kernel.namespaces import Namespaces

PATIENCE = 0.15
"""Seconds without any answer after which all that is open counts as silent."""

_BATCH = 500
_MANY_LISTENERS = 2000
_ICMP = {4: (socket.IPPROTO_ICMP, 8), 6: (socket.IPPROTO_ICMPV6, 128)}
"""Protocol number, and type of an echo request."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Outcome(StrEnum):
    """What came back: what was asked for, an ICMP error or a reset that says nobody listens, or nothing."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Probe(Struct, frozen=True):
    """An attempt to reach `destination` from `source`.

    Both are a pod `namespace/name`, a node, or an address of one of them or of `outside`; the destination may
    also be the address of a Service. Protocol None is an ICMP echo. `family` counts where neither end is an
    address. Not `listening`: nobody is put there to answer.
    """

    source: str
    destination: str
    protocol: Protocol | None = Protocol.TCP
    port: int = 0
    family: int | None = None
    listening: bool = True

    def __str__(self) -> str:
        service = "icmp" if self.protocol is None else f"{self.protocol.name.lower()}/{self.port}"
        family = f" IPv{self.family}" if self.family else ""
        return f"{self.source} -> {self.destination} {service}{family}"


class Shot(Struct, frozen=True):
    """A probe with all names resolved.

    `address` and `port` are what the source asks for; `arrival` and `arrival_port` where that leads, which is
    somewhere else behind a Service; `arrival` is None for an address nobody has.
    """

    source: End
    address: str
    port: int
    protocol: Protocol | None
    arrival: End | None
    arrival_port: int
    listening: bool = True


class Prober:
    """Fires probes, and keeps those who answer them. All of it runs in one event loop."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._listeners: dict[tuple[End, Protocol, int], Listener] = {}
        self._sctp_hosts: dict[End, SctpHost] = {}

    async def fire(self, shots: Sequence[Shot], patience: float) -> list[Outcome]:
        """The outcome of each shot, in order."""
        outcomes: list[Outcome] = []
        for start in range(0, len(shots), _BATCH):
            outcomes += await self._fire_together(shots[start : start + _BATCH], patience)
        return outcomes

    async def close(self) -> None:
        """Nobody answers any more."""
        for listener in self._listeners.values():
            listener.close()
        for host in self._sctp_hosts.values():
            host.close()
        self._listeners.clear()
        self._sctp_hosts.clear()

    async def _fire_together(self, shots: Sequence[Shot], patience: float) -> list[Outcome]:
        if len(self._listeners) > _MANY_LISTENERS:
            await self.close()
        for shot in shots:
            self._listen_for(shot)
        attempts = [asyncio.create_task(self._attempt(shot)) for shot in shots]
        await asyncio.sleep(0)  # each attempt has run up to its first wait: everything is sent
        await _until_silence(attempts, patience)
        silent = {attempt for attempt in attempts if attempt.cancel()}
        await asyncio.gather(*silent, return_exceptions=True)
        return [Outcome.SILENT if attempt in silent else attempt.result() for attempt in attempts]

    def _listen_for(self, shot: Shot) -> None:
        if shot.arrival is None or shot.protocol is None or not shot.listening:
            return
        if shot.protocol is Protocol.SCTP:
            self._sctp_host(shot.arrival)
            return
        key = (shot.arrival, shot.protocol, shot.arrival_port)
        if key not in self._listeners:
            self._listeners[key] = Listener(self._namespaces[shot.arrival.place], *key)

    def _sctp_host(self, end: End) -> SctpHost:
        if end not in self._sctp_hosts:
            self._sctp_hosts[end] = SctpHost(self._namespaces[end.place], end)
        return self._sctp_hosts[end]

    async def _attempt(self, shot: Shot) -> Outcome:
        try:
            match shot.protocol:
                case Protocol.TCP:
                    await self._connect(shot)
                case Protocol.SCTP:
                    await self._sctp_host(shot.source).ask(shot.address, shot.port)
                case Protocol.UDP:
                    await self._exchange(shot, socket.IPPROTO_UDP, b"")
                case None:
                    protocol, request = _ICMP[shot.source.family]
                    # The kernel fills in the identifier and the checksum.
                    await self._exchange(shot, protocol, struct.pack("!BBHHH", request, 0, 0, 0, 1))
        except ConnectionRefusedError:
            return Outcome.REFUSED
        except OSError as error:
            # A node on the way may say that it knows no way; whether it does is a matter of its settings.
            if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
                return Outcome.SILENT
            raise
        return Outcome.ANSWERED

    async def _connect(self, shot: Shot) -> None:
        with bound(self._namespaces[shot.source.place], shot.source, socket.SOCK_STREAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            await asyncio.get_running_loop().sock_connect(client, (shot.address, shot.port))

    async def _exchange(self, shot: Shot, protocol: int, header: bytes) -> None:
        loop = asyncio.get_running_loop()
        nonce = secrets.token_bytes(8)
        namespace = self._namespaces[shot.source.place]
        with bound(namespace, shot.source, socket.SOCK_DGRAM, protocol) as client:
            client.connect((shot.address, shot.port))
            client.send(header + nonce)
            while not (await loop.sock_recv(client, 2048)).endswith(nonce):
                pass


async def _until_silence(attempts: Sequence["asyncio.Task[Outcome]"], patience: float) -> None:
    """Until all have ended, or for `patience` seconds none has."""
    if not attempts:
        return
    loop = asyncio.get_running_loop()
    last = loop.time()

    def note(_: object) -> None:
        nonlocal last
        last = loop.time()

    for attempt in attempts:
        attempt.add_done_callback(note)
    while not all(attempt.done() for attempt in attempts):
        left = last + patience - loop.time()
        if left > 0:
            await asyncio.wait(attempts, timeout=left)
            continue
        before = last
        await asyncio.sleep(0.005)  # if it was this process that slept, answers are waiting to be taken
        if last == before:
            return
