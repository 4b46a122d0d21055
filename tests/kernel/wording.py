"""Few words for probes and for the parts of a policy's spec, so that a test can be read at a glance."""

from collections.abc import Mapping
from typing import Any

from controller.objects.kinds import Protocol
from tests.kernel.probing import Probe

Spec = dict[str, Any]
"""A spec as in a manifest, or a part of one. Parts are joined by `|`."""

TCP, UDP, SCTP = Protocol
ICMP = None
"""An echo; it stands for every protocol a policy cannot name."""

ANYTHING: tuple[tuple[Protocol | None, int], ...] = ((TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0))
"""One service of each protocol."""

OUTSIDE: Mapping[int, str] = {4: "192.0.2.7", 6: "2001:db8::7"}
"""An address beyond the cluster, by family."""
EVERYWHERE_OUTSIDE = " ".join(OUTSIDE.values())

BOTH: Spec = {"policyTypes": ["Ingress", "Egress"]}
EGRESS: Spec = {"policyTypes": ["Egress"]}


def probes(
    sources: str, destinations: str, *services: tuple[Protocol | None, int], family: int | None = None
) -> list[Probe]:
    """Every source to every destination, separated by blanks, by TCP to port 80 or the services named."""
    return [
        Probe(source, destination, protocol, port, family)
        for source in sources.split()
        for destination in destinations.split()
        for protocol, port in services or [(TCP, 80)]
    ]


def pods(**labels: str) -> Spec:
    """The pods with these labels: whom a policy is about, or a peer."""
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels: str) -> Spec:
    """A peer: the namespaces with these labels."""
    return {"namespaceSelector": {"matchLabels": labels}}


def block(cidr: str, *excepts: str) -> Spec:
    """A peer: addresses."""
    return {"ipBlock": {"cidr": cidr, "except": list(excepts)}}


def ports(*numbers: int | str, protocol: Protocol = TCP) -> list[Spec]:
    """Ports of one protocol, by number or name."""
    return [{"port": number, "protocol": protocol.name} for number in numbers]


def ingress(*peers: Spec, ports: list[Spec] | None = None) -> Spec:
    """One rule: from these peers, or anybody, to these ports, or any."""
    return {"ingress": [_rule("from", peers, ports)]}


def egress(*peers: Spec, ports: list[Spec] | None = None) -> Spec:
    """One rule: to these peers, or anybody, at these ports, or any. Isolates for egress alone."""
    return EGRESS | {"egress": [_rule("to", peers, ports)]}


def _rule(side: str, peers: tuple[Spec, ...], ports: list[Spec] | None) -> Spec:
    return ({side: list(peers)} if peers else {}) | ({"ports": ports} if ports else {})
