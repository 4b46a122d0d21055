"""Who may talk to whom: the connections between all pods, and between every pod and the outside.

The verdicts are those of `evaluate`, asked once per kind of address instead of once per pair: pods that policies cannot tell apart
share their rows. A rule is matched against every kind of peer once, whoever it applies to, so the cost is
O(rules x kinds of addresses + pairs of pods) and the pairs only look up what is known.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from controller.engine.connections import EVERYTHING, NOTHING, ConnectionSet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator, Query, exemption
from controller.engine.externals import External, Partition
from controller.objects.kinds import Cluster, Direction, NetworkPolicy, Pod, PolicyRule

Pair = tuple[str, str]
"""The ids of the source and the destination of a connection."""


class Matrix(Struct, frozen=True):
    """Endpoints, external ranges, and what may flow: a pair that is absent has nothing allowed.

    Pods are sorted by namespace and name, externals by family and address, connections by source and destination in that order.
    A pod that has finished is listed and has no connections (rule 2.54); any other reaches itself (rule 2.44). Nothing
    is said of two external ranges.
    """

    pods: tuple[Pod, ...]
    externals: tuple[External, ...]
    connections: Mapping[Pair, ConnectionSet]

    def between(self, source: str, destination: str) -> ConnectionSet:
        """What may flow from one endpoint to another, by id."""
        return self.connections.get((source, destination), NOTHING)

    def reduced_to(self, wanted: ConnectionSet) -> "Matrix":
        """Only the part of each connection that is in a set; pairs that have nothing in it are absent."""
        reduced = ((pair, allowed & wanted) for pair, allowed in self.connections.items())
        return Matrix(self.pods, self.externals, {pair: allowed for pair, allowed in reduced if allowed})

    def around(self, namespaces: Collection[str]) -> "Matrix":
        """Only connections with an end in one of some namespaces, and the pods that live there or have such a connection."""
        home = {pod_id(pod) for pod in self.pods if pod.namespace in namespaces}
        kept = {
            pair: allowed for pair, allowed in self.connections.items() if pair[0] in home or pair[1] in home
        }
        involved = home.union(*kept) if kept else home
        return Matrix(tuple(pod for pod in self.pods if pod_id(pod) in involved), self.externals, kept)


def pod_id(pod: Pod) -> str:
    """`shop/web`: how a pod is named in a matrix. No external id looks like it."""
    return f"{pod.namespace}/{pod.name}"


def matrix_of(cluster: Cluster, partition: Partition | None = None) -> Matrix:
    """Every connection of a cluster. A finer `partition` than the cluster's own makes two matrices comparable."""
    partition = partition or Partition.of(cluster.policies)
    pods = tuple(sorted(cluster.pods, key=lambda pod: pod.key))
    externals = partition.externals()
    return Matrix(pods, externals, dict(_Connections(cluster, partition, pods, externals).all()))


Row = dict[int, ConnectionSet] | None
"""What one end says to each kind of address, by the kind's number; absent is nothing, None is everything to everybody."""


class _Face(Struct, frozen=True):
    """One address: `kind` is the number of what rules can see of it, the rows are what its own policies say."""

    endpoint: Endpoint
    kind: int
    egress: Row
    ingress: Row
    outside: bool = False


class _Party(Struct, frozen=True):
    """A pod or an external range. Parties with equal `traits` are treated alike; None where the very address matters
    (node traffic, shared addresses).
    """

    id: str
    faces: tuple[_Face, ...]
    traits: int | None


