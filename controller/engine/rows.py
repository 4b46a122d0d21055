"""What each end of a connection says to every kind of other end: once per kind, not once per pair.

Addresses are of one kind where no rule can tell them apart: the same blocks hold them, and the pods there
have the same namespace, labels and ports. A `Row` lists what the policies of one end give to each kind.
Pods with the same policies share a row, rows share the parts that come from one rule. The meaning of
rules is that of `evaluate`, whose functions are called for it.
"""

from collections import defaultdict
from collections.abc import Iterable

from controller.engine.connections import EVERYTHING, NOTHING, ConnectionSet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator, Query, ports_of_rule
from controller.engine.externals import Partition
from controller.objects.kinds import Direction, NetworkPolicy, Peer, Pod, PolicyRule

Row = dict[int, ConnectionSet] | None
"""What an end allows, by the number of the other end's kind: absent is nothing.

None is everything, to everybody.
"""


class SharedSets:
    """One value for equal connection sets, and their unions and intersections computed once.

    Memory: pairs that met.
    """

    def __init__(self) -> None:
        self._values: dict[ConnectionSet, ConnectionSet] = {}
        self._unions: dict[tuple[int, int], ConnectionSet] = {}
        self._intersections: dict[tuple[int, int], ConnectionSet] = {}
        self.share(EVERYTHING)
        self.share(NOTHING)

    def share(self, value: ConnectionSet) -> ConnectionSet:
        """The value that stands for all equal ones; the other methods want such values."""
        return self._values.setdefault(value, value)

    def union(self, left: ConnectionSet, right: ConnectionSet) -> ConnectionSet:
        """What either allows."""
        key = (id(left), id(right))  # shared values live as long as this object: their ids are theirs alone
        if key not in self._unions:
            self._unions[key] = self.share(left | right)
        return self._unions[key]

    def intersection(self, left: ConnectionSet, right: ConnectionSet) -> ConnectionSet:
        """What both allow."""
        key = (id(left), id(right))
        if key not in self._intersections:
            self._intersections[key] = self.share(left & right)
        return self._intersections[key]


