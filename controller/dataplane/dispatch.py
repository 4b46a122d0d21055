"""How a packet finds the rules of its pod: by plain compares of addresses, in buckets of their last digits.

One set lookup costs as much as 60 such compares (docs/dataplane.md), so sets are asked only where a family
has a gate: IPv6 on nft, where a compare is dear.
"""

import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from controller.dataplane import names
from controller.dataplane.profiles import ProfileCompiler
from controller.dataplane.render import safe_comment
from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    Goto,
    Jump,
    Return,
    Rule,
    SetMatch,
    SetType,
    Side,
)
from controller.dataplane.settings import Settings
from controller.engine.rulesets import LocalPod, NodeView
from controller.objects.addresses import BITS, parse_address
from controller.objects.kinds import Direction

_SIDES = {Direction.EGRESS: Side.SOURCE, Direction.INGRESS: Side.DESTINATION}
_DEEPEST = 8
"""Digits of an address that buckets look at; more would also make names too long."""


class _Placed(Struct, frozen=True, order=True):
    """A pod's address and the profile it goes to."""

    value: int
    pod: str
    profile: str


class _Addresses(Struct, frozen=True):
    """The addresses of a pod as they were given, as numbers of one family, and what to call the pod."""

    ips: tuple[str, ...]
    values: tuple[int, ...]
    pod: str


class DispatchCompiler:
    """The dispatch of one family of one node, again and again.

    Buckets whose pods are the same are the same objects as before.
    """

    def __init__(self, family: int, settings: Settings) -> None:
        self._family = family
        self._settings = settings
        self._known: dict[tuple[str, str], _Addresses] = {}
        self._buckets: dict[str, tuple[list[_Placed], list[Chain]]] = {}

    def compile(self, view: NodeView, profiles: ProfileCompiler) -> tuple[list[Chain], list[AddressSet]]:
        """The chains that lead to the profiles, and the sets they ask themselves."""
        chains: list[Chain] = []
        sets: list[AddressSet] = []
        buckets, self._buckets = self._buckets, {}
        self._known = {(pod.namespace, pod.name): self._addresses(pod) for pod in view.pods}
        for direction in Direction:
            placed = self._place_pods(view, direction, profiles)
            chains += self._dispatch_chains(view, direction, placed, buckets)
            if self._family in self._settings.gates:
                sets.append(_gate(self._family, direction, placed))
        if self._settings.unknown_pods_denied:
            sets.append(_known_pods(view, self._family))
        return chains, sets

    def _addresses(self, pod: LocalPod) -> _Addresses:
        known = self._known.get((pod.namespace, pod.name))
        if known is not None and known.ips == pod.ips:
            return known
        values = (value for found, value in map(parse_address, pod.ips) if found == self._family)
        return _Addresses(pod.ips, tuple(values), safe_comment(f"{pod.namespace}/{pod.name}"))

    def _place_pods(self, view: NodeView, direction: Direction, profiles: ProfileCompiler) -> list[_Placed]:
        found: list[_Placed] = []
        for pod in view.pods:
            if _is_concerned(pod, direction):
                profile = profiles.chain_of(pod, direction)
                known = self._known[pod.namespace, pod.name]
                found += [_Placed(value, known.pod, profile) for value in known.values]
        return sorted(found)

    def _dispatch_chains(
        self,
        view: NodeView,
        direction: Direction,
        placed: list[_Placed],
        buckets: dict[str, tuple[list[_Placed], list[Chain]]],
    ) -> Iterator[Chain]:
        family, settings = self._family, self._settings
        split = _split(placed, depth=0)
        rules = [_bucket_rule(direction, nibbles) for nibbles in sorted(split)]
        gate = [_gate_rule(family, direction)] if family in settings.gates else []
        unknown = [*_unknown_rules(view, family, direction)] if settings.unknown_pods_denied else []
        # Unknown pods first: behind a gate or in a bucket of an isolated pod they would never be asked.
        ordered = [*unknown, *gate, *rules]
        yield Chain(names.dispatch(direction), tuple(ordered))
        for nibbles, members in split.items():
            name = names.bucket(direction, nibbles)
            known = buckets.get(name)
            if known is None or known[0] != members:
                known = members, [*_bucket_chains(family, direction, nibbles, members, settings)]
            self._buckets[name] = known
            yield from known[1]


