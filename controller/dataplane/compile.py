"""A node's view -> the chains and sets of one family.

Pure and deterministic: equal views give equal rulesets.

The layout (docs/dataplane.md): `PODGATE` judges a connection once and marks it; `PODGATE-E` and `PODGATE-I`
find the profile of the source and the destination pod by plain address compares; a profile is the rule list
that pods with equal rules share. RETURN allows, `PODGATE-D` denies, `PODGATE-A` counts what policies in audit
mode would deny. Nothing ever ACCEPTs, so egress of one pod and ingress of another are both asked (rule 2.8).
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from msgspec.structs import replace

from controller.dataplane import names
from controller.dataplane.dispatch import DispatchCompiler
from controller.dataplane.members import Group
from controller.dataplane.profiles import ProfileCompiler
from controller.dataplane.ruleset import (
    AddressSet,
    Chain,
    ConnmarkMatch,
    CtDirection,
    CtDirectionMatch,
    Drop,
    Goto,
    HairpinMatch,
    Jump,
    LimitMatch,
    Log,
    ProtocolMatch,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    UntrackedMatch,
)
from controller.dataplane.settings import DEFAULTS, DropLog, Settings
from controller.engine.rulesets import NamedPortGroup, NodeView, PodGroup
from controller.objects.kinds import Direction

ICMPV6 = 58
FAMILIES = (4, 6)
_Group = TypeVar("_Group", PodGroup, NamedPortGroup)


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
    result is always that of `compile_family`; a chain that is equal to the one before is the same object.
    """

    def __init__(self, family: int, settings: Settings = DEFAULTS) -> None:
        self._family = family
        self._settings = settings
        self._dispatch = DispatchCompiler(family, settings)
        self._view: NodeView | None = None
        self._profiles: ProfileCompiler | None = None
        self._own_sets: list[AddressSet] = []
        self._chains: dict[str, Chain] = {}
        """Of the last compilation, but for those that carry the generation."""
        self._entries: list[Chain] = []
        self._generation = 0

    def compile(self, view: NodeView, generation: int) -> Ruleset:
        """The ruleset of a view in a generation."""
        if view is not self._view or self._profiles is None:
            self._profiles = self._compile_view(view)
            self._view = view
        if generation != self._generation:
            self._entries = [*_entry_chains(self._family, replace(self._settings, generation=generation))]
            self._generation = generation
        return Ruleset(
            family=self._family,
            chains=tuple(sorted([*self._entries, *self._chains.values()], key=lambda chain: chain.name)),
            sets=tuple(sorted([*self._own_sets, *self._profiles.sets()], key=lambda found: found.name)),
        )

    def _compile_view(self, view: NodeView) -> ProfileCompiler:
        if self._view is not None and self._profiles is not None:
            changed = _changed_members(self._view, view)
            if changed is not None:
                self._profiles.refresh(view, changed)
                return self._profiles
        profiles = ProfileCompiler(view, self._family, self._settings, self._profiles)
        dispatch, self._own_sets = self._dispatch.compile(view, profiles)
        before = self._chains
        made = [*dispatch, *profiles.chains()]
        ends = {chain.rules[-1].target for chain in made if chain.rules}
        made += [_audit_chain(name, self._settings) for name in names.AUDIT.values() if Goto(name) in ends]
        self._chains = {chain.name: _known(before, chain) for chain in made}
        profiles.forget_earlier()
        return profiles


def _known(before: Mapping[str, Chain], chain: Chain) -> Chain:
    """The chain, as the object that it was before."""
    found = before.get(chain.name)
    return found if found is not None and found == chain else chain


def _changed_members(old: NodeView, new: NodeView) -> list[Group] | None:
    """The groups whose members changed; None where anything else did."""
    same = (
        old.pods == new.pods
        and old.rulesets == new.rulesets
        and old.known == new.known
        and old.pod_cidrs == new.pod_cidrs
    )
    groups = _changed(old.groups, new.groups) if same else None
    ports = _changed(old.named_ports, new.named_ports) if groups is not None else None
    return None if groups is None or ports is None else [*groups, *ports]


def _changed(old: Mapping[_Group, object], new: Mapping[_Group, object]) -> list[_Group] | None:
    """The keys whose values are not the very same; None where the keys, or their order, are not.

    Compares in order, as looking up a group by its selectors costs more than comparing it.
    """
    if len(old) != len(new):
        return None
    found: list[_Group] = []
    for (had, before), (has, after) in zip(old.items(), new.items(), strict=True):
        if had is not has and had != has:
            return None
        if before is not after:
            found.append(has)
    return found


def _entry_chains(family: int, settings: Settings) -> Iterator[Chain]:
    # What every packet of every connection goes through has no comments: iptables-nft compares each of them
    # with the packet, 45 ns a time.
    judged = Rule((_connmark(settings),), Return())
    neighbours = [] if family == 4 else [_NEIGHBOUR_DISCOVERY]
    mark = SetConnmark(settings.marks.value(settings.generation), settings.marks.mask)
    yield Chain("FORWARD", (Rule((), Jump(names.ENTRY)),))
    yield Chain(
        names.ENTRY,
        (
            judged,
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
        yield Chain("INPUT", (Rule((), Jump(names.NODE_ENTRY)),))
        yield Chain(
            names.NODE_ENTRY,
            (
                judged,
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
    return _unmatched_chain(
        names.DENY,
        settings,
        Rule((), SetConnmark(denied, settings.marks.mask), "denied"),
        Rule((), Drop(), "denied"),
    )


def _audit_chain(name: str, settings: Settings) -> Chain:
    """Reached by goto: its RETURN goes back to where the profile was called, so what comes next is asked."""
    return _unmatched_chain(name, settings, Rule((), Return(), "would be denied"))


def _unmatched_chain(name: str, settings: Settings, *consequences: Rule) -> Chain:
    """Where packets go that no rule allowed: what happens to all but those of a pod to itself (rule 2.45).

    With the log on, a copy of each is logged first, as far as the rate goes.
    """
    hairpin = Rule((HairpinMatch(),), Return(), "a pod may reach itself through a Service")
    log = [] if settings.drop_log is None else [log_rule(name, settings.drop_log)]
    return Chain(name, (*([hairpin] if settings.hairpin_by_bpf else []), *log, *consequences))


def log_rule(chain: str, log: DropLog) -> Rule:
    """The rule of a chain that logs what comes there."""
    limit = LimitMatch(log.per_second, log.per_second)
    return Rule((limit,), Log(log.group, names.LOG_PREFIXES[chain]), "drop log")
