"""What a cluster should be, computed from nothing but the API server's objects, and how it differs.

Nothing here was kept from an earlier look: policies, pods, namespaces and nodes are read, resolved from
scratch, and compared with what the operator published and with what the agents say.
"""

from collections.abc import Iterator, Mapping

from controller.cli import live
from controller.engine.enforcement import State, enforcement_of
from controller.engine.node_policies import PolicyVersion, group_id, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView, RulesetId
from controller.kube.client import ApiClient
from controller.kube.resource import PEER_GROUP_SLICES
from controller.objects.assembly import observed_cluster
from controller.objects.kinds import Cluster, Protocol
from controller.objects.resources import (
    GROUP_LABEL,
    ConditionType,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
)

Members = frozenset[str | tuple[str, Protocol, int]]


class Expectation:
    """The cluster as of one look at the API server."""

    def __init__(
        self, cluster: Cluster, node_policies: list[NodePolicy], slices: list[PeerGroupSlice]
    ) -> None:
        self.cluster = cluster
        self.resolver = Resolver.of(cluster)
        self._published = {each.metadata.name: each for each in node_policies}
        self._slices = slices

    @classmethod
    async def read(cls, client: ApiClient) -> "Expectation":
        """Look."""
        cluster = observed_cluster(await live.documents(client)).cluster
        listing = await client.list_all(PEER_GROUP_SLICES, PeerGroupSlice)
        return cls(cluster, await live.node_policies(client), listing.items)

    @property
    def views(self) -> Mapping[str, NodeView]:
        """What the kernel of every node should hold."""
        return {node.name: self.resolver.view(node.name) for node in self.cluster.nodes}

    def differences(self) -> list[str]:
        """What the operator did not publish, or an agent does not report, as it should."""
        return [*self._unenforced(), *self._unpublished(), *self._incomplete_groups()]

    def _unenforced(self) -> Iterator[str]:
        """By the words that `podgate status` has for it."""
        states = enforcement_of(self.resolver, self.cluster.policies, self._published.values())
        for policy in states:
            for node in policy.nodes:
                if node.state is not State.ENFORCED and node.node in self.views:
                    yield f"{policy.namespace}/{policy.name} on {node.node}: {node.state}, {node.reason}"

    def _unpublished(self) -> Iterator[str]:
        nodes = {node.name for node in self.cluster.nodes}
        for name in sorted(self._published.keys() | nodes):
            found = self._published.get(name)
            if found is None or name not in nodes:
                yield f"{name}: {'no NodePolicy' if found is None else 'a NodePolicy, and no such node'}"
                continue
            spec = node_policy_spec(self.resolver.share(name), self._version_of)
            if found.spec != spec:
                yield f"{name}: the NodePolicy is not what the objects say: {_difference(found.spec, spec)}"
            yield from self._unreported(name, found)

    def _unreported(self, name: str, found: NodePolicy) -> Iterator[str]:
        status = found.status
        if status is None or status.observed_digest != found.spec.digest:
            yield f"{name}: the agent does not report this NodePolicy"
            return
        states = {each.type: each for each in status.conditions}
        for kind, wanted in ((ConditionType.READY, "True"), (ConditionType.DEGRADED, "False")):
            if states[kind].status != wanted:
                yield f"{name}: {kind} is {states[kind].status}: {states[kind].message}"

    def _incomplete_groups(self) -> Iterator[str]:
        """Every group that a node needs, put together from slices as they stand."""
        shares = [self.resolver.share(node.name) for node in self.cluster.nodes]
        for group in {group for share in shares for group in share.groups}:
            yield from self._compared(group_id(group), frozenset(self.resolver.members(group)))
        for named in {named for share in shares for named in share.named_ports}:
            yield from self._compared(group_id(named), frozenset(self.resolver.endpoints(named)))

    def _compared(self, group: str, wanted: Members) -> Iterator[str]:
        slices = [each for each in self._slices if each.metadata.labels.get(GROUP_LABEL) == group]
        held: set[str | tuple[str, Protocol, int]] = set()
        for each in slices:
            held.update(each.spec.addresses)
            held.update((end.address, Protocol[end.protocol], end.port) for end in each.spec.endpoints)
        if len(slices) != max((each.spec.count for each in slices), default=-1):
            yield f"group {group}: {len(slices)} slices are there"
        if held != wanted:
            lacking, surplus = (sorted(map(str, each)) for each in (wanted - held, held - wanted))
            yield f"group {group}: lacks {lacking}, holds {surplus}"

    def _version_of(self, ruleset: RulesetId) -> PolicyVersion:
        policy = self.resolver.policy((ruleset.namespace, ruleset.name))
        assert policy is not None
        return PolicyVersion(policy.uid, policy.generation)


def _difference(held: NodePolicySpec, wanted: NodePolicySpec) -> str:
    """The parts of two specs that are not in both."""
    found = []
    for field in ("pods", "rulesets", "groups", "named_port_groups", "addresses", "pod_cidrs"):
        has, needs = {*getattr(held, field)}, {*getattr(wanted, field)}
        found += [f"lacks {each}" for each in needs - has] + [f"holds {each}" for each in has - needs]
    return "; ".join(found) or "in another order"
