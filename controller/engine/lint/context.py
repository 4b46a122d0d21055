"""What the checks ask of a cluster, each question answered once.

Pods of one namespace with the same labels and named ports are alike to every policy, so checks look at
`Lookalikes`, of which there are as many as workloads, and never at single pods. Selections are remembered by
selector: the cost of all checks is O(pods + distinct selectors x lookalikes of the namespaces they look in).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from operator import itemgetter

from msgspec import Struct

from controller.engine.changes import PodKey
from controller.engine.evaluate import Evaluator
from controller.engine.lint.coverage import NAME_LABEL, block_addresses, fixed_pairs, pod_selector
from controller.objects.addresses import parse_address
from controller.objects.kinds import (
    TERMINAL_PHASES,
    Cluster,
    ContainerPort,
    Direction,
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

    def applying(self, alike: Lookalikes, direction: Direction) -> tuple[NetworkPolicy, ...]:
        """The policies that isolate these pods in a direction (rule 2.7)."""
        return tuple(policy for policy in self._applying.get(alike, ()) if direction in policy.directions)

    @cached_property
    def _applying(self) -> Mapping[Lookalikes, list[NetworkPolicy]]:
        found: dict[Lookalikes, list[NetworkPolicy]] = defaultdict(list)
        for policy in self.policies:
            for alike in self.subjects(policy):
                found[alike].append(policy)
        return found

    def is_selected(self, alike: Lookalikes) -> bool:
        """Whether any policy selects these pods."""
        return alike in self._applying

    def selected(self, namespace: str, selector: LabelSelector) -> Found:
        """The live pods of a namespace that a selector picks."""
        key = (namespace, selector)
        if key not in self._selected:
            self._selected[key] = tuple(_matching(self._candidates(namespace, selector), selector))
        return self._selected[key]

    def _candidates(self, namespace: str, selector: LabelSelector) -> Iterable[Lookalikes]:
        """Those with a label that the selector demands, instead of all of the namespace."""
        pair = next(fixed_pairs(selector), None)
        return self.live.get(namespace, ()) if pair is None else self._by_label[namespace].get(pair, ())

    @cached_property
    def _by_label(self) -> Mapping[str, Mapping[tuple[str, str], list[Lookalikes]]]:
        found: dict[str, dict[tuple[str, str], list[Lookalikes]]] = defaultdict(lambda: defaultdict(list))
        for alike in self.every_live:
            for pair in alike.labels.items():
                found[alike.namespace][pair].append(alike)
        return found

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
        """The live pods with an address in a block, and of each lot only those (rule 2.19).

        O(log pods + pods inside), once for each block.
        """
        if block not in self._inside:
            values, pods = self._addresses[block.cidr.family]
            self._inside[block] = grouped(
                pod
                for first, last in block_addresses(block)
                for pod in pods[bisect_left(values, first) : bisect_right(values, last)]
            )
        return self._inside[block]

    @cached_property
    def _addresses(self) -> Mapping[int, tuple[list[int], list[Pod]]]:
        """By family: the addresses of live pods in ascending order, and the pod at each."""
        found: dict[int, list[tuple[int, Pod]]] = {4: [], 6: []}
        for pod in pods_of(self.every_live):
            for text in pod.ips:
                family, value = parse_address(text)
                found[family].append((value, pod))
        for pairs in found.values():
            pairs.sort(key=itemgetter(0))
        return {
            family: ([value for value, _ in pairs], [pod for _, pod in pairs])
            for family, pairs in found.items()
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
    """Whether the labels of a namespace were read; else only its name is known, as something lives there."""
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


def _by_namespace(pods: Iterable[Pod]) -> dict[str, Found]:
    found: dict[str, list[Lookalikes]] = defaultdict(list)
    for alike in grouped(pods):
        found[alike.namespace].append(alike)
    return {namespace: tuple(lots) for namespace, lots in found.items()}
