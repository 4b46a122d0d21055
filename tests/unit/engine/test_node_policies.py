import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from controller.engine.node_policies import (
    PolicyVersion,
    ResourceError,
    ShareReader,
    node_policy_spec,
    published_mode,
    spec_digest,
)
from controller.engine.resolve import Resolver
from controller.engine.rulesets import RulesetId
from controller.objects.kinds import Cluster, Mode
from controller.objects.resources import Metadata, NodePolicy, NodePolicySpec
from tests.property.clusters import NODES, clusters
from tests.unit.builder import labels
from tests.unit.engine.shop import OPEN, accepting


def version(ruleset: RulesetId) -> PolicyVersion:
    return PolicyVersion(f"uid of {ruleset.policy}", 3)


def shop_spec() -> NodePolicySpec:
    policy = accepting({"from": [{"podSelector": labels(app="web")}]})
    resolver = Resolver.of(OPEN.policy("shop/db", policy).build())
    return node_policy_spec(resolver.share("node-1"), version)


@given(clusters())
def test_a_share_reads_back_as_it_was_written(cluster: Cluster) -> None:
    resolver = Resolver.of(cluster)
    for node in NODES:
        share = resolver.share(node)

        spec = node_policy_spec(share, version)
        wire = msgspec.json.decode(msgspec.json.encode(spec), type=NodePolicySpec)

        assert ShareReader().read(node, wire).view == share


@given(clusters())
def test_a_view_is_its_share_with_the_members(cluster: Cluster) -> None:
    resolver = Resolver.of(cluster)

    view, share = resolver.view(NODES[0]), resolver.share(NODES[0])

    assert replace(view, groups=share.groups, named_ports=share.named_ports) == share
    assert view.groups.keys() == share.groups.keys()


def test_what_did_not_change_stays_the_same_object() -> None:
    reader, spec = ShareReader(), shop_spec()
    before = reader.read("node", spec).view

    after = reader.read("node", msgspec.json.decode(msgspec.json.encode(spec), type=NodePolicySpec)).view

    assert all(after.rulesets[key] is ruleset for key, ruleset in before.rulesets.items())


def test_the_digest_covers_everything_but_itself() -> None:
    spec = shop_spec()

    assert spec_digest(replace(spec, digest="other")) == spec.digest
    assert spec_digest(replace(spec, addresses=("10.0.0.1",))) != spec.digest


def test_a_feature_that_is_not_known_is_refused() -> None:
    with pytest.raises(ResourceError, match="time-travel"):
        ShareReader().read("node", replace(shop_spec(), requires=("time-travel",)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addresses": ("010.0.0.1",)}, r"spec.addresses\[0\]"),
        ({"pod_cidrs": ("10.0.0.0/33",)}, r"spec.podCIDRs\[0\]"),
        ({"rulesets": ()}, r"spec.pods\[0\].rulesets\[0\]"),
        ({"groups": ()}, r"groups\[0\]"),
        ({"mode": "dream"}, "spec.mode: 'dream' is none of enforce, audit"),
    ],
)
def test_what_cannot_be_understood_is_refused_whole(change: dict[str, object], message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        ShareReader().read("node", replace(shop_spec(), **change))


def test_a_pod_that_is_isolated_and_audited_in_one_direction_is_refused() -> None:
    spec = shop_spec()
    pod = replace(spec.pods[0], audited=("Ingress",))

    with pytest.raises(ResourceError, match=r"spec.pods\[0\]: Ingress is isolated, and audited besides"):
        ShareReader().read("node", replace(spec, pods=(pod,)))


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ([], Mode.ENFORCE),
        (["enforce"], Mode.ENFORCE),
        (["audit", "audit"], Mode.AUDIT),
        (["audit", "enforce"], Mode.ENFORCE),
    ],
)
def test_the_operators_mode_is_audit_once_every_node_is_told_so(modes: list[str], expected: Mode) -> None:
    told = [
        NodePolicy(metadata=Metadata(str(number)), spec=replace(shop_spec(), mode=mode))
        for number, mode in enumerate(modes)
    ]

    assert published_mode(told) is expected
