"""What the policies of a namespace leave open."""

from tests.unit.builder import cluster, labels
from tests.unit.engine.lint.linting import found, is_noted, shop, the_finding

DENY_ALL = {"policyTypes": ["Ingress", "Egress"]}


def test_policies_without_any_pod_are_noted_once() -> None:
    built = cluster().policy("shop/one", {}).policy("shop/two", DENY_ALL)
    assert the_finding(built, "no-pods").object == "input"


def test_with_pods_there_is_something_to_compare() -> None:
    assert not found(shop().policy("shop/p", {}), "no-pods")


def test_a_namespace_without_policies_is_noted() -> None:  # rule 2.6
    objects = {finding.object for finding in found(shop().policy("shop/p", {}), "pods-without-policy")}
    assert objects == {"Namespace data"}


def test_pods_that_no_policy_selects_are_summed_up() -> None:
    built = shop().policy("shop/p", {"podSelector": labels(app="web")}).policy("data/p", {})
    finding = the_finding(built, "pods-without-policy")
    assert finding.message == "no policy selects 1 of 2 pods, which may talk to anybody: shop/api"


def test_directions_without_a_policy_for_every_pod_are_noted() -> None:
    built = shop().policy("shop/p", {}).policy("data/p", DENY_ALL)
    finding = the_finding(built, "no-default-deny")
    assert finding.object == "Namespace shop"
    assert "policyTypes: [Egress]" in finding.remedy


def test_a_namespace_that_denies_by_default_is_fine() -> None:
    built = shop().policy("shop/in", {}).policy("shop/out", {"policyTypes": ["Egress"]})
    assert not found(built, "no-default-deny")


def test_pods_on_the_host_network_beside_policies_are_noted() -> None:  # rules 2.42, 2.43
    built = shop().pod("shop/agent", host_network=True)
    assert not found(built, "host-network-pods")
    assert is_noted(built.policy("shop/p", {}), "host-network-pods")
