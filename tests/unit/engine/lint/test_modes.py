"""What audit mode leaves open, and what it closes against all expectation."""

from tests.unit.builder import ClusterBuilder, labels, pods
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding

FROM_API = {"podSelector": labels(app="web"), "ingress": [{"from": [pods(app="api")]}]}


def guarded() -> ClusterBuilder:
    """Everything in the shop is isolated for ingress, and `web` hears `api`."""
    return shop().policy("shop/deny", {}).policy("shop/web", FROM_API)


def test_an_allowing_policy_on_trial_beside_an_enforced_one_is_told_that_its_rules_do_not_count() -> None:
    finding = the_finding(guarded().audit(policy="shop/web"), "audit-without-say")
    assert finding.object == "NetworkPolicy shop/web"
    assert finding.message == (
        "is in audit mode beside policies that are enforced for ingress of shop/web (shop/deny): "
        "its rules do not count there"
    )
    assert is_warned(guarded().audit(policy="shop/web"), "audit-without-say")


def test_a_policy_on_trial_that_allows_nothing_anyway_is_only_noted() -> None:
    assert is_noted(guarded().audit(policy="shop/deny"), "audit-without-say")


def test_only_directions_in_which_others_are_enforced_are_named() -> None:
    both = FROM_API | {"policyTypes": ["Ingress", "Egress"], "egress": [{"to": [pods(app="api")]}]}
    built = shop().policy("shop/deny", {}).policy("shop/web", both).audit(policy="shop/web")
    finding = the_finding(built, "audit-without-say")
    assert "ingress of shop/web" in finding.message
    assert "egress" not in finding.message


def test_a_namespace_on_trial_as_a_whole_is_no_mistake() -> None:
    assert not found(guarded().audit(namespace="shop"), "audit-without-say")


def test_nothing_is_said_of_modes_where_everything_is_enforced() -> None:
    assert not found(guarded(), "audit-without-say")
    assert not found(guarded(), "only-audited")


def test_pods_that_are_only_audited_are_counted_by_namespace() -> None:
    finding = the_finding(guarded().audit(namespace="shop"), "only-audited")
    assert finding.object == "Namespace shop"
    assert finding.message == (
        "only policies in audit mode select 2 pods for ingress (shop/api and shop/web): "
        "nothing is dropped there"
    )
    assert is_noted(guarded().audit(namespace="shop"), "only-audited")


def test_a_pod_that_is_enforced_in_one_direction_and_audited_in_the_other_is_named_with_it() -> None:
    egress = {"podSelector": labels(app="web"), "policyTypes": ["Egress"]}
    built = guarded().policy("shop/web-egress", egress).audit(policy="shop/web-egress")
    finding = the_finding(built, "only-audited")
    assert (
        finding.message
        == "only policies in audit mode select 1 pod for egress (shop/web): nothing is dropped there"
    )
