"""One peer group on its way to the API server: its slices as they should be, as they are, and what differs.

Owns the packing, which is memory: which member is in which slice. Knows the order of its own writes, so that
agents never see a count of slices that are not there, nor miss a member that only moved.
"""

from msgspec import Struct

from controller.engine.changes import GroupRef, Member
from controller.engine.group_slices import GroupPacking, SliceChanges, selector_text, slice_spec, write_order
from controller.objects.resources import PeerGroupSliceSpec
from controller.operator.held import HeldSlice, slice_digest


class SliceStep(Struct, frozen=True):
    """The next write of a group: a slice, or with `spec` None the deletion of one."""

    index: int
    spec: PeerGroupSliceSpec | None
    digest: str
    change: SliceChanges
    """What to note again when the write fails."""


class GroupState:
    """`users` counts rulesets that reference the group, `readers` NodePolicies that stand and name it.

    `ref` and `packing` are None for a group that no ruleset referenced in this term: its slices only wait to
    be deleted.
    """

    __slots__ = (
        "deadline", "held", "id", "is_complete", "is_expired", "is_followed", "is_refused", "packing",
        "pending", "readers", "ref", "users",
    )  # fmt: skip

    def __init__(self, group: str) -> None:
        self.id = group
        self.ref: GroupRef | None = None
        self.packing: GroupPacking | None = None
        self.pending = SliceChanges()
        self.held: dict[int, HeldSlice] = {}
        self.users = 0
        self.readers = 0
        self.is_followed = False
        """Whether the packing has heard of every change of members so far."""
        self.is_complete = False
        """Whether agents find every slice that slice 0 counts."""
        self.is_refused = False
        self.is_expired = False
        self.deadline: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether NodePolicies may name it.

        For a group that the API server refuses nobody waits: agents isolate the pods that need it, which is
        better than leaving them as they were.
        """
        return self.is_complete or self.is_refused

    def start(self, ref: GroupRef, members: frozenset[Member]) -> SliceChanges:
        """Have the packing of the slices that stand, changed to exactly these members.

        Returns what differs from what stands. O(members).
        """
        self.ref = ref
        self.is_followed, self.is_expired, self.is_refused, self.deadline = True, False, False, None
        if self.packing is None:
            sane = 2 * len(self.held) + 16  # a slice 10^9 that somebody made would be as many empty ones
            self.packing = GroupPacking(
                {index: held.members for index, held in self.held.items() if index < sane}
            )
        for held in self.held.values():
            held.members = ()
        changes = self.packing.become(members)
        differing = {index for index in range(self.packing.count) if not self.stands(index)}
        head = self.held.get(0)
        self.is_complete = head is not None and 0 < head.count <= len(self.held) and all(
            index in self.held for index in range(head.count)
        )  # fmt: skip
        self.pending = SliceChanges(
            grown=tuple(sorted(differing - {*changes.shrunk})),
            shrunk=tuple(sorted(differing & {*changes.shrunk})),
            gone=tuple(sorted(index for index in self.held if index >= self.packing.count)),
        )
        return self.pending

    def change(self, members: dict[Member, bool]) -> SliceChanges:
        """Have members come and go. O(members that change x slices)."""
        if self.packing is None:
            return SliceChanges()
        changes = self.packing.change(members)
        self.pending = self.pending.merged(changes)
        return changes

    def note(self, changes: SliceChanges) -> None:
        """These slices have to be written, or deleted."""
        self.pending = self.pending.merged(changes)

    def spec(self, index: int) -> PeerGroupSliceSpec:
        """What should stand in a slice."""
        if self.packing is None:
            raise ValueError(f"group {self.id} has no members of its own")
        return slice_spec(self.packing, index, selector_text(self.ref))

    def stands(self, index: int) -> bool:
        """Whether a slice is there and as it should be."""
        held = self.held.get(index)
        return held is not None and held.digest == slice_digest(self.id, self.spec(index))

    def wants(self, index: int) -> bool:
        """Whether there should be a slice of this index."""
        return self.users > 0 and self.packing is not None and index < self.packing.count

    def next_step(self) -> SliceStep | None:
        """The write whose turn it is, taken off the list; None when everything stands as it should."""
        if self.is_expired or self.packing is None:
            return self._next_deletion()
        writes, gone = write_order(self.pending, self.packing.count)
        if writes:
            index = writes[0]
            spec = self.spec(index)
            change = (
                SliceChanges(shrunk=(index,))
                if index in self.pending.shrunk
                else SliceChanges(grown=(index,))
            )
            self._strike(index)
            return SliceStep(index, spec, slice_digest(self.id, spec), change)
        for index in gone:
            self._strike(index)
            if index in self.held:
                return SliceStep(index, None, "", SliceChanges(gone=(index,)))
        self.pending = SliceChanges()
        return None

    @property
    def has_more(self) -> bool:
        """Whether there is another step."""
        return bool(self.held) if self.is_expired else any(self.pending)

    def _next_deletion(self) -> SliceStep | None:
        """Of a group that nobody names any more: from the last slice to the first."""
        if not self.held or not self.is_expired:
            return None
        index = max(self.held)
        return SliceStep(index, None, "", SliceChanges(gone=(index,)))

    def _strike(self, index: int) -> None:
        grown, shrunk, gone = (tuple(each for each in indices if each != index) for indices in self.pending)
        self.pending = SliceChanges(grown, shrunk, gone)