def _is_concerned(pod: LocalPod, direction: Direction) -> bool:
    stated = direction in pod.isolated or direction in pod.audited
    return stated or any(each.direction is direction for each in pod.rulesets)


def _bucket_chains(
    family: int, direction: Direction, nibbles: str, members: list[_Placed], settings: Settings
) -> Iterator[Chain]:
    name = names.bucket(direction, nibbles)
    distinct = len({member.value for member in members})
    if distinct <= settings.bucket_size or len(nibbles) == _DEEPEST:
        yield Chain(name, tuple(_pod_rules(family, direction, members, settings)))
        return
    split = _split(members, depth=len(nibbles))
    yield Chain(name, tuple(_bucket_rule(direction, nibbles + nibble) for nibble in sorted(split)))
    for nibble, fewer in split.items():
        yield from _bucket_chains(family, direction, nibbles + nibble, fewer, settings)


def _split(placed: Iterable[_Placed], depth: int) -> dict[str, list[_Placed]]:
    """By one hexadecimal digit of the address, counted from the last."""
    found: dict[str, list[_Placed]] = defaultdict(list)
    for item in placed:
        found[f"{item.value >> 4 * depth & 15:X}"].append(item)
    return found


def _bucket_rule(direction: Direction, nibbles: str) -> Rule:
    """Compares the last of the digits only: the ones before it were compared on the way here."""
    shift = 4 * (len(nibbles) - 1)
    match = AddressMatch(_SIDES[direction], int(nibbles[-1], 16) << shift, 15 << shift)
    return Rule((match,), Goto(names.bucket(direction, nibbles)), f"addresses ending in {nibbles[::-1]}")


def _pod_rules(
    family: int, direction: Direction, members: list[_Placed], settings: Settings
) -> Iterator[Rule]:
    mask = (1 << BITS[family]) - 1
    for place, member in enumerate(members):
        own = AddressMatch(_SIDES[direction], member.value, mask)
        shared = place + 1 < len(members) and members[place + 1].value == member.value
        if not settings.hairpin_by_bpf and (place == 0 or members[place - 1].value != member.value):
            itself = tuple(AddressMatch(side, member.value, mask) for side in Side)
            yield Rule(itself, Return(), safe_comment(f"to itself: {member.pod}"))
        # Two pods with one address, while it changes hands: all of their profiles must agree (rule 2.56).
        yield Rule((own,), Jump(member.profile) if shared else Goto(member.profile), member.pod)


def _gate_rule(family: int, direction: Direction) -> Rule:
    match = SetMatch(names.isolated_set(family, direction), (_SIDES[direction],), negated=True)
    return Rule((match,), Return(), "not isolated")


def _gate(family: int, direction: Direction, placed: list[_Placed]) -> AddressSet:
    entries = _texts(family, {item.value for item in placed})
    return AddressSet(
        names.isolated_set(family, direction), SetType.ADDRESSES, entries, f"isolated for {direction}"
    )


def _unknown_rules(view: NodeView, family: int, direction: Direction) -> Iterator[Rule]:
    side = _SIDES[direction]
    known = SetMatch(names.known_set(family), (side,), negated=True)
    for cidr in sorted(view.pod_cidrs):
        if cidr.family == family:
            mask = ((1 << cidr.prefix) - 1) << (BITS[family] - cidr.prefix)
            block = (AddressMatch(side, cidr.network, mask),) if cidr.prefix else ()  # /0 needs no test
            yield Rule((*block, known), Goto(names.DENY), "unknown pod")


def _known_pods(view: NodeView, family: int) -> AddressSet:
    values = {value for found, value in map(parse_address, view.known) if found == family}
    return AddressSet(names.known_set(family), SetType.ADDRESSES, _texts(family, values), "known local pods")


def _texts(family: int, values: Iterable[int]) -> tuple[str, ...]:
    kind, size = (socket.AF_INET, 4) if family == 4 else (socket.AF_INET6, 16)
    return tuple(socket.inet_ntop(kind, value.to_bytes(size, "big")) for value in sorted(values))
