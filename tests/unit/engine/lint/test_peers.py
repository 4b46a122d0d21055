"""Peers that match nobody, or others than it seems."""

from typing import Any

import pytest

from tests.unit.builder import ClusterBuilder, cluster, in_namespace, labels, namespaces, pods
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding


def from_peers(*peers: dict[str, Any], built: ClusterBuilder | None = None) -> ClusterBuilder:
    return (built or shop()).policy("shop/p", {"ingress": [{"from": list(peers)}]})


def test_a_pod_selector_that_matches_nobody_is_told_with_the_closest_label() -> None:
    finding = the_finding(from_peers(pods(app="aip")), "peer-matches-no-pod")
    assert finding.path == "spec.ingress[0].from[0].podSelector"
    assert finding.remedy == "did you mean app=api (shop/api)?"


def test_a_pod_selector_that_matches_somebody_is_fine() -> None:
    assert not found(from_peers(pods(app="api")), "peer-matches-no-pod")


def test_a_pod_selector_alone_does_not_look_in_other_namespaces() -> None:  # rule 2.12
    finding = the_finding(from_peers(pods(app="db")), "peer-in-other-namespace")
    assert "looks only in namespace shop" in finding.message
    assert "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: data}}" in finding.remedy
    assert not found(from_peers(pods(app="db")), "peer-matches-no-pod")


def test_a_pod_selector_with_its_namespace_is_fine() -> None:  # rule 2.14
    built = from_peers(in_namespace("data") | pods(app="db"))
    assert not found(built, "peer-in-other-namespace")


def test_two_items_that_were_meant_as_one_are_told() -> None:  # rule 2.14
    finding = the_finding(from_peers(in_namespace("data"), pods(app="db")), "peer-in-other-namespace")
    assert "join the two" in finding.remedy


def test_two_items_side_by_side_are_noted_where_both_match() -> None:  # rule 2.14
    assert is_noted(from_peers(namespaces(team="data"), pods(app="api")), "two-items-are-or")


def test_one_item_with_both_selectors_is_not_two() -> None:
    assert not found(from_peers(namespaces(team="data") | pods(app="db")), "two-items-are-or")


def test_two_pod_selectors_side_by_side_are_plainly_alternatives() -> None:
    assert not found(from_peers(pods(app="api"), pods(app="web")), "two-items-are-or")


def test_a_namespace_selector_that_matches_nothing_is_told_with_the_closest_label() -> None:  # rule 2.17
    finding = the_finding(from_peers(namespaces(team="dato")), "peer-matches-no-namespace")
    assert finding.remedy == "did you mean team=data?"


def test_a_namespace_selector_that_matches_is_fine() -> None:
    assert not found(from_peers(namespaces(team="data")), "peer-matches-no-namespace")


def test_selecting_a_namespace_by_a_label_name_it_has_not_is_told() -> None:  # rule 2.17
    finding = the_finding(from_peers(namespaces(name="data")), "peer-matches-no-namespace")
    assert finding.remedy == "to select a namespace by name write kubernetes.io/metadata.name: data"


def test_a_misspelt_namespace_name_is_told() -> None:
    finding = the_finding(from_peers(in_namespace("dta")), "peer-matches-no-namespace")
    assert finding.remedy == "did you mean data?"


def test_a_namespace_that_every_cluster_has_need_not_be_in_the_input() -> None:
    assert not found(from_peers(in_namespace("kube-system")), "peer-matches-no-namespace")


def test_a_sibling_of_an_existing_namespace_is_no_typing_error() -> None:
    built = shop().ns("team-a", k="v").ns("shop-1", k="v")
    for name in ("team-b", "shop-10"):
        assert is_noted(from_peers(in_namespace(name), built=built), "peer-matches-no-namespace")


def test_a_namespace_that_is_not_in_the_input_is_only_noted() -> None:
    assert is_noted(from_peers(in_namespace("monitoring")), "peer-matches-no-namespace")


def test_labels_of_namespaces_that_are_not_in_the_input_are_not_judged() -> None:
    built = shop().pod("somewhere/x")
    assert is_noted(from_peers(namespaces(tier="front"), built=built), "peer-matches-no-namespace")


@pytest.mark.parametrize("peer", [namespaces(tier="front"), namespaces(name="shop"), in_namespace("shpo")])
def test_without_any_namespace_manifest_no_namespace_peer_is_judged(peer: dict[str, Any]) -> None:
    built = cluster().policy("shop/other", {}).policy("data/other", {})
    assert is_noted(from_peers(peer, built=built), "peer-matches-no-namespace")


def test_pods_of_a_matching_namespace_are_compared() -> None:
    finding = the_finding(from_peers(namespaces(team="data") | pods(app="dbs")), "peer-matches-no-pod")
    assert finding.message == "no pod of namespace data matches app=dbs"
    assert finding.remedy == "did you mean app=db (data/db)?"


def test_a_namespace_without_pods_in_the_input_is_only_noted() -> None:
    built = shop().ns("monitoring", team="ops")
    assert is_noted(from_peers(namespaces(team="ops"), built=built), "peer-matches-no-pod")


def test_a_peer_on_the_host_network_is_told() -> None:  # rule 2.43
    built = shop().pod("shop/agent", labels={"app": "agent"}, host_network=True)
    assert is_warned(from_peers(pods(app="agent"), built=built), "peer-host-network")


def test_a_peer_that_also_matches_other_pods_is_not_about_the_host_network() -> None:
    built = shop().pod("shop/agent", labels={"app": "web"}, host_network=True)
    assert not found(from_peers(pods(app="web"), built=built), "peer-host-network")


def test_a_peer_that_contradicts_itself_is_told_without_any_pod() -> None:  # rule 2.16
    built = shop().without_pod("shop/web").without_pod("shop/api").without_pod("data/db")
    expressions = [{"key": "app", "operator": "DoesNotExist"}]
    peer = {"podSelector": {**labels(app="web"), "matchExpressions": expressions}}
    assert is_warned(from_peers(peer, built=built), "selector-never-matches")


def test_a_hostile_label_value_cannot_break_the_message() -> None:
    built = shop().pod("shop/evil", labels={"app": "we\x1b[2J\n"})
    finding = the_finding(
        from_peers(pods(app="wex"), built=built.without_pod("shop/web")), "peer-matches-no-pod"
    )
    assert finding.remedy.isprintable()
