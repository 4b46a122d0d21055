"""How other implementations broke: each a test here, with the public report it comes from.

KR is cloudnativelabs/kube-router, WV weaveworks/weave (npc), CAL projectcalico/calico, NPM the policy manager
of Azure/azure-container-networking, KNP kubernetes-sigs/kube-network-policies, NPA and NPC the AWS network
policy agent and controller, ANT antrea-io/antrea.

This file is about names, selectors, ports and blocks; `test_traps_changes` about pods, nodes and edits.
"""

import itertools
from typing import Any

import pytest

from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import SetType
from tests.unit.builder import (
    ClusterBuilder,
    Judge,
    block,
    cluster,
    in_namespace,
    labels,
    namespaces,
    pods,
    port,
)

OUTSIDE, NODE_1, NODE_2 = "192.0.2.1", "172.16.0.1", "172.16.0.2"
SHOP = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .ns("lab", team="c")
    .node("node-1", NODE_1)
    .node("node-2", NODE_2)
    .pod("shop/web", ip="10.0.1.1", labels={"app": "web"})
    .pod("shop/db", ip="10.0.1.2", labels={"app": "db"})
    .pod("bank/web", ip="10.0.2.1", labels={"app": "web"}, node="node-2")
    .pod("lab/web", ip="10.0.2.2", labels={"app": "web"}, node="node-2")
)
BOTH = ["Ingress", "Egress"]


def accepting(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"podSelector": labels(app="db"), "ingress": list(rules)}


def reaching(allowed: Judge, built: ClusterBuilder, service: str = "80") -> list[str]:
    sources = ("shop/web", "bank/web", "lab/web", OUTSIDE)
    return [source for source in sources if allowed(built, source, "shop/db", service)]


def text_of(built: ClusterBuilder, family: int = 4, node: str = "node-1") -> str:
    found = built.rules(family, node=node)
    return render_sets(found) + render_rules(found)


# Names and sets that were taken for one another


# KR: sha256(namespace + name) made one chain of prod/1allow and prod1/allow; one overwrote the other's set.
def test_namespace_and_name_that_run_together_alike_are_two_policies(allowed: Judge) -> None:
    built = cluster()
    for namespace, name, number in (("prod", "1allow", 80), ("prod1", "allow", 81)):
        key = f"{namespace}/{name}"
        built = built.pod(f"{namespace}/pod").policy(key, {"ingress": [{"ports": [port(number)]}]})

    for namespace, number in itertools.product(("prod", "prod1"), (80, 81)):
        expected = (namespace == "prod") == (number == 80)
        assert allowed(built, OUTSIDE, f"{namespace}/pod", str(number)) is expected
    assert len([chain for chain in built.rules().chains if chain.name.startswith("PODGATE-IP-")]) == 2


# KR: strconv made one set of rule 1, port 11 and rule 11, port 1.
def test_rule_1_port_11_and_rule_11_port_1_are_two_things(allowed: Judge) -> None:
    rules = [{"from": [block("198.51.100.0/24")], "ports": [port(9)]} for _ in range(12)]
    rules[1] = {"from": [pods(app="web")], "ports": [port(number) for number in range(1, 13)]}
    rules[11] = {"from": [in_namespace("bank")], "ports": [port(number) for number in range(101, 113)]}
    built = SHOP.policy("shop/p", accepting(*rules))

    assert reaching(allowed, built, "11") == ["shop/web"]
    assert reaching(allowed, built, "101") == ["bank/web"]


# KR #1653, #1665, k3s #9151: IPv6 rules named IPv4 sets; restoring one family's sets emptied the other's.
def test_each_family_names_sets_of_its_own() -> None:
    built = cluster().pod("shop/web", ip=("10.0.0.1", "fd00::1"))
    built = built.policy("shop/p", {"ingress": [{"from": [pods()], "ports": [port(80)]}]})

    ipv4, ipv6 = text_of(built, 4), text_of(built, 6)

    assert "pg6-" not in ipv4
    assert "pg4-" not in ipv6


