"""A NodePolicy is one object of 1.5 MiB at most: no tenant may keep it from being written."""

import msgspec

from controller.engine.enforcement import enforcement_of
from controller.engine.node_policies import SPEC_MAX, PolicyVersion, ShareReader, left_out, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from controller.objects.resources import Metadata, NodePolicy, NodePolicySpec
from tests.unit.builder import ClusterBuilder, block, cluster, labels, pods, port

TENANTS = (
    cluster()
    .pod("shop/web", ip="10.0.0.1", labels={"app": "web"})
    .pod("shop/db", ip="10.0.0.2", labels={"app": "db"})
    .pod("evil/a", ip="10.0.0.66")
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)


def odd_ports(protocol: str) -> dict[str, object]:
    """As many ranges as there can be; 486 KB as JSON."""
    return {"podSelector": {}, "ingress": [{"ports": [port(n, protocol) for n in range(1, 65535, 2)]}]}


def published(built: ClusterBuilder) -> tuple[NodeView, NodePolicySpec]:
    share = Resolver.of(built.build()).share("node-1")
    return share, node_policy_spec(share, lambda _: PolicyVersion("", 0))


def test_policies_of_a_tenant_that_are_too_large_are_left_out_and_the_others_are_not() -> None:
    evil = TENANTS.policy("evil/tcp", odd_ports("TCP")).policy("evil/udp", odd_ports("UDP"))

    share, spec = published(evil)

    assert len(msgspec.json.encode(spec)) <= SPEC_MAX
    assert "shop/db/Ingress" in {each.id for each in spec.rulesets}
    assert {each.namespace for each in left_out(share, spec)} == {"evil"}


def test_pods_stay_isolated_without_the_policies_that_are_left_out() -> None:
    _, spec = published(TENANTS.policy("evil/tcp", odd_ports("TCP")).policy("evil/udp", odd_ports("UDP")))

    view = ShareReader().read("node-1", spec).view

    assert {pod.name: pod.isolated for pod in view.pods}["a"] == (Direction.INGRESS,)


def test_many_policies_with_long_names_on_many_pods_fit_too() -> None:
    built = TENANTS
    for number in range(40):
        built = built.pod(f"evil/pod-{number}", ip=f"10.0.1.{number + 1}")
    for number in range(120):
        built = built.policy(f"evil/{'x' * 240}-{number}", {"podSelector": {}, "ingress": [{}]})

    share, spec = published(built)

    assert len(msgspec.json.encode(spec)) <= SPEC_MAX
    assert "shop/db/Ingress" in {each.id for each in spec.rulesets}
    assert left_out(share, spec)


def test_groups_that_nobody_names_any_more_are_left_out_too() -> None:
    values = [f"{number:063}" for number in range(12000)]
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": values}]}
    evil = TENANTS
    for number in range(3):
        peers = [{"podSelector": {**selector, "matchLabels": {"n": str(number)}}}]
        evil = evil.policy(f"evil/{number}", {"podSelector": {}, "ingress": [{"from": peers}]})

    _, spec = published(evil)

    assert len(msgspec.json.encode(spec)) <= SPEC_MAX
    assert ShareReader().read("node-1", spec).view.rulesets


def test_exceptions_count_as_what_they_cost_in_the_kernel() -> None:
    """Cut out of ::/0, each address leaves up to 128 blocks: 4,800 of them are 600,000."""
    evil = TENANTS
    for tenth in range(3):
        excepts = [f"2001:db8:{tenth:x}:{n:x}::{n:x}/128" for n in range(1, 1601)]
        peer = {"ipBlock": {"cidr": "::/0", "except": excepts}}
        evil = evil.policy(f"evil/{tenth}", {"podSelector": {}, "ingress": [{"from": [peer]}]})

    share, spec = published(evil)

    assert left_out(share, spec)
    assert {each.namespace for each in left_out(share, spec)} == {"evil"}


def test_rules_count_once_for_each_list_of_rules_that_they_are_in() -> None:
    """Pods with a policy of their own beside one that all share have its rules once each in the kernel."""
    blocks = [{"from": [block(f"10.{n >> 8}.{n & 255}.0/24")], "ports": [port(80)]} for n in range(2000)]
    evil = TENANTS.policy("evil/all", {"podSelector": {}, "ingress": blocks})
    for number in range(60):
        evil = evil.pod(f"evil/pod-{number}", ip=f"10.0.1.{number + 1}", labels={"n": str(number)})
        evil = evil.policy(f"evil/{number}", {"podSelector": labels(n=str(number)), "ingress": [{}]})

    share, spec = published(evil)

    assert [str(each) for each in left_out(share, spec)] == ["evil/all ingress"]
    assert len(msgspec.json.encode(spec)) < SPEC_MAX / 10


def test_pods_that_share_a_list_of_rules_have_it_once() -> None:
    blocks = [{"from": [block(f"10.{n >> 8}.{n & 255}.0/24")], "ports": [port(80)]} for n in range(2000)]
    built = TENANTS.policy("shop/all", {"podSelector": {}, "ingress": blocks})
    for number in range(60):
        built = built.pod(f"shop/pod-{number}", ip=f"10.0.1.{number + 1}", labels={"n": str(number)})

    share, spec = published(built)

    assert not left_out(share, spec)


def test_the_status_of_a_policy_that_is_left_out_says_so() -> None:
    built = TENANTS.policy("evil/tcp", odd_ports("TCP")).policy("evil/udp", odd_ports("UDP")).build()
    resolver = Resolver.of(built)
    share = resolver.share("node-1")
    spec = node_policy_spec(share, lambda _: PolicyVersion("", 0))
    lost = {each.name for each in left_out(share, spec)}
    policies = [each for each in built.policies if each.name in lost]

    found = enforcement_of(resolver, policies, [NodePolicy(metadata=Metadata(name="node-1"), spec=spec)])

    assert "left out" in found[0].nodes[0].reason


def test_what_fits_is_written_whole() -> None:
    blocks = [block(f"10.{n >> 8}.{n & 255}.0/24") for n in range(5000)]
    share, spec = published(TENANTS.policy("shop/web", {"podSelector": {}, "ingress": [{"from": blocks}]}))

    assert not left_out(share, spec)
