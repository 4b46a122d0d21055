"""Nodes and addresses for pods and nodes that have none yet: manifests of workloads name neither.

Everything is derived from the pod's own name, so that one more pod, or another order of the files, moves no
other pod: rules rendered from the same manifests are the same bytes. Addresses of real pods and nodes are
never given away.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from controller.objects.addresses import BITS, Cidr, format_address, parse_address, parse_cidr
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Node, Pod

DEFAULT_POD_CIDRS = (parse_cidr("10.244.0.0/16"),)
"""Where synthetic addresses come from when no node says where its pods live."""

_DEFAULT_BLOCKS = {4: DEFAULT_POD_CIDRS[0], 6: parse_cidr("fd00:10:244::/64")}
_NODE_BLOCKS = {4: parse_cidr("100.64.0.0/16"), 6: parse_cidr("fd64::/64")}
"""Synthetic addresses of nodes: of the space between carriers and customers, where no node should live."""

_MOST_HOSTS = 1 << 20  # of an IPv6 block: enough pods, and short addresses


class Placement(NamedTuple):
    """Pods and nodes with their addresses, both sorted by name, and which blocks were too small."""

    pods: list[Pod]
    nodes: list[Node]
    findings: list[Finding]


def place(pods: Sequence[Pod], nodes: Sequence[Node], pod_cidrs: Sequence[Cidr] = ()) -> Placement:
    """The pods with a node each, if there are nodes, and addresses for those that live and have none.

    A node without an address has that of its pods on the host network, else a synthetic one (rule 2.40); a
    pod on the host network has the address of its node. `pod_cidrs` replaces the default block of its
    families. A block that is full becomes a finding.
    """
    by_name = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
    placed = sorted(_on_nodes(pods, by_name), key=lambda pod: pod.key)
    if all(pod.ips for pod in placed) and all(node.ips for node in by_name.values()):
        return Placement(placed, [*by_name.values()], [])
    addresses = _Addresses(placed, by_name, pod_cidrs)
    return Placement(
        [pod if pod.ips else addresses.give(pod) for pod in placed],
        [
            node if node.ips else msgspec.structs.replace(node, ips=addresses.of_node(node.name))
            for node in by_name.values()
        ],
        addresses.findings(),
    )


def _on_nodes(pods: Iterable[Pod], nodes: Mapping[str, Node]) -> Iterable[Pod]:
    if not nodes:
        return pods
    names = sorted(nodes)
    homes = _Homes(nodes.values())
    return (
        pod if pod.node else msgspec.structs.replace(pod, node=homes.of(pod) or _one_of(names, pod))
        for pod in pods
    )


def _one_of(names: Sequence[str], pod: Pod) -> str:
    return names[_number(f"node|{pod.namespace}/{pod.name}") % len(names)]


class _Homes:
    """Which node an address belongs to: its own, or one of its pod blocks. O(distinct prefix lengths)."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._own: dict[str, str] = {}
        self._blocks: dict[Cidr, str] = {}
        for node in nodes:
            self._own.update(dict.fromkeys(node.ips, node.name))
            self._blocks.update(dict.fromkeys(node.pod_cidrs, node.name))
        self._lengths = sorted({(block.family, block.prefix) for block in self._blocks}, reverse=True)

    def of(self, pod: Pod) -> str:
        """The node of the first address that has one, or ""."""
        for text in pod.ips:
            if pod.host_network and text in self._own:
                return self._own[text]
            family, value = parse_address(text)
            for block_family, prefix in self._lengths:
                if block_family != family:
                    continue
                shift = BITS[family] - prefix
                name = self._blocks.get(Cidr(family, value >> shift << shift, prefix))
                if name is not None:
                    return name
        return ""


