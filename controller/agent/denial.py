"""Who denied a packet, and why, told from what the node enforces.

The kernel says only that a packet came to the end. Here the view is asked again, as the rules were: first
egress of a local source, then ingress of a local destination (rule 2.8). Reasons are given as far as they are
certain. Pure.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from controller.agent.packet import Packet
from controller.engine.rulesets import (
    LocalPod,
    NamedPort,
    NamedPortGroup,
    NodeView,
    PodGroup,
    PolicyRuleset,
    RulesetRule,
)
from controller.engine.tiers import Action, Tier
from controller.engine.translate import ALL_PODS
from controller.objects.addresses import parse_address
from controller.objects.kinds import Direction, Protocol

_TRANSPORTS = frozenset(int(each) for each in Protocol)


class Reason(StrEnum):
    """Why a packet was denied; stable words, for programs."""

    NO_RULE_MATCHED = "NoRuleMatched"
    PORT_MISMATCH = "PortMismatch"
    DENIED_BY_RULE = "DeniedByRule"
    QUARANTINED = "Quarantined"
    UNKNOWN_POD = "UnknownPod"
    RULES_CHANGED = "RulesChanged"
    """What is enforced by now allows it, or concerns neither end."""


class Denial(Struct, frozen=True):
    """One end's no. `pod` is `namespace/name`, "" where it is not known; `policies` are those asked."""

    pod: str
    direction: Direction
    peer: str
    peer_pod: str
    policies: tuple[str, ...]
    reason: Reason


class Denials:
    """What a view says of packets. O(pods) to make, O(rules of the pod) for each packet."""

    def __init__(self, view: NodeView) -> None:
        self.view = view
        self._pods: dict[str, list[LocalPod]] = {}
        for pod in view.pods:
            for address in pod.ips:
                self._pods.setdefault(address, []).append(pod)
        self._known = frozenset(view.known)

    def of(self, packet: Packet, audited: Direction | None = None) -> Denial:
        """Which end denied the packet, or would have in the direction in which it is only audited."""
        found = [end for end in self._ends(packet) if audited in {None, end[1]}]
        denied = (self._judged(packet, *end, is_audited=audited is not None) for end in found)
        first = next((each for each in denied if each is not None), None)
        return first or self._unknown(packet) or self._changed(packet, found)

    def _ends(self, packet: Packet) -> Iterator[tuple[LocalPod, Direction, str]]:
        for address, direction, peer in _sides(packet):
            for pod in self._pods.get(address, ()):  # of several at one address all must agree (rule 2.56)
                yield pod, direction, peer

    def _judged(
        self, packet: Packet, pod: LocalPod, direction: Direction, peer: str, *, is_audited: bool
    ) -> Denial | None:
        rulesets = [
            self.view.rulesets[each]
            for each in sorted(pod.rulesets)
            if each.direction is direction and each in self.view.rulesets
        ]
        stated = pod.audited if is_audited else pod.isolated
        verdict = _Verdict(self.view, packet, pod, peer).of(rulesets, is_isolated=direction in stated)
        if verdict is None:
            return None
        reason, policies = verdict
        return self._denial(pod, direction, peer, policies, reason)

    def _unknown(self, packet: Packet) -> Denial | None:
        for address, direction, peer in _sides(packet):
            family, value = parse_address(address)
            is_local = any(cidr.holds(family, value) for cidr in self.view.pod_cidrs)
            if is_local and address not in self._known:
                return self._denial(None, direction, peer, (), Reason.UNKNOWN_POD)
        return None

    def _changed(self, packet: Packet, ends: list[tuple[LocalPod, Direction, str]]) -> Denial:
        if ends:
            pod, direction, peer = ends[0]
            return self._denial(pod, direction, peer, (), Reason.RULES_CHANGED)
        return self._denial(None, Direction.EGRESS, packet.destination, (), Reason.RULES_CHANGED)

    def _denial(
        self, pod: LocalPod | None, direction: Direction, peer: str, policies: Iterable[str], reason: Reason
    ) -> Denial:
        return Denial(
            pod=_name(pod),
            direction=direction,
            peer=peer,
            peer_pod=_name(next(iter(self._pods.get(peer, ())), None)),
            policies=tuple(policies),
            reason=reason,
        )


