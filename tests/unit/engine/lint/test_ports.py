"""Ports by name."""

from typing import Any

from tests.unit.builder import ClusterBuilder, block, labels, namespaces, pods, port
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding


def into(app: str, item: dict[str, Any]) -> ClusterBuilder:
    """A policy on pods of the shop that opens a port to their neighbours."""
    rule = {"from": [pods()], "ports": [item]}
    return shop().policy("shop/p", {"podSelector": labels(app=app), "ingress": [rule]})


def out_to(peers: list[dict[str, Any]] | None, item: dict[str, Any]) -> ClusterBuilder:
    """A policy that lets the web out to a port."""
    rule = {"ports": [item]} if peers is None else {"to": peers, "ports": [item]}
    return shop().policy("shop/p", {"podSelector": labels(app="web"), "egress": [rule]})


def test_an_ingress_name_that_no_selected_pod_has_is_told() -> None:  # rules 2.34, 2.36
    finding = the_finding(into("web", port("htp")), "named-port-undefined")
    assert finding.path == "spec.ingress[0].ports[0]"
    assert finding.remedy == "did you mean http?"


def test_an_ingress_name_that_a_selected_pod_has_is_fine() -> None:
    assert not found(into("web", port("http")), "named-port-undefined")


def test_an_ingress_name_is_not_looked_up_on_the_peers() -> None:  # rule 2.34
    assert is_warned(into("web", port("sql")), "named-port-undefined")


def test_an_egress_name_is_looked_up_on_the_peers() -> None:  # rule 2.35
    assert not found(out_to([namespaces(team="data")], port("sql")), "named-port-undefined")
    assert is_warned(out_to([namespaces(team="data")], port("http")), "named-port-undefined")


def test_an_egress_name_without_peers_is_looked_up_everywhere() -> None:  # rule 2.35
    assert not found(out_to(None, port("sql")), "named-port-undefined")
    assert is_warned(out_to(None, port("metrics")), "named-port-undefined")


def test_a_name_with_another_protocol_is_told() -> None:  # rule 2.36
    finding = the_finding(into("api", port("query")), "named-port-protocol")
    assert finding.remedy.startswith("write protocol: UDP")
    assert not found(into("api", port("query")), "named-port-undefined")


def test_a_name_with_its_protocol_is_fine() -> None:
    assert not found(into("api", port("query", "UDP")), "named-port-protocol")


def test_a_number_is_never_looked_up() -> None:
    assert not found(into("web", port(12345)), "named-port-undefined")


def test_where_nobody_is_selected_names_are_not_told_too() -> None:
    assert not found(into("unheard-of", port("http")), "named-port-undefined")


def test_a_name_towards_addresses_without_pods_is_told() -> None:  # rule 2.24
    assert is_warned(out_to([block("192.0.2.0/24")], port("http")), "named-port-with-block")


def test_a_name_towards_addresses_with_pods_that_have_it_is_noted() -> None:  # rule 2.24
    assert is_noted(out_to([block("10.0.0.0/8")], port("http")), "named-port-with-block")


def test_a_number_towards_addresses_is_fine() -> None:
    assert not found(out_to([block("192.0.2.0/24")], port(443)), "named-port-with-block")


def test_a_name_from_addresses_is_fine() -> None:  # rule 2.34: the subject has it
    rule = {"from": [block("192.0.2.0/24")], "ports": [port("http")]}
    built = shop().policy("shop/p", {"podSelector": labels(app="web"), "ingress": [rule]})
    assert not found(built, "named-port-with-block")
