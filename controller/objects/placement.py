"""Nodes and addresses for pods that have none yet: manifests of workloads name neither.

Everything is derived from the pod's own name, so that one more pod, or another order of the files, moves no
other pod: rules rendered from the same manifests are the same bytes. Addresses of real pods and nodes are
never given away.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from controller.objects.addresses import BITS, Cidr, format_address, parse_address, parse_cidr
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Node, Pod

DEFAULT_POD_CIDRS = (parse_cidr("10.244.0.0/16"),)
"""Where synthetic addresses come from when no node says where its pods live."""

_DEFAULT_BLOCKS = {4: DEFAULT_POD_CIDRS[0], 6: parse_cidr("fd00:10:244::/64")}
_MOST_HOSTS = 1 << 20  # of an IPv6 block: enough pods, and short addresses


def place(
    pods: Sequence[Pod], nodes: Sequence[Node], pod_cidrs: Sequence[Cidr] = ()
) -> tuple[list[Pod], list[Finding]]:
    """The pods with a node each, if there are nodes, and addresses for those that live and have none.

    `pod_cidrs` replaces the default block of its families. Sorted by name; a block that is full becomes a
    finding.
    """
    by_name = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
    placed = sorted(_on_nodes(pods, by_name), key=lambda pod: pod.key)
    if all(pod.ips for pod in placed):
        return placed, []
    addresses = _Addresses(placed, by_name, pod_cidrs)
    return [pod if pod.ips else addresses.give(pod) for pod in placed], addresses.findings()


def _on_nodes(pods: Iterable[Pod], nodes: Mapping[str, Node]) -> Iterable[Pod]:
    if not nodes:
        return pods
    names = sorted(nodes)
    homes = _Homes(nodes.values())
    return (
        pod
        if pod.node
        else msgspec.structs.replace(pod, node=homes.of(pod) or names[_number(pod, "node") % len(names)])
        for pod in pods
    )


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
        self._without: Counter[Cidr] = Counter()

    def give(self, pod: Pod) -> Pod:
        """The pod with addresses; unchanged when it is finished, or when there is none for it."""
        node = self._nodes.get(pod.node)
        if pod.host_network:
            return msgspec.structs.replace(pod, ips=node.ips) if node is not None else pod
        if not pod.is_policed:
            return pod
        own = {block.family: block for block in reversed(node.pod_cidrs)} if node is not None else {}
        blocks = own or self._blocks
        found = (self._next(blocks[family], pod) for family in sorted(blocks))
        return msgspec.structs.replace(pod, ips=tuple(text for text in found if text))

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

    def _next(self, block: Cidr, pod: Pod) -> str:
        first, count = _hosts(block)
        if block not in self._without:
            start = _number(pod, str(block))
            for step in range(count):
                address = (block.family, first + (start + step) % count)
                if address not in self._used:
                    self._used.add(address)
                    return format_address(*address)
        self._without[block] += 1
        return ""


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


def _number(pod: Pod, purpose: str) -> int:
    """A number that depends on the pod's name alone."""
    text = f"{purpose}|{pod.namespace}/{pod.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
