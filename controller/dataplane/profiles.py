"""Profiles: the rule list of one direction of a pod, compiled once for all pods that share it.

A rule of a policy is a product, peers x ports. Each side becomes a few alternatives (a set, a block; a port
list), and every pair of alternatives one rule, ports before sets, as a failed port test costs a fifth of a
set lookup.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from controller.dataplane import names
from controller.dataplane.members import Group, MemberSets
from controller.dataplane.render import COMMENT_MAX, safe_comment
from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    Goto,
    Match,
    PortMatch,
    ProtocolMatch,
    Return,
    Rule,
    SetMatch,
    SetType,
    Side,
    Target,
)
from controller.dataplane.settings import Settings
from controller.dataplane.validity import MULTIPORT_SLOTS, port_slots
from controller.dataplane.words import Entry, format_entry
from controller.engine.blocks import block_addresses
from controller.engine.intervals import Interval, IntervalSet, to_prefixes
from controller.engine.rulesets import (
    LocalPod,
    NamedPort,
    NamedPortGroup,
    NodeView,
    PodGroup,
    PolicyRuleset,
    RulesetId,
    RulesetRule,
)
from controller.engine.tiers import Action, Tier
from controller.engine.translate import ALL_PODS, LAST_PORT
from controller.objects.addresses import BITS
from controller.objects.kinds import ContainerPort, Direction, Protocol

Matches = tuple[Match, ...]
_Tail = tuple[Rule, ...]
_ISOLATED: _Tail = (Rule((), Goto(names.DENY), "isolated"),)
_AUDITED: Mapping[Direction, _Tail] = {
    direction: (Rule((), Goto(chain), "audit: would be denied"),) for direction, chain in names.AUDIT.items()
}
_OPEN: _Tail = ()
"""What happens to a packet that no rule of the middle tier matched; in `_OPEN` the Baseline tier is asked."""
_Key = tuple[Direction, _Tail, tuple[RulesetId, ...], tuple[ContainerPort, ...]]


class _Profile(NamedTuple):
    """The chains of one profile, the first to go to last, and what they were made from."""

    key: _Key
    rulesets: tuple[PolicyRuleset, ...]
    chains: tuple[Chain, ...]


class ProfileCompiler:
    """Compiles the profiles of one node and family, and collects the chains and sets they need.

    What an `earlier` one made from the very same rulesets is taken over from it.
    """

    def __init__(
        self, view: NodeView, family: int, settings: Settings, earlier: "ProfileCompiler | None" = None
    ) -> None:
        self._view = view
        self._family = family
        self._settings = settings
        self._earlier = earlier
        self._profiles: dict[_Key, _Profile] = {}
        self._of_pods: dict[tuple[str, str, Direction], tuple[LocalPod, _Profile]] = {}
        self._taken: dict[int, bool] = {}
        """Whether each profile of the earlier one, by its identity, can be taken over."""
        self._chains: dict[str, Chain] = {}
        self._block_sets: dict[str, AddressSet] = {}
        self.members: MemberSets = MemberSets(view, family, None if earlier is None else earlier.members)

    def chain_of(self, pod: LocalPod, direction: Direction) -> str:
        """The name of the profile chain a pod goes to in a direction in which a policy concerns it."""
        place = (pod.namespace, pod.name, direction)
        known = self._earlier._of_pods.get(place) if self._earlier is not None else None  # noqa: SLF001
        # A pod that is the same has the same key: to compare it costs less than to look that up.
        same = known is not None and known[0] == pod
        profile = self._taken_over(known[1]) if known is not None and same else None
        if profile is None:
            profile = self._profile(pod, direction)
        self._of_pods[place] = (pod, profile)
        return profile.chains[-1].name

    def _profile(self, pod: LocalPod, direction: Direction) -> _Profile:
        ids = tuple(sorted(ruleset for ruleset in pod.rulesets if ruleset.direction is direction))
        tail = _tail(pod, direction, ids)
        key = (direction, tail, ids, pod.named_ports if direction is Direction.INGRESS else ())
        found = self._profiles.get(key)
        if found is None:
            earlier = self._earlier._profiles.get(key) if self._earlier is not None else None  # noqa: SLF001
            found = self._taken_over(earlier) if earlier is not None else None
        return found or self._make(key)

    def chains(self) -> Iterable[Chain]:
        """The profile chains so far."""
        return self._chains.values()

    def sets(self) -> Iterable[AddressSet]:
        """The sets that the profiles so far look up."""
        return [*self.members.all(), *self._block_sets.values()]

    def refresh(self, view: NodeView, changed: Iterable[Group]) -> None:
        """Take the members of some groups from another view that differs in nothing else."""
        self._view = view
        self.members.refresh(view, changed)

    def forget_earlier(self) -> None:
        """Nothing more will be taken over."""
        self._earlier = None
        self._taken.clear()
        self.members.forget_earlier()

    def _make(self, key: _Key) -> _Profile:
        rulesets = tuple(self._view.rulesets[ruleset] for ruleset in key[2])
        found = self._profiles[key] = _Profile(key, rulesets, tuple(self._compile(*key)))
        return found

    def _taken_over(self, profile: _Profile) -> _Profile | None:
        """A profile of the earlier compiler; None where its rulesets are no longer the same."""
        if id(profile) not in self._taken:
            self._taken[id(profile)] = self._take_over(profile)
        return profile if self._taken[id(profile)] else None

    def _take_over(self, profile: _Profile) -> bool:
        assert self._earlier is not None  # noqa: S101 - the profile is the earlier one's
        if any(self._view.rulesets.get(old.id) != old for old in profile.rulesets):
            return False
        self._profiles[profile.key] = profile
        for chain in profile.chains:
            self._chains[chain.name] = chain
            for name in _sets_asked(chain):
                if not self.members.take_over(name):
                    self._block_sets[name] = self._earlier._block_sets[name]  # noqa: SLF001
        return True

    def _compile(
        self,
        direction: Direction,
        tail: _Tail,
        ids: tuple[RulesetId, ...],
        ports: tuple[ContainerPort, ...],
    ) -> Iterator[Chain]:
        """Tiers from last to first: a rule that passes goes to the next tier's chain (rules 4.11, 4.15)."""
        last = Tier.NETWORK_POLICY if tail else Tier.BASELINE  # rule 4.16
        for tier in (last, Tier.ADMIN):
            rulesets = [ruleset for ruleset in ids if ruleset.tier is tier]
            passes = any(self._passes(ruleset) for ruleset in rulesets)
            following: Target = Return()
            if passes and tail:
                chain = self._chain(direction, tail)
                yield chain
                following = Goto(chain.name)
                tail = (Rule((), following, "next tier"),)
            rules = (self._rules(ruleset, following, ports) for ruleset in rulesets)
            tail = (*(rule for found in rules for rule in found), *tail)
        yield self._chain(direction, tail)

    def _passes(self, ruleset: RulesetId) -> bool:
        return any(rule.action is Action.PASS for rule in self._view.rulesets[ruleset].rules)

    def _chain(self, direction: Direction, rules: tuple[Rule, ...]) -> Chain:
        name = names.profile(direction, (msgspec.json.encode(rule).decode() for rule in rules))
        self._chains[name] = Chain(name, rules)
        return self._chains[name]

    def _rules(
        self, ruleset: RulesetId, following: Target, ports: tuple[ContainerPort, ...]
    ) -> Iterator[Rule]:
        targets: dict[Action, Target] = {
            Action.ACCEPT: Return(),
            Action.DENY: Goto(names.DENY),
            Action.PASS: following,
        }
        for rule in self._view.rulesets[ruleset].rules:
            comment = _comment(ruleset.policy, rule.path)
            for matches in self._products(rule, ruleset.direction, ports):
                yield Rule(matches, targets[rule.action], comment)

    def _products(
        self, rule: RulesetRule, direction: Direction, ports: tuple[ContainerPort, ...]
    ) -> Iterator[Matches]:
        side = Side.SOURCE if direction is Direction.INGRESS else Side.DESTINATION
        numbers = [*_ports(rule, direction, ports)]
        # Without a number, only names: no set of peers would ever be asked.
        peers = [*self._peers(rule, side)] if numbers else []
        for port in numbers:
            for peer in peers:
                # Addresses first (2 ns), then ports (24 ns), then sets (120 ns).
                yield *_cheap(peer), *port, *_lookups(peer)
        if direction is Direction.EGRESS and rule.named:
            yield from self._named_products(rule)

    def _peers(self, rule: RulesetRule, side: Side) -> Iterator[Matches]:
        if rule.any_peer:
            yield ()
            return
        if rule.groups:
            yield (SetMatch(self.members.addresses(rule.groups), (side,)),)
        yield from self._blocks(rule, side)

    def _blocks(self, rule: RulesetRule, side: Side) -> Iterator[Matches]:
        """The union of this family's blocks, each without its own excepts (rules 2.20, 2.21)."""
        own = (block for block in rule.blocks if block.cidr.family == self._family)
        space = IntervalSet(interval for block in own for interval in block_addresses(block))
        bits = BITS[self._family]
        prefixes = [found for interval in space for found in to_prefixes(*interval, bits)]
        if len(prefixes) <= self._settings.inline_blocks or not prefixes[0][1]:
            for network, prefix in prefixes:
                mask = ((1 << prefix) - 1) << (bits - prefix)
                yield (AddressMatch(side, network, mask),) if prefix else ()  # /0 needs no test
            return
        yield (SetMatch(self._block_set(prefixes), (side,)),)

    def _named_products(self, rule: RulesetRule) -> Iterator[Matches]:
        """Egress to a port by name: the pods that have it, address and port in one lookup (rule 2.35)."""
        both = (Side.DESTINATION, Side.DESTINATION)
        protocols = {named.protocol for named in rule.named}
        known = (ProtocolMatch(protocols.pop()),) if len(protocols) == 1 else ()
        if rule.groups:
            yield *known, SetMatch(self.members.endpoints(_named_groups(rule.groups, rule)), both)
        if rule.any_peer:
            yield *known, SetMatch(self.members.endpoints(_named_groups((ALL_PODS,), rule)), both)
        elif rule.blocks:
            # A block and a name: only pods in the block that have the port (rule 2.24). The set is made for a
            # rule that asks it: blocks of the other family alone make none.
            for block in self._blocks(rule, Side.DESTINATION):
                lookup = SetMatch(self.members.endpoints(_named_groups((ALL_PODS,), rule)), both)
                yield *_cheap(block), *known, *_lookups(block), lookup

    def _block_set(self, prefixes: list[tuple[int, int]]) -> str:
        entries = tuple(format_entry(Entry(network, prefix), self._family) for network, prefix in prefixes)
        name = names.address_set(self._family, ["blocks", *entries])
        self._block_sets[name] = AddressSet(
            name, SetType.NETWORKS, entries, "IP blocks without their excepts"
        )
        return name