class _Addresses:
    """Gives out addresses, none twice. Pods have to ask in sorted order, or collisions end differently."""

    def __init__(self, pods: Sequence[Pod], nodes: Mapping[str, Node], pod_cidrs: Sequence[Cidr]) -> None:
        self._nodes = nodes
        self._used = {parse_address(text) for pod in pods for text in pod.ips}
        self._used.update(parse_address(text) for node in nodes.values() for text in node.ips)
        self._blocks = _fallback_blocks(pods, pod_cidrs)
        blocks = chain.from_iterable(node.pod_cidrs for node in nodes.values())
        self._families = {family for family, _ in self._used} | {block.family for block in blocks}
        self._families = self._families or {*self._blocks}
        self._without: Counter[Cidr] = Counter()
        self._hosts = _known_hosts(pods, nodes.values())
        for name in sorted({*nodes, *(pod.node for pod in pods if _needs_host(pod))} - {""}):
            if name not in self._hosts:
                self._hosts[name] = self._host(f"node {name}")

    def give(self, pod: Pod) -> Pod:
        """The pod with addresses; unchanged when it is finished, or when there is none for it."""
        if pod.is_finished:
            return pod
        if pod.host_network:
            ips = self._hosts[pod.node] if pod.node else self._host(f"pod {pod.namespace}/{pod.name}")
            return msgspec.structs.replace(pod, ips=ips)
        node = self._nodes.get(pod.node)
        own = {block.family: block for block in reversed(node.pod_cidrs)} if node is not None else {}
        blocks = own or self._blocks
        ips = self._of_each(blocks, f"{pod.namespace}/{pod.name}")
        return msgspec.structs.replace(pod, ips=ips)

    def of_node(self, name: str) -> tuple[str, ...]:
        """The addresses of a node, known or synthetic."""
        return self._hosts[name]

    def findings(self) -> list[Finding]:
        """One for each block that was too small."""
        return [
            Finding(
                code="no-free-address",
                severity=Severity.WARNING,
                object=f"block {block}",
                message=f"has no address left for {count} pods, which stay without one of IPv{block.family}",
                remedy="give a larger block for synthetic addresses, or a podCIDR to each Node",
            )
            for block, count in sorted(self._without.items())
        ]

    def _host(self, purpose: str) -> tuple[str, ...]:
        """A synthetic address of a node in each family that the cluster uses."""
        return self._of_each({family: _NODE_BLOCKS[family] for family in self._families}, purpose)

    def _of_each(self, blocks: Mapping[int, Cidr], purpose: str) -> tuple[str, ...]:
        found = (self._next(blocks[family], purpose) for family in sorted(blocks))
        return tuple(text for text in found if text)

    def _next(self, block: Cidr, purpose: str) -> str:
        first, count = _hosts(block)
        if block not in self._without:
            start = _number(f"{block}|{purpose}")
            for step in range(count):
                address = (block.family, first + (start + step) % count)
                if address not in self._used:
                    self._used.add(address)
                    return format_address(*address)
        self._without[block] += 1
        return ""


def _known_hosts(pods: Iterable[Pod], nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    """The addresses of nodes: their own, else those of the first pod that shares them."""
    found = {node.name: node.ips for node in nodes if node.ips}
    for pod in pods:
        if pod.host_network and not pod.is_finished and pod.node and pod.ips:
            found.setdefault(pod.node, pod.ips)
    return found


def _needs_host(pod: Pod) -> bool:
    return pod.host_network and not pod.is_finished and not pod.ips


def _fallback_blocks(pods: Iterable[Pod], pod_cidrs: Sequence[Cidr]) -> dict[int, Cidr]:
    """A block for each family in use: those of the pods that have addresses, else those of `pod_cidrs`."""
    given = {block.family: block for block in reversed(pod_cidrs or DEFAULT_POD_CIDRS)}
    families = {6 if ":" in text else 4 for pod in pods if pod.is_policed for text in pod.ips}
    return {family: given.get(family, _DEFAULT_BLOCKS[family]) for family in families or given}


def _hosts(block: Cidr) -> tuple[int, int]:
    """The first address that a pod may have, and how many: without the network's own and the broadcast."""
    size = block.last - block.first + 1
    if size <= 2:
        return block.first, size
    return block.first + 1, size - 2 if block.family == 4 else min(size - 1, _MOST_HOSTS)


def _number(text: str) -> int:
    """A number that depends on the text alone: what it is for, and whose name it is."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
