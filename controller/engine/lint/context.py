"""What the checks ask of a cluster, each question answered once.

Pods of one namespace with the same labels and named ports are alike to every policy, so checks look at `Lookalikes`,
of which there are as many as workloads, and never at single pods. Selections are remembered by selector: the
cost of all checks together is O(pods + distinct selectors x lookalikes of the namespaces they look in).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from controller.engine.evaluate import Evaluator
from controller.engine.lint.coverage import NAME_LABEL, block_addresses, pod_selector
from controller.objects.addresses import parse_address
from controller.objects.kinds import (
    TERMINAL_PHASES,
    Cluster,
    ContainerPort,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
)
from controller.objects.labels import LabelSelector

MOST_NAMES = 3
"""Names that a message lists before it says how many more there are."""


class Lookalikes(Struct, frozen=True, eq=False):
    """Pods of one namespace that no policy can tell apart: same labels, same named ports. Compared by identity."""

    namespace: str
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...]
    pods: tuple[Pod, ...]


Found = tuple[Lookalikes, ...]
"""What a selector picks."""


class Context:
    """A cluster, indexed for the checks. Building it is O(pods + policies)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.policies = cluster.policies
        live = [pod for pod in cluster.pods if pod.is_policed and not pod.quarantined]
        self.live = _by_namespace(live)
        self.on_host = _by_namespace(pod for pod in cluster.pods if pod.host_network and _runs(pod))
        self.finished = _by_namespace(pod for pod in cluster.pods if not _runs(pod))
        self.has_pods = bool(live)
        self._selected: dict[tuple[str, LabelSelector], Found] = {}
        self._members: dict[tuple[str, LabelSelector | None, LabelSelector], Found] = {}
        self._namespaces: dict[LabelSelector, tuple[Namespace, ...]] = {}
        self._inside: dict[IPBlock, Found] = {}

    @cached_property
    def evaluator(self) -> Evaluator:
        """Verdicts on this cluster."""
        return Evaluator(self.cluster)

    @cached_property
    def by_namespace(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
        """The policies of each namespace that has some."""
        found: dict[str, list[NetworkPolicy]] = defaultdict(list)
        for policy in self.policies:
            found[policy.namespace].append(policy)
        return {namespace: tuple(policies) for namespace, policies in found.items()}

    @cached_property
    def every_live(self) -> Found:
        """All live pods of the cluster."""
        return tuple(alike for found in self.live.values() for alike in found)

    def subjects(self, policy: NetworkPolicy) -> Found:
        """The live pods that a policy selects (rule 2.1)."""
        return self.selected(policy.namespace, policy.pod_selector)

    def selected(self, namespace: str, selector: LabelSelector) -> Found:
        """The live pods of a namespace that a selector picks."""
        key = (namespace, selector)
        if key not in self._selected:
            self._selected[key] = tuple(_matching(self.live.get(namespace, ()), selector))
        return self._selected[key]

    def members(self, policy: NetworkPolicy, peer: Peer) -> Found:
        """The live pods that the selectors of a peer pick (rules 2.12 to 2.14); none for an ipBlock."""
        if peer.ip_block is not None:
            return ()
        own = policy.namespace if peer.namespace_selector is None else ""
        key = (own, peer.namespace_selector, pod_selector(peer))
        if key not in self._members:
            self._members[key] = tuple(
                alike
                for namespace in self.reach(policy, peer)
                for alike in self.selected(namespace, pod_selector(peer))
            )
        return self._members[key]

    def reach(self, policy: NetworkPolicy, peer: Peer) -> tuple[str, ...]:
        """The names of the namespaces in which a selector peer looks for pods."""
        if peer.namespace_selector is None:
            return (policy.namespace,)
        return tuple(namespace.name for namespace in self.namespaces(peer.namespace_selector))

    def namespaces(self, selector: LabelSelector) -> tuple[Namespace, ...]:
        """The namespaces whose labels match."""
        if selector not in self._namespaces:
            self._namespaces[selector] = tuple(
                namespace for namespace in self.cluster.namespaces if selector.matches(namespace.labels)
            )
        return self._namespaces[selector]

    def inside(self, block: IPBlock) -> Found:
        """The live pods that have an address in a block (rule 2.19).

        O(log pods + pods inside), once for each block.
        """
        if block not in self._inside:
            values, owners = self._addresses[block.cidr.family]
            places = (
                place
                for first, last in block_addresses(block)
                for place in range(bisect_left(values, first), bisect_right(values, last))
            )
            self._inside[block] = tuple(dict.fromkeys(owners[place] for place in places))
        return self._inside[block]

    @cached_property
    def _addresses(self) -> Mapping[int, tuple[list[int], list[Lookalikes]]]:
        """By family: the addresses of live pods in ascending order, and whose they are."""
        found: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for place, alike in enumerate(self.every_live):
            for pod in alike.pods:
                for text in pod.ips:
                    family, value = parse_address(text)
                    found[family].append((value, place))
        return {
            family: ([value for value, _ in pairs], [self.every_live[place] for _, place in pairs])
            for family, pairs in ((family, sorted(pairs)) for family, pairs in found.items())
        }

    def elsewhere(self, selector: LabelSelector, but: Iterable[str]) -> Found:
        """The live pods that a selector would pick in other namespaces than those. O(all lookalikes)."""
        skipped = frozenset(but)
        return tuple(
            alike
            for namespace in self.live
            if namespace not in skipped
            for alike in self.selected(namespace, selector)
        )


def _runs(pod: Pod) -> bool:
    return pod.phase not in TERMINAL_PHASES


def _matching(among: Iterable[Lookalikes], selector: LabelSelector) -> Iterator[Lookalikes]:
    return (alike for alike in among if selector.matches(alike.labels))


def matching(among: Mapping[str, Found], namespaces: Iterable[str], selector: LabelSelector) -> Found:
    """Those of some namespaces that a selector would pick, were policies to speak of them."""
    return tuple(alike for namespace in namespaces for alike in _matching(among.get(namespace, ()), selector))


def labels_are_known(namespace: Namespace) -> bool:
    """Whether the labels of a namespace were read, or only its name is known because something lives there."""
    return bool(namespace.source.file) or namespace.labels.keys() != {NAME_LABEL}


def pods_of(found: Iterable[Lookalikes]) -> Iterator[Pod]:
    """The single pods."""
    for alike in found:
        yield from alike.pods


def pod_count(found: Iterable[Lookalikes]) -> int:
    """How many pods."""
    return sum(len(alike.pods) for alike in found)


def names_of(found: Iterable[Lookalikes]) -> str:
    """For people: `shop/web, shop/cart and 4 more`, by workload where there is one."""
    names = sorted({owner_of(pod) for pod in pods_of(found)})
    return listed(names)


def owner_of(pod: Pod) -> str:
    """`shop/web`: the workload of a pod, or the pod itself."""
    return f"{pod.namespace}/{pod.workload.name if pod.workload is not None else pod.name}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`, or `a, b, c and 4 more`."""
    shown = list(names)
    if len(shown) > MOST_NAMES + 1:
        return f"{', '.join(shown[:MOST_NAMES])} and {len(shown) - MOST_NAMES} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def counted(number: int, thing: str) -> str:
    """`1 pod`, `3 pods`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _by_namespace(pods: Iterable[Pod]) -> dict[str, Found]:
    found: dict[tuple[str, frozenset[tuple[str, str]], tuple[ContainerPort, ...]], list[Pod]] = defaultdict(
        list
    )
    for pod in pods:
        found[pod.namespace, frozenset(pod.labels.items()), pod.ports].append(pod)
    grouped: dict[str, list[Lookalikes]] = defaultdict(list)
    for (namespace, _, ports), alike in found.items():
        grouped[namespace].append(Lookalikes(namespace, alike[0].labels, ports, tuple(alike)))
    return {namespace: tuple(alike) for namespace, alike in grouped.items()}