def _tail(pod: LocalPod, direction: Direction, ids: tuple[RulesetId, ...]) -> _Tail:
    if direction in pod.isolated:
        return _ISOLATED
    # Audit changes no traffic: where the Baseline tier has a say it keeps it, and nothing is counted.
    if direction in pod.audited and not any(ruleset.tier is Tier.BASELINE for ruleset in ids):
        return _AUDITED[direction]
    return _OPEN


def _comment(policy: str, path: str) -> str:
    """`shop/web spec.ingress[0]`; of a long name the end goes, never the place in the policy."""
    room = COMMENT_MAX - len(path) - 1
    return safe_comment(f"{policy if len(policy) <= room else policy[: room - 3] + '...'} {path}")


def _sets_asked(chain: Chain) -> Iterator[str]:
    return (match.name for rule in chain.rules for match in rule.matches if isinstance(match, SetMatch))


def _named_groups(groups: tuple[PodGroup, ...], rule: RulesetRule) -> tuple[NamedPortGroup, ...]:
    return tuple(NamedPortGroup(group, port.name, port.protocol) for group in groups for port in rule.named)


def _cheap(matches: Matches) -> Matches:
    return tuple(match for match in matches if isinstance(match, AddressMatch))


def _lookups(matches: Matches) -> Matches:
    return tuple(match for match in matches if not isinstance(match, AddressMatch))


