"""What the checks ask of a cluster, each question answered once.

Pods of one namespace with the same labels and named ports are alike to every policy, so checks look at
`Lookalikes`, of which there are as many as workloads, and never at single pods. Selections are remembered by
selector: the cost of all checks is O(pods + distinct selectors x lookalikes of the namespaces they look in).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from operator import itemgetter

from controller.engine.blocks import block_addresses
from controller.engine.evaluate import Evaluator
from controller.engine.lint.coverage import fixed_pairs, pod_selector
from controller.engine.lint.lookalikes import Found, Lookalikes, by_namespace, grouped, pods_of
from controller.objects.addresses import parse_address
from controller.objects.kinds import (
    TERMINAL_PHASES,
    Cluster,
    Direction,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
)
from controller.objects.labels import NAME_LABEL, LabelSelector


class Context:
    """A cluster, indexed for the checks. Building it is O(pods + policies)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.policies = cluster.policies
        live = [pod for pod in cluster.pods if pod.is_policed and not pod.quarantined]
        self.live = by_namespace(live)
        self.on_host = by_namespace(pod for pod in cluster.pods if pod.host_network and _runs(pod))
        self.finished = by_namespace(pod for pod in cluster.pods if not _runs(pod))
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
    def policies_of(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
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
            candidates = self._candidates(namespace, selector)
            self._selected[key] = tuple(alike for alike in candidates if selector.matches(alike.labels))
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


def labels_are_known(namespace: Namespace) -> bool:
    """Whether the labels of a namespace were read; else only its name is known, as something lives there."""
    return bool(namespace.source.file) or namespace.labels.keys() != {NAME_LABEL}
