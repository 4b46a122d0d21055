"""Policies x inventory -> peer groups, rulesets and isolation, kept up to date change by change.

`Resolver` takes the objects of the cluster one by one, in any order, and at any moment answers what a node
must enforce. A change touches what depends on it and nothing else (pod -> label set -> groups; policy ->
groups -> label sets): its cost does not depend on the number of pods, policies or nodes. What changed is
collected in `Changes`.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from controller.engine.changes import ChangeLog, Changes, GroupRef, PodKey
from controller.engine.inventory import Inventory, LabelSet, LivePod, NamespaceEntry
from controller.engine.local_pods import local_pod, quarantined_pod
from controller.engine.membership import Membership
from controller.engine.rulesets import (
    Endpoint,
    LocalPod,
    NamedPortGroup,
    NodeView,
    PodGroup,
    PolicyRuleset,
    RulesetId,
)
from controller.engine.translate import groups_of, ruleset_id, rulesets_of
from controller.objects.kinds import (
    Cluster,
    Mode,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
)


class Resolver:
    """The state of the engine for one cluster: owns the inventory, the rulesets and the peer groups.

    Memory: O(pods + label sets x their groups + rules). Every method says what it costs beyond the objects it
    is given. `mode` is that of policies which neither say it themselves nor by their namespace.
    """

    def __init__(self, mode: Mode = Mode.ENFORCE) -> None:
        self.mode = mode
        self.inventory = Inventory()
        self.rulesets: dict[RulesetId, PolicyRuleset] = {}
        self._policies: dict[PodKey, NetworkPolicy] = {}
        self._nodes: dict[str, Node] = {}
        self._log = ChangeLog()
        self._membership = Membership(self.inventory, self._log)

    @classmethod
    def of(cls, cluster: Cluster) -> "Resolver":
        """The state after every object of a cluster.

        O(label sets x selectors that could match them, + members).
        """
        resolver = cls(cluster.mode)
        resolver._log.recording = False  # all of it is new: a list of it would only cost memory
        for node in cluster.nodes:
            resolver.put_node(node)
        for namespace in cluster.namespaces:
            resolver.put_namespace(namespace)
        for policy in cluster.policies:
            resolver.put_policy(policy)
        for pod in cluster.pods:
            resolver.put_pod(pod)
        resolver._log.take()
        resolver._log.recording = True
        return resolver

    def take_changes(self) -> Changes:
        """The changes since the last call."""
        return self._log.take()

    # Pods

    def put_pod(self, pod: Pod) -> None:
        """Add a pod or replace the one of its name. O(groups it enters or leaves)."""
        old = self.inventory.pods.get(pod.key)
        if not pod.is_policed:  # rules 2.42, 2.43, 2.54
            if old is not None:
                self._remove_live(old)
            return
        label_set = None if pod.quarantined else self._label_set(pod)
        if old is not None:
            if old.label_set is label_set and (old.ips, old.node, old.ports) == (
                pod.ips,
                pod.node,
                pod.ports,
            ):
                return
            self._remove_live(old)
            label_set = None if pod.quarantined else self._label_set(pod)
        self._add_live(LivePod(pod, label_set))

    def remove_pod(self, key: PodKey) -> None:
        """Forget a pod; one that is not known is no error. O(groups it leaves)."""
        live = self.inventory.pods.get(key)
        if live is not None:
            self._remove_live(live)

    def _add_live(self, live: LivePod) -> None:
        self._touch((live,))
        if live.label_set is not None:
            self._membership.announce_pod(live, live.label_set, present=True)
        self.inventory.add(live)

    def _remove_live(self, live: LivePod) -> None:
        self._touch((live,))
        self.inventory.remove(live)
        label_set = live.label_set
        if label_set is None:
            return
        self._membership.announce_pod(live, label_set, present=False)
        if not label_set.pods:
            del label_set.namespace.label_sets[label_set.pairs]
            self._membership.forget(label_set)
            self.inventory.forget_if_unused(label_set.namespace)

    def _touch(self, pods: Iterable[LivePod]) -> None:
        if self._log.recording:
            for live in pods:
                self._log.changes.pods.add(live.key)
                self._log.changes.nodes.add(live.node)

    def _label_set(self, pod: Pod) -> LabelSet:
        namespace = self.inventory.namespace(pod.namespace)
        pairs = frozenset(pod.labels.items())
        label_set = namespace.label_sets.get(pairs)
        if label_set is None:
            label_set = namespace.label_sets[pairs] = LabelSet(namespace, pairs, dict(pod.labels))
            self._membership.join_all(label_set)
            for key in namespace.policies.matching(label_set.labels):
                label_set.policies[key] = self._policies[key]
        return label_set

    # Namespaces

    def put_namespace(self, namespace: Namespace) -> None:
        """Add or relabel a namespace (rules 2.17, 2.58), or change its mode.

        O(its label sets x groups of the selectors that changed their mind), + pods of its policies.
        """
        entry = self.inventory.namespace(namespace.name)
        self._set_mode(entry, namespace.mode)
        if entry.labels is None:
            entry.labels = dict(namespace.labels)
            self._membership.open(entry)
        entry.labels = dict(namespace.labels)
        self._membership.relabel(entry)

    def remove_namespace(self, name: str) -> None:
        """The namespace is gone: its pods are peers of nobody from now on (rule 2.58).

        O(its label sets x their groups).
        """
        entry = self.inventory.namespaces.get(name)
        if entry is None or entry.labels is None:
            return
        self._set_mode(entry, None)
        self._membership.close(entry)
        entry.labels = None
        self.inventory.forget_if_unused(entry)

    def _set_mode(self, entry: NamespaceEntry, mode: Mode | None) -> None:
        """What the namespace says counts for those of its policies that say nothing."""
        before, entry.mode = entry.mode, mode
        if before is mode:
            return
        self._touch_quarantined(entry)
        if (before or self.mode) is (mode or self.mode):
            return
        for label_set in entry.label_sets.values():
            if any(policy.mode is None for policy in label_set.policies.values()):
                self._touch(label_set.pods.values())

    # Policies

    def put_policy(self, policy: NetworkPolicy) -> None:
        """Add or replace a policy.

        O(label sets its selectors are tried on + members of groups that are new).
        """
        old = self._policies.get(policy.key)
        if old is not None and _same_meaning(old, policy):
            if _edition(old) != _edition(policy):
                self._renew(policy)
            return
        rulesets = rulesets_of(policy)
        for ruleset in rulesets:  # before the old ones are let go: a group of both stays as it is
            self._membership.acquire(ruleset)
        if old is not None:
            self._drop(old)
        self._policies[policy.key] = policy
        for ruleset in rulesets:
            self.rulesets[ruleset.id] = ruleset
            self._log.changes.rulesets.add(ruleset.id)
        namespace = self.inventory.namespace(policy.namespace)
        self._note_mode(namespace, policy, present=True)
        namespace.policies.add(policy.pod_selector, policy.key)
        for label_set in namespace.label_sets.values():
            if policy.pod_selector.matches(label_set.labels):
                label_set.policies[policy.key] = policy
                self._touch(label_set.pods.values())

    def _renew(self, policy: NetworkPolicy) -> None:
        """The same rules in another edition or another mode: nothing is resolved anew, only told."""
        if self._policies[policy.key].findings != policy.findings:  # to be told even where it selects no pods
            self._log.changes.rulesets.update(
                ruleset_id(policy, direction) for direction in policy.directions
            )
        self._policies[policy.key] = policy
        namespace = self.inventory.namespace(policy.namespace)
        self._note_mode(namespace, policy, present=True)
        for label_set in namespace.label_sets.values():
            if policy.key in label_set.policies:
                label_set.policies[policy.key] = policy
                self._touch(label_set.pods.values())

    def _note_mode(self, entry: NamespaceEntry, policy: NetworkPolicy, *, present: bool) -> None:
        """A quarantined pod cares whether some policy of its namespace says that it is enforced."""
        had = bool(entry.enforcing)
        if present and policy.mode is Mode.ENFORCE:
            entry.enforcing.add(policy.key)
        else:
            entry.enforcing.discard(policy.key)
        if had is not bool(entry.enforcing):
            self._touch_quarantined(entry)

    def _touch_quarantined(self, entry: NamespaceEntry) -> None:
        """O(quarantined pods), where their isolation depends on modes at all."""
        if self.mode is Mode.AUDIT:
            self._touch([live for live in self.inventory.quarantined.values() if live.key[0] == entry.name])

    def policy(self, key: PodKey) -> NetworkPolicy | None:
        """The policy of a namespace and name, if there is one."""
        return self._policies.get(key)

    def mode_of(self, policy: NetworkPolicy) -> Mode:
        """The mode a policy is in: its own word, its namespace's, that of the cluster."""
        entry = self.inventory.namespaces.get(policy.namespace)
        return policy.mode or (entry.mode if entry is not None else None) or self.mode

    def policies(self) -> Iterable[NetworkPolicy]:
        """Every policy, in no order."""
        return self._policies.values()

    def remove_policy(self, key: PodKey) -> None:
        """Forget a policy; one that is not known is no error.

        O(label sets it selects + members of groups only it used).
        """
        policy = self._policies.get(key)
        if policy is not None:
            self._drop(policy)

    def _drop(self, policy: NetworkPolicy) -> None:
        del self._policies[policy.key]
        namespace = self.inventory.namespaces[policy.namespace]
        namespace.policies.remove(policy.pod_selector, policy.key)
        self._note_mode(namespace, policy, present=False)
        for label_set in namespace.label_sets.values():
            if label_set.policies.pop(policy.key, None) is not None:
                self._touch(label_set.pods.values())
        for direction in sorted(set(policy.directions)):
            ruleset = self.rulesets.pop(ruleset_id(policy, direction))
            self._log.changes.rulesets.add(ruleset.id)
            self._membership.release(ruleset)
        self.inventory.forget_if_unused(namespace)

    # Nodes and results

    def put_node(self, node: Node) -> None:
        """Add or replace a node. O(1)."""
        if self._nodes.get(node.name) != node:
            self._nodes[node.name] = node
            self._log.changes.nodes.add(node.name)

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods stay until they are removed themselves. O(1)."""
        if self._nodes.pop(name, None) is not None:
            self._log.changes.nodes.add(name)

    def nodes(self) -> tuple[str, ...]:
        """Every node that is known or has a live pod, sorted; "" are the pods without one."""
        return tuple(sorted({*self._nodes, *self.inventory.nodes()}))

    def has_node(self, name: str) -> bool:
        """Whether a node is known or has a live pod. O(1)."""
        return name in self._nodes or self.inventory.has_node(name)

    def groups(self) -> tuple[GroupRef, ...]:
        """Every group that some ruleset references."""
        return self._membership.groups()

    def members(self, group: PodGroup) -> frozenset[str]:
        """The addresses of a group's live pods, both families. O(members).

        Raises KeyError for a group nobody references.
        """
        return self._membership.members(group)

    def endpoints(self, named: NamedPortGroup) -> frozenset[Endpoint]:
        """The (address, protocol, port) of a named-port group. O(members).

        Raises KeyError for a group nobody references.
        """
        return self._membership.endpoints(named)

    def view(self, node: str) -> NodeView:
        """All that a node must enforce. O(its pods + members of the groups it references)."""
        share = self.share(node)
        return replace(
            share,
            groups={ref: self.members(ref) for ref in share.groups},
            named_ports={ref: self.endpoints(ref) for ref in share.named_ports},
        )

    def share(self, node: str) -> NodeView:
        """What `view` says, but with every group empty. O(its pods x their policies)."""
        pods = tuple(sorted(self._local_pod(live) for live in self.inventory.on_node(node)))
        ids = sorted({ruleset for pod in pods for ruleset in pod.rulesets})
        rulesets = {ruleset: self.rulesets[ruleset] for ruleset in ids}
        refs = sorted({ref for ruleset in rulesets.values() for ref in groups_of(ruleset)}, key=_order)
        return NodeView(
            node=node,
            pods=tuple(pod for pod in pods if pod.isolated or pod.audited or pod.rulesets),
            rulesets=rulesets,
            groups={ref: frozenset() for ref in refs if isinstance(ref, PodGroup)},
            named_ports={ref: frozenset() for ref in refs if isinstance(ref, NamedPortGroup)},
            known=tuple(sorted({address for pod in pods for address in pod.ips})),
            pod_cidrs=self._nodes[node].pod_cidrs if node in self._nodes else (),
            mode=self.mode,
        )

    def _local_pod(self, live: LivePod) -> LocalPod:
        if live.label_set is None:
            return quarantined_pod(live, is_shut=self.is_shut(live.key[0]))
        return local_pod(live, live.label_set, self.rulesets, self.mode)

    def is_shut(self, namespace: str) -> bool:
        """Whether quarantined pods of a namespace are isolated, as nobody knows what policies select them.

        Only in a cluster of which all is in audit mode they are not, unless one of theirs may be enforced.
        """
        if self.mode is Mode.ENFORCE:
            return True
        entry = self.inventory.namespaces.get(namespace)
        return entry is not None and (entry.mode is Mode.ENFORCE or bool(entry.enforcing))


def _same_meaning(old: NetworkPolicy, new: NetworkPolicy) -> bool:
    return (old.pod_selector, set(old.directions), old.ingress, old.egress) == (
        new.pod_selector, set(new.directions), new.ingress, new.egress
    )  # fmt: skip


def _edition(policy: NetworkPolicy) -> object:
    """What else is told of a policy. Its annotations have no generation: the mode may change alone."""
    return policy.uid, policy.generation, policy.mode, policy.findings


def _order(ref: GroupRef) -> tuple[bool, PodGroup, str, int]:
    if isinstance(ref, NamedPortGroup):
        return True, ref.pods, ref.name, ref.protocol
    return False, ref, "", 0
