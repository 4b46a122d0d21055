"""Where everything in a lab has its address: nodes, their pods, Services. Pure, but for the pool of a node.

Nodes are numbered from 1, and node N has the pod blocks 10.244.N.0/24 and fd00:244:N::/64. Manifests may
bring Nodes of their own: then those names, addresses and blocks are used, so that policies which name them by
an ipBlock mean the same in the lab.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

MOST_NODES = 200
FULL = {4: 32, 6: 128}
"""The prefix length of one address."""

SERVICE_BLOCKS = {4: "10.96.0.0/16", 6: "fd00:96::/112"}
FABRIC_ADDRESSES = {4: "172.30.0.1", 6: "fd00:172:30::1"}
"""The router between the nodes, and every node's way out."""

PRIVATE_BLOCKS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Addresses of clusters. Every other one is the world outside, where the fabric answers."""

_NODE_ADDRESS = {4: "172.30.0.{}", 6: "fd00:172:30::{}"}
_POD_BLOCK = {4: "10.244.{}.0/24", 6: "fd00:244:{}::/64"}
_FIRST_NODE = 10
_RESERVED = 2
"""The first addresses of a pod block: the network's own and the gateway's."""


class AddressError(Exception):
    """Addresses that cannot be had; the message says which and why."""


class NodePlace(Struct, frozen=True):
    """A node: its own address by family, and the block of its pods."""

    name: str
    number: int
    addresses: Mapping[int, str]
    pod_blocks: Mapping[int, str]

    @property
    def families(self) -> tuple[int, ...]:
        """4, and 6 with dual stack."""
        return tuple(self.addresses)

    @property
    def gateways(self) -> Mapping[int, str]:
        """The address at which its pods see it."""
        return {family: host(block, 1) for family, block in self.pod_blocks.items()}


def plan_node(name: str, number: int, families: Sequence[int]) -> NodePlace:
    """Node `number` of a lab, counted from 1."""
    return NodePlace(
        name,
        number,
        addresses={family: _NODE_ADDRESS[family].format(_FIRST_NODE + number) for family in families},
        pod_blocks={family: _POD_BLOCK[family].format(number) for family in families},
    )


def node_of_manifest(manifest: Mapping[str, Any], number: int, families: Sequence[int]) -> NodePlace:
    """A node with what its manifest says of addresses and pod blocks, and the lab's own for the rest."""
    planned = plan_node(str(manifest["metadata"]["name"]), number, families)
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    internal = [each["address"] for each in status.get("addresses") or () if each.get("type") == "InternalIP"]
    blocks = [*(spec.get("podCIDRs") or ()), *filter(None, [spec.get("podCIDR")])]
    return NodePlace(
        planned.name,
        number,
        addresses=_preferred(planned.addresses, internal),
        pod_blocks=_preferred(planned.pod_blocks, blocks),
    )


def _preferred(planned: Mapping[int, str], stated: Iterable[str]) -> Mapping[int, str]:
    found = {family_of(text): text for text in reversed([*stated])}
    return {family: found.get(family, text) for family, text in planned.items()}


def free_number(taken: Iterable[int]) -> int:
    """The lowest number no node has. Raises AddressError when the lab is full."""
    used = frozenset(taken)
    for number in range(1, MOST_NODES + 1):
        if number not in used:
            return number
    raise AddressError(f"a lab has at most {MOST_NODES} nodes")


def is_outside(address: str) -> bool:
    """Whether an address is of the world outside the cluster."""
    found = ipaddress.ip_address(address)
    blocks = (ipaddress.ip_network(block) for block in PRIVATE_BLOCKS)
    return not any(found in block for block in blocks if block.version == found.version)


def family_of(text: str) -> int:
    """4 or 6, of an address or a block."""
    return 6 if ":" in text else 4


def host(block: str, number: int) -> str:
    """Address `number` of a block."""
    return str(ipaddress.ip_network(block)[number])


class Pool:
    """Addresses of one block, handed out in turn: one that was given back is the last to be given again.

    As host-local IPAM does it. All take() and give_back() are O(1) until the block is nearly full.
    """

    def __init__(self, block: str) -> None:
        network = ipaddress.ip_network(block)
        self.block = block
        self._network = network
        self._count = min(network.num_addresses - (network.version == 4), 1 << 16)
        self._next = _RESERVED
        self._taken: set[str] = set()

    def take(self, wanted: str = "") -> str:
        """A free address, the wanted one if it can be. Raises AddressError where there is none."""
        if wanted and wanted not in self._taken and self._holds(wanted):
            self._taken.add(wanted)
            return wanted
        for number in self._in_turn():
            address = str(self._network[number])
            if address not in self._taken:
                self._next = number + 1
                self._taken.add(address)
                return address
        raise AddressError(f"no address is left in {self.block}")

    def give_back(self, address: str) -> None:
        """Free it again; addresses of other blocks are none of this pool's business."""
        self._taken.discard(address)

    def _holds(self, address: str) -> bool:
        return ipaddress.ip_address(address) in self._network

    def _in_turn(self) -> Iterator[int]:
        yield from range(self._next, self._count)
        yield from range(_RESERVED, min(self._next, self._count))
