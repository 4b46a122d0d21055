"""What a change of manifests does to connectivity: who can newly reach whom, and who no longer can.

Both sides are cut into external ranges by the blocks of both, so that every range means the same
addresses on both and two matrices can be compared pair by pair.
"""

from msgspec import Struct

from controller.engine.connections import ConnectionSet
from controller.engine.externals import Partition
from controller.engine.matrix import Matrix, matrix_of, pod_id
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


def difference(old: Cluster, new: Cluster) -> Difference:
    """Compare two clusters. Pods are the same if namespace and name are. Costs what two matrices cost."""
    partition = Partition.of((*old.policies, *new.policies))
    before, after = matrix_of(old, partition), matrix_of(new, partition)
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
