"""Rules and policies that could be removed without any pod noticing.

Rules only add up (rule 2.7), so a rule is superfluous when others of policies on the same or more pods allow
all of it. Whether they do is judged on selectors, blocks and ports as written, not on the pods of today. What
is reported can be removed all at once: what is already found superfluous covers nothing any more.
"""

from collections.abc import Hashable, Iterable, Iterator
from heapq import merge
from operator import itemgetter

from msgspec import Struct

from controller.engine.evaluate import rule_path
from controller.engine.lint.context import Context
from controller.engine.lint.coverage import (
    Ports,
    namespace_selector,
    peer_covers,
    pod_selector,
    selector_covers,
)
from controller.engine.lint.nearby import PeerIndex
from controller.engine.lint.notes import about_policy, item_path, reads_in_full, rules_of
from controller.engine.lint.wording import listed
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, Mode, NetworkPolicy, Peer, PolicyRule


def check_repeated_items(context: Context) -> Iterator[Finding]:
    """redundant-item: a peer or port that another item of its list covers.

    O(ports squared), and near O(peers x log peers), however many of them are blocks.
    """
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            yield from _covered_peers(policy, direction, rule)
            yield from _covered_ports(policy, direction, rule)


def check_redundancy(context: Context) -> Iterator[Finding]:
    """duplicate-policy, duplicate-rule, shadowed-policy and shadowed-rule.

    Each peer is compared with those that share a required label, a block around it, or require none: near
    O(rules) where policies speak of different pods, O(rules squared) where all speak of the same.
    """
    for readable in _comparable(context):
        kept: dict[Hashable, NetworkPolicy] = {}
        for policy in readable:
            first = kept.setdefault(_meaning(policy), policy)
            if first is not policy:
                message = f"means the same as {first.name}: same pods, same directions, same rules"
                yield about_policy(policy, "duplicate-policy", "", message, "remove one of the two")
        yield from _Namespace(tuple(kept.values())).findings()


def _comparable(context: Context) -> Iterator[list[NetworkPolicy]]:
    """Those of a namespace and mode that could be read: what is only on trial replaces nothing in force."""
    for policies in context.policies_of.values():
        readable = [policy for policy in policies if reads_in_full(policy)]
        for mode in Mode:
            yield [policy for policy in readable if context.evaluator.mode(policy) is mode]


def _covered_peers(policy: NetworkPolicy, direction: Direction, rule: PolicyRule) -> Iterator[Finding]:
    index: PeerIndex[Peer] = PeerIndex()
    for peer in rule.peers or ():
        index.file(peer, peer)
    for place, peer in enumerate(rule.peers or ()):
        for other_place, other in merge(*index.above(peer), key=itemgetter(0)):
            if other_place == place or not peer_covers(other, peer, policy.namespace):
                continue
            if place < other_place and peer_covers(peer, other, policy.namespace):
                continue  # of two equal items the later one is told
            path = item_path(direction, rule, peer)
            message = f"is covered by {item_path(direction, rule, other)} of the same rule"
            yield about_policy(policy, "redundant-item", path, message, "remove it, or narrow the other")
            break


def _covered_ports(policy: NetworkPolicy, direction: Direction, rule: PolicyRule) -> Iterator[Finding]:
    items = [(item, Ports.of_item(item)) for item in rule.ports or ()]
    for place, (item, ports) in enumerate(items):
        for other_place, (other, other_ports) in enumerate(items):
            if other is item or ports - other_ports:
                continue
            if place < other_place and not other_ports - ports:
                continue
            path = item_path(direction, rule, item)
            message = f"is covered by {item_path(direction, rule, other)} of the same rule"
            yield about_policy(policy, "redundant-item", path, message, "remove it, or narrow the other")
            break


class _Claim(Struct, frozen=True, eq=False):
    """A rule that counts, and what it allows."""

    policy: NetworkPolicy
    direction: Direction
    rule: PolicyRule
    ports: Ports

    @property
    def peers(self) -> tuple[Peer | None, ...]:
        return (None,) if self.rule.peers is None else self.rule.peers

    def order(self) -> tuple[str, Direction, int]:
        """By policy, direction and place."""
        return self.policy.name, self.direction, self.rule.index

    def __str__(self) -> str:
        return f"{self.policy.name} {rule_path(self.direction, self.rule)}"


