"""Who takes part in a picture of connections: pods and external ranges, put together where they are alike.

People think in workloads: the pods of one workload that have the same connections are one party here, and
so are external ranges that are treated the same. JSON and CSV never do this. What connects two parties is
any value (`Label`): a set of ports in a matrix, a change in a difference.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct, structs

from controller.engine.connections import ConnectionSet
from controller.engine.externals import External
from controller.engine.matrix import Matrix, Pair, pod_id
from controller.objects.kinds import TERMINAL_PHASES, Pod

Label = TypeVar("Label", bound=Hashable)


class Place(StrEnum):
    """Where a party is: in the pod network, on the network of a node, outside the cluster."""

    POD = "pod"
    HOST = "host"
    OUTSIDE = "outside"


class Party(Struct, frozen=True):
    """Somebody who takes part.

    `title` names it anywhere, `short` inside its namespace ("" for outside); `members` are ids of the matrix.
    """

    title: str
    short: str
    namespace: str
    place: Place
    members: tuple[str, ...]


class Picture(Struct, Generic[Label], frozen=True):
    """Parties in order, and what connects them, by their numbers.

    What a party says to itself is between its members.

    `listed` are the numbers of those to show; the others are there so that "every pod" means every pod. With
    `home` nothing is known of two parties that are both not in it.
    """

    parties: tuple[Party, ...]
    edges: Mapping[tuple[int, int], Label]
    listed: tuple[int, ...]
    home: frozenset[int] | None = None

    def says_nothing_of(self, source: int, destination: int) -> bool:
        """Whether the picture could not show an edge between two parties, as between two outside ranges."""
        if self.home is not None and source not in self.home and destination not in self.home:
            return True
        return all(self.parties[number].place is Place.OUTSIDE for number in (source, destination))

    def is_itself(self, source: int, destination: int) -> bool:
        """Whether two numbers are one single pod, whose way to itself is always open (rule 2.44)."""
        party = self.parties[source]
        return source == destination and party.place is not Place.OUTSIDE and len(party.members) == 1

    def numbered(self, *places: Place) -> list[int]:
        """The numbers of the parties at some places, listed or not."""
        return [number for number, party in enumerate(self.parties) if party.place in places]


def matrix_picture(
    matrix: Matrix, everybody: Sequence[Pod], scope: Collection[str] = ()
) -> Picture[ConnectionSet]:
    """A matrix for people: without finished pods, and without what only a pod's own node may do (rule 2.40).

    The node's rights are the same for every pod and depend on where a pod happens to run. `everybody` are the
    pods of the cluster; with `scope`, the matrix has been reduced to what these namespaces take part in.
    """
    shown = {pair: matrix.from_other_nodes.get(pair, allowed) for pair, allowed in matrix.connections.items()}
    found = picture(
        everybody, matrix.externals, {pair: allowed for pair, allowed in shown.items() if allowed}
    )
    if not scope:
        return found
    home = {number for number, party in enumerate(found.parties) if party.namespace in scope}
    return structs.replace(found, listed=tuple(sorted(home.union(*found.edges))), home=frozenset(home))


def picture(
    pods: Iterable[Pod], externals: Sequence[External], edges: Mapping[Pair, Label]
) -> Picture[Label]:
    """Parties of pods and ranges, and edges between them; edges of a pod to itself are left out."""
    alive = [pod for pod in pods if pod.phase not in TERMINAL_PHASES]
    families = {6 if ":" in text else 4 for pod in alive for text in pod.ips}
    neighbours = _neighbours(edges)
    parties = [*_pod_parties(alive, neighbours), *_outside_parties(externals, families, neighbours)]
    number = {ident: place for place, party in enumerate(parties) for ident in party.members}
    found = {
        (number[source], number[destination]): label
        for (source, destination), label in edges.items()
        if source != destination and source in number and destination in number
    }
    return Picture(tuple(parties), dict(sorted(found.items())), tuple(range(len(parties))))


_Neighbours = Mapping[str, Mapping[tuple[str, bool], Hashable]]
"""By id: what connects it to (the other end, whether as source)."""


def _neighbours(edges: Mapping[Pair, Label]) -> _Neighbours:
    found: dict[str, dict[tuple[str, bool], Hashable]] = defaultdict(dict)
    for (source, destination), label in edges.items():
        if source != destination:
            found[source][destination, True] = label
            found[destination][source, False] = label
    return found


def _pod_parties(pods: Iterable[Pod], neighbours: _Neighbours) -> list[Party]:
    groups: dict[object, list[Pod]] = defaultdict(list)
    for pod in pods:
        groups[pod.namespace, pod.workload or pod.name, pod.host_network].append(pod)
    found = []
    for group in groups.values():
        if len(group) > 1 and _alike([pod_id(pod) for pod in group], neighbours):
            found.append(_party(group, f"{_workload_name(group[0])} x{len(group)}"))
        else:
            found.extend(_party([pod], pod.name) for pod in group)
    return sorted(found, key=lambda party: (party.namespace, party.members))


def _party(pods: Sequence[Pod], short: str) -> Party:
    first = pods[0]
    place = Place.HOST if first.host_network else Place.POD
    return Party(f"{first.namespace}/{short}", short, first.namespace, place, tuple(map(pod_id, pods)))


def _workload_name(pod: Pod) -> str:
    return pod.name if pod.workload is None else pod.workload.name


def _alike(group: Sequence[str], neighbours: _Neighbours) -> bool:
    """Whether the pods of a group have equal connections with all others, and among each other."""
    members = set(group)
    outer = [
        {key: label for key, label in neighbours.get(ident, {}).items() if key[0] not in members}
        for ident in group
    ]
    if any(each != outer[0] for each in outer):
        return False
    inner = {
        neighbours.get(ident, {}).get((other, True)) for ident in group for other in group if other != ident
    }
    return len(inner) == 1


def _outside_parties(
    externals: Sequence[External], families: set[int], neighbours: _Neighbours
) -> list[Party]:
    """Ranges of a family that no pod has an address of are left out: nothing could be said of them."""
    relevant = [external for external in externals if external.family in families]
    groups: dict[object, list[External]] = defaultdict(list)
    for external in relevant:
        groups[frozenset(neighbours.get(external.id, {}).items())].append(external)
    return [
        Party(
            title := _outside_title(group, relevant),
            title,
            "",
            Place.OUTSIDE,
            tuple(each.id for each in group),
        )
        for group in groups.values()
    ]


def _outside_title(group: Sequence[External], relevant: Sequence[External]) -> str:
    if len(group) == len(relevant):
        return "outside"
    families = {external.family for external in group}
    if len(families) == 1 and len(group) == sum(each.family in families for each in relevant):
        return f"any IPv{families.pop()}"
    if len(group) == 1:
        return group[0].title
    if any(external.title.startswith("other ") for external in group):
        return "elsewhere"
    others = len(group) - 1
    return f"{group[0].title} and {group[1].title if others == 1 else f'{others} more ranges'}"
