"""Peers that are wider than they look, and sections without effect."""

from typing import Any

from tests.unit.builder import ClusterBuilder, block, labels, pods, port
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding


def ingress(*rules: dict[str, Any], built: ClusterBuilder | None = None) -> ClusterBuilder:
    return (built or shop()).policy("shop/p", {"ingress": list(rules)})


def egress(*rules: dict[str, Any], built: ClusterBuilder | None = None) -> ClusterBuilder:
    return (built or shop()).policy("shop/p", {"policyTypes": ["Egress"], "egress": list(rules)})


def dual_stack() -> ClusterBuilder:
    return shop().pod("shop/web", ip=("10.0.0.9", "fd00::9"), labels={"app": "web"})


def test_an_empty_rule_is_noted() -> None:  # rule 2.10
    assert the_finding(ingress({}), "allow-all-rule").path == "spec.ingress[0]"


def test_a_rule_with_ports_only_is_not_empty() -> None:
    assert not found(ingress({"ports": [port(80)]}), "allow-all-rule")


def test_every_pod_of_every_namespace_is_noted() -> None:  # rule 2.13
    assert is_noted(ingress({"from": [{"namespaceSelector": {}}]}), "peer-is-every-pod")
    assert is_noted(ingress({"from": [{"namespaceSelector": {}, "podSelector": {}}]}), "peer-is-every-pod")


def test_every_pod_of_the_own_namespace_is_fine() -> None:  # rule 2.12
    assert not found(ingress({"from": [pods()]}), "peer-is-every-pod")


def test_certain_pods_of_every_namespace_are_fine() -> None:
    assert not found(ingress({"from": [{"namespaceSelector": {}} | pods(app="web")]}), "peer-is-every-pod")


def test_every_address_is_told_in_both_directions() -> None:  # rule 2.19
    assert (
        "3 pods of the cluster"
        in the_finding(ingress({"from": [block("0.0.0.0/0")]}), "block-is-everything").message
    )
    assert is_warned(egress({"to": [block("::/0")]}), "block-is-everything")


def test_every_address_but_some_is_fine() -> None:
    built = egress({"to": [block("0.0.0.0/0", "10.0.0.0/8")]})
    assert not found(built, "block-is-everything")
    assert not found(built, "block-covers-pods")


def test_a_block_that_holds_pods_is_told() -> None:  # rule 2.19
    finding = the_finding(egress({"to": [block("10.0.0.0/30")]}), "block-covers-pods")
    assert finding.path == "spec.egress[0].to[0].ipBlock"
    assert "3 pods" in finding.message


def test_only_the_pods_inside_are_counted() -> None:
    built = shop().pod("shop/web-2", ip="192.168.0.1", labels={"app": "web"}, ports=["http:8080"])
    finding = the_finding(egress({"to": [block("192.168.0.0/24")]}, built=built), "block-covers-pods")
    assert "1 pod (shop/web-2)" in finding.message


def test_a_block_without_pods_is_fine() -> None:
    assert not found(egress({"to": [block("192.0.2.0/24")]}), "block-covers-pods")


def test_the_pod_blocks_of_nodes_are_suggested_as_exceptions() -> None:
    built = shop().node("node-1", pods=["10.0.0.0/24"])
    finding = the_finding(egress({"to": [block("10.0.0.0/8")]}, built=built), "block-covers-pods")
    assert "add except: [10.0.0.0/24]" in finding.remedy


def test_everything_in_one_family_is_told_where_pods_have_both() -> None:  # rule 2.21
    finding = the_finding(
        egress({"to": [block("0.0.0.0/0", "10.0.0.0/8")]}, built=dual_stack()), "block-one-family"
    )
    assert "add ipBlock ::/0" in finding.remedy


def test_both_families_are_fine() -> None:
    rule = {"to": [block("0.0.0.0/0", "10.0.0.0/8"), block("::/0", "fd00::/8")]}
    assert not found(egress(rule, built=dual_stack()), "block-one-family")


def test_one_family_is_fine_where_pods_have_no_other() -> None:
    assert not found(egress({"to": [block("0.0.0.0/0", "10.0.0.0/8")]}), "block-one-family")


def test_rules_of_a_direction_that_policy_types_leave_out_are_told() -> None:  # rule 2.4
    spec = {"policyTypes": ["Egress"], "ingress": [{"from": [pods()]}]}
    finding = the_finding(shop().policy("shop/p", spec), "section-ignored")
    assert finding.remedy == "add Ingress to policyTypes, or remove the section"


def test_egress_rules_without_policy_types_count() -> None:  # rule 2.3
    spec = {"podSelector": labels(app="web"), "egress": [{"to": [pods()]}]}
    assert not found(shop().policy("shop/p", spec), "section-ignored")
