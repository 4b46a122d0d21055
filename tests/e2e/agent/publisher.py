"""What an operator would publish for a cluster, put into an API server without one."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from controller.engine.group_slices import GroupPacking, Members, selector_text, slice_spec, write_order
from controller.engine.node_policies import PolicyVersion, group_id, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup, RulesetId
from controller.kube.client import ApiClient
from controller.kube.errors import Conflict, NotFound
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES, Resource
from controller.objects.kinds import Cluster
from controller.objects.resources import (
    GROUP,
    GROUP_LABEL,
    TRIGGER_ANNOTATION,
    VERSION,
    Metadata,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
    PeerGroupSliceSpec,
    slice_name,
)


def definition(plural: str, kind: str) -> dict[str, Any]:
    """A CustomResourceDefinition that lets everything pass: what is malformed must reach the agent."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


DEFINITIONS = (definition("nodepolicies", "NodePolicy"), definition("peergroupslices", "PeerGroupSlice"))


class Publisher:
    """Owns what it wrote. Slices are written before what names them, and removed after it."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self._packings: dict[str, GroupPacking] = {}
        self._policies: dict[str, NodePolicySpec] = {}

    async def publish(self, cluster: Cluster, *, trigger: str = "", hold_back: Iterable[str] = ()) -> None:
        """Bring the API server to what a cluster means; slices of the groups held back are left out."""
        resolver = Resolver.of(cluster)
        kept = frozenset(hold_back)
        groups: dict[str, Members] = {}
        selectors = {group_id(group): selector_text(group) for group in resolver.groups()}
        for group in resolver.groups():
            if isinstance(group, NamedPortGroup):
                groups[group_id(group)] = resolver.endpoints(group)
            else:
                groups[group_id(group)] = resolver.members(group)
        for key, members in groups.items():
            if key not in kept:
                await self._write_group(key, members, selectors[key], trigger)
        for node in resolver.nodes():
            await self.put_policy(node, node_policy_spec(resolver.share(node), version), trigger)
        for key in self._packings.keys() - groups.keys():
            for index in range(self._packings.pop(key).count):
                await self.client.delete(PEER_GROUP_SLICES, slice_name(key, index))

    async def put_policy(
        self, node: str, spec: NodePolicySpec | Mapping[str, Any], trigger: str = ""
    ) -> None:
        """Write one NodePolicy, unless it is there as it is."""
        if self._policies.get(node) != spec:
            metadata = Metadata(name=node, annotations={TRIGGER_ANNOTATION: trigger} if trigger else {})
            body = msgspec.to_builtins(NodePolicy(metadata=metadata, spec=NodePolicySpec(digest="")))
            await self._put(NODE_POLICIES, {**body, "spec": msgspec.to_builtins(spec)})
        if isinstance(spec, NodePolicySpec):
            self._policies[node] = spec
        else:
            self._policies.pop(node, None)

    async def put_slice(self, found: PeerGroupSlice) -> None:
        """Write one slice as it is, right or wrong."""
        await self._put(PEER_GROUP_SLICES, msgspec.to_builtins(found))

    async def forget_policy(self, node: str) -> None:
        """Delete one NodePolicy."""
        self._policies.pop(node, None)
        await self.client.delete(NODE_POLICIES, node)

    async def _write_group(self, key: str, members: Members, selector: str, trigger: str) -> None:
        packing = self._packings.get(key)
        if packing is None:
            packing = self._packings[key] = GroupPacking()
            packing.become(members)
            written = [*range(1, packing.count), 0]
            gone: list[int] = []
        else:
            written, gone = write_order(packing.become(members), packing.count)
        for index in written:
            await self.put_slice(peer_slice(key, slice_spec(packing, index, selector), trigger))
        for index in gone:
            await self.client.delete(PEER_GROUP_SLICES, slice_name(key, index))

    async def _put(self, resource: Resource, content: dict[str, Any]) -> None:
        name = content["metadata"]["name"]
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **content}
        try:
            held = await self.client.get(resource, name, dict)
        except NotFound:
            await self.client.create(resource, body, msgspec.Raw)
            return
        body["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"]
        try:
            await self.client.replace(resource, body, msgspec.Raw)
        except Conflict:  # the agent has reported meanwhile
            await self._put(resource, content)


def peer_slice(key: str, spec: PeerGroupSliceSpec, trigger: str = "") -> PeerGroupSlice:
    """A slice under its right name."""
    annotations = {TRIGGER_ANNOTATION: trigger} if trigger else {}
    labels = {GROUP_LABEL: key}
    return PeerGroupSlice(
        metadata=Metadata(name=slice_name(key, spec.index), labels=labels, annotations=annotations), spec=spec
    )


def version(_: RulesetId) -> PolicyVersion:
    """Every policy is of the first edition."""
    return PolicyVersion("uid", 1)
