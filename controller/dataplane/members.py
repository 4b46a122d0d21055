"""The sets that hold peers: one per distinct list of groups, shared by every rule that names the same list.

Their names say which groups are in them and not which addresses, so a peer that comes or goes changes entries
and no name. `MemberSets` remembers what each set was made from; after a change of members only the sets of
those groups are made anew.
"""

import bisect
import operator
import socket
from collections.abc import Iterable

from msgspec import Struct

from controller.dataplane import names
from controller.dataplane.render import safe_line
from controller.dataplane.ruleset import AddressSet, SetType
from controller.dataplane.words import in_order
from controller.engine.rulesets import Endpoint, NamedPortGroup, NodeView, PodGroup

Group = PodGroup | NamedPortGroup
_Members = tuple[frozenset[str] | frozenset[Endpoint], ...]
_FEW = 32
"""Changes up to which taking out and putting in beats sorting all entries anew."""


class _MemberSet(Struct, frozen=True):
    """A set, the groups it holds, and the very members it was made from."""

    groups: tuple[Group, ...]
    members: _Members
    set: AddressSet


class MemberSets:
    """The sets of one family made from the groups of one node's view.

    What an `earlier` one made from the very same members is taken over from it.
    """

    def __init__(self, view: NodeView, family: int, earlier: "MemberSets | None" = None) -> None:
        self._view = view
        self._family = family
        self._sets: dict[str, _MemberSet] = {}
        self._holders: dict[Group, dict[str, None]] = {}
        self._earlier: dict[str, _MemberSet] = {} if earlier is None else earlier.made

    @property
    def made(self) -> dict[str, _MemberSet]:
        """What was made so far, for the next one to take over."""
        return self._sets

    def addresses(self, groups: tuple[PodGroup, ...]) -> str:
        """The name of the set of the groups' addresses."""
        return self._named("pods", SetType.ADDRESSES, groups)

    def endpoints(self, groups: tuple[NamedPortGroup, ...]) -> str:
        """The name of the set of the groups' (address, port)."""
        return self._named("ports", SetType.ENDPOINTS, groups)

    def take_over(self, name: str) -> bool:
        """Have a set that the earlier one had, with today's members; False where it had none of that name."""
        earlier = self._earlier.get(name)
        if earlier is not None and name not in self._sets:
            self._sets[name] = self._make(name, earlier.set.type, earlier.groups)
        return name in self._sets

    def all(self) -> list[AddressSet]:
        """Every set so far."""
        return [each.set for each in self._sets.values()]

    def forget_earlier(self) -> None:
        """Nothing more will be taken over."""
        self._earlier = {}

    def refresh(self, view: NodeView, changed: Iterable[Group]) -> None:
        """Take the members of some groups from another view of the same groups.

        O(sets that hold them + members that changed).
        """
        self._view = view
        for name in {name for group in changed for name in self._holders.get(group, ())}:
            self._sets[name] = self._made_anew(self._sets[name])

    def _named(self, prefix: str, kind: SetType, groups: tuple[Group, ...]) -> str:
        name = names.address_set(self._family, [prefix, *(group.id for group in groups)])
        if name not in self._sets:
            self._sets[name] = self._make(name, kind, groups)
        return name

    def _make(self, name: str, kind: SetType, groups: tuple[Group, ...]) -> _MemberSet:
        for group in groups:
            self._holders.setdefault(group, {})[name] = None
        earlier = self._earlier.get(name)
        if earlier is not None:
            return self._made_anew(earlier)
        members = self._members(groups)
        entries = self._addresses(members) if kind is SetType.ADDRESSES else self._endpoints(members)
        comment = safe_line("; ".join(map(str, groups)))
        return _MemberSet(groups, members, AddressSet(name, kind, entries, comment))

    def _made_anew(self, earlier: _MemberSet) -> _MemberSet:
        """A set with today's members; the same one where they are the very same."""
        members = self._members(earlier.groups)
        if all(map(operator.is_, members, earlier.members)):
            return earlier
        old = earlier.set
        if old.type is SetType.ENDPOINTS:
            entries = self._endpoints(members)
        else:
            entries = self._changed(old.entries, earlier.members, members)
        return _MemberSet(earlier.groups, members, AddressSet(old.name, old.type, entries, old.comment))

    def _changed(self, entries: tuple[str, ...], old: _Members, new: _Members) -> tuple[str, ...]:
        """The entries of new members; where few changed, by taking out and putting in."""
        pairs = [(had, has) for had, has in zip(old, new, strict=True) if had is not has]
        lost = {each for had, has in pairs for each in had - has}
        gained = {each for had, has in pairs for each in has - had}
        if len(lost) + len(gained) > _FEW:
            return self._addresses(new)
        if not lost and not gained:
            return entries
        out = {each for each in lost if not any(each in group for group in new)}
        found = [entry for entry in entries if entry not in out] if out else [*entries]
        kind = socket.AF_INET6 if self._family == 6 else socket.AF_INET
        for each in gained:
            if isinstance(each, str) and self._is_own(each) and not any(each in group for group in old):
                bisect.insort(found, each, key=lambda address: socket.inet_pton(kind, address))
        return tuple(found)

    def _is_own(self, address: str) -> bool:
        """Whether an address is of this family; one of IPv6 may have dots too, as ::192.0.2.1 has."""
        return (":" in address) is (self._family == 6)

    def _members(self, groups: Iterable[Group]) -> _Members:
        return tuple(
            self._view.groups[group] if isinstance(group, PodGroup) else self._view.named_ports[group]
            for group in groups
        )

    def _addresses(self, members: Iterable[frozenset[str] | frozenset[Endpoint]]) -> tuple[str, ...]:
        found = {each for group in members for each in group if isinstance(each, str) and self._is_own(each)}
        return in_order(found, self._family)

    def _endpoints(self, members: Iterable[frozenset[str] | frozenset[Endpoint]]) -> tuple[str, ...]:
        kind = socket.AF_INET6 if self._family == 6 else socket.AF_INET
        found = {
            (socket.inet_pton(kind, each[0]), each[0], each[1], each[2])
            for group in members
            for each in group
            if not isinstance(each, str) and self._is_own(each[0])
        }
        return tuple(
            f"{address},{protocol.name.lower()}:{port}" for _, address, protocol, port in sorted(found)
        )
