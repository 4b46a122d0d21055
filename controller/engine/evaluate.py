"""Verdicts from the text of the policies: may this packet pass, and which line of which policy says so.

This is one of the two independent ways to a verdict (the other compiles rules and simulates them). It
therefore works on the policies as written, shares no index with `resolve`, and reads like the rules it
implements.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from controller.engine.connections import ALL_PORTS, EVERYTHING, NOTHING, ConnectionSet
from controller.engine.endpoints import Addresses, Endpoint
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Direction,
    IPBlock,
    Mode,
    NetworkPolicy,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import EVERYTHING as EVERY_LABEL_SET
from controller.objects.labels import LabelSelector


class Reason(StrEnum):
    """Why one direction is as it is."""

    RULE = "RuleMatched"
    NO_RULE = "NoRuleMatched"
    NOT_ISOLATED = "NotIsolated"
    NOT_A_POD = "NotAPod"
    SELF = "Self"
    OWN_NODE = "OwnNode"
    QUARANTINED = "Quarantined"
    AUDITED = "Audited"
    """No rule matched, and only policies in audit mode isolate: it would be denied if they were enforced."""


class RuleMatch(Struct, frozen=True, order=True):
    """A rule that matched: its policy, its field path, the paths of the peer and port in it ("" for any)."""

    namespace: str
    name: str
    rule: str
    peer: str = ""
    port: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.peer or self.rule}"


class Decision(Struct, frozen=True):
    """What one end says.

    `isolating` are the policies that isolate it in this direction; `matches` the rules that allow. `audited`:
    all of those are in audit mode, so that nothing is denied; there are none for a quarantined pod.
    """

    direction: Direction
    allowed: bool
    reason: Reason
    matches: tuple[RuleMatch, ...] = ()
    isolating: tuple[NetworkPolicy, ...] = ()
    audited: bool = False


class Verdict(Struct, frozen=True):
    """Both ends must agree (rule 2.8)."""

    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        """Whether the connection can be opened."""
        return self.egress.allowed and self.ingress.allowed


class Query(Struct, frozen=True):
    """What one end is asked: its pod, the direction, the endpoint at the other end, and its own address."""

    subject: Pod
    direction: Direction
    own: Endpoint
    other: Endpoint


class Evaluator:
    """Answers questions about one cluster.

    Building it is O(P + N); a question is O(rules of the policies that apply).
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.addresses = Addresses(cluster)
        self._namespaces = {namespace.name: namespace.labels for namespace in cluster.namespaces}
        self._modes = {namespace.name: namespace.mode for namespace in cluster.namespaces}
        self._policies: dict[str, list[NetworkPolicy]] = defaultdict(list)
        for policy in cluster.policies:
            self._policies[policy.namespace].append(policy)
        self._applying: dict[tuple[str, str], tuple[NetworkPolicy, ...]] = {}
        self._namespace_matches: dict[LabelSelector, frozenset[str]] = {}

    def evaluate(
        self, source: Endpoint, destination: Endpoint, protocol: Protocol | None, port: int | None
    ) -> Verdict:
        """The verdict on the first packet of a connection.

        Protocol None is any but TCP, UDP and SCTP (rule 2.39).
        """
        return Verdict(
            self._decide(Direction.EGRESS, source, destination, protocol, port),
            self._decide(Direction.INGRESS, destination, source, protocol, port),
        )

    def connections(self, source: Endpoint, destination: Endpoint) -> ConnectionSet:
        """Everything that may flow from one endpoint to another: both ends' sets, intersected (rule 2.8)."""
        if source.family != destination.family:
            return NOTHING
        egress = self.direction_connections(Direction.EGRESS, source, destination)
        return egress and egress & self.direction_connections(Direction.INGRESS, destination, source)

    def direction_connections(self, direction: Direction, own: Endpoint, other: Endpoint) -> ConnectionSet:
        """What one end allows from or to the other end, whatever the other end says."""
        allowed = EVERYTHING
        if exemption(direction, own, other) is None:
            for subject in own.subjects:
                allowed &= self._subject_connections(Query(subject, direction, own, other))
        return allowed

    def applying(self, pod: Pod, direction: Direction) -> tuple[NetworkPolicy, ...]:
        """The policies that isolate a pod in a direction (rule 2.7), in whatever mode.

        None for pods that policies ignore (2.42, 2.54).
        """
        if not pod.is_policed or pod.quarantined:
            return ()
        if pod.key not in self._applying:
            self._applying[pod.key] = tuple(
                policy for policy in self._policies[pod.namespace] if policy.pod_selector.matches(pod.labels)
            )
        return tuple(policy for policy in self._applying[pod.key] if direction in policy.directions)

    def deciding(self, pod: Pod, direction: Direction) -> tuple[NetworkPolicy, ...]:
        """Those of `applying` that have a say: the enforced ones, or all where none is enforced."""
        return self.enforced(pod, direction) or self.applying(pod, direction)

    def enforced(self, pod: Pod, direction: Direction) -> tuple[NetworkPolicy, ...]:
        """Those of `applying` that are enforced: without any the pod is not isolated."""
        policies = self.applying(pod, direction)
        return tuple(policy for policy in policies if self.mode(policy) is Mode.ENFORCE)

    def mode(self, policy: NetworkPolicy) -> Mode:
        """A policy's mode: its own word, its namespace's, the cluster's."""
        return policy.mode or self._modes.get(policy.namespace) or self.cluster.mode

    def is_shut(self, pod: Pod) -> bool:
        """Whether a pod is isolated for being quarantined.

        Nobody knows which policies select it, so one of its namespace that is enforced is enough. Where none
        is, and policies that say nothing are in audit mode in the whole cluster, it is only audited.
        """
        if not pod.quarantined:
            return False
        if self.cluster.mode is Mode.ENFORCE or self._modes.get(pod.namespace) is Mode.ENFORCE:
            return True
        return any(self.mode(policy) is Mode.ENFORCE for policy in self._policies.get(pod.namespace, ()))

    def peer_matches(self, policy: NetworkPolicy, peer: Peer, other: Endpoint) -> bool:
        """Whether a peer of a policy matches an endpoint (rules 2.12 to 2.24)."""
        if peer.ip_block is not None:
            return in_block(peer.ip_block, other)
        return any(self.pod_is_peer(policy, peer, pod) for pod in other.pods)

    def pod_is_peer(self, policy: NetworkPolicy, peer: Peer, pod: Pod) -> bool:
        """Whether the selectors of a peer pick a live pod (rules 2.12 to 2.14)."""
        if not self.can_be_peer(pod):
            return False
        if peer.namespace_selector is None:
            in_namespace = pod.namespace == policy.namespace
        else:
            in_namespace = pod.namespace in self._matching_namespaces(peer.namespace_selector)
        return in_namespace and (peer.pod_selector or EVERY_LABEL_SET).matches(pod.labels)

    def can_be_peer(self, pod: Pod) -> bool:
        """Whether selectors may pick a live pod: its labels are known, its namespace exists (rule 2.58)."""
        return not pod.quarantined and pod.namespace in self._namespaces

    def namespace_labels(self, name: str) -> dict[str, str]:
        """Current labels of a namespace (rule 2.17)."""
        return dict(self._namespaces.get(name, {}))

    def rule_connections(self, query: Query, policy: NetworkPolicy, rule: PolicyRule) -> ConnectionSet:
        """What one rule allows for a query: nothing where no peer matches (rule 2.11)."""
        if rule.peers is None:
            return ports_of_rule(rule, query, self.pods_of_peer(policy, None, query.other))
        allowed = NOTHING
        for peer in rule.peers:
            if self.peer_matches(policy, peer, query.other):
                allowed |= ports_of_rule(rule, query, self.pods_of_peer(policy, peer, query.other))
        return allowed

    def pods_of_peer(self, policy: NetworkPolicy, peer: Peer | None, other: Endpoint) -> tuple[Pod, ...]:
        """The pods whose named ports a matching peer speaks of: with a block or no peer, any (2.24, 2.35)."""
        if peer is None or peer.ip_block is not None:
            return tuple(pod for pod in other.pods if self.can_be_peer(pod))
        return tuple(pod for pod in other.pods if self.pod_is_peer(policy, peer, pod))

    def _matching_namespaces(self, selector: LabelSelector) -> frozenset[str]:
        if selector not in self._namespace_matches:
            self._namespace_matches[selector] = frozenset(
                name for name, labels in self._namespaces.items() if selector.matches(labels)
            )
        return self._namespace_matches[selector]

    def _subject_connections(self, query: Query) -> ConnectionSet:
        if self.is_shut(query.subject):
            return NOTHING
        policies = self.enforced(query.subject, query.direction)
        if not policies:
            return EVERYTHING  # rule 2.6
        allowed = NOTHING
        for policy in policies:
            for rule in policy.rules(query.direction):
                allowed |= self.rule_connections(query, policy, rule)
        return allowed

    def _decide(
        self,
        direction: Direction,
        own: Endpoint,
        other: Endpoint,
        protocol: Protocol | None,
        port: int | None,
    ) -> Decision:
        exempt = exemption(direction, own, other)
        if exempt is not None:
            return Decision(direction, allowed=True, reason=exempt)
        decisions = [
            self._decide_subject(Query(subject, direction, own, other), protocol, port)
            for subject in own.subjects
        ]
        # Several pods at one address: all of them must agree (rule 2.56).
        return min(decisions, key=lambda found: (found.allowed, found.reason is not Reason.AUDITED))

    def _decide_subject(self, query: Query, protocol: Protocol | None, port: int | None) -> Decision:
        if self.is_shut(query.subject):
            return Decision(query.direction, allowed=False, reason=Reason.QUARANTINED)
        if query.subject.quarantined:
            return Decision(query.direction, allowed=True, reason=Reason.AUDITED, audited=True)
        for tier in _TIERS:
            decision = tier(self, query, protocol, port)
            if decision is not None:
                return decision
        return Decision(query.direction, allowed=True, reason=Reason.NOT_ISOLATED)  # rule 2.6


