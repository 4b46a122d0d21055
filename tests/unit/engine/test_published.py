"""What stands in the API server against what the policies say."""

from functools import partial

import pytest
from msgspec.structs import replace

from controller.engine.group_slices import GroupPacking, selector_text, slice_spec
from controller.engine.node_policies import PolicyVersion, group_id, node_policy_spec, spec_digest
from controller.engine.published import Fault, Published, compare
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup, RulesetId
from controller.objects.resources import (
    GROUP_LABEL,
    Metadata,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
    slice_name,
)
from tests.unit.builder import cluster, labels, pods

RULES = {
    "podSelector": labels(app="db"),
    "ingress": [{"from": [pods(app="web")], "ports": [{"port": "sql"}]}],
}
BUILT = (
    cluster()
    .node("node-1", "192.0.2.1", pods=["10.0.0.0/24"])
    .pod("shop/db", ip="10.0.0.3", labels={"app": "db"}, ports=["sql:5432"])
    .pod("shop/web", ip="10.0.0.4", labels={"app": "web"})
    .policy("shop/db", RULES)
)
RESOLVER = Resolver.of(BUILT.build())


def version_of(resolver: Resolver, ruleset: RulesetId) -> PolicyVersion:
    policy = resolver.policy((ruleset.namespace, ruleset.name))
    assert policy is not None
    return PolicyVersion(policy.uid, policy.generation)


def published(resolver: Resolver = RESOLVER) -> Published:
    """What an operator without fault writes."""
    found = []
    for ref in resolver.groups():
        packing = GroupPacking()
        packing.become(resolver.endpoints(ref) if isinstance(ref, NamedPortGroup) else resolver.members(ref))
        for index in range(packing.count):
            name = slice_name(group_id(ref), index)
            metadata = Metadata(name, labels={GROUP_LABEL: group_id(ref)})
            found.append(
                PeerGroupSlice(metadata=metadata, spec=slice_spec(packing, index, selector_text(ref)))
            )
    policies = [
        NodePolicy(
            metadata=Metadata(node),
            spec=node_policy_spec(resolver.share(node), partial(version_of, resolver)),
        )
        for node in resolver.nodes()
        if node
    ]
    return Published(tuple(policies), tuple(found))


def with_spec(**changes: object) -> Published:
    """The NodePolicy edited by somebody who also mends the digest."""
    good = published()
    (policy,) = good.node_policies
    spec = replace(policy.spec, **changes)
    spec = replace(spec, digest=spec_digest(spec))
    return replace(good, node_policies=(replace(policy, spec=spec),))


def spec() -> NodePolicySpec:
    return published().node_policies[0].spec


def faults(found: Published, only: tuple[str, ...] = ()) -> list[str]:
    return [str(fault) for fault in compare(RESOLVER, found, only).faults]


def test_what_the_operator_writes_is_as_it_should_be() -> None:
    found = compare(RESOLVER, published())

    assert (found.faults, found.nodes, found.unused) == ([], 1, 0)


def test_a_missing_node_policy_is_named() -> None:
    assert faults(replace(published(), node_policies=())) == [
        "NodePolicy node-1 is missing: the operator has not written it"
    ]


