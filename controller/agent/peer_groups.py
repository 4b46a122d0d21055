"""The peer groups of this node's rules, put together from slices that arrive in any order.

A group counts once it is complete. One that is not is waited for, as the operator writes slices before what
names them; and one that was complete keeps its members meanwhile, as a moment between two writes is no
reason to cut anybody off. When the time is up it has no members, and who needs it is isolated.

Pure: it is told the time, in seconds of any clock that does not go back.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from controller.engine.group_slices import GroupMembers, Members
from controller.engine.node_policies import ResourceError
from controller.objects.resources import MEMBERS_MAX, PeerGroupSlice, group_of, slice_name

NEVER = float("inf")


class _Place(Struct, frozen=True):
    """Where a slice belongs."""

    group: str
    index: int


class PeerGroups:
    """Every group of which a slice is there, and those that are wanted.

    `patience` is how many seconds a wanted group may be incomplete. With `awaits_list` that time begins only
    with `heard`: whatever is enforced so far is better than what is known before the first complete list.
    """

    def __init__(self, patience: float, *, awaits_list: bool = False) -> None:
        self._patience = patience
        self._awaits_list = awaits_list
        self._groups: dict[str, GroupMembers] = {}
        self._places: dict[str, _Place] = {}
        self._faults: dict[str, str] = {}
        self._known: dict[str, Members] = {}
        self._until: dict[str, float] = {}
        self._wanted: frozenset[str] = frozenset()

    # Slices

    def put(self, found: PeerGroupSlice, now: float) -> frozenset[str]:
        """Take a slice, or its new content; returns the groups whose members may be others now.

        One that does not stand where its name says, or cannot be read, counts as missing: `faults` says so.
        """
        name = found.metadata.name
        place = _Place(group_of(found.metadata), found.spec.index)
        fault = _fault(found, place)
        if fault:
            return self.refuse(name, fault, now)
        group = self._groups.setdefault(place.group, GroupMembers())
        self._places[name] = place
        try:
            changed = group.put(found.spec)
        except ResourceError as error:
            return self.refuse(name, str(error), now)
        self._faults.pop(name, None)
        if changed:
            self._settle(place.group, now)
        return frozenset({place.group}) if changed else frozenset()

    def refuse(self, name: str, fault: str, now: float) -> frozenset[str]:
        """A slice that is there and cannot be read: it counts as missing."""
        changed = self.remove(name, now)
        self._faults[name] = fault
        return changed

    def remove(self, name: str, now: float) -> frozenset[str]:
        """A slice is gone; one that was not known is no error."""
        self._faults.pop(name, None)
        place = self._places.pop(name, None)
        if place is None:
            return frozenset()
        group = self._groups[place.group]
        group.remove(place.index)
        if group.is_empty:
            del self._groups[place.group]
        self._settle(place.group, now)
        return frozenset({place.group})

    # What is wanted

    def want(self, groups: Iterable[str], now: float) -> None:
        """These groups are needed from now on, and no others."""
        self._wanted = frozenset(groups)
        for unneeded in self._known.keys() - self._wanted:
            del self._known[unneeded]
        for unneeded in self._until.keys() - self._wanted:
            del self._until[unneeded]
        for group in self._wanted:
            self._settle(group, now)

    def heard(self, now: float) -> None:
        """The slices of all wanted groups were listed: what is missing now is really missing."""
        if self._awaits_list:
            self._awaits_list = False
            for group in self._until:
                self._until[group] = now + self._patience

    def restore(self, members: Mapping[str, Members]) -> None:
        """The members that groups had in an earlier run, for as long as they are waited for."""
        self._known.update(members)

    # What is known

    @property
    def awaits_list(self) -> bool:
        """Whether nothing is concluded from what is missing, as it was never listed."""
        return self._awaits_list

    @property
    def faults(self) -> Mapping[str, str]:
        """Slices that are there and do not count, and why."""
        return self._faults

    def is_complete(self, group: str) -> bool:
        """Whether every slice of it is there."""
        found = self._groups.get(group)
        return found is not None and found.is_complete

    def is_waited_for(self, group: str, now: float) -> bool:
        """Whether it is incomplete, and there is time left for it."""
        return now < self._until.get(group, now)

    def members(self, group: str, now: float, *, at_any_age: bool = False) -> Members | None:
        """Who is in a wanted group; None while that is not known.

        An incomplete group has its last members while it is waited for; `at_any_age`, for ever.
        """
        found = self._groups.get(group)
        members = None if found is None else found.members()
        if members is not None:
            self._known[group] = members
            return members
        return self._known.get(group) if at_any_age or self.is_waited_for(group, now) else None

    def deadline(self, now: float) -> float:
        """When the next group that is waited for has no time left; NEVER if there is none."""
        return min((until for until in self._until.values() if until > now), default=NEVER)

    def _settle(self, group: str, now: float) -> None:
        """Start or stop the clock of a wanted group."""
        if group not in self._wanted:
            return
        found = self._groups.get(group)
        if found is not None and found.is_complete:
            self._until.pop(group, None)
            members = found.members()
            if members is not None:
                self._known[group] = members
        elif group not in self._until:
            self._until[group] = NEVER if self._awaits_list else now + self._patience


def _fault(found: PeerGroupSlice, place: _Place) -> str:
    """What is wrong with where a slice stands, and with how much it holds; "" where nothing is."""
    if not place.group:
        return "the label of its group is missing"
    if place.index < 0 or found.metadata.name != slice_name(place.group, place.index):
        return f"is slice {place.index} of group {place.group} by its content, and another one by its name"
    if found.spec.addresses and found.spec.endpoints:
        return "holds addresses and endpoints"
    if len(found.spec.addresses) + len(found.spec.endpoints) > MEMBERS_MAX:
        return f"holds more than {MEMBERS_MAX} members"
    return ""