def exemption(direction: Direction, own: Endpoint, other: Endpoint) -> Reason | None:
    """Why policies are not even asked at this end, or None (rules 2.40, 2.42, 2.44, 2.45)."""
    if not own.subjects:
        return Reason.NOT_A_POD
    if (own.family, own.value) == (other.family, other.value):
        return Reason.SELF
    if direction is Direction.INGRESS and other.node and other.node == own.subjects[0].node:
        return Reason.OWN_NODE
    return None


def in_block(block: IPBlock, endpoint: Endpoint) -> bool:
    """Whether the address is in the block and in none of its excepts (rules 2.19 to 2.21)."""
    return block.holds(endpoint.family, endpoint.value)


def ports_of_rule(rule: PolicyRule, query: Query, peers: tuple[Pod, ...]) -> ConnectionSet:
    """The connection set of a rule's `ports` (rules 2.31 to 2.38).

    `peers` are the pods matched at the other end.
    """
    if rule.ports is None:
        return EVERYTHING
    return ConnectionSet.of(found for item in rule.ports for found in port_numbers(item, query, peers))


def port_numbers(
    item: PolicyPort, query: Query, peers: tuple[Pod, ...]
) -> Iterator[tuple[Protocol, int, int]]:
    """(protocol, first, last) of one item of `ports`.

    A name can stand for several numbers, or none (rule 2.36).
    """
    if item.port is None:
        yield item.protocol, *ALL_PORTS.intervals[0]
    elif isinstance(item.port, int):
        yield item.protocol, item.port, item.end_port or item.port
    else:
        # Ingress: the subject's own port (rule 2.34). Egress: of each destination pod, wherever it is (rule
        # 2.35).
        owners = (query.subject,) if query.direction is Direction.INGRESS else peers
        for owner in owners:
            for named in named_ports(owner, item.port, item.protocol):
                yield named.protocol, named.port, named.port


