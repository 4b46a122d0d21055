"""The addresses outside the cluster, cut into the ranges that policies tell apart.

Policies speak of outside addresses only through `ipBlock`, so two addresses that lie in the same blocks
are treated alike by every pod: one `External` stands for all of them. A handful of ranges then answers
for the whole Internet, exactly.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from controller.engine.blocks import block_addresses
from controller.engine.intervals import Interval, IntervalSet, to_prefixes
from controller.objects.addresses import BITS, Cidr, format_address
from controller.objects.kinds import IPBlock, NetworkPolicy


class External(Struct, frozen=True):
    """Addresses of one family that lie in the same blocks.

    `id` is a text that only depends on the addresses: a block (`203.0.113.0/26`) where they are one, else
    the first range and how many more there are (`198.51.100.0-198.51.100.63+2`). `title` says the same to
    people, as the policies do: `198.51.100.0/24 (part)`, `other IPv4`.
    """

    id: str
    title: str
    family: int
    addresses: IntervalSet

    @property
    def ranges(self) -> tuple[tuple[str, str], ...]:
        """[first, last] as texts, ascending."""
        return tuple(
            (format_address(self.family, first), format_address(self.family, last))
            for first, last in self.addresses
        )


class Partition:
    """Which of some blocks an address lies in, as a bit mask, and the classes that this makes of each family.

    O(edges of the blocks) to build, O(log edges) to ask.
    """

    def __init__(self, blocks: Iterable[IPBlock]) -> None:
        self._blocks = sorted(set(blocks))
        self._bits = {block: 1 << place for place, block in enumerate(self._blocks)}
        self._starts: dict[int, list[int]] = {}
        self._masks: dict[int, list[int]] = {}
        for family in BITS:
            cells = list(self._cells(family))
            self._starts[family] = [first for first, _, _ in cells]
            self._masks[family] = [mask for _, _, mask in cells]

    @classmethod
    def of(cls, policies: Iterable[NetworkPolicy]) -> "Partition":
        """The partition by every block that a rule in force names (rules 2.4, 2.19)."""
        return cls(_blocks_of(policies))

    def mask(self, family: int, value: int) -> int:
        """One bit for each block that holds the address; 0 for one that no block holds."""
        return self._masks[family][bisect_right(self._starts[family], value) - 1]

    def bit(self, block: IPBlock) -> int:
        """The bit of a block. Raises KeyError for one that the partition was not made with."""
        return self._bits[block]

    def externals(self) -> tuple[External, ...]:
        """Every class, by family and first address; those of a family cover its whole space."""
        found = [
            (family, mask, addresses) for family in BITS for mask, addresses in self._classes(family).items()
        ]
        titles = [self._title(*each) for each in found]
        uses = Counter(titles)
        result = [
            External(ident := _id(family, addresses), title if uses[title] == 1 else ident, family, addresses)
            for (family, _, addresses), title in zip(found, titles, strict=True)
        ]
        return tuple(sorted(result, key=lambda external: (external.family, external.addresses.intervals)))

    def _classes(self, family: int) -> dict[int, IntervalSet]:
        ranges: dict[int, list[Interval]] = defaultdict(list)
        for first, last, mask in self._cells(family):
            ranges[mask].append((first, last))
        return {mask: IntervalSet(found) for mask, found in ranges.items()}

    def _cells(self, family: int) -> Iterator[tuple[int, int, int]]:
        """(first, last, mask) of the pieces between the edges of the blocks, ascending, without gaps."""
        edges: dict[int, int] = defaultdict(int)
        for block, bit in self._bits.items():
            if block.cidr.family == family:
                for first, last in block_addresses(block):
                    edges[first] ^= bit
                    edges[last + 1] ^= bit
        end = 1 << BITS[family]
        mask, first = 0, 0
        for edge in sorted(edges.keys() | {end}):
            if edge > first:
                yield first, edge - 1, mask
            mask, first = mask ^ edges.get(edge, 0), edge

    def _blocks_in(self, mask: int) -> Iterator[IPBlock]:
        """The blocks of a mask. O(bits that are set), where looking at every block would be quadratic."""
        while mask:
            lowest = mask & -mask
            yield self._blocks[lowest.bit_length() - 1]
            mask ^= lowest

    def _title(self, family: int, mask: int, addresses: IntervalSet) -> str:
        if not mask:
            return f"{'any' if addresses.size() == 1 << BITS[family] else 'other'} IPv{family}"
        narrowest = max((block.cidr for block in self._blocks_in(mask)), key=lambda cidr: cidr.prefix)
        block = _as_block(family, addresses)
        return f"{narrowest} (part)" if block is None else str(block)


def _blocks_of(policies: Iterable[NetworkPolicy]) -> Iterator[IPBlock]:
    for policy in policies:
        for direction in policy.directions:
            for rule in policy.rules(direction):
                for peer in rule.peers or ():
                    if peer.ip_block is not None:
                        yield peer.ip_block


def _id(family: int, addresses: IntervalSet) -> str:
    block = _as_block(family, addresses)
    if block is not None:
        return str(block)
    (first, last), *more = addresses.intervals
    text = f"{format_address(family, first)}-{format_address(family, last)}"
    return f"{text}+{len(more)}" if more else text


def _as_block(family: int, addresses: IntervalSet) -> Cidr | None:
    """The addresses as one block, where they are one."""
    (first, last), *more = addresses.intervals
    prefixes = list(to_prefixes(first, last, BITS[family]))
    return Cidr(family, *prefixes[0]) if not more and len(prefixes) == 1 else None
