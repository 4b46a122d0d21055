"""Why a connection is allowed or denied, and what would have to be different.

A verdict names the deciding rule; a denial has none, so what helps is the rule that came closest: right port,
but a label is missing; right peer, but another port. Each `NearMiss` says that in one sentence and where it
stands.
"""

from collections.abc import Iterator

from msgspec import Struct

from controller.engine.connections import ConnectionSet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import (
    Decision,
    Evaluator,
    Query,
    Reason,
    RuleMatch,
    Verdict,
    line_of,
    named_ports,
    peer_path,
    port_numbers,
    rule_path,
)
from controller.objects.kinds import (
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
from controller.objects.labels import EVERYTHING, NAME_LABEL, LabelSelector, Operator, Requirement

MOST_NEAR_MISSES = 3
"""How many are told per direction; one that lacks two things more than the closest is no near miss."""

_DNS_LABELS = LabelSelector.of({"k8s-app": "kube-dns"})
_DNS_NAMESPACE = "kube-system"
_DNS_PORT = 53


class NearMiss(Struct, frozen=True, order=True):
    """A rule that would have allowed, but for `lacks`.

    `distance` counts what lacks; the smallest is the closest.
    """

    distance: int
    direction: Direction
    policy: str
    path: str
    lacks: tuple[str, ...]
    line: int = 0

    def __str__(self) -> str:
        return f"{self.policy} {self.path} would allow it if {' and '.join(self.lacks)}"


class Contribution(Struct, frozen=True):
    """A rule and what it allows between two endpoints."""

    match: RuleMatch
    connections: ConnectionSet


class Explanation(Struct, frozen=True):
    """One pair of endpoints: the verdict on one port (or None), all that is allowed, and why.

    `service` is the (protocol, port) that was asked about.
    """

    source: Endpoint
    destination: Endpoint
    service: tuple[Protocol | None, int | None] | None
    verdict: Verdict | None
    connections: ConnectionSet
    contributions: tuple[Contribution, ...]
    near_misses: tuple[NearMiss, ...]
    notes: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether the asked port, or without one anything at all, may pass."""
        return bool(self.connections) if self.verdict is None else self.verdict.allowed


def explain(
    evaluator: Evaluator,
    source: Endpoint,
    destination: Endpoint,
    service: tuple[Protocol | None, int | None] | None = None,
) -> Explanation:
    """Explain one pair of endpoints; `service` is (protocol, port), None for all of them.

    O(rules that apply).
    """
    verdict = None if service is None else evaluator.evaluate(source, destination, *service)
    ends = ((Direction.EGRESS, source, destination), (Direction.INGRESS, destination, source))
    queries = [
        Query(subject, direction, own, other)
        for direction, own, other in ends
        for subject in own.subjects[:1]
    ]
    decisions = verdict or evaluator.evaluate(source, destination, Protocol.TCP, 0)
    undecided = {Reason.RULE, Reason.NO_RULE, Reason.AUDITED}
    open_queries = [query for query in queries if _decision(decisions, query).reason in undecided]
    return Explanation(
        source=source,
        destination=destination,
        service=service,
        verdict=verdict,
        connections=evaluator.connections(source, destination),
        contributions=tuple(
            found
            for query in open_queries
            if not _decision(decisions, query).audited  # everything passes there, by no rule
            for found in _contributions(evaluator, query)
        ),
        near_misses=_near_misses(evaluator, open_queries, verdict, service),
        notes=(*_notes(evaluator, source, destination), *_mode_notes(evaluator, queries, decisions)),
    )


def _decision(verdict: Verdict, query: Query) -> Decision:
    return verdict.egress if query.direction is Direction.EGRESS else verdict.ingress


def _contributions(evaluator: Evaluator, query: Query) -> Iterator[Contribution]:
    for policy in evaluator.deciding(query.subject, query.direction):
        for rule in policy.rules(query.direction):
            allowed = evaluator.rule_connections(query, policy, rule)
            if allowed:
                path = rule_path(query.direction, rule)
                match = RuleMatch(policy.namespace, policy.name, path, line=line_of(policy, path))
                yield Contribution(match, allowed)


def _near_misses(
    evaluator: Evaluator,
    queries: list[Query],
    verdict: Verdict | None,
    service: tuple[Protocol | None, int | None] | None,
) -> tuple[NearMiss, ...]:
    found: list[NearMiss] = []
    for query in queries:
        if verdict is None or service is None:
            continue
        decision = _decision(verdict, query)
        if not decision.allowed or decision.reason is Reason.AUDITED:
            found += _closest(evaluator, query, service)
    return tuple(found)


def _closest(
    evaluator: Evaluator, query: Query, service: tuple[Protocol | None, int | None]
) -> list[NearMiss]:
    found = {
        miss
        for policy in evaluator.deciding(query.subject, query.direction)
        for rule in policy.rules(query.direction)
        for miss in _misses_of_rule(evaluator, query, policy, rule, service)
    }
    best = min((miss.distance for miss in found), default=0)
    return sorted(miss for miss in found if miss.distance <= best + 1)[:MOST_NEAR_MISSES]


def _misses_of_rule(
    evaluator: Evaluator,
    query: Query,
    policy: NetworkPolicy,
    rule: PolicyRule,
    service: tuple[Protocol | None, int | None],
) -> Iterator[NearMiss]:
    path = rule_path(query.direction, rule)
    candidates: tuple[Peer | None, ...] = (None,) if rule.peers is None else rule.peers
    port_lacks: dict[tuple[tuple[str, str], ...], tuple[str, ...]] = {}  # ports are many, and so are peers
    for peer in candidates:
        peers = evaluator.pods_of_peer(policy, peer, query.other)
        named = tuple(pod.key for pod in peers)
        if named not in port_lacks:
            port_lacks[named] = tuple(_port_lacks(rule, query, peers, service))
        lacks = (*_peer_lacks(evaluator, policy, peer, query), *port_lacks[named])
        place = path if peer is None else peer_path(query.direction, rule, peer)
        if lacks:
            name = f"{policy.namespace}/{policy.name}"
            yield NearMiss(len(lacks), query.direction, name, place, lacks, line_of(policy, place))


# What a peer lacks


def _peer_lacks(
    evaluator: Evaluator, policy: NetworkPolicy, peer: Peer | None, query: Query
) -> Iterator[str]:
    if peer is None or evaluator.peer_matches(policy, peer, query.other):
        return
    if peer.ip_block is not None:
        yield _block_lacks(peer.ip_block, query.other)
    elif query.other.pods:
        yield from _selector_lacks(evaluator, policy, peer, query.other.pods[0])
    elif query.other.node:
        yield f"{query.other} were a pod: host-network traffic is its node's and only an ipBlock matches it"
    else:
        yield f"{query.other} were a pod: selectors never match addresses outside the cluster"


def _block_lacks(block: IPBlock, other: Endpoint) -> str:
    for hole in block.excepts:
        if other.is_in(hole):
            return f"{other.address} were not in its except {hole}"
    if block.cidr.family != other.family:
        return f"there were an ipBlock of IPv{other.family} beside {block.cidr}, which holds no such address"
    return f"{other.address} were in {block.cidr}"


def _selector_lacks(evaluator: Evaluator, policy: NetworkPolicy, peer: Peer, pod: Pod) -> Iterator[str]:
    name = f"{pod.namespace}/{pod.name}"
    if not evaluator.can_be_peer(pod):
        yield f"{name} could be read: it is quarantined, a peer of nobody"
        return
    if peer.namespace_selector is None and pod.namespace != policy.namespace:
        yield (
            f"{name} were in namespace {policy.namespace}: "
            "a podSelector without namespaceSelector looks only there"
        )
    elif peer.namespace_selector is not None:
        labels = evaluator.namespace_labels(pod.namespace)
        for requirement in peer.namespace_selector.requirements:
            if not requirement.matches(labels):
                yield _wish(f"namespace {pod.namespace}", requirement)
    for requirement in (peer.pod_selector or EVERYTHING).requirements:
        if not requirement.matches(pod.labels):
            yield _wish(f"pod {name}", requirement)


def _wish(owner: str, requirement: Requirement) -> str:
    key, values = requirement.key, ", ".join(requirement.values)
    if key == NAME_LABEL and requirement.operator is Operator.IN:
        return f"{owner} were {' or '.join(requirement.values)}"  # nobody can change this label (rule 2.17)
    match requirement.operator:
        case Operator.IN if len(requirement.values) == 1:
            return f"{owner} had label {key}={values}"
        case Operator.IN:
            return f"{owner} had label {key} with one of {values}"
        case Operator.NOT_IN:
            return f"{owner} had another label {key} than {values}"
        case Operator.EXISTS:
            return f"{owner} had a label {key}"
        case Operator.DOES_NOT_EXIST:
            return f"{owner} had no label {key}"


# What a port lacks


def _port_lacks(
    rule: PolicyRule, query: Query, peers: tuple[Pod, ...], service: tuple[Protocol | None, int | None]
) -> Iterator[str]:
    protocol, port = service
    if rule.ports is None:
        return
    if protocol is None:
        yield "the rule named no ports: one with ports allows only TCP, UDP and SCTP"
        return
    allowed = ConnectionSet.of(found for item in rule.ports for found in port_numbers(item, query, peers))
    if not allowed.allows(protocol, port):
        texts = [_port_text(item, query, peers) for item in rule.ports]
        wanted = " or ".join(texts) or "one it allows (it allows none)"
        yield f"the port were {wanted} instead of {port}/{protocol.name}"


def _port_text(item: PolicyPort, query: Query, peers: tuple[Pod, ...]) -> str:
    if item.port is None:
        return f"any {item.protocol.name} port"
    if isinstance(item.port, int):
        last = f"-{item.end_port}" if item.end_port and item.end_port != item.port else ""
        return f"{item.port}{last}/{item.protocol.name}"
    return _name_text(item.port, item.protocol, query, peers)


def _name_text(name: str, protocol: Protocol, query: Query, peers: tuple[Pod, ...]) -> str:
    """A port name, and what it is at the pods that resolve it (rules 2.34 to 2.36)."""
    owners = (query.subject,) if query.direction is Direction.INGRESS else peers or query.other.pods
    if not owners:
        return f"{name}/{protocol.name} (a name only pods can have)"
    owner = f"{owners[0].namespace}/{owners[0].name}"
    numbers = [str(found.port) for found in named_ports(owners[0], name, protocol)]
    if numbers:
        return f"{name} ({' or '.join(numbers)}/{protocol.name} at {owner})"
    elsewhere = [found for found in owners[0].ports if found.name == name]
    if elsewhere:
        actual = f"{elsewhere[0].port}/{elsewhere[0].protocol.name}"
        return f"{name}/{protocol.name} (which is {actual} at {owner})"
    return f"{name}/{protocol.name} (which {owner} does not define)"


# Notes


def _notes(evaluator: Evaluator, source: Endpoint, destination: Endpoint) -> Iterator[str]:
    for end in (source, destination):
        if len(end.pods) > 1:
            names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in end.pods)
            yield f"{end.address} belongs to several live pods ({names}); all their policies must agree"
        for pod in end.subjects[:1]:
            if evaluator.is_shut(pod):
                yield f"{end} could not be read in full, so it is isolated and a peer of nobody"
            elif pod.quarantined:
                yield f"{end} could not be read in full, so it is a peer of nobody; enforced, it is isolated"
    if source.subjects and not dns_is_reachable(evaluator, source):
        policies = evaluator.enforced(source.subjects[0], Direction.EGRESS)
        names = ", ".join(f"{policy.namespace}/{policy.name}" for policy in policies)
        yield f"DNS egress to kube-dns is cut for {source} ({names}): names will not resolve"


def _mode_notes(evaluator: Evaluator, queries: list[Query], decisions: Verdict) -> Iterator[str]:
    """Which policies have no say because of their mode."""
    for query in queries:
        decision = _decision(decisions, query)
        where = f"{query.direction.lower()} of {query.own}"
        asked = evaluator.applying(query.subject, query.direction)
        audited = [policy for policy in asked if evaluator.mode(policy) is Mode.AUDIT]
        names = ", ".join(f"{policy.namespace}/{policy.name}" for policy in audited)
        if decision.audited and audited:
            yield f"{where} is only audited ({names}): all of it passes, what no rule allows is counted"
        elif audited and decision.isolating:
            yield f"in audit mode, and so without a say beside policies that are enforced: {names} ({where})"


def dns_pods(evaluator: Evaluator) -> Iterator[Pod]:
    """The live DNS pods of the cluster: `k8s-app: kube-dns` in kube-system, as kubeadm labels them."""
    for pod in evaluator.cluster.pods:
        if pod.namespace == _DNS_NAMESPACE and pod.is_policed and _DNS_LABELS.matches(pod.labels):
            yield pod


def dns_is_reachable(evaluator: Evaluator, source: Endpoint) -> bool:
    """Whether a pod may ask some DNS pod over UDP; true where none is known in its family. O(DNS pods)."""
    servers = [
        end
        for pod in dns_pods(evaluator)
        for end in evaluator.addresses.of_pod(pod)
        if end.family == source.family
    ]
    reachable = (
        evaluator.direction_connections(Direction.EGRESS, source, server).allows(Protocol.UDP, _DNS_PORT)
        for server in servers
    )
    return not servers or any(reachable)