def named_ports(pod: Pod, name: str, protocol: Protocol) -> tuple[ContainerPort, ...]:
    """The container ports of a pod with this name and protocol (rules 2.36, 2.37)."""
    return tuple(port for port in pod.ports if port.name == name and port.protocol is protocol)


def _network_policy_tier(
    evaluator: Evaluator, query: Query, protocol: Protocol | None, port: int | None
) -> Decision | None:
    """The middle tier: final for an isolated pod, silent for any other (rules 2.6, 2.7, 4.16).

    Where policies only audit it there is nothing to deny, and what they would deny is its answer.
    """
    policies = evaluator.deciding(query.subject, query.direction)
    if not policies:
        return None
    audited = evaluator.mode(policies[0]) is Mode.AUDIT  # as all of those that decide
    matches = tuple(
        match
        for policy in policies
        for rule in policy.rules(query.direction)
        for match in rule_matches(evaluator, query, policy, rule, protocol, port)
    )
    unmatched = Reason.AUDITED if audited else Reason.NO_RULE
    return Decision(
        query.direction,
        allowed=audited or bool(matches),
        reason=Reason.RULE if matches else unmatched,
        matches=matches,
        isolating=policies,
        audited=audited,
    )


_TIERS: tuple[Callable[[Evaluator, Query, Protocol | None, int | None], Decision | None], ...] = (
    _network_policy_tier,
)
"""Asked in order until one answers (rule 4.11).

Admin and Baseline join here when ClusterNetworkPolicy does.
"""