class _Connections:
    """Works out the pairs. Kinds and rows are shared between addresses, connection sets between pairs."""

    def __init__(
        self, cluster: Cluster, partition: Partition, pods: tuple[Pod, ...], externals: tuple[External, ...]
    ) -> None:
        self._evaluator = Evaluator(cluster)
        self._partition = partition
        self._kinds: dict[object, int] = {}
        self._samples: list[Endpoint] = []
        self._rows: dict[object, Row] = {}
        self._rule_rows: dict[object, dict[int, ConnectionSet]] = {}
        self._traits: dict[object, int] = {}
        self._known: dict[ConnectionSet, ConnectionSet] = {}
        self._ends = [(pod, self._evaluator.addresses.of_pod(pod)) for pod in pods]
        outside = [Endpoint(each.family, each.addresses.intervals[0][0]) for each in externals]
        # Every kind has to be known before the first row is made: a row lists them all.
        for end in (*outside, *(end for _, ends in self._ends for end in ends)):
            self._kind(end)
        uses = Counter(
            address for _, ends in self._ends for address in {(end.family, end.value) for end in ends}
        )
        self._shared = {address for address, count in uses.items() if count > 1}
        self._parties = [self._party(pod_id(pod), ends) for pod, ends in self._ends]
        self._outside = [
            self._party(external.id, (end,), outside=True)
            for external, end in zip(externals, outside, strict=True)
        ]

    def all(self) -> Iterator[tuple[Pair, ConnectionSet]]:
        """Every pair with something allowed, sorted."""
        memo: dict[tuple[int, int], ConnectionSet] = {}
        pairs = [(source, [*self._parties, *self._outside]) for source in self._parties]
        pairs += [(source, self._parties) for source in self._outside]
        for source, destinations in pairs:
            for destination in destinations:
                allowed = self._remembered(memo, source, destination)
                if allowed:
                    yield (source.id, destination.id), allowed

    def _remembered(
        self, memo: dict[tuple[int, int], ConnectionSet], source: _Party, destination: _Party
    ) -> ConnectionSet:
        if source is destination or source.traits is None or destination.traits is None:
            return self._union(source, destination)
        key = (source.traits, destination.traits)
        if key not in memo:
            memo[key] = self._union(source, destination)
        return memo[key]

    def _union(self, source: _Party, destination: _Party) -> ConnectionSet:
        """A pair of pods counts as connected by whichever address family lets it through."""
        allowed = NOTHING
        for own in source.faces:
            for other in destination.faces:
                if own.endpoint.family == other.endpoint.family:
                    allowed |= _between(own, other)
        return self._known.setdefault(allowed, allowed)

    def _party(self, ident: str, ends: tuple[Endpoint, ...], *, outside: bool = False) -> _Party:
        faces = tuple(
            _Face(
                end,
                self._kind(end),
                self._row(end, Direction.EGRESS),
                self._row(end, Direction.INGRESS),
                outside=outside,
            )
            for end in ends
        )
        if any(end.node or (not outside and (end.family, end.value) in self._shared) for end in ends):
            return _Party(ident, faces, None)
        key = tuple((face.endpoint.family, face.kind, id(face.egress), id(face.ingress)) for face in faces)
        return _Party(ident, faces, self._traits.setdefault(key, len(self._traits)))

    def _kind(self, end: Endpoint) -> int:
        """Addresses are of one kind when no rule can tell them apart: same blocks, and pods with the same labels and ports."""
        owners = tuple(
            (pod.namespace, frozenset(pod.labels.items()), pod.ports, pod.quarantined) for pod in end.pods
        )
        key = (self._partition.mask(end.family, end.value), owners)
        if key not in self._kinds:
            self._kinds[key] = len(self._samples)
            self._samples.append(end)
        return self._kinds[key]

    def _row(self, end: Endpoint, direction: Direction) -> Row:
        """Several pods at one address: all of them must agree (rule 2.56)."""
        merged: Row = None
        for subject in end.subjects:
            row = self._subject_row(subject, direction)
            if merged is None or row is None:
                merged = merged if row is None else row
            else:
                merged = {kind: merged[kind] & row[kind] for kind in merged.keys() & row.keys()}
        return merged

    def _subject_row(self, pod: Pod, direction: Direction) -> Row:
        policies = self._evaluator.applying(pod, direction)
        key = (
            direction,
            pod.quarantined,
            tuple((policy.key, _own_ports(policy, direction, pod)) for policy in policies),
        )
        if key not in self._rows:
            self._rows[key] = self._make_row(pod, direction, policies)
        return self._rows[key]

    def _make_row(self, pod: Pod, direction: Direction, policies: tuple[NetworkPolicy, ...]) -> Row:
        if pod.quarantined:
            return {}
        if not policies:
            return None  # rule 2.6
        row: dict[int, ConnectionSet] = {}
        for policy in policies:
            for rule in policy.rules(direction):
                for kind, allowed in self._rule_row(pod, direction, policy, rule).items():
                    known = row.get(kind)
                    row[kind] = allowed if known is None else known | allowed
        return row

    def _rule_row(
        self, pod: Pod, direction: Direction, policy: NetworkPolicy, rule: PolicyRule
    ) -> dict[int, ConnectionSet]:
        """What one rule gives to each kind; shared by all pods it applies to, unless it asks for ports of theirs."""
        key = (policy.key, direction, rule.index, _own_ports(policy, direction, pod))
        if key not in self._rule_rows:
            found: dict[int, ConnectionSet] = {}
            for kind, sample in enumerate(self._samples):
                query = Query(pod, direction, sample, sample)
                allowed = self._evaluator.rule_connections(query, policy, rule)
                if allowed:
                    found[kind] = self._known.setdefault(allowed, allowed)
            self._rule_rows[key] = found
        return self._rule_rows[key]


def _own_ports(policy: NetworkPolicy, direction: Direction, pod: Pod) -> object:
    """The ports of the subject, where a rule may ask for them by name (rule 2.34)."""
    if direction is Direction.EGRESS:
        return None
    named = any(isinstance(item.port, str) for rule in policy.ingress for item in rule.ports or ())
    return pod.ports if named else None


def _between(source: _Face, destination: _Face) -> ConnectionSet:
    """What may flow from address to address: both ends must agree (rule 2.8)."""
    egress = _said(Direction.EGRESS, source, destination)
    return egress and egress & _said(Direction.INGRESS, destination, source)


def _said(direction: Direction, own: _Face, other: _Face) -> ConnectionSet:
    row = own.egress if direction is Direction.EGRESS else own.ingress
    if row is None:
        return EVERYTHING
    # An outside address is never the pod itself nor its node, even where a block of a policy holds theirs.
    if not other.outside and exemption(direction, own.endpoint, other.endpoint) is not None:
        return EVERYTHING
    return row.get(other.kind, NOTHING)
