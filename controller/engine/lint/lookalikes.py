"""Pods that no policy can tell apart, taken together.

All pods of a Deployment share labels and ports. What is asked about policies has one answer for all of
them, so that checks ask once for the lot.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from controller.engine.changes import PodKey
from controller.objects.kinds import ContainerPort, Pod
from controller.objects.labels import LabelSelector


class Lookalikes(Struct, frozen=True, eq=False):
    """Pods of one namespace that no policy can tell apart: same labels, same named ports.

    Compared by identity.
    """

    namespace: str
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...]
    pods: tuple[Pod, ...]


_Look = tuple[str, frozenset[tuple[str, str]], tuple[ContainerPort, ...]]

Found = tuple[Lookalikes, ...]
"""What a selector picks."""


def grouped(pods: Iterable[Pod]) -> Found:
    """Pods by what policies see of them, each pod once."""
    found: dict[_Look, dict[PodKey, Pod]] = {}
    for pod in pods:
        look = (pod.namespace, frozenset(pod.labels.items()), pod.ports)
        found.setdefault(look, {})[pod.key] = pod
    return tuple(
        Lookalikes(namespace, dict(labels), ports, tuple(alike.values()))
        for (namespace, labels, ports), alike in found.items()
    )


def by_namespace(pods: Iterable[Pod]) -> dict[str, Found]:
    """The same, by the namespace they live in."""
    found: dict[str, list[Lookalikes]] = defaultdict(list)
    for alike in grouped(pods):
        found[alike.namespace].append(alike)
    return {namespace: tuple(lots) for namespace, lots in found.items()}


def matching(among: Mapping[str, Found], namespaces: Iterable[str], selector: LabelSelector) -> Found:
    """Those of some namespaces that a selector would pick, were policies to speak of them."""
    return tuple(
        alike
        for namespace in namespaces
        for alike in among.get(namespace, ())
        if selector.matches(alike.labels)
    )


def pods_of(found: Iterable[Lookalikes]) -> Iterator[Pod]:
    """The single pods."""
    for alike in found:
        yield from alike.pods


def pod_count(found: Iterable[Lookalikes]) -> int:
    """How many pods."""
    return sum(len(alike.pods) for alike in found)