# KR #1245: one IPv6 block in a policy stopped the whole sync of an IPv4 cluster.
def test_an_ipv6_block_does_not_disturb_ipv4(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", accepting({"from": [block("2001:db8::/32"), block("192.0.2.0/24")]}))

    assert reaching(allowed, built) == [OUTSIDE]
    assert "2001:db8" not in text_of(built, 4)


# WV #3289, CAL: a list:set holds 8 by default and a hash:ip 65536; big namespaces were cut off silently.
def test_sets_have_room_for_a_million_and_are_never_lists_of_sets() -> None:
    built = SHOP.policy("shop/p", accepting({"from": [namespaces(), block("192.0.2.0/24", "192.0.2.9/32")]}))

    created = [line for line in text_of(built).splitlines() if line.startswith("create ")]

    assert created
    assert all("maxelem 1048576" in line for line in created)
    assert "list:set" not in text_of(built)


# KR #1751, WV: every node held the rules and sets of every policy of the cluster.
def test_a_node_holds_what_its_own_pods_need_and_nothing_else() -> None:
    built = SHOP.policy("shop/p", accepting({"from": [in_namespace("lab")]})).policy(
        "bank/p", {"ingress": [{"from": [pods()]}]}
    )

    assert "bank/p" not in text_of(built, node="node-1")
    assert "10.0.2.1" not in text_of(built, node="node-1")
    assert "shop/p" not in text_of(built, node="node-2")


# NPM, CAL: kernel sets for labels that no policy uses.
def test_labels_that_no_policy_asks_for_make_no_sets() -> None:
    built = SHOP.pod("shop/many", labels={f"key-{number}": "x" for number in range(100)})

    assert [found for found in built.policy("shop/deny", {}).rules().sets if found.entries] == []


# NPM #4831: a policy of 2^19 rules, from multiplying out the values of its selectors.
def test_selectors_with_many_values_are_not_multiplied_out() -> None:
    expressions = [
        {"key": f"key-{number}", "operator": operator, "values": [f"v{value}" for value in range(20)]}
        for number, operator in itertools.product(range(5), ("In", "NotIn"))
    ]
    peer = {"namespaceSelector": {"matchExpressions": expressions}}

    found = SHOP.policy("shop/p", accepting({"from": [peer]})).rules()

    assert sum(len(chain.rules) for chain in found.chains) < 20


# Selectors


# NPM #4831, #4859: NotIn [a, b] became "not a, or not b", which everybody meets.
def test_not_in_with_two_values_shuts_out_both(allowed: Judge) -> None:
    not_ab = {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a", "b"]}]}

    built = SHOP.policy("shop/p", accepting({"from": [{"namespaceSelector": not_ab}]}))

    assert reaching(allowed, built) == ["lab/web"]


# WV: a relabelled namespace moved peers of namespaceSelector and not those of both selectors together.
@pytest.mark.parametrize("peer", [namespaces(team="b"), namespaces(team="b") | pods(app="web")], ids=str)
def test_a_relabelled_namespace_moves_the_peers_of_both_kinds_of_selector(peer: dict[str, Any]) -> None:
    built = SHOP.policy("shop/p", accepting({"from": [peer]}))
    resolver = built.resolver()

    for namespace in built.ns("bank", team="x").ns("lab", team="b").build().namespaces:
        resolver.put_namespace(namespace)

    assert set(resolver.view("node-1").groups.values()) == {frozenset({"10.0.2.2"})}


# k8s #22469: an item of ports that says nothing is TCP.
def test_a_port_item_without_anything_is_tcp(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", accepting({"from": [pods(app="web")], "ports": [{}]}))

    assert reaching(allowed, built, "9999") == ["shop/web"]
    assert reaching(allowed, built, "9999/UDP") == []


# KNP, NPAPI #211, #240: a deny-all whose list of rules arrives as [] instead of nothing was an allow-all.
@pytest.mark.parametrize("rules", [None, []], ids=["null", "empty"])
@pytest.mark.parametrize("types", [["Ingress"], BOTH])
def test_no_rules_deny_however_they_are_written(
    allowed: Judge, rules: list[Any] | None, types: list[str]
) -> None:
    built = SHOP.policy("shop/p", {"policyTypes": types, "ingress": rules, "egress": rules})

    assert reaching(allowed, built) == []


# KR: policyTypes was trusted to be filled in by the API server, which nobody does for files.
def test_policy_types_that_are_missing_are_filled_in(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", {"egress": [{"to": [pods(app="db")]}]})

    assert reaching(allowed, built) == []
    assert not allowed(built, "shop/web", OUTSIDE)


# Ports


# WV: endPort was ignored, so a range opened its first port alone.
def test_an_end_port_opens_the_whole_range(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", accepting({"from": [pods()], "ports": [port(8000, end=8010)]}))

    found = [number for number in (7999, 8000, 8005, 8010, 8011) if reaching(allowed, built, str(number))]
    assert found == [8000, 8005, 8010]


# kubernetes e2e: a policy for SCTP left TCP open where SCTP was not supported, "a security hole".
def test_an_sctp_policy_isolates_tcp(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", accepting({"ports": [port(80, "SCTP")]}))

    assert reaching(allowed, built, "80") == []
    assert len(reaching(allowed, built, "80/SCTP")) == 4


# The kernel takes 15 ports in a multiport match; the sixteenth failed the commit of all rules, or was lost.
@pytest.mark.parametrize("count", [15, 16, 31])
def test_a_rule_can_have_more_ports_than_multiport_has_slots(count: int, allowed: Judge) -> None:
    items = [port(2 * number + 1) for number in range(count)]
    built = SHOP.policy("shop/p", accepting({"from": [pods()], "ports": items}))

    assert reaching(allowed, built, str(2 * count - 1)) == ["shop/web"]
    assert reaching(allowed, built, "2") == []


# WV #3032, #3785: a named port crashed the controller, later it rejected the policy.
def test_a_named_port_is_the_number_it_has_on_the_pod(allowed: Judge) -> None:
    built = SHOP.pod("shop/db", labels={"app": "db"}, ports=["sql:5432"]).policy(
        "shop/p", accepting({"ports": [port("sql")]})
    )

    assert len(reaching(allowed, built, "5432")) == 4
    assert reaching(allowed, built, "5433") == []


# KR grabNamedPortFromPod: all ports of a pod shared one map, so the address of a pod that has one number got
# into the set of another; NPC and NPM: the numbers of all pods were joined.
def test_a_name_that_is_another_number_on_every_pod_opens_one_number_on_each(allowed: Judge) -> None:
    built = (
        cluster()
        .pod("shop/one", ports=["http:80", "admin:9000"])
        .pod("shop/two", ports=["http:81", "admin:80"])
        .pod("shop/three", ports=["http:82"])
        .policy("shop/p", {"ingress": [{"ports": [port("http")]}]})
    )

    open_ports = {
        name: [
            number for number in (80, 81, 82, 9000) if allowed(built, OUTSIDE, f"shop/{name}", str(number))
        ]
        for name in ("one", "two", "three")
    }
    assert open_ports == {"one": [80], "two": [81], "three": [82]}


# The same at the other end.
def test_an_egress_name_opens_one_number_on_each_destination(allowed: Judge) -> None:
    built = (
        cluster()
        .pod("shop/client", labels={"app": "client"})
        .pod("shop/one", ports=["http:80", "admin:81"])
        .pod("shop/two", ports=["http:81", "admin:80"])
        .policy("shop/p", {"podSelector": labels(app="client"), "egress": [{"ports": [port("http")]}]})
    )

    open_ports = {
        name: [number for number in (80, 81) if allowed(built, "shop/client", f"shop/{name}", str(number))]
        for name in ("one", "two")
    }
    assert open_ports == {"one": [80], "two": [81]}


# NPM: a named port was one set for the whole cluster, by its name.
def test_a_name_is_not_resolved_on_pods_of_other_namespaces_for_ingress(allowed: Judge) -> None:
    built = SHOP.pod("bank/web", labels={"app": "web"}, node="node-2", ports=["sql:1"]).pod(
        "shop/db", labels={"app": "db"}, ports=["sql:5432"]
    )

    assert reaching(allowed, built.policy("shop/p", accepting({"ports": [port("sql")]})), "1") == []


# k8s #99256, KR #1036, NPA #149: the name was resolved on the source, or in the namespace of the policy.
def test_an_egress_name_is_resolved_where_the_connection_goes(allowed: Judge) -> None:
    built = (
        SHOP.pod("shop/web", labels={"app": "web"}, ports=["http:1111"])
        .pod("bank/web", labels={"app": "web"}, node="node-2", ports=["http:2222"])
        .policy(
            "shop/p", {"policyTypes": ["Egress"], "egress": [{"to": [namespaces()], "ports": [port("http")]}]}
        )
    )

    assert allowed(built, "shop/web", "bank/web", "2222")
    assert not allowed(built, "shop/web", "bank/web", "1111")


# KR: a named egress port without peers opened its number to every address; with ipBlock it was no rule.
@pytest.mark.parametrize("to", [{}, {"to": [block("0.0.0.0/0")]}], ids=["no peers", "block"])
def test_an_egress_name_opens_pods_that_have_it_and_no_other_address(
    to: dict[str, Any], allowed: Judge
) -> None:
    built = SHOP.pod("bank/web", node="node-2", ports=["http:8080"]).policy(
        "shop/p", {"policyTypes": ["Egress"], "egress": [{**to, "ports": [port("http")]}]}
    )

    assert allowed(built, "shop/web", "bank/web", "8080")
    assert not allowed(built, "shop/web", OUTSIDE, "8080")
    assert not allowed(built, "shop/web", "lab/web", "8080")


# nsx-operator #1475, ovn-kubernetes #2117: a name that could not be resolved became "any port".
@pytest.mark.parametrize("to", [{}, {"to": [block("0.0.0.0/0")]}, {"to": [namespaces()]}], ids=str)
def test_a_name_that_nobody_has_opens_nothing(to: dict[str, Any], allowed: Judge) -> None:
    rule = {**to, "ports": [port("nothing")]}
    built = SHOP.policy("shop/p", {"policyTypes": ["Egress"], "egress": [rule]})

    for destination, service in itertools.product((OUTSIDE, "bank/web"), ("80", "8080", "80/UDP", "ICMP")):
        assert not allowed(built, "shop/web", destination, service)


# Two rules with one block and different ports ended in one set, which then opened both ports to both.
def test_two_rules_with_one_block_keep_their_ports_apart(allowed: Judge) -> None:
    built = SHOP.policy(
        "shop/p",
        accepting(
            {"from": [block("192.0.2.0/24", "192.0.2.7/32")], "ports": [port(80)]},
            {"from": [block("192.0.2.0/24")], "ports": [port(81)]},
            {"from": [block("192.0.2.7/32")], "ports": [port(82)]},
        ),
    )

    found = {
        address: [service for service in ("80", "81", "82") if allowed(built, address, "shop/db", service)]
        for address in ("192.0.2.1", "192.0.2.7")
    }
    assert found == {"192.0.2.1": ["80", "81"], "192.0.2.7": ["81", "82"]}


# IP blocks


# KR, openshift/sdn #26: excepts of one block narrowed its neighbours: all shared one set with nomatch.
@pytest.mark.parametrize(
    "sibling",
    ["10.0.0.0/7", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "0.0.0.0/0", "10.0.0.0/8"],
    ids=["around", "the hole", "in the hole", "one address", "everything", "the same block"],
)
def test_an_except_does_not_leak_into_a_sibling(sibling: str, allowed: Judge) -> None:
    built = cluster().pod("shop/db", ip="172.20.0.1", labels={"app": "db"})
    built = built.policy("shop/p", accepting({"from": [block("10.0.0.0/8", "10.1.0.0/16"), block(sibling)]}))

    assert allowed(built, "10.1.2.3", "shop/db")
    assert allowed(built, "10.200.0.1", "shop/db")


# The other way round: a sibling does not fill the hole beyond its own addresses.
def test_a_sibling_does_not_fill_the_hole(allowed: Judge) -> None:
    built = cluster().pod("shop/db", ip="172.20.0.1", labels={"app": "db"})
    built = built.policy(
        "shop/p", accepting({"from": [block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.0/24")]})
    )

    assert [allowed(built, address, "shop/db") for address in ("10.1.1.255", "10.1.2.0", "10.1.3.0")] == [
        False,
        True,
        False,
    ]


# KR: "::/0" became 2000::/3 and fd00::/8, which leaves out NAT64, link-local and half of the local addresses.
@pytest.mark.parametrize(
    "address",
    ["64:ff9b::c000:201", "fe80::1", "fc00::1", "fd00::1:1", "2001:db8::1", "::2", "ff02::1", "ffff::1"],
)
def test_the_ipv6_block_of_everything_is_everything(address: str, allowed: Judge) -> None:
    built = cluster().pod("shop/db", ip="fd00::9", labels={"app": "db"})

    assert allowed(built.policy("shop/p", accepting({"from": [block("::/0")]})), address, "shop/db")


# ipset refuses /0, and other implementations lost the rule, or the whole commit, over it; NPM #4831: and did
# not know it in another spelling.
@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "10.1.2.3/0", "0.0.0.0/00", "::ffff:0.0.0.0/96"])
def test_the_ipv4_block_of_everything_is_everything_in_any_spelling(cidr: str, allowed: Judge) -> None:
    built = cluster().pod("shop/db", ip="10.0.0.9", labels={"app": "db"})
    built = built.policy("shop/p", accepting({"from": [block(cidr)]}))

    assert all(allowed(built, address, "shop/db") for address in ("0.0.0.1", "10.0.0.1", "255.255.255.254"))
    assert "/0\n" not in text_of(built)
    assert "/0 " not in text_of(built)


# The same with a hole, where there has to be a set.
def test_the_block_of_everything_with_holes_enters_a_set_without_a_prefix_of_length_0(allowed: Judge) -> None:
    built = cluster().pod("shop/db", ip="10.0.0.9", labels={"app": "db"})
    built = built.policy(
        "shop/p", accepting({"from": [block("0.0.0.0/0", "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12")]})
    )

    found = built.rules()

    (blocks,) = (each for each in found.sets if each.type is SetType.NETWORKS)
    assert [entry for entry in blocks.entries if entry.endswith("/0")] == []
    assert [allowed(built, address, "shop/db") for address in (OUTSIDE, "10.9.9.9", "172.31.0.1")] == [
        True,
        False,
        False,
    ]


# Leading zeros are decimal to the API server, octal to inet_aton.
def test_leading_zeros_are_no_octal_numbers(allowed: Judge) -> None:
    built = SHOP.policy("shop/p", accepting({"from": [block("192.000.002.010/32")]}))

    assert allowed(built, "192.0.2.10", "shop/db")
    assert not allowed(built, "192.0.2.8", "shop/db")


# Directions


# k3s #2390: ACCEPT in the egress chain of one pod skipped the ingress chain of the other on the same node.
def test_egress_that_allows_does_not_answer_for_ingress_on_the_same_node(allowed: Judge) -> None:
    built = SHOP.policy("shop/deny", {}).policy("shop/out", {"policyTypes": ["Egress"], "egress": [{}]})

    assert not allowed(built, "shop/web", "shop/db")


# KR: echo requests passed whatever the policies said.
def test_a_denied_pod_does_not_answer_pings(allowed: Judge) -> None:
    assert reaching(allowed, SHOP.policy("shop/deny", {}), "ICMP") == []


# KR #1235, #9, #189, k8s #125611, ANT #5681: a pod could not reach itself through its own Service.
def test_a_pod_reaches_itself_through_its_service(allowed: Judge) -> None:
    assert allowed(SHOP.policy("shop/deny", {"policyTypes": BOTH}), "shop/db", "shop/db")
