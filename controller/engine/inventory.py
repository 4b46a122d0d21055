"""The live pods and namespaces, indexed by what policies ask of them.

Pods are many, label sets are few: all pods of a Deployment share one `LabelSet`, and only label sets are ever
matched against selectors. A pod that comes or goes therefore costs what its label set already knows. Memory
per pod is one small object; labels are shared, and ports and node names as they were read.
"""

from collections.abc import Iterator, Mapping

from controller.engine.changes import PodKey
from controller.engine.rulesets import NamedPortGroup, PodGroup
from controller.engine.selectors import SelectorIndex
from controller.objects.kinds import Mode, NetworkPolicy, Pod
from controller.objects.labels import LabelSelector

LabelPairs = frozenset[tuple[str, str]]


class LivePod:
    """A pod that policies speak of.

    `label_set` is None for a quarantined one: a peer of nobody, isolated whatever policies select.
    """

    __slots__ = ("ips", "key", "label_set", "node", "ports")

    def __init__(self, pod: Pod, label_set: "LabelSet | None") -> None:
        self.key = pod.key
        self.ips = pod.ips
        self.node = pod.node
        self.ports = pod.ports
        self.label_set = label_set


class LabelSet:
    """The pods of one namespace with the same labels, their groups, and the policies that select them.

    Owned by its `NamespaceEntry`; `groups` is kept by `Membership`, `policies` by `Resolver`.
    """

    __slots__ = ("groups", "labels", "namespace", "pairs", "pods", "policies")

    def __init__(self, namespace: "NamespaceEntry", pairs: LabelPairs, labels: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.pairs = pairs
        self.labels = labels
        self.pods: dict[PodKey, LivePod] = {}
        self.groups: dict[GroupEntry, None] = {}
        self.policies: dict[PodKey, NetworkPolicy] = {}


class NamespaceEntry:
    """A namespace that exists, or that something lives in already.

    `labels` is None until it exists (rule 2.58). `mode` is what it says of its policies, `enforcing` those of
    them that say themselves that they are enforced.
    """

    __slots__ = ("enforcing", "groups", "label_sets", "labels", "mode", "name", "policies", "selectors")

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: Mapping[str, str] | None = None
        self.mode: Mode | None = None
        self.enforcing: set[PodKey] = set()
        self.label_sets: dict[LabelPairs, LabelSet] = {}
        self.policies: SelectorIndex[PodKey] = SelectorIndex()
        self.groups: SelectorIndex[GroupEntry] = SelectorIndex()
        self.selectors: dict[NamespaceSelectorEntry, None] = {}

    def groups_matching(self, labels: Mapping[str, str]) -> Iterator["GroupEntry"]:
        """Every group whose selectors pick pods with these labels here.

        O(groups that could match, see SelectorIndex).
        """
        if self.labels is None:
            return
        yield from self.groups.matching(labels)
        for selector in self.selectors:
            yield from selector.groups.matching(labels)


class NamespaceSelectorEntry:
    """A namespaceSelector in use: the namespaces it matches, the groups built on it by their podSelector."""

    __slots__ = ("groups", "namespaces", "selector", "users")

    def __init__(self, selector: LabelSelector) -> None:
        self.selector = selector
        self.namespaces: dict[NamespaceEntry, None] = {}
        self.groups: SelectorIndex[GroupEntry] = SelectorIndex()
        self.users = 0


class GroupEntry:
    """A peer group in use: the label sets it picks, and the ports its users ask for by name.

    `users` counts rulesets' references.
    """

    __slots__ = ("group", "label_sets", "named", "users")

    def __init__(self, group: PodGroup) -> None:
        self.group = group
        self.label_sets: dict[LabelSet, None] = {}
        self.named: dict[NamedPortGroup, int] = {}
        self.users = 0

    def pods(self) -> Iterator[LivePod]:
        """Every live pod of the group. O(members)."""
        for label_set in self.label_sets:
            yield from label_set.pods.values()


class Inventory:
    """Owns the entries.

    It adds, finds and forgets them; what they mean to each other is the business of `Resolver` and
    `Membership`.
    """

    def __init__(self) -> None:
        self.pods: dict[PodKey, LivePod] = {}
        self.quarantined: dict[PodKey, LivePod] = {}
        self.namespaces: dict[str, NamespaceEntry] = {}
        self._by_address: dict[str, LivePod | tuple[LivePod, ...]] = {}
        self._by_node: dict[str, dict[PodKey, LivePod]] = {}

    def namespace(self, name: str) -> NamespaceEntry:
        """The entry of a namespace, made when first heard of."""
        entry = self.namespaces.get(name)
        if entry is None:
            entry = self.namespaces[name] = NamespaceEntry(name)
        return entry

    def forget_if_unused(self, entry: NamespaceEntry) -> None:
        """Forget a namespace that does not exist, and in which nothing lives. O(1)."""
        if entry.labels is None and not (entry.label_sets or entry.policies or entry.groups):
            self.namespaces.pop(entry.name, None)

    def add(self, live: LivePod) -> None:
        """Enter a live pod. O(addresses)."""
        self.pods[live.key] = live
        self._by_node.setdefault(live.node, {})[live.key] = live
        if live.label_set is not None:
            live.label_set.pods[live.key] = live
        else:
            self.quarantined[live.key] = live
        for address in live.ips:
            self._by_address[address] = (*self.at(address), live) if address in self._by_address else live

    def remove(self, live: LivePod) -> None:
        """Forget a live pod. O(addresses)."""
        del self.pods[live.key]
        del self._by_node[live.node][live.key]
        if not self._by_node[live.node]:
            del self._by_node[live.node]
        if live.label_set is not None:
            del live.label_set.pods[live.key]
        else:
            del self.quarantined[live.key]
        for address in live.ips:
            others = tuple(other for other in self.at(address) if other is not live)
            if len(others) > 1:
                self._by_address[address] = others
            elif others:
                self._by_address[address] = others[0]
            else:
                del self._by_address[address]

    def at(self, address: str) -> tuple[LivePod, ...]:
        """The live pods with an address; more than one only while an address changes hands (rule 2.56)."""
        found = self._by_address.get(address, ())
        return found if isinstance(found, tuple) else (found,)

    def on_node(self, node: str) -> Iterator[LivePod]:
        """The live pods of a node."""
        return iter(self._by_node.get(node, {}).values())

    def has_node(self, node: str) -> bool:
        """Whether a node has a live pod."""
        return node in self._by_node

    def nodes(self) -> Iterator[str]:
        """Every node that has a live pod."""
        return iter(self._by_node)