def rule_matches(  # noqa: PLR0913, PLR0917 - the question, whole
    evaluator: Evaluator,
    query: Query,
    policy: NetworkPolicy,
    rule: PolicyRule,
    protocol: Protocol | None,
    port: int | None,
) -> Iterator[RuleMatch]:
    """At most one match per rule: the first peer of it that matches together with a port."""
    path = rule_path(query.direction, rule)
    candidates: tuple[Peer | None, ...] = (None,) if rule.peers is None else rule.peers
    for peer in candidates:
        if peer is not None and not evaluator.peer_matches(policy, peer, query.other):
            continue
        pods = evaluator.pods_of_peer(policy, peer, query.other)
        port_path = _matching_port(rule, query, pods, protocol, port)
        if port_path is not None:
            peer_text = "" if peer is None else peer_path(query.direction, rule, peer)
            yield RuleMatch(
                policy.namespace, policy.name, path, peer_text, port_path and f"{path}.{port_path}",
                line_of(policy, peer_text or path),
            )  # fmt: skip
            return


def _matching_port(
    rule: PolicyRule, query: Query, pods: tuple[Pod, ...], protocol: Protocol | None, port: int | None
) -> str | None:
    """`ports[1]`, "" where the rule names no ports, None where no port matches."""
    if rule.ports is None:
        return ""
    for item in rule.ports:
        if ConnectionSet.of(port_numbers(item, query, pods)).allows(protocol, port) and protocol is not None:
            return f"ports[{item.index}]"
    return None


def rule_path(direction: Direction, rule: PolicyRule) -> str:
    """`spec.ingress[1]`."""
    return f"spec.{direction.lower()}[{rule.index}]"


def peer_path(direction: Direction, rule: PolicyRule, peer: Peer) -> str:
    """`spec.ingress[1].from[0].podSelector`; where both selectors are set, the item that holds them."""
    item = f"{rule_path(direction, rule)}.{'from' if direction is Direction.INGRESS else 'to'}[{peer.index}]"
    if peer.ip_block is not None:
        return f"{item}.ipBlock"
    if peer.namespace_selector is None:
        return f"{item}.podSelector"
    return item if peer.pod_selector is not None else f"{item}.namespaceSelector"


def line_of(policy: NetworkPolicy, path: str) -> int:
    """The line of a field path in the policy's file, or of the closest field around it; 0 where unknown."""
    while path:
        if path in policy.lines:
            return policy.lines[path]
        path = path.rpartition(".")[0]
    return policy.source.line
