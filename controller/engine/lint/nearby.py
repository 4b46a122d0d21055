"""Which peers may cover a peer, found without comparing each with each.

A peer is filed under one thing that everything it covers must have too: a CIDR block around it, or a label.
Blocks with exceptions are filed by where their first exception begins as well: of the same CIDR, that place
must be an exception of what they cover.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from controller.engine.blocks import block_addresses
from controller.engine.intervals import IntervalSet
from controller.engine.lint.coverage import fixed_pairs, pod_selector
from controller.objects.addresses import Cidr
from controller.objects.kinds import IPBlock, Peer

T = TypeVar("T")
Filed = list[tuple[int, T]]
"""Values with their number, in the order in which they were filed."""


class PeerIndex(Generic[T]):
    """Peers with a value each. File all of them before the first question."""

    def __init__(self) -> None:
        self._filed: dict[Hashable, Filed[T]] = defaultdict(list)
        self._by_hole: dict[Cidr, dict[int, Filed[T]]] = defaultdict(lambda: defaultdict(list))
        self._holes: dict[Cidr, list[int]] = {}
        self._prefixes: dict[int, set[int]] = {4: set(), 6: set()}
        self._number = 0

    def file(self, peer: Peer | None, value: T) -> None:
        """Add one; None is the peer that everybody is."""
        entry = self._number, value
        self._number += 1
        block = None if peer is None else peer.ip_block
        if block is None:
            self._filed[_anchor(peer)].append(entry)
            return
        self._prefixes[block.cidr.family].add(block.cidr.prefix)
        hole = next(iter(_holes(block)), None)
        self._filed[block.cidr, hole is not None].append(entry)
        if hole is not None:
            self._by_hole[block.cidr][hole[0]].append(entry)

    def above(self, peer: Peer | None) -> Iterator[Filed[T]]:
        """Those that may cover a peer, in lists. O(prefix lengths + exceptions x log blocks + found)."""
        yield self._get(None)
        if peer is None:
            return
        if peer.ip_block is None:
            yield self._get("pods")
            for pair in fixed_pairs(pod_selector(peer)):
                yield self._get(pair)
            return
        own = peer.ip_block.cidr
        for cidr in _blocks_around(own, self._prefixes):
            yield self._get((cidr, False))
            if cidr != own:
                yield self._get((cidr, True))
            elif peer.ip_block.excepts:
                yield from self._of_same_cidr(peer.ip_block)

    def _get(self, anchor: Hashable) -> Filed[T]:
        return self._filed.get(anchor, [])

    def _of_same_cidr(self, block: IPBlock) -> Iterator[Filed[T]]:
        """Those with exceptions whose first one begins in an exception of this block."""
        found = self._by_hole.get(block.cidr)
        if found is None:
            return
        if block.cidr not in self._holes:
            self._holes[block.cidr] = sorted(found)
        starts = self._holes[block.cidr]
        for first, last in _holes(block):
            for place in range(bisect_left(starts, first), bisect_right(starts, last)):
                yield found[starts[place]]


def _holes(block: IPBlock) -> IntervalSet:
    return block_addresses(IPBlock(block.cidr)) - block_addresses(block)


def _anchor(peer: Peer | None) -> Hashable:
    """Where a peer without a block is filed."""
    return None if peer is None else next(fixed_pairs(pod_selector(peer)), "pods")


def _blocks_around(cidr: Cidr, prefixes: dict[int, set[int]]) -> Iterator[Cidr]:
    bits = 32 if cidr.family == 4 else 128
    for prefix in sorted(prefixes[cidr.family]):
        if prefix <= cidr.prefix:
            yield Cidr(cidr.family, cidr.network >> (bits - prefix) << (bits - prefix), prefix)
