"""Probes: one attempt each to reach somebody with a real packet, hundreds at a time.

A probe counts as answered when the answer is back at its source, so replies are tested with it. Nothing
that drops a packet says so: a probe that is denied only stays silent. Packets of a lab are handled in the
system call that sends them, or a softirq later, so silence is an answer once no probe of the batch has been
answered for a good while; nor was there a false one beside six busy loops on two processors.
"""

import socket
from collections.abc import Sequence

from msgspec import Struct

from controller.lab.probing import Outcome, connect, exchange, fire_together, icmp_echo
from controller.objects.kinds import Protocol
from tests.kernel.ends import End, Listener, SctpHost, bound
from tests.kernel.namespaces import Namespaces

PATIENCE = 0.15
"""Seconds without any answer after which all that is open counts as silent."""

_BATCH = 500
_MANY_LISTENERS = 2000


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
        return await fire_together([self._attempt(shot) for shot in shots], patience)

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

    async def _attempt(self, shot: Shot) -> None:
        match shot.protocol:
            case Protocol.TCP:
                with self._client(shot, socket.SOCK_STREAM) as client:
                    await connect(client, shot.address, shot.port)
            case Protocol.SCTP:
                await self._sctp_host(shot.source).ask(shot.address, shot.port)
            case Protocol.UDP:
                with self._client(shot, socket.SOCK_DGRAM) as client:
                    await exchange(client, shot.address, shot.port)
            case None:
                protocol, header = icmp_echo(shot.source.family)
                with self._client(shot, socket.SOCK_DGRAM, protocol) as client:
                    await exchange(client, shot.address, shot.port, header)

    def _client(self, shot: Shot, kind: int, protocol: int = 0) -> socket.socket:
        return bound(self._namespaces[shot.source.place], shot.source, kind, protocol)