class _Namespace:
    """The rules of one namespace; owns which of them are superfluous already."""

    def __init__(self, policies: tuple[NetworkPolicy, ...]) -> None:
        self._policies = policies
        self._claims = [
            _Claim(policy, direction, rule, Ports.of_rule(rule))
            for policy in policies
            for direction, rule in rules_of(policy)
            if rule.peers != () and rule.ports != ()
        ]
        self._index: dict[Direction, PeerIndex[tuple[_Claim, Peer | None]]] = {
            direction: PeerIndex() for direction in Direction
        }
        for claim in self._claims:
            for peer in claim.peers:
                self._index[claim.direction].file(peer, (claim, peer))
        self._superfluous: dict[_Claim, tuple[_Claim, ...]] = {}
        self._removed: set[tuple[str, str]] = set()

    def findings(self) -> Iterator[Finding]:
        """From the last rule to the first, so that of two equal ones the later is told."""
        for claim in reversed(self._claims):
            covering = self._covering(claim)
            if covering:
                self._superfluous[claim] = covering
        told: set[_Claim] = set()
        for policy in reversed(self._policies):
            claims = [claim for claim in self._claims if claim.policy is policy]
            if self._is_superfluous(policy, claims):
                self._removed.add(policy.key)
                told.update(claims)
                yield _shadowed_policy(policy, [self._superfluous[claim] for claim in claims])
        for claim, covering in self._superfluous.items():
            if claim not in told:
                yield _shadowed_rule(claim, covering)

    def _covering(self, claim: _Claim) -> tuple[_Claim, ...]:
        """The rules that together allow all that one allows, or none."""
        found: dict[_Claim, None] = {}
        for peer in claim.peers:
            left = claim.ports
            for other, other_peer in self._candidates(claim, peer):
                if not _covers(other, other_peer, claim, peer) or not _overlap(left, other.ports):
                    continue
                found[other] = None
                left -= other.ports
                if not left:
                    break
            if left:
                return ()
        return tuple(sorted(found, key=_Claim.order))

    def _candidates(self, claim: _Claim, peer: Peer | None) -> Iterator[tuple[_Claim, Peer | None]]:
        for near in self._index[claim.direction].above(peer):
            for _, (other, other_peer) in near:
                if other is not claim and other not in self._superfluous:
                    yield other, other_peer

    def _is_superfluous(self, policy: NetworkPolicy, claims: list[_Claim]) -> bool:
        """Whether all rules of a policy are, and others that stay isolate its pods in the same directions."""
        if not claims or len(claims) < sum(1 for _ in rules_of(policy)):
            return False
        if not all(claim in self._superfluous for claim in claims):
            return False
        others = [
            other
            for other in self._policies
            if other is not policy
            and other.key not in self._removed
            and selector_covers(other.pod_selector, policy.pod_selector)
        ]
        isolated = {direction for other in others for direction in other.directions}
        return isolated.issuperset(policy.directions)


def _covers(wide: _Claim, wide_peer: Peer | None, narrow: _Claim, narrow_peer: Peer | None) -> bool:
    return selector_covers(wide.policy.pod_selector, narrow.policy.pod_selector) and peer_covers(
        wide_peer, narrow_peer, narrow.policy.namespace
    )


def _overlap(left: Ports, right: Ports) -> bool:
    return (left - right) != left


def _meaning(policy: NetworkPolicy) -> Hashable:
    rules = ((direction, _rule_meaning(policy, rule)) for direction, rule in rules_of(policy))
    return policy.pod_selector, frozenset(policy.directions), frozenset(rules)


def _rule_meaning(policy: NetworkPolicy, rule: PolicyRule) -> Hashable:
    peers = None if rule.peers is None else frozenset(_peer_meaning(peer, policy) for peer in rule.peers)
    return peers, Ports.of_rule(rule)


def _peer_meaning(peer: Peer, policy: NetworkPolicy) -> Hashable:
    if peer.ip_block is not None:
        return peer.ip_block.cidr, frozenset(peer.ip_block.excepts)
    return namespace_selector(peer, policy.namespace), pod_selector(peer)


def _shadowed_rule(claim: _Claim, covering: tuple[_Claim, ...]) -> Finding:
    path = rule_path(claim.direction, claim.rule)
    other = covering[0]
    same_pods = other.policy.pod_selector == claim.policy.pod_selector
    if same_pods and _rule_meaning(claim.policy, claim.rule) == _rule_meaning(other.policy, other.rule):
        message = f"says the same as {_seen_from(claim.policy, other)}"
        return about_policy(claim.policy, "duplicate-rule", path, message, "remove one of the two")
    names = [_seen_from(claim.policy, claim_found) for claim_found in covering]
    message = f"allows nothing that {listed(names)} {_do(covering)} not allow already"
    return about_policy(claim.policy, "shadowed-rule", path, message, "remove it, or narrow the other")


def _shadowed_policy(policy: NetworkPolicy, coverings: Iterable[tuple[_Claim, ...]]) -> Finding:
    others = tuple(dict.fromkeys(claim for covering in coverings for claim in covering))
    message = f"allows nothing that {listed(map(str, others))} {_do(others)} not allow already"
    return about_policy(policy, "shadowed-policy", "", message, "remove it, or narrow the others")


def _seen_from(policy: NetworkPolicy, claim: _Claim) -> str:
    return rule_path(claim.direction, claim.rule) if claim.policy is policy else str(claim)


def _do(things: tuple[_Claim, ...]) -> str:
    return "does" if len(things) == 1 else "do"