class _Verdict:
    """One end asked about one packet."""

    def __init__(self, view: NodeView, packet: Packet, pod: LocalPod, peer: str) -> None:
        self._view = view
        self._packet = packet
        self._pod = pod
        self._peer = peer
        self._address = packet.family, parse_address(peer)[1]

    def of(
        self, rulesets: list[PolicyRuleset], *, is_isolated: bool
    ) -> tuple[Reason, tuple[str, ...]] | None:
        """Why this end denies, and by which policies; None where it allows."""
        last = Tier.NETWORK_POLICY if is_isolated else Tier.BASELINE  # rule 4.16
        for tier in (Tier.ADMIN, last):
            asked = [each for each in rulesets if each.id.tier is tier]
            action, ruleset = self._first(asked)
            if action is Action.ACCEPT:
                return None
            if action is Action.DENY and ruleset is not None:
                return Reason.DENIED_BY_RULE, (ruleset.id.policy,)
        if not is_isolated:
            return None
        own = [each for each in rulesets if each.id.tier is Tier.NETWORK_POLICY]
        if not own:
            return Reason.QUARANTINED, ()
        names_peer = any(self._is_peer(rule) for each in own for rule in each.rules)
        reason = Reason.PORT_MISMATCH if names_peer else Reason.NO_RULE_MATCHED
        return reason, tuple(each.id.policy for each in own)

    def _first(self, rulesets: list[PolicyRuleset]) -> tuple[Action | None, PolicyRuleset | None]:
        for each in rulesets:
            for rule in each.rules:
                if self._is_peer(rule) and self._is_port(rule, each):
                    return rule.action, each
        return None, None

    def _is_peer(self, rule: RulesetRule) -> bool:
        return (
            rule.any_peer
            or any(self._peer in self._view.groups.get(group, ()) for group in rule.groups)
            or any(block.holds(*self._address) for block in rule.blocks)
        )

    def _is_port(self, rule: RulesetRule, ruleset: PolicyRuleset) -> bool:
        if rule.any_port:
            return True
        protocol, port = self._packet.protocol, self._packet.port
        if protocol not in _TRANSPORTS or port is None:
            return False
        if any(each.protocol == protocol and each.first <= port <= each.last for each in rule.ports):
            return True
        if ruleset.id.direction is Direction.INGRESS:  # rule 2.34
            return any(
                each.protocol == protocol
                and each.port == port
                and NamedPort(each.protocol, each.name) in rule.named
                for each in self._pod.named_ports
            )
        return any(self._has_named(rule, named, port) for named in rule.named if named.protocol == protocol)

    def _has_named(self, rule: RulesetRule, named: NamedPort, port: int) -> bool:
        """Whether the peer has the port by this name (rule 2.35)."""
        groups: tuple[PodGroup, ...] = rule.groups + ((ALL_PODS,) if rule.any_peer or rule.blocks else ())
        wanted = (NamedPortGroup(group, named.name, named.protocol) for group in groups)
        return any(
            (self._peer, named.protocol, port) in self._view.named_ports.get(group, ()) for group in wanted
        )


def _sides(packet: Packet) -> tuple[tuple[str, Direction, str], tuple[str, Direction, str]]:
    """(own address, direction, the other's) of both ends, in the order in which they are asked."""
    return (
        (packet.source, Direction.EGRESS, packet.destination),
        (packet.destination, Direction.INGRESS, packet.source),
    )


def _name(pod: LocalPod | None) -> str:
    return "" if pod is None else f"{pod.namespace}/{pod.name}"
