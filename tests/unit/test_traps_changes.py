"""How other implementations broke: each a test here, with the public report it comes from.

KR is cloudnativelabs/kube-router, WV weaveworks/weave (npc), CAL projectcalico/calico, NPM the policy manager
of Azure/azure-container-networking, KNP kubernetes-sigs/kube-network-policies, NPA and NPC the AWS network
policy agent and controller, ANT antrea-io/antrea.

This file is about nodes, pods that come and go, edits, and bad objects; `test_traps` about the rest.
"""

from typing import Any

import pytest

from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.simulate import Hook, Packet, Verdict, simulate
from controller.engine.resolve import Resolver
from controller.objects.addresses import parse_address
from controller.objects.decode_cluster import decode_pod
from controller.objects.kinds import Pod
from tests.unit.builder import (
    ClusterBuilder,
    Judge,
    block,
    cluster,
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


# Nodes and the host network


# KR #803: the exemption of the own node was by source address, and masqueraded NodePort traffic inherited it.
def test_forwarded_traffic_with_the_address_of_the_own_node_is_judged() -> None:
    rules = SHOP.policy("shop/deny", {}).rules()

    assert run(rules, NODE_1, "10.0.1.2", Hook.FORWARD) is Verdict.DROP
    assert run(rules, NODE_1, "10.0.1.2", Hook.OUTPUT) is Verdict.ACCEPT


# KR #1067: an egress policy for a host-network pod cut its whole node off.
def test_a_policy_that_selects_a_host_network_pod_puts_no_node_address_into_rules_or_sets() -> None:
    built = SHOP.pod("shop/agent", ip=NODE_1, labels={"app": "agent"}, host_network=True).policy(
        "shop/deny", {"policyTypes": BOTH, "ingress": [{"from": [pods()]}], "egress": [{"to": [pods()]}]}
    )

    assert NODE_1 not in text_of(built)


# Pods that come, go, and leave their address to others


# KR #1056, NPM #428, ANT #6507, WV #2632, k8s #92697: a finished pod keeps status.podIP.
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_heir_of_a_finished_pods_address_has_its_own_rules_and_not_the_old_ones(
    phase: str, allowed: Judge
) -> None:
    built = SHOP.pod("shop/job", ip="10.0.1.9", labels={"app": "job"}, phase=phase).pod(
        "bank/heir", ip="10.0.1.9", labels={"app": "heir"}
    )
    denied = built.policy("shop/job", {"podSelector": labels(app="job"), "policyTypes": BOTH})
    picked = built.policy("shop/p", accepting({"from": [pods(app="job")]}))

    assert allowed(denied, OUTSIDE, "bank/heir")
    assert not allowed(picked, "bank/heir", "shop/db")


def pod_at(name: str, address: str, phase: str = "Running") -> Pod:
    return cluster().pod(f"shop/{name}", ip=address, labels={"app": "web"}, phase=phase).pods[0]


def peers_of_db(resolver: Resolver) -> frozenset[str]:
    (found,) = resolver.view("node-1").groups.values()
    return found


# WV #3177, NPM #562: the old pod's deletion came after the new pod's addition and removed its entry.
@pytest.mark.parametrize("event", ["deleted", "finished"])
def test_an_old_pod_that_goes_after_the_new_one_came_leaves_the_address_to_it(event: str) -> None:
    resolver = SHOP.policy("shop/p", accepting({"from": [pods(app="web")]})).resolver()
    resolver.put_pod(pod_at("old", "10.0.1.9"))

    resolver.put_pod(pod_at("new", "10.0.1.9"))
    if event == "deleted":
        resolver.remove_pod(("shop", "old"))
    else:
        resolver.put_pod(pod_at("old", "10.0.1.9", "Succeeded"))

    assert "10.0.1.9" in peers_of_db(resolver)
    resolver.remove_pod(("shop", "new"))
    assert "10.0.1.9" not in peers_of_db(resolver)


# The same in the right order, and for a pod that comes back under its name with another address.
def test_a_pod_that_comes_back_with_another_address_leaves_the_old_one() -> None:
    resolver = SHOP.policy("shop/p", accepting({"from": [pods(app="web")]})).resolver()
    resolver.put_pod(pod_at("stateful-0", "10.0.1.9"))

    resolver.put_pod(pod_at("stateful-0", "10.0.1.10"))

    assert peers_of_db(resolver) == {"10.0.1.1", "10.0.1.10"}


# KR: whether a pod is isolated was looked up by its address, so that of two pods with one the last decided.
@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
def test_a_pod_that_shares_its_address_with_an_unselected_one_stays_isolated(
    names: tuple[str, str], allowed: Judge
) -> None:
    subject, other = names
    built = (
        cluster()
        .pod(f"shop/{subject}", ip="10.0.1.9", labels={"app": "subject"})
        .pod(f"shop/{other}", ip="10.0.1.9", labels={"app": "other"})
        .policy("shop/p", {"podSelector": labels(app="subject")})
    )

    assert not allowed(built, OUTSIDE, "10.0.1.9")


# KR #378: a pod without an address yet ended the whole sync.
def test_a_pod_without_an_address_disturbs_nobody(allowed: Judge) -> None:
    built = SHOP.pod("shop/new", ip=(), labels={"app": "web"}).policy(
        "shop/p", accepting({"from": [pods(app="web")]})
    )

    assert reaching(allowed, built) == ["shop/web"]


# NPA: only the first address of a pod was looked at.
def test_every_address_of_a_pod_counts(allowed: Judge) -> None:
    built = SHOP.pod("shop/web", ip=("fd00::1", "10.0.1.1", "10.0.1.77"), labels={"app": "web"}).policy(
        "shop/p", accepting({"from": [pods(app="web")]})
    )

    assert allowed(built, "10.0.1.77", "shop/db")


# CAL #4518, AKS #2598: a terminating pod lost its rules while it still served its last requests.
def test_a_terminating_pod_is_subject_and_peer_until_it_is_gone(allowed: Judge) -> None:
    manifest = {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "labels": {"app": "web"},
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.1.1"}]},
    }
    pod, findings = decode_pod(manifest)
    assert findings == ()
    built = ClusterBuilder(namespaces=SHOP.namespaces, pods=(pod, SHOP.the_pod("shop/db")))

    assert allowed(built.policy("shop/p", accepting({"from": [pods(app="web")]})), "shop/web", "shop/db")
    assert not allowed(built.policy("shop/deny", {}), OUTSIDE, "shop/web")


# Edits that take something away


# KR #341: code that only ever added left the old isolation, or the old rules, in force.
def test_a_policy_edited_to_have_fewer_policy_types_frees_the_other_direction() -> None:
    both = SHOP.policy("shop/p", {"policyTypes": BOTH})
    one = SHOP.policy("shop/p", {"policyTypes": ["Ingress"]})
    resolver = both.resolver()

    resolver.put_policy(one.the_policy("shop/p"))

    assert resolver.view("node-1") == one.view("node-1")
    assert {pod.isolated for pod in resolver.view("node-1").pods} == {("Ingress",)}


@pytest.mark.parametrize(
    "later",
    [
        {"podSelector": labels(app="web"), "ingress": [{"from": [pods()]}]},
        accepting(),
        accepting({"from": [pods(app="x")]}),
        {"podSelector": labels(app="db"), "policyTypes": ["Egress"]},
    ],
    ids=["other subjects", "no rules", "other peers", "other direction"],
)
def test_what_an_edit_takes_away_is_gone(later: dict[str, Any]) -> None:
    before = SHOP.policy("shop/p", accepting({"from": [pods(), namespaces(team="b")], "ports": [port(80)]}))
    after = SHOP.policy("shop/p", later)
    resolver = before.resolver()

    resolver.put_policy(after.the_policy("shop/p"))

    assert resolver.view("node-1") == after.view("node-1")
    assert set(resolver.groups()) == set(after.resolver().groups())


# WV: the DROP of the first egress policy was never taken away with the last.
def test_with_the_last_policy_the_isolation_goes() -> None:
    resolver = SHOP.policy("shop/p", {"policyTypes": BOTH}).resolver()

    resolver.remove_policy(("shop", "p"))

    assert resolver.view("node-1") == SHOP.view("node-1")
    assert resolver.view("node-1").pods == ()


# One bad object


# KR #1245, #378: any error ended the sync of the node, and all later policies with it.
@pytest.mark.parametrize(
    "bad",
    [
        {"ingress": [{"from": [block("10.0.0.0/99")]}]},
        {"ingress": [{"from": [block("not a block")]}]},
        {"ingress": [{"ports": [port(99999)]}]},
        {"ingress": [{"ports": [port(80, "ICMP")]}]},
        {"ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]}]},
        {"ingress": "everything"},
        {"policyTypes": ["Sideways"]},
        {"podSelector": {"matchLabels": ["app"]}},
    ],
    ids=str,
)
def test_a_bad_policy_isolates_its_pods_and_stops_no_other(bad: dict[str, Any], allowed: Judge) -> None:
    built = (
        cluster()
        .pod("shop/db", labels={"app": "db"})
        .pod("bank/web")
        .flawed_policy("shop/bad", bad)
        .policy("shop/good", accepting({"ports": [port(443)]}))
        .policy("bank/good", {"ingress": [{"ports": [port(443)]}]})
    )

    assert not allowed(built, OUTSIDE, "shop/db", "80")
    assert allowed(built, OUTSIDE, "shop/db", "443")
    assert allowed(built, OUTSIDE, "bank/web", "443")
    assert not allowed(built, OUTSIDE, "bank/web", "80")


# ipset stores no null address and stops at the line that holds one: no set behind it would be filled.
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_a_pod_that_says_its_address_is_null_does_not_keep_the_sets_from_loading(address: str) -> None:
    pod, _ = decode_pod(
        {
            "metadata": {"namespace": "shop", "name": "odd", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": address}]},
        }
    )
    built = ClusterBuilder(namespaces=SHOP.namespaces, pods=(pod, SHOP.the_pod("shop/db")))
    built = built.policy("shop/p", {"policyTypes": BOTH, "ingress": [{"from": [pods()]}]})

    added = [
        line for family in (4, 6) for line in text_of(built, family).splitlines() if line.startswith("add ")
    ]
    assert [line for line in added if line.split()[2] in {"0.0.0.0", "::"}] == []


# The parts of a policy that are right stay in force beside those that are not.
def test_a_bad_rule_leaves_its_neighbours_in_force(allowed: Judge) -> None:
    bad = {"from": [block("10.0.0.0/99")]}
    built = SHOP.flawed_policy("shop/p", accepting(bad, {"from": [pods(app="web")]}))

    assert reaching(allowed, built) == ["shop/web"]


def run(rules: Ruleset, source: str, destination: str, hook: Hook) -> Verdict:
    family, value = parse_address(source)
    packet = Packet(hook, family, value, parse_address(destination)[1], 6, 80)
    return simulate(rules, packet).verdict
