"""Is a policy in force, and where not, why: what the agents report against what should be.

Pure: it compares what the engine computes from policies and pods with the NodePolicies as they stand, so that
an operator that is stuck shows as well as an agent that is. Nothing that was merely sent counts as enforced.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

from msgspec import Struct

from controller.engine.node_policies import PolicyVersion, left_out, node_policy_spec, ruleset_key
from controller.engine.reports import silence_of
from controller.engine.resolve import Resolver
from controller.engine.rulesets import LocalPod, NodeView
from controller.engine.translate import ruleset_id
from controller.objects.kinds import Mode, NetworkPolicy
from controller.objects.resources import ConditionType, NodePod, NodePolicy, NodePolicyStatus


class State(StrEnum):
    """How far a node is with a policy; the worst of its nodes is a policy's."""

    ENFORCED = "enforced"
    STALE = "stale"
    PENDING = "pending"
    DEGRADED = "degraded"


_Told = tuple[str, str, bool]
"""A ruleset, an address that it is for, and whether it is only audited there."""
_ANY_VERSION = PolicyVersion("0" * 36, 1)
_SEVERITY = [State.ENFORCED, State.STALE, State.PENDING, State.DEGRADED]


class NodeState(Struct, frozen=True):
    """One node that has pods of the policy: how far it is, and why it is not further."""

    node: str
    state: State
    pods: int
    reason: str = ""


class PolicyState(Struct, frozen=True):
    """A policy on every node that has live pods it selects, sorted by name.

    In audit mode: on every node that has pods it audits. Where others are enforced it has no pods.
    """

    namespace: str
    name: str
    nodes: tuple[NodeState, ...] = ()
    mode: Mode = Mode.ENFORCE

    @property
    def state(self) -> State:
        """The worst of its nodes; a policy that selects nothing is in force everywhere."""
        return max((node.state for node in self.nodes), key=_SEVERITY.index, default=State.ENFORCED)

    @property
    def enforced(self) -> int:
        """On how many nodes it is in force; a stale node goes on enforcing what it was told last."""
        return sum(node.state in {State.ENFORCED, State.STALE} for node in self.nodes)

    @property
    def pods(self) -> int:
        """How many live pods it selects."""
        return sum(node.pods for node in self.nodes)


def enforcement_of(
    resolver: Resolver,
    policies: Iterable[NetworkPolicy],
    node_policies: Iterable[NodePolicy],
    agents: Mapping[str, str] = MappingProxyType({}),
) -> list[PolicyState]:
    """The state of some policies of the cluster, in their order.

    `agents`: see `reports.agents_of`; without any, what was reported last is taken for what is. O(nodes x
    their pods + policies x their nodes).
    """
    published = {each.metadata.name: each for each in node_policies}
    nodes = [
        _Node(resolver.share(name), published.get(name), silence_of(name, agents))
        for name in resolver.nodes()
    ]
    return [
        PolicyState(*policy.key, tuple(_node_states(policy, nodes)), resolver.mode_of(policy))
        for policy in policies
    ]


class _Node:
    """What a node should enforce, and what it was told and says."""

    def __init__(self, share: NodeView, published: NodePolicy | None, silence: str) -> None:
        self.name = share.node
        self.silence = silence
        self._share = share
        self.published = published
        self.pods: dict[str, list[LocalPod]] = {}
        for pod in share.pods:
            for ruleset in pod.rulesets:
                self.pods.setdefault(ruleset_key(ruleset), []).append(pod)
        spec = None if published is None else published.spec
        self.rulesets = {} if spec is None else {each.id: each for each in spec.rulesets}
        self.told: Mapping[tuple[str, str], frozenset[_Told]] = (
            {} if spec is None else {(pod.namespace, pod.name): frozenset(_told(pod)) for pod in spec.pods}
        )

    @cached_property
    def without_room(self) -> frozenset[str]:
        """The rulesets that are too large to be written beside the others."""
        spec = node_policy_spec(self._share, lambda _: _ANY_VERSION)
        return frozenset(map(ruleset_key, left_out(self._share, spec)))


def _node_states(policy: NetworkPolicy, nodes: Iterable[_Node]) -> Iterable[NodeState]:
    keys = [ruleset_key(ruleset_id(policy, direction)) for direction in sorted(set(policy.directions))]
    for node in nodes:
        pods = {(pod.namespace, pod.name): pod for key in keys for pod in node.pods.get(key, ())}
        if pods:
            where = node.name or "(no node)"
            state, reason = _judge(policy, keys, node, pods.values())
            yield NodeState(where, state, len(pods), reason)


def _judge(
    policy: NetworkPolicy, keys: list[str], node: _Node, pods: Iterable[LocalPod]
) -> tuple[State, str]:
    if not node.name:
        return State.PENDING, "its pods are not scheduled yet"
    if node.published is None:
        return State.PENDING, "the operator has not written the NodePolicy of this node"
    if not all(_is_current(policy, key, node) for key in keys):
        if not node.without_room.isdisjoint(keys):
            return (
                State.DEGRADED,
                "too large beside the other policies of this node: left out, its pods isolated",
            )
        return State.PENDING, "the operator has not written this version of the policy"
    lacking = [pod for pod in pods if not _is_told(pod, keys, node)]
    if lacking:
        return State.PENDING, f"the operator has not written pod {lacking[0].namespace}/{lacking[0].name}"
    state, reason = _reported(node.published.spec.digest, node.published.status)
    return (State.STALE, node.silence) if state is State.ENFORCED and node.silence else (state, reason)


def _is_current(policy: NetworkPolicy, key: str, node: _Node) -> bool:
    ruleset = node.rulesets.get(key)
    return ruleset is not None and ruleset.uid == policy.uid and ruleset.generation >= policy.generation


def _is_told(pod: LocalPod, keys: list[str], node: _Node) -> bool:
    wanted = {
        (key, ip, pod.audits(ruleset))
        for ruleset in pod.rulesets
        if (key := ruleset_key(ruleset)) in keys
        for ip in pod.ips
    }
    return (pod.namespace, pod.name) in node.told and wanted <= node.told[pod.namespace, pod.name]


def _told(pod: NodePod) -> Iterable[_Told]:
    return ((key, ip, key.rpartition("/")[2] in pod.audited) for key in pod.rulesets for ip in pod.ips)


def _reported(digest: str, status: NodePolicyStatus | None) -> tuple[State, str]:
    if status is None or not status.observed_digest:
        return State.PENDING, "no agent has reported from this node"
    conditions = {each.type: each for each in status.conditions if each.status == "True"}
    degraded = conditions.get(ConditionType.DEGRADED)
    if degraded is not None:
        return State.DEGRADED, degraded.message or degraded.reason
    if status.observed_digest != digest:
        return State.PENDING, "the agent has not applied the newest NodePolicy"
    if status.pods_pending:
        return State.PENDING, f"{status.pods_pending} pods of the node wait for peer groups"
    stale = conditions.get(ConditionType.STALE)
    if stale is not None:
        return State.STALE, stale.message or stale.reason
    return State.ENFORCED, ""