def _ports(rule: RulesetRule, direction: Direction, own: tuple[ContainerPort, ...]) -> Iterator[Matches]:
    """The numeric ports of a rule as few matches as possible.

    Ingress names are numbers of the subject pod (rule 2.34).
    """
    if rule.any_port:
        yield ()
        return
    found: dict[Protocol, list[Interval]] = {protocol: [] for protocol in Protocol}
    for item in rule.ports:
        found[item.protocol].append((item.first, item.last))
    if direction is Direction.INGRESS:
        for port in own:
            if NamedPort(port.protocol, port.name) in rule.named:
                found[port.protocol].append((port.port, port.port))
    for protocol, intervals in found.items():
        for ranges in _slots(IntervalSet(intervals)):
            whole = ranges == ((0, LAST_PORT),)
            yield (ProtocolMatch(protocol),) if whole else (ProtocolMatch(protocol), PortMatch(ranges))


def _slots(ports: IntervalSet) -> Iterator[tuple[Interval, ...]]:
    """The ranges in groups that each fit one multiport match."""
    group: list[Interval] = []
    used = 0
    for interval in ports:
        need = port_slots((interval,))
        if used + need > MULTIPORT_SLOTS:
            yield tuple(group)
            group, used = [], 0
        group.append(interval)
        used += need
    if group:
        yield tuple(group)
