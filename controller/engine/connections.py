"""Connection sets: which ports of which protocols, and whether every other protocol too.

What may flow between two endpoints is one `ConnectionSet`: the union of the rules of one end, the
intersection of the two ends (rules 2.7, 2.8). "Other" stands for everything a policy cannot name, ICMP echo
above all: a rule without ports allows it, a rule with ports does not (rule 2.39).
"""

from collections.abc import Iterable

from msgspec import Struct

from controller.engine.intervals import IntervalSet
from controller.objects.kinds import Protocol

ALL_PORTS = IntervalSet([(1, 65535)])
"""Every port that a connection can be opened to."""

_NO_PORTS = IntervalSet()


class ConnectionSet(Struct, frozen=True):
    """Allowed destination ports by protocol, and whether any protocol but TCP, UDP and SCTP is allowed."""

    tcp: IntervalSet = _NO_PORTS
    udp: IntervalSet = _NO_PORTS
    sctp: IntervalSet = _NO_PORTS
    other: bool = False

    @classmethod
    def of(cls, ranges: Iterable[tuple[Protocol, int, int]]) -> "ConnectionSet":
        """The union of (protocol, first port, last port); ports outside 1..65535 are cut off."""
        found: dict[Protocol, list[tuple[int, int]]] = {protocol: [] for protocol in Protocol}
        for protocol, first, last in ranges:
            found[protocol].append((max(first, 1), min(last, 65535)))
        tcp, udp, sctp = (IntervalSet(found[protocol]) for protocol in Protocol)
        return cls(tcp, udp, sctp)

    def ports(self, protocol: Protocol) -> IntervalSet:
        """Allowed ports of one protocol."""
        if protocol is Protocol.TCP:
            return self.tcp
        return self.udp if protocol is Protocol.UDP else self.sctp

    def allows(self, protocol: Protocol | None, port: int | None) -> bool:
        """Whether a packet of this protocol to this port is in the set.

        Protocol None is any other protocol.
        """
        if protocol is None:
            return self.other
        return port is not None and port in self.ports(protocol)

    def __bool__(self) -> bool:
        return bool(self.tcp or self.udp or self.sctp or self.other)

    def __or__(self, other: "ConnectionSet") -> "ConnectionSet":
        if self is other:
            return self
        return ConnectionSet(
            self.tcp | other.tcp, self.udp | other.udp, self.sctp | other.sctp, self.other or other.other
        )

    def __and__(self, other: "ConnectionSet") -> "ConnectionSet":
        if self is other:
            return self
        return ConnectionSet(
            self.tcp & other.tcp, self.udp & other.udp, self.sctp & other.sctp, self.other and other.other
        )

    def __sub__(self, other: "ConnectionSet") -> "ConnectionSet":
        return ConnectionSet(
            self.tcp - other.tcp, self.udp - other.udp, self.sctp - other.sctp, self.other and not other.other
        )

    def __str__(self) -> str:
        """For people: `all`, `none`, `80,443/TCP 53/UDP`."""
        if self == EVERYTHING:
            return "all"
        texts = [_ports_text(self.ports(protocol), protocol) for protocol in Protocol if self.ports(protocol)]
        if self.other:
            texts.append("other protocols")
        return " ".join(texts) or "none"


EVERYTHING = ConnectionSet(ALL_PORTS, ALL_PORTS, ALL_PORTS, other=True)
"""Any packet at all."""

NOTHING = ConnectionSet()
"""No packet."""


def _ports_text(ports: IntervalSet, protocol: Protocol) -> str:
    if ports == ALL_PORTS:
        return protocol.name
    numbers = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ports)
    return f"{numbers}/{protocol.name}"
