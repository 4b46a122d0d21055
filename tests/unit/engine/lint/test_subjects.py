"""Whom a policy selects."""

from tests.unit.builder import labels
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding


def test_a_selector_that_matches_no_pod_is_told_with_the_closest_label() -> None:
    finding = the_finding(shop().policy("shop/p", {"podSelector": labels(app="wev")}), "selects-no-pods")
    assert finding.path == "spec.podSelector"
    assert finding.remedy == "did you mean app=web (shop/web)?"


def test_a_selector_that_matches_a_pod_is_fine() -> None:
    assert not found(shop().policy("shop/p", {"podSelector": labels(app="web")}), "selects-no-pods")


def test_without_a_close_value_the_existing_ones_are_listed() -> None:
    finding = the_finding(shop().policy("shop/p", {"podSelector": labels(app="zz")}), "selects-no-pods")
    assert finding.remedy == "the label app has the values api, web there"


def test_a_label_under_another_key_is_suggested() -> None:
    finding = the_finding(shop().policy("shop/p", {"podSelector": labels(name="web")}), "selects-no-pods")
    assert finding.remedy == "did you mean app=web?"


def test_a_forgotten_namespace_is_told_by_where_the_pods_are() -> None:  # rule 2.1
    finding = the_finding(shop().policy("default/p", {"podSelector": labels(app="db")}), "selects-no-pods")
    assert "1 pod elsewhere would match: data/db" in finding.message
    assert "metadata.namespace" in finding.remedy


def test_a_misspelt_namespace_is_told() -> None:
    finding = the_finding(shop().policy("shopp/p", {}), "selects-no-pods")
    assert finding.remedy == "did you mean metadata.namespace: shop?"


def test_a_namespace_whose_pods_are_not_in_the_input_is_only_noted() -> None:
    built = shop().ns("elsewhere", team="x").policy("elsewhere/p", {"podSelector": labels(app="unheard-of")})
    assert is_noted(built, "selects-no-pods")


def test_pods_that_have_finished_are_only_noted() -> None:  # rule 2.54
    built = shop().pod("shop/job", labels={"app": "job"}, phase="Succeeded")
    assert is_noted(built.policy("shop/p", {"podSelector": labels(app="job")}), "selects-no-pods")


def test_without_any_pod_selectors_are_not_judged() -> None:
    built = shop().without_pod("shop/web").without_pod("shop/api").without_pod("data/db")
    assert not found(built.policy("shop/p", {"podSelector": labels(app="web")}), "selects-no-pods")


def test_a_selector_that_contradicts_itself_is_told() -> None:  # rule 2.16
    expressions = [{"key": "app", "operator": "NotIn", "values": ["web"]}]
    selector = {**labels(app="web"), "matchExpressions": expressions}
    assert is_warned(shop().policy("shop/p", {"podSelector": selector}), "selector-never-matches")


def test_a_selector_with_two_compatible_requirements_is_fine() -> None:
    expressions = [{"key": "app", "operator": "NotIn", "values": ["api"]}]
    selector = {**labels(app="web"), "matchExpressions": expressions}
    assert not found(shop().policy("shop/p", {"podSelector": selector}), "selector-never-matches")


def test_selecting_a_pod_on_the_host_network_by_its_labels_is_told() -> None:  # rule 2.42
    built = shop().pod("shop/exporter", labels={"app": "exporter"}, host_network=True)
    built = built.policy("shop/p", {"podSelector": labels(app="exporter")})
    assert is_warned(built, "host-network-subject")
    assert not found(built, "selects-no-pods")


def test_a_policy_for_every_pod_is_not_told_for_each_pod_on_the_host_network() -> None:  # rule 2.42
    built = shop().pod("shop/exporter", host_network=True).policy("shop/p", {})
    assert not found(built, "host-network-subject")
