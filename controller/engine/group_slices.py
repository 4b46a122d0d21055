"""Peer groups cut into slices, and slices put together to groups again.

`GroupPacking` is the operator's side. It is sticky: a member stays in the slice it is in, one that comes
takes the first free place, so that a change rewrites one slice. `GroupMembers` is the agent's side: it says
when a group is complete, and who is in it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from sys import intern
from typing import NamedTuple

from controller.engine.changes import GroupRef, Member
from controller.engine.node_policies import ResourceError, is_canonical
from controller.engine.rulesets import Endpoint
from controller.objects.kinds import Protocol
from controller.objects.names import shown_text
from controller.objects.resources import MEMBERS_MAX, PeerGroupSliceSpec, SliceEndpoint

Members = frozenset[str] | frozenset[Endpoint]

_SELECTOR_SHOWN = 1000
"""Characters of the selector in each slice, which is for people; one of a policy may be 60 KB long."""


class SliceChanges(NamedTuple):
    """Slices that changed, by index: some gained a member, some only lost, some are not counted any more.

    Written in the order of `write_order`.
    """

    grown: tuple[int, ...] = ()
    shrunk: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()

    def merged(self, later: "SliceChanges") -> "SliceChanges":
        """Both changes as one, of slices that were not written in between."""
        grown = {*self.grown, *later.grown}
        shrunk = {*self.shrunk, *later.shrunk} - grown
        return SliceChanges(tuple(sorted(grown)), tuple(sorted(shrunk)), (*self.gone, *later.gone))

    @property
    def tightens(self) -> bool:
        """Whether a member goes: then nothing may delay the writes, as its address is used again."""
        return bool(self.shrunk or self.gone)


class GroupPacking:
    """The slices of one group. Slice 0 is always there, so that an empty group is known to be empty.

    Memory: 8 bytes a member beside the members themselves.
    """

    def __init__(self, slices: Mapping[int, Iterable[Member]] | None = None) -> None:
        """With the members of the slices that are there already; gaps between them are empty slices."""
        given = slices or {}
        self._slices: list[list[Member]] = [
            sorted(set(given.get(index, ())), key=_order) for index in range(max(given, default=0) + 1)
        ]

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self._slices)

    @property
    def size(self) -> int:
        """How many members there are, in all slices. O(slices)."""
        return sum(map(len, self._slices))

    def members(self, index: int) -> tuple[Member, ...]:
        """The members of a slice, sorted."""
        return tuple(self._slices[index])

    def change(self, members: Mapping[Member, bool]) -> SliceChanges:
        """Have members come (True) and go (False). O(members that change x slices)."""
        grown: set[int] = set()
        shrunk: set[int] = set()
        count = self.count
        for member, present in members.items():
            place = self._place_of(member)
            if not present and place is not None:
                del self._slices[place][self._position(place, member)]
                shrunk.add(place)
            elif present and place is None:
                grown.add(self._add(member))
        grown |= self._empty_the_last()
        return self._changes(count, grown, shrunk)

    def become(self, members: Iterable[Member]) -> SliceChanges:
        """Have exactly these members, each once. O(members of before and after)."""
        wanted = set(members)
        seen: set[Member] = set()
        changed: dict[int, list[Member]] = {}
        for index, held in enumerate(self._slices):
            kept = [member for member in held if member in wanted and member not in seen]
            seen.update(kept)
            if len(kept) < len(held) or len(kept) > MEMBERS_MAX:
                changed[index] = kept[:MEMBERS_MAX]
                seen.difference_update(kept[MEMBERS_MAX:])
        count = self.count
        for index, kept in changed.items():
            self._slices[index] = kept
        grown = {self._add(member) for member in sorted(wanted - seen, key=_order)}
        grown |= self._empty_the_last()
        return self._changes(count, grown, set(changed))

    def _changes(self, before: int, grown: set[int], shrunk: set[int]) -> SliceChanges:
        after = self.count
        if after > before:
            grown.add(0)
        if after < before:
            shrunk.add(0)
        present = range(after)
        return SliceChanges(
            grown=tuple(sorted(index for index in grown if index in present)),
            shrunk=tuple(sorted(index for index in shrunk - grown if index in present)),
            gone=tuple(range(after, before)),
        )

    def _add(self, member: Member) -> int:
        for index, held in enumerate(self._slices):
            if len(held) < MEMBERS_MAX:
                insort(held, member, key=_order)
                return index
        self._slices.append([member])
        return self.count - 1

    def _empty_the_last(self) -> set[int]:
        """Take slices away while the others would stay half empty; returns which ones gained."""
        gained: set[int] = set()
        while self.count > 1 and self.size <= (self.count - 1) * MEMBERS_MAX // 2:
            for member in self._slices.pop():
                gained.add(self._add(member))
        return gained

    def _place_of(self, member: Member) -> int | None:
        for index, held in enumerate(self._slices):
            position = self._position(index, member)
            if position < len(held) and held[position] == member:
                return index
        return None

    def _position(self, index: int, member: Member) -> int:
        return bisect_left(self._slices[index], _order(member), key=_order)


def write_order(changes: SliceChanges, count: int) -> tuple[list[int], list[int]]:
    """The slices to write, and then those to delete, of a group that has `count` of them now.

    No member is missing on the way that was there before and is there after, and no slice is counted that is
    not there: those that gained come first, then slice 0, which counts the others, then those that lost.
    """
    grown = [index for index in changes.grown if 0 < index < count]
    shrunk = [index for index in changes.shrunk if 0 < index < count]
    head = [0] if 0 in {*changes.grown, *changes.shrunk} else []
    gone = sorted({index for index in (*changes.grown, *changes.shrunk, *changes.gone) if index >= count})
    return [*grown, *head, *shrunk], gone


def slice_spec(packing: GroupPacking, index: int, selector: str) -> PeerGroupSliceSpec:
    """What stands in one slice of a group."""
    members = packing.members(index)
    return PeerGroupSliceSpec(
        selector=selector,
        index=index,
        count=packing.count if index == 0 else 0,
        addresses=tuple(each for each in members if isinstance(each, str)),
        endpoints=tuple(
            SliceEndpoint(each[0], each[1].name, each[2]) for each in members if not isinstance(each, str)
        ),
    )


def selector_text(ref: GroupRef | None) -> str:
    """What a slice says of the pods in it, for people."""
    return shown_text(str(ref), _SELECTOR_SHOWN)


def slice_members(spec: PeerGroupSliceSpec) -> tuple[Member, ...]:
    """Who is in a slice. Raises ResourceError for what is no canonical address, no protocol or no port.

    A pod is in many groups: its address is one text for all of them, half of what a member takes.
    """
    for text in (*spec.addresses, *(each.address for each in spec.endpoints)):
        if not is_canonical(text):
            raise ResourceError(f"spec: {text!r} is no address in canonical form")
    return (*map(intern, spec.addresses), *map(_endpoint, spec.endpoints))


class GroupMembers:
    """The slices of one group as they arrive, in any order."""

    def __init__(self) -> None:
        self._slices: dict[int, tuple[Member, ...]] = {}
        self._count = 0
        self._members: Members | None = None

    def put(self, spec: PeerGroupSliceSpec) -> bool:
        """Take a slice, or its new content; returns whether the members may be others now.

        Raises ResourceError for one that cannot be understood; it counts as missing then.
        """
        try:
            members = slice_members(spec)
        except ResourceError:
            self.remove(spec.index)
            raise
        before = self._slices.get(spec.index), self._count
        self._slices[spec.index] = members
        if spec.index == 0:
            self._count = spec.count
        if before == (members, self._count):
            return False
        self._members = None
        return True

    def remove(self, index: int) -> None:
        """The slice is gone."""
        self._slices.pop(index, None)
        self._members = None
        if index == 0:
            self._count = 0

    @property
    def is_complete(self) -> bool:
        """Whether every slice that slice 0 counts is there."""
        return self._count > 0 and all(index in self._slices for index in range(self._count))

    @property
    def is_empty(self) -> bool:
        """Whether no slice is there at all."""
        return not self._slices

    def members(self) -> Members | None:
        """Everybody in the slices that count, the very same object until they change; None while incomplete.

        O(members) after a change.
        """
        if self._members is None and self.is_complete:
            self._members = frozenset(
                member for index in range(self._count) for member in self._slices[index]
            )  # type: ignore[assignment]
        return self._members


def _endpoint(endpoint: SliceEndpoint) -> Endpoint:
    if endpoint.protocol not in Protocol.__members__ or not 1 <= endpoint.port <= 65535:
        raise ResourceError(f"spec.endpoints: {endpoint.protocol}/{endpoint.port} is no port")
    return intern(endpoint.address), Protocol[endpoint.protocol], endpoint.port


def _order(member: Member) -> tuple[str, int, int]:
    return (member, 0, 0) if isinstance(member, str) else member
