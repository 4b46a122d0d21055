"""Isolation that cuts name resolution."""

from typing import Any

from tests.unit.builder import ClusterBuilder, block, in_namespace, labels, pods, port
from tests.unit.engine.lint.linting import found, is_noted, is_warned, shop, the_finding, with_dns

TO_DB = {"to": [in_namespace("data") | pods(app="db")], "ports": [port(5432)]}
UDP, TCP = port(53, "UDP"), port(53, "TCP")


def to_dns(*ports: dict[str, Any]) -> dict[str, Any]:
    peer = in_namespace("kube-system") | {"podSelector": labels(**{"k8s-app": "kube-dns"})}
    return {"to": [peer], "ports": list(ports)}


def isolated(*rules: dict[str, Any], built: ClusterBuilder | None = None) -> ClusterBuilder:
    """The shop with its egress isolated, but for these rules."""
    return (built or with_dns()).policy("shop/out", {"policyTypes": ["Egress"], "egress": list(rules)})


def test_isolated_egress_without_a_rule_for_dns_is_told() -> None:
    finding = the_finding(isolated(TO_DB), "dns-cut")
    assert finding.object == "NetworkPolicy shop/out"
    assert "2 pods (shop/api and shop/web) cannot look up names" in finding.message
    assert "egress is isolated by out" in finding.message
    assert "port 53/UDP of kube-system/coredns-1" in finding.message


def test_the_remedy_is_the_rule_that_is_missing() -> None:
    assert the_finding(isolated(TO_DB), "dns-cut").remedy == (
        "add the egress rule {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "
        "kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: "
        "[{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}"
    )


def test_a_rule_for_the_dns_server_is_fine() -> None:
    built = isolated(TO_DB, to_dns(UDP, TCP))
    assert not found(built, "dns-cut")
    assert not found(built, "dns-without-tcp")


def test_a_rule_of_another_policy_counts_as_well() -> None:  # rule 2.7
    dns = {"policyTypes": ["Egress"], "egress": [to_dns(UDP, TCP)]}
    assert not found(isolated(TO_DB).policy("shop/dns", dns), "dns-cut")


def test_a_policy_that_isolates_ingress_only_cuts_nothing() -> None:
    assert not found(with_dns().policy("shop/in", {}), "dns-cut")


def test_pods_that_may_open_no_connection_at_all_are_only_noted() -> None:
    assert is_noted(isolated(), "dns-cut")


def test_dns_over_tcp_is_not_enough() -> None:
    assert is_warned(isolated(to_dns(TCP)), "dns-cut")


def test_dns_over_udp_alone_is_noted() -> None:
    built = isolated(to_dns(UDP))
    assert is_noted(built, "dns-without-tcp")
    assert not found(built, "dns-cut")


def test_a_rule_for_other_pods_of_kube_system_is_not_one_for_dns() -> None:
    other = {"to": [in_namespace("kube-system") | pods(app="metrics")], "ports": [UDP]}
    assert is_warned(isolated(other), "dns-cut")


def test_the_port_is_the_one_the_server_listens_on() -> None:  # rule 2.31
    server = {"labels": {"k8s-app": "kube-dns"}, "ports": ["dns:5353/UDP", "dns-tcp:5353"]}
    built = with_dns().pod("kube-system/coredns-1", **server)  # type: ignore[arg-type]
    assert "port 5353/UDP" in the_finding(isolated(to_dns(UDP, TCP), built=built), "dns-cut").message
    allowed = to_dns(port(5353, "UDP"), port(5353))
    assert not found(isolated(allowed, built=built), "dns-cut")


def test_a_server_is_known_by_its_name_too() -> None:
    built = shop().pod("openshift-dns/dns-default-x", ports=["dns:5353/UDP", "dns-tcp:5353"])
    assert (
        "port 5353/UDP of openshift-dns/dns-default-x"
        in the_finding(isolated(TO_DB, built=built), "dns-cut").message
    )


def test_dns_to_an_address_is_noted_as_it_may_be_a_resolver_outside() -> None:  # rules 2.48, 2.49
    built = isolated({"to": [block("10.96.0.10/32")], "ports": [UDP, TCP]})
    assert is_noted(built, "dns-by-address")
    assert not found(built, "dns-cut")


def test_a_block_that_holds_the_dns_server_is_fine() -> None:  # rule 2.19
    built = isolated({"to": [block("10.0.0.0/8")], "ports": [UDP, TCP]})
    assert not found(built, "dns-by-address")


def test_without_a_dns_server_in_the_input_any_rule_for_its_port_will_do() -> None:
    assert not found(isolated({"ports": [UDP, TCP]}, built=shop()), "dns-cut")
    assert not found(isolated(to_dns(UDP, TCP), built=shop()), "dns-cut")
    assert is_warned(isolated(TO_DB, built=shop()), "dns-cut")


def test_the_dns_server_itself_need_not_ask_itself() -> None:
    policy = {"policyTypes": ["Egress"], "egress": [{"to": [block("192.0.2.0/24")]}]}
    assert not found(with_dns().policy("kube-system/out", policy), "dns-cut")


def test_pods_on_the_host_network_are_not_cut() -> None:  # rule 2.42
    built = with_dns().pod("ops/agent", host_network=True)
    assert not found(built.policy("ops/out", {"policyTypes": ["Egress"]}), "dns-cut")


def test_a_dns_server_that_lets_only_some_pods_in_is_told() -> None:  # rule 2.8
    policy = {"ingress": [{"from": [in_namespace("shop")], "ports": [UDP, TCP]}]}
    finding = the_finding(with_dns().policy("kube-system/dns", policy), "dns-refused")
    assert "1 pod (data/db)" in finding.message


def test_a_dns_server_that_lets_everybody_in_is_fine() -> None:
    policy = {"ingress": [{"from": [{"namespaceSelector": {}}], "ports": [UDP, TCP]}]}
    assert not found(with_dns().policy("kube-system/dns", policy), "dns-refused")
