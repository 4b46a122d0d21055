"""A node's view -> the chains and sets of one family.

Pure and deterministic: equal views give equal rulesets.

The layout (docs/dataplane.md): `PODGATE` judges a connection once and marks it; `PODGATE-E` and `PODGATE-I`
find the profile of the source and the destination pod by plain address compares; a profile is the rule list
that pods with equal rules share. RETURN allows, `PODGATE-D` denies, nothing ever ACCEPTs, so egress of one
pod and ingress of another are both asked (rule 2.8).
"""

import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from controller.dataplane import names
from controller.dataplane.profiles import ProfileCompiler
from controller.dataplane.render import safe_comment
from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    ConnmarkMatch,
    CtDirection,
    CtDirectionMatch,
    Drop,
    Goto,
    HairpinMatch,
    Jump,
    ProtocolMatch,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    SetType,
    Side,
    UntrackedMatch,
)
from controller.dataplane.settings import DEFAULTS, Settings
from controller.engine.rulesets import LocalPod, NodeView
from controller.objects.addresses import BITS, parse_address
from controller.objects.kinds import Direction

ICMPV6 = 58
FAMILIES = (4, 6)
_SIDES = {Direction.EGRESS: Side.SOURCE, Direction.INGRESS: Side.DESTINATION}


_DEEPEST = 8
"""Digits of an address that buckets look at; more would also make names too long."""


class _Placed(Struct, frozen=True, order=True):
    """A pod's address and the profile it goes to."""

    value: int
    pod: str
    profile: str


def compile_node(view: NodeView, settings: Settings = DEFAULTS) -> tuple[Ruleset, Ruleset]:
    """The rulesets of both families, IPv4 first.

    O(local pods x their rules + members of the referenced groups).
    """
    ipv4, ipv6 = (compile_family(view, family, settings) for family in FAMILIES)
    return ipv4, ipv6


def compile_family(view: NodeView, family: int, settings: Settings = DEFAULTS) -> Ruleset:
    """The ruleset of one family.

    The entry chains are there even when no pod is isolated, as they carry the generation.
    """
    return NodeCompiler(family, settings).compile(view, settings.generation)


class NodeCompiler:
    """Compiles one family of one node again and again, and does anew only what a change can have changed.

    A change of members costs the sets of those members; any other change costs a whole compilation. The
    result is always that of `compile_family`.
    """

    def __init__(self, family: int, settings: Settings = DEFAULTS) -> None:
        self._family = family
        self._settings = settings
        self._view: NodeView | None = None
        self._profiles: ProfileCompiler | None = None
        self._chains: list[Chain] = []
        self._own_sets: list[AddressSet] = []

    def compile(self, view: NodeView, generation: int) -> Ruleset:
        """The ruleset of a view in a generation."""
        if self._view is not None and self._profiles is not None and _same_but_members(self._view, view):
            self._profiles.refresh(view)
        else:
            self._profiles = self._compile_all(view)
        self._view = view
        entries = _entry_chains(self._family, replace(self._settings, generation=generation))
        return Ruleset(
            family=self._family,
            chains=tuple(sorted([*entries, *self._chains], key=lambda chain: chain.name)),
            sets=tuple(sorted([*self._own_sets, *self._profiles.sets()], key=lambda found: found.name)),
        )

    def _compile_all(self, view: NodeView) -> ProfileCompiler:
        family, settings = self._family, self._settings
        profiles = ProfileCompiler(view, family, settings, self._profiles)
        self._chains, self._own_sets = [], []
        for direction in Direction:
            placed = _place_pods(view, family, direction, profiles)
            self._chains += _dispatch_chains(view, family, direction, placed, settings)
            if family in settings.gates:
                self._own_sets.append(_gate(family, direction, placed))
        if settings.unknown_pods_denied:
            self._own_sets.append(_known(view, family))
        self._chains += profiles.chains()
        profiles.forget_earlier()
        return profiles


def _same_but_members(old: NodeView, new: NodeView) -> bool:
    return (
        old.pods == new.pods
        and old.rulesets == new.rulesets
        and old.groups.keys() == new.groups.keys()
        and old.named_ports.keys() == new.named_ports.keys()
        and old.known == new.known
        and old.pod_cidrs == new.pod_cidrs
    )