def test_a_node_policy_of_no_node_is_named() -> None:
    good = published()
    stray = NodePolicy(metadata=Metadata("node-9"), spec=NodePolicySpec(digest=""))

    found = faults(replace(good, node_policies=(*good.node_policies, stray)))

    assert found == ["NodePolicy node-9 should not be there: no such node, and no pod on it"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pods": ()}, "lacks pod shop/db"),
        ({"rulesets": ()}, "lacks ruleset shop/db/Ingress"),
        ({"addresses": ("10.0.0.3", "10.0.0.4", "10.9.9.9")}, "holds address 10.9.9.9 and should not"),
        ({"pod_cidrs": ()}, "lacks pod CIDR 10.0.0.0/24"),
        (
            {"pods": (replace(spec().pods[0], audited=("Egress",)),)},
            "pod shop/db: its audited directions are Egress and should be none",
        ),
        ({"mode": "audit"}, "says that the mode is audit, and the other nodes' is enforce"),
        ({"requires": ("tiers",)}, "requires ['tiers'] and should require []"),
        (
            {"pods": (replace(spec().pods[0], isolated=()),)},
            "pod shop/db: its isolation are none and should be Ingress",
        ),
        (
            {"rulesets": (replace(spec().rulesets[0], generation=99),)},
            "ruleset shop/db/Ingress: of generation 99 of the policy, which is at 0",
        ),
        (
            {
                "rulesets": (
                    replace(
                        spec().rulesets[0],
                        rules=(replace(spec().rulesets[0].rules[0], any_peer=True, groups=()),),
                    ),
                )
            },
            "ruleset shop/db/Ingress: differs at spec.ingress[0]",
        ),
        ({"addresses": ("10.0.0.4", "10.0.0.3")}, "holds the right parts in another order"),
    ],
)
def test_an_edited_node_policy_names_the_part(changes: dict[str, object], text: str) -> None:
    assert faults(with_spec(**changes)) == [f"NodePolicy node-1 {text}"]


def test_a_digest_that_is_not_of_the_content_is_a_fault() -> None:
    good = published()
    (policy,) = good.node_policies
    edited = replace(policy, spec=replace(policy.spec, digest="wrong"))

    assert "says its digest is wrong" in faults(replace(good, node_policies=(edited,)))[0]


def group_slice(found: Published) -> PeerGroupSlice:
    return next(each for each in found.slices if each.spec.addresses)


def with_slice(change: PeerGroupSlice | None) -> Published:
    good = published()
    kept = [each for each in good.slices if each is not group_slice(good)]
    return replace(good, slices=tuple([*kept, change] if change is not None else kept))


def test_a_slice_with_another_member_names_who_is_missing_and_who_is_too_many() -> None:
    good = group_slice(published())

    found = faults(with_slice(replace(good, spec=replace(good.spec, addresses=("10.6.6.6",)))))

    assert [each.partition(") ")[2] for each in found] == [
        "lacks 10.0.0.4",
        "holds 10.6.6.6 and should not",
    ]
    assert "app=web" in found[0] or "app" in found[0]


def test_a_group_without_slice_0_isolates() -> None:
    (found,) = faults(with_slice(None))

    assert "has no slice 0" in found


def test_a_slice_that_is_counted_and_not_there_is_missing() -> None:
    good = group_slice(published())

    found = faults(with_slice(replace(good, spec=replace(good.spec, count=2))))

    assert found[0].startswith(f"PeerGroupSlice {good.metadata.name[:-1]}1 is missing from the 2 slices")


def test_an_address_that_is_none_is_said() -> None:
    good = group_slice(published())

    found = faults(with_slice(replace(good, spec=replace(good.spec, addresses=("10.0.0.04",)))))

    assert any("cannot be understood" in each for each in found)


def test_a_slice_that_lost_its_label_is_of_no_group() -> None:
    good = group_slice(published())

    found = faults(with_slice(replace(good, metadata=Metadata(good.metadata.name))))

    assert any("its label is missing" in each for each in found)


def test_a_group_that_nothing_names_is_counted_and_no_fault() -> None:
    good = published()
    metadata = Metadata("pg-old-0", labels={GROUP_LABEL: "old"})
    old = replace(group_slice(good), metadata=metadata)

    found = compare(RESOLVER, replace(good, slices=(*good.slices, old)))

    assert (found.faults, found.unused) == ([], 1)


def test_only_the_nodes_asked_for_are_compared() -> None:
    good = published()
    stray = NodePolicy(metadata=Metadata("node-9"), spec=NodePolicySpec(digest=""))

    assert faults(replace(good, node_policies=(*good.node_policies, stray)), ("node-1",)) == []


def test_what_does_not_decode_is_no_missing_object_too() -> None:
    bad = Fault("NodePolicy node-1", "cannot be read: Expected `array`")

    assert faults(replace(published(), node_policies=(), unreadable=(bad,))) == [str(bad)]
