"""What a change of manifests does to connectivity: who can newly reach whom, and who no longer can.

Both sides are cut into external ranges by the blocks of both, so that every range means the same
addresses on both and two matrices can be compared pair by pair.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from controller.engine.connections import ConnectionSet
from controller.engine.externals import Partition
from controller.engine.matrix import Matrix, Pair, matrix_of, pod_id
from controller.objects.addresses import parse_address
from controller.objects.kinds import Cluster, Pod


class Change(Struct, frozen=True):
    """One ordered pair whose connections differ; source and destination are ids of the matrices."""

    source: str
    destination: str
    added: ConnectionSet
    removed: ConnectionSet


class Difference(Struct, frozen=True):
    """Two matrices over the same external ranges, and where they differ; false where nothing does.

    `changes` is sorted by source and destination, as in a matrix. All connections of a pod that is on one
    side only are among them. A pod's way to itself is not: it is always open (rule 2.44) and no policy
    changes it.
    """

    old: Matrix
    new: Matrix
    changes: tuple[Change, ...]

    @property
    def pods_added(self) -> tuple[Pod, ...]:
        """Pods that only the new side has."""
        return _missing(self.new, self.old)

    @property
    def pods_removed(self) -> tuple[Pod, ...]:
        """Pods that only the old side has."""
        return _missing(self.old, self.new)

    @property
    def adds(self) -> bool:
        """Whether some connection is possible that was not."""
        return any(change.added for change in self.changes)

    @property
    def removes(self) -> bool:
        """Whether some connection was possible that is not."""
        return any(change.removed for change in self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes or self.pods_added or self.pods_removed)


class FamilyDifference(Struct, frozen=True):
    """What `old` and `new`, cut down to the addresses of one family, differ in beside what both do together.

    Pods of both families are connected by whichever lets them through: one that is lost alone is no change of
    theirs, and yet of whoever uses it.
    """

    family: int
    old: Cluster
    new: Cluster
    found: Difference


def difference(old: Cluster, new: Cluster) -> Difference:
    """Compare two clusters. Pods are the same if namespace and name are. Costs what two matrices cost."""
    partition = Partition.of((*old.policies, *new.policies))
    return _difference(matrix_of(old, partition), matrix_of(new, partition))


def of_one_family(old: Cluster, new: Cluster, found: Difference) -> tuple[FamilyDifference, ...]:
    """What differs in one family alone, where `found` is the difference of these two.

    Costs twice what `found` did where a pod has addresses of both families, else nothing.
    """
    if not any(_is_dual(pod) for cluster in (old, new) for pod in cluster.pods):
        return ()
    partition = Partition.of((*old.policies, *new.policies))
    known = {(change.source, change.destination): change for change in found.changes}
    parts = []
    for family in (4, 6):
        sides = _of_family(old, family), _of_family(new, family)
        own = _difference(*(matrix_of(side, partition) for side in sides))
        changes = tuple(filter(None, (_beside(change, known) for change in own.changes)))
        if changes:
            parts.append(FamilyDifference(family, *sides, structs.replace(own, changes=changes)))
    return tuple(parts)


def _is_dual(pod: Pod) -> bool:
    return len({parse_address(text)[0] for text in pod.ips}) > 1


def _of_family(cluster: Cluster, family: int) -> Cluster:
    pods = (
        structs.replace(pod, ips=tuple(text for text in pod.ips if parse_address(text)[0] == family))
        for pod in cluster.pods
    )
    return structs.replace(cluster, pods=tuple(pods))


def _beside(change: Change, known: Mapping[Pair, Change]) -> Change | None:
    """What of a change of one family is none of both; None for nothing."""
    both = known.get((change.source, change.destination))
    if both is None:
        return change
    rest = structs.replace(change, added=change.added - both.added, removed=change.removed - both.removed)
    return rest if rest.added or rest.removed else None


def _difference(before: Matrix, after: Matrix) -> Difference:
    places = {key: place for place, key in enumerate(_ids(before, after))}
    pairs = sorted(
        before.connections.keys() | after.connections.keys(),
        key=lambda pair: (places[pair[0]], places[pair[1]]),
    )
    known: dict[tuple[ConnectionSet, ConnectionSet], tuple[ConnectionSet, ConnectionSet]] = {}
    changes = []
    for pair in pairs:
        was, now = before.between(*pair), after.between(*pair)
        if pair[0] != pair[1] and was is not now:
            if (was, now) not in known:
                known[was, now] = (now - was, was - now)
            changes.append(Change(*pair, *known[was, now]))
    return Difference(before, after, tuple(change for change in changes if change.added or change.removed))


def _ids(old: Matrix, new: Matrix) -> list[str]:
    pods = {pod.key: pod_id(pod) for pod in (*old.pods, *new.pods)}
    return [pods[key] for key in sorted(pods)] + [external.id for external in new.externals]


def _missing(there: Matrix, here: Matrix) -> tuple[Pod, ...]:
    known = {pod.key for pod in here.pods}
    return tuple(pod for pod in there.pods if pod.key not in known)
