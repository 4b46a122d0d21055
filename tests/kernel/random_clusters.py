"""Random clusters on a lab: the same state of a `Random` gives the same cluster and the same probes.

Everything is drawn from the small alphabets of the property tests, so that selectors hit, port ranges overlap
and blocks cut through pods, nodes and the outside. Not drawn by hypothesis: nothing is to be shrunk, a round
costs real packets, and a long run wants new clusters all the time.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TypeVar

import msgspec

from controller.objects.addresses import BITS, Cidr, format_address, parse_address, parse_cidr
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Direction,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import LabelSelector, Operator, Requirement
from tests.kernel.probing import Probe
from tests.kernel.wiring import OUTSIDE_BLOCKS, Plan, PodPlace
from tests.property.clusters import KEYS, NAMES, PORTS, VALUES

T = TypeVar("T")

_NAME_LABEL = "kubernetes.io/metadata.name"
_PREFIXES = {4: (0, 1, 8, 15, 16, 24, 26, 28, 29, 31, 32), 6: (0, 1, 16, 48, 63, 64, 120, 124, 127, 128)}
_OUTSIDE = ("192.0.2.1", "198.51.100.200", "203.0.113.77", "2001:db8::1", "2001:db8:0:1::ff")


class Draw:
    """Draws the cluster of one round, and probes that may tell right rules from wrong ones."""

    def __init__(self, random: Random, lab: Plan) -> None:
        self._random = random
        self._lab = lab
        self._namespaces = sorted({pod.name.split("/")[0] for pod in lab.pods})
        nodes = [address for node in lab.nodes for address in node.addresses.values()]
        pods = [address for pod in lab.pods for address in pod.addresses.values()]
        self._addresses = [each for each in (*nodes, *pods, *_OUTSIDE) if _family(each) in lab.families]

    def cluster(self) -> Cluster:
        """Pods of all sorts at the places of the lab, and policies."""
        pods = [pod for place in self._lab.pods for pod in self._pods(place)]
        pods += [self._host_pod(place) for place in range(2)]
        namespaces = [self._namespace(name) for name in self._namespaces if self._chance(0.95)]
        policies = [self._policy(place) for place in range(self._random.randint(1, 6))]
        return Cluster(
            namespaces=tuple(namespaces),
            pods=tuple(sorted(pods, key=lambda pod: pod.key)),
            policies=tuple(policies),
            nodes=tuple(
                Node(
                    name=node.name,
                    ips=tuple(node.addresses.values()),
                    pod_cidrs=tuple(map(parse_cidr, node.pod_blocks.values())),
                )
                for node in self._lab.nodes
            ),
        )

    def probes(self, cluster: Cluster, count: int, services: Mapping[str, int]) -> list[Probe]:
        """Probes with a pod at one end at least, or to `services`: virtual address -> port."""
        pods = {address for place in self._lab.pods for address in place.addresses.values()}
        ends = [*self._addresses * 3, *_outside_edges(cluster)]
        ports = sorted({*PORTS, *_port_edges(cluster)})
        probes: list[Probe] = []
        while len(probes) < count:
            source, destination = self._one_of(ends), self._one_of(ends)
            if _family(source) != _family(destination) or not {source, destination} & pods:
                continue
            protocol = self._one_of([*Protocol, None])
            probes.append(Probe(source, destination, protocol, self._one_of(ports) if protocol else 0))
        for address, port in services.items():
            family = _family(address)
            probes += [Probe(place.name, address, Protocol.TCP, port, family) for place in self._lab.pods]
            probes += [Probe(node.name, address, Protocol.TCP, port, family) for node in self._lab.nodes]
        return probes

    # Pods and namespaces

    def _pods(self, place: PodPlace) -> Iterator[Pod]:
        """Usually one; an address without is nobody's; two share one while it changes hands (rule 2.56)."""
        for name in self._one_of([[""]] * 12 + [[], ["", "-twin"]]):
            pod = self._pod(f"{place.name}{name}", place.node)
            addresses = tuple(place.addresses.values())
            fewer = self._one_of(addresses)
            yield msgspec.structs.replace(pod, ips=addresses if self._chance(0.9) else (fewer,))

    def _host_pod(self, place: int) -> Pod:
        node = self._one_of(self._lab.nodes)
        pod = self._pod(f"{self._one_of(self._namespaces)}/host-{place}", node.name)
        return msgspec.structs.replace(pod, ips=tuple(node.addresses.values()), host_network=True)

    def _pod(self, key: str, node: str) -> Pod:
        namespace, name = key.split("/")
        return Pod(
            namespace=namespace,
            name=name,
            labels=self._labels(),
            node=node,
            phase=self._one_of(["Running"] * 12 + ["Pending", "Succeeded"]),
            ports=tuple(sorted({self._container_port() for _ in range(self._random.randint(0, 3))})),
            quarantined=self._chance(0.04),
        )

    def _container_port(self) -> ContainerPort:
        return ContainerPort(self._one_of(NAMES), self._one_of([*Protocol]), self._one_of(PORTS))

    def _namespace(self, name: str) -> Namespace:
        return Namespace(name=name, labels={**self._labels(), _NAME_LABEL: name})

    def _labels(self) -> dict[str, str]:
        return {key: self._one_of(VALUES) for key in KEYS if self._chance(0.6)}

    # Policies

    def _policy(self, place: int) -> NetworkPolicy:
        return NetworkPolicy(
            namespace=self._one_of(self._namespaces),
            name=f"policy-{place}",
            pod_selector=self._selector(),
            directions=self._one_of([(Direction.INGRESS,), (Direction.EGRESS,), tuple(Direction)]),
            ingress=self._several(self._rule, most=3),
            egress=self._several(self._rule, most=3),
        )

    def _rule(self, index: int) -> PolicyRule:
        peers = self._several(self._peer, most=3) if self._chance(0.75) else None
        ports = self._several(self._port, most=3) if self._chance(0.65) else None
        return PolicyRule(index, peers, ports)

    def _peer(self, index: int) -> Peer:
        kind = self._one_of(["pods", "namespaces", "both", "block", "block"])
        if kind == "block":
            return Peer(index, ip_block=self._block())
        pods = self._selector() if kind != "namespaces" else None
        return Peer(index, pods, self._namespace_selector() if kind != "pods" else None)

    def _port(self, index: int) -> PolicyPort:
        protocol = self._one_of([Protocol.TCP, *Protocol])
        kind = self._one_of(["any", "number", "number", "range", "name"])
        if kind == "any":
            return PolicyPort(index, protocol)
        if kind == "name":
            return PolicyPort(index, protocol, self._one_of(NAMES))
        port = self._one_of(PORTS)
        end = self._one_of([found for found in PORTS if found >= port]) if kind == "range" else None
        return PolicyPort(index, protocol, port, end)

    def _selector(self) -> LabelSelector:
        if self._chance(0.35):
            return LabelSelector()
        expressions = [self._requirement()] if self._chance(0.5) else []
        return LabelSelector.of({} if expressions else self._labels(), expressions)

    def _namespace_selector(self) -> LabelSelector:
        if self._chance(0.5):
            return LabelSelector.of({_NAME_LABEL: self._one_of(self._namespaces)})
        return self._selector()

    def _requirement(self) -> Requirement:
        operator = self._one_of([*Operator])
        valued = operator in {Operator.IN, Operator.NOT_IN}
        values = {self._one_of(VALUES) for _ in range(self._random.randint(1, 2))} if valued else set()
        return Requirement(self._one_of(KEYS), operator, tuple(sorted(values)))

    def _block(self) -> IPBlock:
        """Around an address of the lab, with excepts around others in it (rule 2.22)."""
        cidr = self._cidr(self._one_of(self._addresses), 0)
        inside = [each for each in self._addresses if cidr.contains(_host(each))]
        if cidr.prefix == BITS[cidr.family] or self._chance(0.4):
            return IPBlock(cidr)
        holes = {self._cidr(self._one_of(inside), cidr.prefix + 1) for _ in range(self._random.randint(1, 3))}
        return IPBlock(cidr, tuple(sorted(holes)))

    def _cidr(self, address: str, shortest: int) -> Cidr:
        prefixes = [each for each in _PREFIXES[_family(address)] if each >= shortest]
        return parse_cidr(f"{address}/{self._one_of(prefixes)}")

    # Chance

    def _several(self, make: Callable[[int], T], most: int) -> tuple[T, ...]:
        return tuple(make(place) for place in range(self._random.randint(0, most)))

    def _one_of(self, choices: "list[T] | tuple[T, ...]") -> T:
        return self._random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _host(address: str) -> Cidr:
    family, value = parse_address(address)
    return Cidr(family, value, BITS[family])


def _blocks(cluster: Cluster) -> Iterator[Cidr]:
    for policy in cluster.policies:
        for rule in policy.ingress + policy.egress:
            for peer in rule.peers or ():
                if peer.ip_block is not None:
                    yield from (peer.ip_block.cidr, *peer.ip_block.excepts)


def _outside_edges(cluster: Cluster) -> list[str]:
    """The first and last address of each block, and their neighbours, as far as they answer in a lab."""
    outside = [parse_cidr(block) for block in OUTSIDE_BLOCKS]
    found: set[str] = set()
    for block in _blocks(cluster):
        for value in (block.first - 1, block.first, block.last, block.last + 1):
            host = Cidr(block.family, value, BITS[block.family])
            if any(each.contains(host) for each in outside):
                found.add(format_address(block.family, value))
    return sorted(found)


def _port_edges(cluster: Cluster) -> Iterator[int]:
    for policy in cluster.policies:
        for rule in policy.ingress + policy.egress:
            for item in rule.ports or ():
                if isinstance(item.port, int):
                    last = item.end_port or item.port
                    yield from (port for port in (item.port - 1, last, last + 1) if 1 <= port <= 65535)
