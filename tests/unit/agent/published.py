"""What an operator publishes for a cluster, as values."""

from collections.abc import Iterator

from controller.engine.group_slices import GroupPacking, slice_spec
from controller.engine.node_policies import PolicyVersion, group_id, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup
from controller.objects.resources import (
    GROUP_LABEL,
    TRIGGER_ANNOTATION,
    Metadata,
    NodePolicy,
    PeerGroupSlice,
    PeerGroupSliceSpec,
    slice_name,
)
from tests.unit.builder import NODE, ClusterBuilder, cluster, labels, pods

SHOP = (
    cluster()
    .pod("shop/db", ip="10.0.0.3", labels={"app": "db"})
    .pod("shop/web", ip="10.0.0.4", labels={"app": "web"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)
"""`db` is isolated and hears the group of `web`."""

MORE_POLICIES = SHOP.policy(
    "shop/web", {"podSelector": labels(app="web"), "ingress": [{"from": [pods(app="cache")]}]}
)
"""`web` is isolated too, and hears the group of `cache`, which is empty."""


def policy(built: ClusterBuilder, trigger: str = "") -> NodePolicy:
    """The NodePolicy of the node."""
    spec = node_policy_spec(Resolver.of(built.build()).share(NODE), lambda _: PolicyVersion("uid", 1))
    annotations = {TRIGGER_ANNOTATION: trigger} if trigger else {}
    return NodePolicy(metadata=Metadata(name=NODE, uid="1", annotations=annotations), spec=spec)


def slices(built: ClusterBuilder, trigger: str = "") -> list[PeerGroupSlice]:
    """The slices of all groups."""
    return [*_slices(built, trigger)]


def group(built: ClusterBuilder, number: int = 0) -> str:
    """The id of one of the groups, in the order of ids."""
    return sorted(map(group_id, Resolver.of(built.build()).groups()))[number]


def new_groups(old: ClusterBuilder, new: ClusterBuilder) -> set[str]:
    """The ids of the groups that came."""
    before, after = ({*map(group_id, Resolver.of(built.build()).groups())} for built in (old, new))
    return after - before


def peer_slice(key: str, spec: PeerGroupSliceSpec, name: str = "", trigger: str = "") -> PeerGroupSlice:
    """One slice, under its right name unless another is given."""
    annotations = {TRIGGER_ANNOTATION: trigger} if trigger else {}
    metadata = Metadata(
        name=name or slice_name(key, spec.index), labels={GROUP_LABEL: key}, annotations=annotations
    )
    return PeerGroupSlice(metadata=metadata, spec=spec)


def _slices(built: ClusterBuilder, trigger: str) -> Iterator[PeerGroupSlice]:
    resolver = Resolver.of(built.build())
    for ref in resolver.groups():
        packing = GroupPacking()
        if isinstance(ref, NamedPortGroup):
            packing.become(resolver.endpoints(ref))
        else:
            packing.become(resolver.members(ref))
        for index in range(packing.count):
            yield peer_slice(group_id(ref), slice_spec(packing, index, "pods"), trigger=trigger)
