"""The `ip` commands and sysctls that make the network of a lab. Pure.

Each node and each pod is a network namespace; one more, the fabric, is the router between the nodes and the
world outside. A node hangs on the fabric by a veth and host routes, so that its address may be any. Pods hang
on their node in one of two ways, both common, which differ in the hooks that packets between pods of one node
meet.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from controller.lab.addressing import (
    FABRIC_ADDRESSES,
    FULL,
    PRIVATE_BLOCKS,
    SERVICE_BLOCKS,
    NodePlace,
    family_of,
)

_CLOSED = 1
"""A port of the fabric where nobody listens."""
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}

BRIDGE_OPTIONS = "forward_delay 0 stp_state 0 mcast_snooping 0"


class Cni(StrEnum):
    """How pods hang on their node.

    PTP: a veth and a host route each, as kindnet does it; the node routes every packet. BRIDGE: ports of one
    Linux bridge that shows bridged packets to iptables.
    """

    PTP = "ptp"
    BRIDGE = "bridge"


class Attachment(Struct, frozen=True):
    """A pod's link: the name of the node's end, and the addresses of the pod's."""

    device: str
    addresses: Mapping[int, str]


def fabric_lines(families: Sequence[int]) -> Iterator[str]:
    """For `ip -batch` in the fabric, before any node."""
    yield "link set lo up"
    for block in PRIVATE_BLOCKS:
        if family_of(block) in families:
            yield f"route add unreachable {block}"
    for family in families:
        # Not in the table of local routes, which is asked before those to the nodes.
        yield f"route add local {_EVERYTHING[family]} dev lo table main"


def outside_rules(family: int, port: int) -> str:
    """For iptables-restore in the fabric: whatever the port, one answers for the world outside.

    A packet to a Service comes here only if that has no endpoints. It is led to a closed port, and refused.
    """
    services = SERVICE_BLOCKS[family]
    inside = [f"-A PREROUTING -d {block} -j RETURN" for block in PRIVATE_BLOCKS if family_of(block) == family]
    rules = [
        rule
        for protocol in ("tcp", "udp")
        for rule in (
            f"-I PREROUTING -d {services} -p {protocol} -j REDIRECT --to-ports {_CLOSED}",
            f"-A PREROUTING -p {protocol} -j REDIRECT --to-ports {port}",
        )
    ]
    return batch(["*nat", *inside, *rules, "COMMIT"])


def uplink_lines(node: NodePlace, node_namespace: str) -> Iterator[str]:
    """For `ip -batch` in the fabric: makes the node's uplink too."""
    device = uplink_device(node)
    yield f"link add {device} type veth peer name uplink netns {node_namespace}"
    yield f"link set {device} up"
    for family in node.families:
        yield address_line(FABRIC_ADDRESSES[family], FULL[family], device)
        yield f"route add {node.addresses[family]}/{FULL[family]} dev {device}"
        yield f"route add {node.pod_blocks[family]} via {node.addresses[family]} dev {device} onlink"


def uplink_device(node: NodePlace) -> str:
    """The fabric's end of a node's uplink."""
    return f"node{node.number}"


def node_lines(node: NodePlace, cni: Cni) -> Iterator[str]:
    """For `ip -batch` in a node, after `uplink_lines`."""
    yield "link set lo up"
    yield "link set uplink up"
    for family in node.families:
        yield address_line(node.addresses[family], FULL[family], "uplink")
        router = FABRIC_ADDRESSES[family]
        yield f"route add {router}/{FULL[family]} dev uplink src {node.addresses[family]}"
        yield f"route add default via {router} dev uplink src {node.addresses[family]}"
    if cni is Cni.BRIDGE:
        # Else it takes the lowest address of its ports, another whenever these change, and pods that remember
        # the one before talk to nobody.
        yield f"link add cbr0 address 0a:58:00:00:00:{node.number % 256:02x} type bridge {BRIDGE_OPTIONS}"
        for family in node.families:
            length = int(node.pod_blocks[family].partition("/")[2])
            yield address_line(node.gateways[family], length, "cbr0")
        yield "link set cbr0 up"


def attach_lines(pod: Attachment, gateways: Mapping[int, str], cni: Cni, pod_namespace: str) -> Iterator[str]:
    """For `ip -batch` in a node: makes both ends of a pod's link and sets up the node's."""
    device = pod.device
    yield f"link add {device} type veth peer name eth0 netns {pod_namespace}"
    if cni is Cni.BRIDGE:
        yield f"link set {device} master cbr0 up"
        # Without it, no bridge sends a packet out where it came in: a pod's Service that leads back to it.
        yield f"link set {device} type bridge_slave hairpin on"
        return
    yield f"link set {device} up"
    for family, address in pod.addresses.items():
        yield address_line(gateways[family], FULL[family], device)
        yield f"route add {address}/{FULL[family]} dev {device}"


def pod_lines(
    addresses: Mapping[int, str], gateways: Mapping[int, str], blocks: Mapping[int, str], cni: Cni
) -> Iterator[str]:
    """For `ip -batch` in a pod, after `attach_lines`."""
    yield "link set lo up"
    yield "link set eth0 up"
    for family, address in addresses.items():
        if cni is Cni.BRIDGE:
            yield address_line(address, int(blocks[family].partition("/")[2]), "eth0")
        else:
            yield address_line(address, FULL[family], "eth0")
            yield f"route add {gateways[family]}/{FULL[family]} dev eth0"
        yield f"route add default via {gateways[family]}"


def address_line(address: str, length: int, device: str) -> str:
    """An address on a device; usable at once."""
    nodad = " nodad" if family_of(address) == 6 else ""
    return f"address add {address}/{length} dev {device}{nodad}"


def batch(lines: Iterable[str]) -> str:
    """The text that `ip -batch -` reads."""
    return "".join(f"{line}\n" for line in lines)


SYSCTLS: Mapping[str, object] = {
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/conf/default/send_redirects": 0,
    "ipv4/icmp_ratelimit": 0,
    "ipv4/ping_group_range": "0 0",  # ICMP echo without raw sockets, which would see everybody's
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
    "ipv6/icmp/ratelimit": 0,
}
"""For every namespace, before its devices are made."""

FORWARDING: Mapping[str, object] = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
"""For nodes and the fabric."""


def impatience(device: str) -> Mapping[str, object]:
    """For a device: ask again for a neighbour after 50 ms, not a second, where a question is lost."""
    return {f"{family}/neigh/{device}/retrans_time_ms": 50 for family in ("ipv4", "ipv6")}


HINTS = batch(["*mangle", ":KUBE-IPTABLES-HINT - [0:0]", "COMMIT"])
"""For iptables-restore in a node: what kubelet leaves there, and what agents tell the backend by."""

BRIDGE_SYSCTLS: Mapping[str, object] = {
    "bridge/bridge-nf-call-iptables": 1,
    "bridge/bridge-nf-call-ip6tables": 1,
}
"""For nodes with the CNI BRIDGE."""
