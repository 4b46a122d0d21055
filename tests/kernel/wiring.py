"""What a lab looks like: its places, their addresses, and the `ip` commands and sysctls that make it. Pure.

Each node and each pod is a network namespace, and so is `outside`, which holds the network between the nodes
and answers at every address of a few blocks beyond the cluster. Pods hang on their node in one of two ways,
both common, which differ in the hooks that packets between pods of one node meet.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from controller.lab.wiring import (
    BRIDGE_OPTIONS,
    FORWARDING,
    Attachment,
    Cni,
    address_line,
    attach_lines,
    pod_lines,
)

OUTSIDE = "outside"
OUTSIDE_BLOCKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/64", "2001:db8:0:1::/64")
"""Documentation addresses; `outside` answers at each."""

_FABRIC = {4: "172.18.0.0/24", 6: "fd00:172:18::/64"}
_POD_BLOCK = {4: "10.244.{}.0/24", 6: "fd00:10:244:{}::/64"}
_BRIDGE = f"bridge {BRIDGE_OPTIONS}"


Topology = Cni


class PodPlace(Struct, frozen=True):
    """A pod `namespace/name` and its address by family."""

    name: str
    node: str
    addresses: Mapping[int, str]


class NodePlace(Struct, frozen=True):
    """A node: its own address by family, the address pods see it at, the block of its pods, and they."""

    name: str
    addresses: Mapping[int, str]
    gateways: Mapping[int, str]
    pod_blocks: Mapping[int, str]
    pods: tuple[PodPlace, ...]


class Plan(Struct, frozen=True):
    """All places of a lab."""

    topology: Topology
    families: tuple[int, ...]
    nodes: tuple[NodePlace, ...]

    @property
    def pods(self) -> tuple[PodPlace, ...]:
        """The pods of all nodes."""
        return tuple(pod for node in self.nodes for pod in node.pods)

    @property
    def places(self) -> tuple[str, ...]:
        """The names of all namespaces: `outside`, nodes, pods."""
        return (OUTSIDE, *(node.name for node in self.nodes), *(pod.name for pod in self.pods))


def plan(pods: Mapping[str, Sequence[str]], topology: Topology, families: Sequence[int] = (4, 6)) -> Plan:
    """Addresses for the pods `namespace/name` of each node."""
    nodes = (_node(number, name, found, families) for number, (name, found) in enumerate(pods.items(), 1))
    return Plan(topology, tuple(families), tuple(nodes))


def _node(number: int, name: str, pods: Sequence[str], families: Sequence[int]) -> NodePlace:
    blocks = {family: _POD_BLOCK[family].format(number) for family in families}
    return NodePlace(
        name,
        addresses={family: _host(_FABRIC[family], number + 1) for family in families},
        gateways={family: _host(blocks[family], 1) for family in families},
        pod_blocks=blocks,
        # 2, 10, 18, ...: every other one ends in the same hexadecimal digit: they share a dispatch chain.
        pods=tuple(
            PodPlace(pod, name, {family: _host(blocks[family], 2 + 8 * place) for family in families})
            for place, pod in enumerate(pods)
        ),
    )


def _host(block: str, number: int) -> str:
    return str(ipaddress.ip_network(block)[number])


NameOf = Callable[[str], str]
"""Place -> name of its network namespace."""


def outside_lines(lab: Plan, name_of: NameOf) -> Iterator[str]:
    """For `ip -batch` in `outside`, first of all: makes the nodes' uplinks too."""
    yield "link set lo up"
    yield f"link add fabric type {_BRIDGE}"
    for family in lab.families:
        yield _address(_host(_FABRIC[family], 1), _FABRIC[family], "fabric")
    yield "link set fabric up"
    for number, node in enumerate(lab.nodes):
        yield f"link add node{number} type veth peer name uplink netns {name_of(node.name)}"
        yield f"link set node{number} master fabric up"
        for family in lab.families:
            yield f"route add {node.pod_blocks[family]} via {node.addresses[family]}"
    for block in OUTSIDE_BLOCKS:
        if ipaddress.ip_network(block).version in lab.families:
            yield f"route add local {block} dev lo"


def node_lines(node: NodePlace, lab: Plan, name_of: NameOf) -> Iterator[str]:
    """For `ip -batch` in a node, after `outside_lines`: makes the links of its pods too."""
    yield "link set lo up"
    yield "link set uplink up"
    for family in lab.families:
        yield _address(node.addresses[family], _FABRIC[family], "uplink")
        yield f"route add default via {_host(_FABRIC[family], 1)}"
        for other in lab.nodes:
            if other != node:
                yield f"route add {other.pod_blocks[family]} via {other.addresses[family]}"
    if lab.topology is Topology.BRIDGE:
        yield f"link add cbr0 type {_BRIDGE}"
        for family in lab.families:
            yield _address(node.gateways[family], node.pod_blocks[family], "cbr0")
        yield "link set cbr0 up"
    for number, pod in enumerate(node.pods):
        link = Attachment(f"pod{number}", pod.addresses)
        yield from attach_lines(link, node.gateways, lab.topology, name_of(pod.name))


def inside_lines(pod: PodPlace, node: NodePlace, lab: Plan) -> Iterator[str]:
    """For `ip -batch` in a pod, after `node_lines`."""
    return pod_lines(pod.addresses, node.gateways, node.pod_blocks, lab.topology)


def _address(address: str, block: str, device: str) -> str:
    """An address with the prefix length of a block; usable at once."""
    return address_line(address, int(block.partition("/")[2]), device)


NODE_SYSCTLS: Mapping[str, object] = {
    **FORWARDING,
    # Connections are gone before the mark of their generation comes round again in a long run.
    "netfilter/nf_conntrack_udp_timeout": 10,
    "netfilter/nf_conntrack_udp_timeout_stream": 20,
    "netfilter/nf_conntrack_tcp_timeout_syn_sent": 10,
    "netfilter/nf_conntrack_tcp_timeout_time_wait": 10,
    "netfilter/nf_conntrack_icmp_timeout": 10,
    "netfilter/nf_conntrack_icmpv6_timeout": 10,
    "netfilter/nf_conntrack_sctp_timeout_cookie_wait": 10,
}
