"""Who may talk to whom: the connections between all pods, and between every pod and the outside.

The verdicts are those of `evaluate`, worked out per kind of address (`rows`) instead of per pair: a pair
that gets nothing is mostly never looked at, and one that gets something looks up what both ends say.
Outside addresses are the ranges of `externals`.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct, structs

from controller.engine.connections import EVERYTHING, NOTHING, ConnectionSet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator, exemption
from controller.engine.externals import External, Partition
from controller.engine.rows import Row, Rows, SharedSets
from controller.objects.kinds import Cluster, Direction, Pod

Pair = tuple[str, str]
"""The ids of the source and the destination of a connection."""


class Matrix(Struct, frozen=True):
    """Endpoints, external ranges, and what may flow: a pair that is absent has nothing allowed.

    Pods are sorted by namespace and name, externals by family and address, connections by source and
    destination in that order. A pod that has finished is listed and has no connections (rule 2.54); any
    other reaches itself (rule 2.44). Nothing is said of two external ranges. `from_other_nodes`: for the
    pairs that get more because the source is the node of the destination, or on its host network (rule
    2.40), what the same source would get at another node.
    """

    pods: tuple[Pod, ...]
    externals: tuple[External, ...]
    connections: Mapping[Pair, ConnectionSet]
    from_other_nodes: Mapping[Pair, ConnectionSet] = {}

    def between(self, source: str, destination: str) -> ConnectionSet:
        """What may flow from one endpoint to another, by id."""
        return self.connections.get((source, destination), NOTHING)

    def reduced_to(self, wanted: ConnectionSet) -> "Matrix":
        """Only the part of each connection that is in a set; pairs that have nothing in it are absent."""
        reduced = ((pair, allowed & wanted) for pair, allowed in self.connections.items())
        kept = {pair: allowed for pair, allowed in reduced if allowed}
        elsewhere = {
            pair: allowed & wanted for pair, allowed in self.from_other_nodes.items() if pair in kept
        }
        return Matrix(self.pods, self.externals, kept, elsewhere)

    def around(self, namespaces: Collection[str]) -> "Matrix":
        """Only connections with an end in some namespaces, and the pods that live there or have one of them.

        The external ranges stay, all of them: they cover the whole address space.
        """
        home = {pod_id(pod) for pod in self.pods if pod.namespace in namespaces}
        kept = {pair: allowed for pair, allowed in self.connections.items() if not home.isdisjoint(pair)}
        elsewhere = {pair: allowed for pair, allowed in self.from_other_nodes.items() if pair in kept}
        involved = home.union(*kept)
        pods = tuple(pod for pod in self.pods if pod_id(pod) in involved)
        return Matrix(pods, self.externals, kept, elsewhere)


def pod_id(pod: Pod) -> str:
    """`shop/web`: how a pod is named in a matrix. No external id looks like it."""
    return f"{pod.namespace}/{pod.name}"


def matrix_of(cluster: Cluster, partition: Partition | None = None) -> Matrix:
    """Every connection of a cluster.

    A finer `partition` than the cluster's own makes two matrices comparable.
    """
    partition = partition or Partition.of(cluster.policies)
    pods = tuple(sorted(cluster.pods, key=lambda pod: pod.key))
    externals = partition.externals()
    connections: dict[Pair, ConnectionSet] = {}
    from_other_nodes: dict[Pair, ConnectionSet] = {}
    for pair, allowed, elsewhere in _Connections(cluster, partition, pods, externals).all():
        connections[pair] = allowed
        if elsewhere is not allowed:
            from_other_nodes[pair] = elsewhere
    return Matrix(pods, externals, connections, from_other_nodes)


class _Face(Struct, frozen=True):
    """One address of a party: its kind, and what its own policies say."""

    endpoint: Endpoint
    kind: int
    egress: Row
    ingress: Row


class _Party(Struct, frozen=True):
    """A pod or an external range.

    Parties with equal `traits` are treated alike; None where the very address matters: node traffic and
    shared addresses.
    """

    id: str
    faces: tuple[_Face, ...]
    traits: int | None
    outside: bool


class _Connections:
    """The pairs of one cluster."""

    def __init__(
        self, cluster: Cluster, partition: Partition, pods: tuple[Pod, ...], externals: tuple[External, ...]
    ) -> None:
        evaluator = Evaluator(cluster)
        inside = {pod_id(pod): evaluator.addresses.of_pod(pod) for pod in pods}
        outside = {each.id: (Endpoint(each.family, each.addresses.intervals[0][0]),) for each in externals}
        self._sets = SharedSets()
        every_end = (end for ends in (*inside.values(), *outside.values()) for end in ends)
        self._rows = Rows(evaluator, partition, every_end, self._sets)
        uses = Counter(address for ends in inside.values() for address in set(map(_address, ends)))
        self._shared = {address for address, count in uses.items() if count > 1}
        self._traits: dict[object, int] = {}
        self._inside = [self._party(ident, ends, outside=False) for ident, ends in inside.items()]
        self._outside = [self._party(ident, ends, outside=True) for ident, ends in outside.items()]

    def all(self) -> Iterator[tuple[Pair, ConnectionSet, ConnectionSet]]:
        """Every pair with something allowed, in order.

        With what is allowed comes what would be if the source were on another node.
        """
        reach = self._reach()
        for source in (*self._inside, *self._outside):
            row = reach[source.traits] if source.traits is not None else {}
            elsewhere = _on_another_node(source)
            for destination in self._inside if source.outside else (*self._inside, *self._outside):
                if source.traits is None or destination.traits is None or source is destination:
                    allowed = self._union(source, destination)
                else:
                    allowed = row.get(destination.traits, NOTHING)
                if allowed:
                    other = allowed if elsewhere is None else self._union(elsewhere, destination)
                    yield (source.id, destination.id), allowed, other

    def _reach(self) -> dict[int, dict[int, ConnectionSet]]:
        """What may flow between two different parties, by traits; visits only doors that are not shut."""
        parties = {
            party.traits: party for party in (*self._inside, *self._outside) if party.traits is not None
        }
        doors = _Doors(parties)
        return {traits: self._reach_of(party, doors) for traits, party in parties.items()}

    def _reach_of(self, source: _Party, doors: "_Doors") -> dict[int, ConnectionSet]:
        row: dict[int, ConnectionSet] = {}
        for face in source.faces:
            for traits, kind, ingress in doors.accepting(face, outside=not source.outside):
                egress = EVERYTHING if face.egress is None else face.egress.get(kind)
                if egress is not None:  # both ends must agree (rule 2.8)
                    allowed = self._sets.intersection(egress, ingress)
                    row[traits] = self._sets.union(row[traits], allowed) if traits in row else allowed
        return row

    def _union(self, source: _Party, destination: _Party) -> ConnectionSet:
        """Pods are connected by whichever of their addresses let it through."""
        allowed = NOTHING
        for own in source.faces:
            for other in destination.faces:
                if own.endpoint.family == other.endpoint.family:
                    outside = source.outside or destination.outside
                    allowed |= _between(own, other, outside=outside)
        return self._sets.share(allowed)

    def _party(self, ident: str, ends: tuple[Endpoint, ...], *, outside: bool) -> _Party:
        faces = tuple(
            _Face(
                end,
                self._rows.kind(end),
                self._rows.row(end, Direction.EGRESS),
                self._rows.row(end, Direction.INGRESS),
            )
            for end in ends
        )
        if not outside and any(end.node or _address(end) in self._shared for end in ends):
            return _Party(ident, faces, None, outside)
        key = tuple((face.endpoint.family, face.kind) for face in faces)  # a kind has its policies and ports
        return _Party(ident, faces, self._traits.setdefault(key, len(self._traits)), outside)


_Door = tuple[int, int, ConnectionSet]
"""The traits of a destination, the kind of one of its addresses, and what this address accepts."""


class _Doors:
    """Which destinations accept a kind of source: the rows of ingress, turned round."""

    def __init__(self, parties: Mapping[int, _Party]) -> None:
        self._selective: dict[tuple[int, int], list[_Door]] = defaultdict(list)
        self._open: dict[tuple[int, bool], list[_Door]] = defaultdict(list)
        for traits, party in parties.items():
            for face in party.faces:
                family = face.endpoint.family
                if face.ingress is None:
                    self._open[family, party.outside].append((traits, face.kind, EVERYTHING))
                else:
                    for kind, allowed in face.ingress.items():
                        self._selective[family, kind].append((traits, face.kind, allowed))

    def accepting(self, source: _Face, *, outside: bool) -> Iterator[_Door]:
        """Every door that is not shut to a source; those of external ranges only if wanted."""
        family = source.endpoint.family
        yield from self._selective.get((family, source.kind), ())
        yield from self._open[family, False]
        if outside:
            yield from self._open[family, True]


def _on_another_node(party: _Party) -> _Party | None:
    """The same addresses without what a node may do to its own pods; None for a party that is no node."""
    if not any(face.endpoint.node for face in party.faces):
        return None
    faces = (structs.replace(face, endpoint=structs.replace(face.endpoint, node="")) for face in party.faces)
    return structs.replace(party, faces=tuple(faces))


def _address(end: Endpoint) -> tuple[int, int]:
    return end.family, end.value


def _between(source: _Face, destination: _Face, *, outside: bool) -> ConnectionSet:
    """What may flow from address to address: both ends must agree (rule 2.8)."""
    return _said(Direction.EGRESS, source, destination, outside=outside) & _said(
        Direction.INGRESS, destination, source, outside=outside
    )


def _said(direction: Direction, own: _Face, other: _Face, *, outside: bool) -> ConnectionSet:
    row = own.egress if direction is Direction.EGRESS else own.ingress
    if row is None:
        return EVERYTHING
    # An outside address is never the pod itself nor its node, even where a range holds theirs.
    if not outside and exemption(direction, own.endpoint, other.endpoint) is not None:
        return EVERYTHING
    return row.get(other.kind, NOTHING)