def _entry_chains(family: int, settings: Settings) -> Iterator[Chain]:
    judged = _connmark(settings)
    neighbours = [] if family == 4 else [_NEIGHBOUR_DISCOVERY]
    mark = SetConnmark(settings.marks.value(settings.generation), settings.marks.mask)
    yield Chain("FORWARD", (Rule((), Jump(names.ENTRY), "podgate"),))
    yield Chain(
        names.ENTRY,
        (
            Rule((judged,), Return(), "allowed before, by these very rules"),
            *neighbours,
            Rule(
                (CtDirectionMatch(CtDirection.REPLY), _connmark(settings, denied=True, negated=True)),
                Return(),
                "reply of a connection not judged again yet",
            ),
            Rule((CtDirectionMatch(CtDirection.REPLY),), Drop(), "reply of a connection now denied"),
            Rule((), Jump(names.dispatch(Direction.EGRESS)), "source pod"),
            Rule((), Jump(names.dispatch(Direction.INGRESS)), "destination pod"),
            Rule((), mark, "both ends agree"),
        ),
    )
    yield _deny_chain(settings)
    if not settings.own_node_egress_allowed:
        yield Chain("INPUT", (Rule((), Jump(names.NODE_ENTRY), "podgate"),))
        yield Chain(
            names.NODE_ENTRY,
            (
                Rule((judged,), Return(), "allowed before, by these very rules"),
                *neighbours,
                Rule((CtDirectionMatch(CtDirection.REPLY),), Return(), "reply to this node"),
                Rule((), Jump(names.dispatch(Direction.EGRESS)), "source pod"),
                Rule((), mark, "allowed to this node"),
            ),
        )


_NEIGHBOUR_DISCOVERY = Rule((ProtocolMatch(ICMPV6), UntrackedMatch()), Return(), "neighbour discovery")
"""Bridged pods resolve each other through FORWARD, untracked; without this rule IPv6 stops (rule 2.39)."""


def _connmark(settings: Settings, *, denied: bool = False, negated: bool = False) -> ConnmarkMatch:
    return ConnmarkMatch(
        settings.marks.value(settings.generation, denied=denied), settings.marks.mask, negated=negated
    )


def _deny_chain(settings: Settings) -> Chain:
    denied = settings.marks.value(settings.generation, denied=True)
    hairpin = Rule((HairpinMatch(),), Return(), "a pod may reach itself through a Service")  # rule 2.45
    return Chain(
        names.DENY,
        (
            *([hairpin] if settings.hairpin_by_bpf else []),
            Rule((), SetConnmark(denied, settings.marks.mask), "denied"),
            Rule((), Drop(), "denied"),
        ),
    )


def _place_pods(
    view: NodeView, family: int, direction: Direction, profiles: ProfileCompiler
) -> list[_Placed]:
    return sorted(
        _Placed(value, safe_comment(f"{pod.namespace}/{pod.name}"), profiles.chain_of(pod, direction))
        for pod in view.pods
        if direction in pod.isolated or any(each.direction is direction for each in pod.rulesets)
        for value in _values(pod, family)
    )


def _values(pod: LocalPod, family: int) -> list[int]:
    return [value for found, value in map(parse_address, pod.ips) if found == family]


def _dispatch_chains(
    view: NodeView, family: int, direction: Direction, placed: list[_Placed], settings: Settings
) -> Iterator[Chain]:
    split = _split(placed, depth=0)
    rules = [_bucket_rule(direction, nibbles) for nibbles in sorted(split)]
    gate = [_gate_rule(family, direction)] if family in settings.gates else []
    unknown = [*_unknown_rules(view, family, direction)] if settings.unknown_pods_denied else []
    # Unknown pods first: behind a gate or in a bucket of an isolated pod they would never be asked.
    ordered = [*unknown, *gate, *rules]
    yield Chain(names.dispatch(direction), tuple(ordered))
    for nibbles, members in split.items():
        yield from _bucket_chains(family, direction, nibbles, members, settings)


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


def _known(view: NodeView, family: int) -> AddressSet:
    values = {value for found, value in map(parse_address, view.known) if found == family}
    return AddressSet(names.known_set(family), SetType.ADDRESSES, _texts(family, values), "known local pods")


def _texts(family: int, values: Iterable[int]) -> tuple[str, ...]:
    kind, size = (socket.AF_INET, 4) if family == 4 else (socket.AF_INET6, 16)
    return tuple(socket.inet_ntop(kind, value.to_bytes(size, "big")) for value in sorted(values))