class Rows:
    """Kinds and rows for a list of ends. O(kinds x distinct peers + rules x kinds they match)."""

    def __init__(
        self, evaluator: Evaluator, partition: Partition, ends: Iterable[Endpoint], sets: SharedSets
    ) -> None:
        self._evaluator = evaluator
        self._partition = partition
        self._sets = sets
        self._kinds: dict[object, int] = {}
        self._samples: list[Endpoint] = []
        self._by_mask: dict[int, list[int]] = defaultdict(list)
        self._by_owners: dict[object, list[int]] = defaultdict(list)
        self._rows: dict[object, Row] = {}
        self._rule_rows: dict[object, dict[int, ConnectionSet]] = {}
        self._peers: dict[object, list[int]] = {}
        for end in ends:
            self._add_kind(end)

    def kind(self, end: Endpoint) -> int:
        """The number of an end's kind. Raises KeyError for one that is like none of those given before."""
        return self._kinds[self._mask(end), owners_of(end)]

    def row(self, end: Endpoint, direction: Direction) -> Row:
        """What the policies of an end say, its exemptions aside.

        Several pods at one address must agree (rule 2.56).
        """
        merged: Row = None
        for subject in end.subjects:
            row = self._subject_row(subject, direction)
            if merged is None or row is None:
                merged = merged if row is None else row
            else:
                both = merged.keys() & row.keys()
                merged = {kind: self._sets.intersection(merged[kind], row[kind]) for kind in both}
        return merged

    def _mask(self, end: Endpoint) -> int:
        return self._partition.mask(end.family, end.value)

    def _add_kind(self, end: Endpoint) -> None:
        mask, owners = self._mask(end), owners_of(end)
        if (mask, owners) not in self._kinds:
            kind = self._kinds[mask, owners] = len(self._samples)
            self._samples.append(end)
            self._by_mask[mask].append(kind)
            if owners:
                self._by_owners[owners].append(kind)

    def _subject_row(self, pod: Pod, direction: Direction) -> Row:
        if self._evaluator.is_shut(pod):
            return {}
        policies = self._evaluator.enforced(pod, direction)
        if not policies:
            return None  # rule 2.6
        key = (direction, tuple((policy.key, _own_ports(policy, direction, pod)) for policy in policies))
        if key not in self._rows:
            self._rows[key] = self._merge_rules(pod, direction, policies)
        return self._rows[key]

    def _merge_rules(self, pod: Pod, direction: Direction, policies: Iterable[NetworkPolicy]) -> Row:
        row: dict[int, ConnectionSet] = {}
        for policy in policies:
            for rule in policy.rules(direction):
                for kind, allowed in self._rule_row(pod, direction, policy, rule).items():
                    row[kind] = self._sets.union(row[kind], allowed) if kind in row else allowed
        return row

    def _rule_row(
        self, pod: Pod, direction: Direction, policy: NetworkPolicy, rule: PolicyRule
    ) -> dict[int, ConnectionSet]:
        """What one rule gives to each kind; one row for all pods it applies to, unless it names ports."""
        key = (policy.key, direction, rule.index, _own_ports(policy, direction, pod))
        if key not in self._rule_rows:
            self._rule_rows[key] = self._match_rule(pod, direction, policy, rule)
        return self._rule_rows[key]

    def _match_rule(
        self, pod: Pod, direction: Direction, policy: NetworkPolicy, rule: PolicyRule
    ) -> dict[int, ConnectionSet]:
        kinds: Iterable[int] = range(len(self._samples))
        if rule.peers is not None:
            pods = (peer for peer in rule.peers if peer.ip_block is None)
            found_kinds = {kind for peer in pods for kind in self._kinds_of_peer(policy, peer)}
            kinds = sorted(found_kinds.union(self._kinds_in_blocks(rule.peers)))
        if direction is Direction.EGRESS and _names_ports(rule):  # another number at each pod (rule 2.35)
            found = {
                kind: self._evaluator.rule_connections(Query(pod, direction, end, end), policy, rule)
                for kind, end in ((kind, self._samples[kind]) for kind in kinds)
            }
            return {kind: self._sets.share(allowed) for kind, allowed in found.items() if allowed}
        sample = self._samples[0]
        allowed = self._sets.share(ports_of_rule(rule, Query(pod, direction, sample, sample), ()))
        return dict.fromkeys(kinds, allowed) if allowed else {}

    def _kinds_of_peer(self, policy: NetworkPolicy, peer: Peer) -> list[int]:
        namespace = policy.namespace if peer.namespace_selector is None else ""
        key = (namespace, peer.namespace_selector, peer.pod_selector)
        if key not in self._peers:
            self._peers[key] = self._match_pods(policy, peer)
        return self._peers[key]

    def _kinds_in_blocks(self, peers: Iterable[Peer]) -> list[int]:
        """The kinds in any block of the peers: one look at every mask, however many blocks there are."""
        bits = 0
        for peer in peers:
            if peer.ip_block is not None:
                bits |= self._partition.bit(peer.ip_block)
        return (
            [kind for mask, kinds in self._by_mask.items() if mask & bits for kind in kinds] if bits else []
        )

    def _match_pods(self, policy: NetworkPolicy, peer: Peer) -> list[int]:
        return [
            kind
            for kinds in self._by_owners.values()
            if self._evaluator.peer_matches(policy, peer, self._samples[kinds[0]])
            for kind in kinds
        ]


def owners_of(end: Endpoint) -> tuple[object, ...]:
    """All that a rule can see of the pods at an address, as a value that can be compared."""
    return tuple(
        (pod.namespace, frozenset(pod.labels.items()), pod.ports, pod.quarantined) for pod in end.pods
    )


def _own_ports(policy: NetworkPolicy, direction: Direction, pod: Pod) -> object:
    """The ports of the subject, where a rule of the policy may ask for them by name (rule 2.34)."""
    if direction is Direction.EGRESS or not any(map(_names_ports, policy.ingress)):
        return None
    return pod.ports


def _names_ports(rule: PolicyRule) -> bool:
    return any(isinstance(item.port, str) for item in rule.ports or ())
