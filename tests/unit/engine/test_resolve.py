"""What a node has to enforce, and that it follows every change of the cluster."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from controller.engine.changes import Changes
from controller.engine.resolve import Resolver
from controller.engine.rulesets import LocalPod, NamedPortGroup, PodGroup
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import ContainerPort, Direction, Namespace, Node, Protocol
from controller.objects.labels import EVERYTHING, LabelSelector
from tests.unit.builder import (
    NAME_LABEL,
    ClusterBuilder,
    cluster,
    labels,
    namespaces,
    pods,
    port,
    read_policy,
)

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
WEB = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .pod("shop/web", ip="10.0.0.1", labels={"app": "web"})
    .pod("shop/db", ip="10.0.0.2", labels={"app": "db"}, ports=["sql:5432"])
    .pod("bank/web", ip="10.0.0.3", labels={"app": "web"}, node="node-2")
)
WEB_OF_SHOP = PodGroup("shop", None, LabelSelector.of({"app": "web"}))
ALL_OF_TEAM_B = PodGroup("", LabelSelector.of({"team": "b"}), EVERYTHING)
FROM_WEB = {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]}
FROM_TEAM_B = {"podSelector": labels(app="db"), "ingress": [{"from": [namespaces(team="b")]}]}
TO_SQL = {"policyTypes": ["Egress"], "egress": [{"to": [pods()], "ports": [port("sql")]}]}
SQL_OF_SHOP = NamedPortGroup(PodGroup("shop", None, EVERYTHING), "sql", Protocol.TCP)


def local_pod(built: ClusterBuilder, name: str, node: str = "node-1") -> LocalPod:
    return next(pod for pod in built.view(node).pods if pod.name == name)


def members(resolver: Resolver, group: PodGroup = WEB_OF_SHOP) -> set[str]:
    return set(resolver.members(group))


# The view of a node


def test_a_node_lists_its_own_pods_that_some_policy_selects_and_no_others() -> None:
    built = WEB.policy("shop/p", FROM_WEB).policy("bank/p", {})

    assert [pod.name for pod in built.view("node-1").pods] == ["db"]
    assert [pod.name for pod in built.view("node-2").pods] == ["web"]


# Rule 2.7
def test_a_pod_states_the_directions_it_is_isolated_in_and_by_which_rulesets() -> None:
    built = WEB.policy("shop/in", FROM_WEB).policy("shop/out", TO_SQL)

    found = local_pod(built, "db")

    assert found.isolated == (EGRESS, INGRESS)
    assert [str(ruleset) for ruleset in found.rulesets] == ["shop/in ingress", "shop/out egress"]


# Rule 2.7
def test_a_policy_without_rules_isolates() -> None:
    found = local_pod(WEB.policy("shop/deny", {}), "db")

    assert found.isolated == (INGRESS,)


def test_a_quarantined_pod_is_isolated_both_ways_without_any_ruleset() -> None:
    built = WEB.pod("shop/odd", labels={"app": "web"}, quarantined=True).policy("shop/p", FROM_WEB)

    found = local_pod(built, "odd")

    assert (found.isolated, found.rulesets) == ((EGRESS, INGRESS), ())
    assert members(built.resolver()) == {"10.0.0.1"}


# Rules 2.42, 2.43
def test_a_host_network_pod_is_in_no_view_and_in_no_group() -> None:
    built = WEB.pod("shop/agent", ip="172.16.0.1", labels={"app": "web"}, host_network=True).policy(
        "shop/p", {"ingress": [{"from": [pods(app="web")]}]}
    )

    view = built.view()

    assert "agent" not in {pod.name for pod in view.pods}
    assert "172.16.0.1" not in view.known
    assert view.groups == {WEB_OF_SHOP: frozenset({"10.0.0.1"})}


# Rule 2.54
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_in_no_view_and_in_no_group(phase: str) -> None:
    built = WEB.pod("shop/job", labels={"app": "web"}, phase=phase).policy(
        "shop/p", {"ingress": [{"from": [pods(app="web")]}]}
    )

    view = built.view()

    assert "job" not in {pod.name for pod in view.pods}
    assert view.groups == {WEB_OF_SHOP: frozenset({"10.0.0.1"})}
    assert built.the_pod("shop/job").ips[0] not in view.known


# Rule 2.53
def test_a_pod_without_an_address_is_listed_as_isolated_before_it_has_one() -> None:
    built = WEB.pod("shop/new", ip=(), labels={"app": "db"}).policy("shop/p", FROM_WEB)

    assert local_pod(built, "new").isolated == (INGRESS,)


# Rule 2.57
def test_a_group_holds_the_addresses_of_both_families() -> None:
    built = WEB.pod("shop/web", ip=("10.0.0.1", "fd00::1"), labels={"app": "web"}).policy("shop/p", FROM_WEB)

    assert members(built.resolver()) == {"10.0.0.1", "fd00::1"}


# Rule 2.34
def test_a_pod_carries_those_of_its_named_ports_that_its_ingress_rules_name() -> None:
    built = (
        WEB.pod("shop/db", labels={"app": "db"}, ports=["sql:5432", "sql:5433/UDP", "sql:5434", "http:80"])
        .policy("shop/in", {"podSelector": labels(app="db"), "ingress": [{"ports": [port("sql")]}]})
        .policy("shop/out", {"policyTypes": ["Egress"], "egress": [{"ports": [port("http")]}]})
    )

    assert local_pod(built, "db").named_ports == (
        ContainerPort("sql", Protocol.TCP, 5432),
        ContainerPort("sql", Protocol.TCP, 5434),
    )


# Rules 2.35, 2.36
def test_a_named_port_group_holds_address_protocol_and_port_of_the_pods_that_have_it() -> None:
    built = (
        WEB.pod("shop/db", ip=("10.0.0.2", "fd00::2"), ports=["sql:5432", "sql:5433/UDP"])
        .pod("shop/other", ports=["sql:6543"], ip="10.0.0.9")
        .pod("bank/db", ports=["sql:1"])
        .policy("shop/out", TO_SQL)
    )

    assert built.view().named_ports == {
        SQL_OF_SHOP: frozenset(
            {
                ("10.0.0.2", Protocol.TCP, 5432),
                ("fd00::2", Protocol.TCP, 5432),
                ("10.0.0.9", Protocol.TCP, 6543),
            }
        )
    }


def test_a_view_holds_the_groups_of_its_own_pods_rulesets_and_no_others() -> None:
    built = WEB.policy("shop/p", FROM_WEB).policy("bank/p", {"ingress": [{"from": [namespaces(team="a")]}]})

    assert set(built.view("node-1").groups) == {WEB_OF_SHOP}
    assert set(built.view("node-2").rulesets) == {
        ruleset for ruleset in built.resolver().rulesets if ruleset.namespace == "bank"
    }


def test_policies_that_ask_for_the_same_pods_share_one_group() -> None:
    built = WEB.policy("shop/p", FROM_WEB).policy("shop/q", FROM_WEB)

    assert built.resolver().groups() == (WEB_OF_SHOP,)


def test_known_are_the_addresses_of_all_live_pods_of_the_node_isolated_or_not() -> None:
    assert WEB.policy("shop/p", FROM_WEB).view().known == ("10.0.0.1", "10.0.0.2")


def test_a_view_brings_the_pod_blocks_of_its_node() -> None:
    built = WEB.node("node-1", pods=["10.0.0.0/24", "fd00::/64"])

    assert built.view("node-1").pod_cidrs == (parse_cidr("10.0.0.0/24"), parse_cidr("fd00::/64"))
    assert built.view("node-2").pod_cidrs == ()


def test_nodes_are_those_that_are_known_and_those_that_have_pods() -> None:
    assert WEB.node("node-9").resolver().nodes() == ("node-1", "node-2", "node-9")


def test_a_view_of_an_unknown_node_is_empty() -> None:
    view = WEB.policy("shop/p", FROM_WEB).view("nowhere")

    assert (view.pods, view.rulesets, view.groups, view.known) == ((), {}, {}, ())


def test_a_group_that_nobody_references_is_an_error_to_ask_for() -> None:
    resolver = WEB.resolver()

    with pytest.raises(KeyError):
        resolver.members(WEB_OF_SHOP)
    with pytest.raises(KeyError):
        resolver.endpoints(SQL_OF_SHOP)


# Rule 2.58
def test_pods_of_a_namespace_that_is_gone_are_in_no_group_and_still_isolated() -> None:
    built = WEB.policy("shop/p", FROM_WEB).without_ns("shop")

    assert members(built.resolver()) == set()
    assert local_pod(built, "db").isolated == (INGRESS,)


# Rule 2.58
def test_a_policy_that_comes_after_its_namespace_is_gone_finds_no_peers() -> None:
    resolver = WEB.without_ns("shop").resolver()

    resolver.put_policy(read_policy("shop/p", FROM_WEB))

    assert members(resolver) == set()


# Rule 2.58
def test_a_namespace_that_comes_back_brings_its_pods() -> None:
    resolver = WEB.policy("shop/p", FROM_WEB).without_ns("shop").resolver()

    resolver.put_namespace(Namespace(name="shop", labels={NAME_LABEL: "shop"}))

    assert members(resolver) == {"10.0.0.1"}


# Changes

BASE = WEB.policy("shop/p", FROM_WEB).policy("shop/q", FROM_TEAM_B).policy("shop/out", TO_SQL)


@pytest.mark.parametrize(
    "later",
    [
        BASE.pod("shop/web2", labels={"app": "web"}),
        BASE.pod("shop/web", labels={"app": "x"}),
        BASE.pod("shop/web", ip="10.0.0.77", labels={"app": "web"}),
        BASE.pod("shop/web", node="node-2", labels={"app": "web"}),
        BASE.pod("shop/web", labels={"app": "web"}, phase="Succeeded"),
        BASE.pod("shop/web", labels={"app": "web"}, quarantined=True),
        BASE.pod("shop/db", labels={"app": "db"}, ports=["sql:6543"]),
        BASE.without_pod("shop/web"),
        BASE.without_pod("shop/db"),
        BASE.ns("bank", team="c"),
        BASE.ns("shop", team="b"),
        BASE.without_ns("bank"),
        BASE.without_ns("shop"),
        BASE.policy("shop/p", {}),
        BASE.policy("shop/p", {"podSelector": labels(app="web")}),
        BASE.policy("shop/out", {"policyTypes": ["Egress"]}),
        BASE.policy("shop/out", {"ingress": [{"from": [pods(app="web")], "ports": [port("sql")]}]}),
    ],
    ids=[
        "pod comes",
        "pod is relabelled",
        "pod has another address",
        "pod moves",
        "pod finishes",
        "pod cannot be read",
        "port has another number",
        "peer goes",
        "subject goes",
        "namespace stops matching",
        "namespace starts matching",
        "peers' namespace goes",
        "own namespace goes",
        "policy loses its rules",
        "policy selects others",
        "policy loses a named port",
        "policy changes direction",
    ],
)
# Rules 2.56, 2.58
def test_after_a_change_and_after_its_undoing_the_state_is_the_one_made_from_scratch(
    later: ClusterBuilder,
) -> None:
    resolver = BASE.resolver()

    for target, before in ((later, BASE), (BASE, later)):
        bring(resolver, before, target)
        assert state(resolver) == state(target.resolver())


def bring(resolver: Resolver, before: ClusterBuilder, after: ClusterBuilder) -> None:
    """Tell a resolver what two clusters differ in: what came or changed first, then what is gone."""
    old, new = before.build(), after.build()
    for namespace in set(map(_frozen, new.namespaces)) - set(map(_frozen, old.namespaces)):
        resolver.put_namespace(Namespace(name=namespace[0], labels=dict(namespace[1])))
    for pod in new.pods:
        if pod not in old.pods:
            resolver.put_pod(pod)
    for policy in new.policies:
        if policy not in old.policies:
            resolver.put_policy(policy)
    for gone in {pod.key for pod in old.pods} - {pod.key for pod in new.pods}:
        resolver.remove_pod(gone)
    for name in {found.name for found in old.namespaces} - {found.name for found in new.namespaces}:
        resolver.remove_namespace(name)


def _frozen(namespace: Namespace) -> tuple[str, frozenset[tuple[str, str]]]:
    return namespace.name, frozenset(namespace.labels.items())


def state(resolver: Resolver) -> dict[str, Any]:
    return {node: resolver.view(node) for node in ("node-1", "node-2")}


# What is reported


def changes_of(change: Callable[[Resolver], None], built: ClusterBuilder = BASE) -> Changes:
    resolver = built.resolver()
    change(resolver)
    return resolver.take_changes()


def test_a_fresh_resolver_reports_nothing() -> None:
    assert not BASE.resolver().take_changes()


def test_a_peer_that_comes_is_a_member_that_came_and_touches_its_own_node_alone() -> None:
    pod = BASE.pod("bank/new", ip="10.0.0.9", node="node-2").the_pod("bank/new")

    found = changes_of(lambda resolver: resolver.put_pod(pod))

    assert found.members == {ALL_OF_TEAM_B: {"10.0.0.9": True}}
    assert (found.rulesets, found.pods, found.nodes) == (set(), {("bank", "new")}, {"node-2"})


def test_a_peer_that_goes_is_a_member_that_went() -> None:
    found = changes_of(lambda resolver: resolver.remove_pod(("bank", "web")))

    assert found.members == {ALL_OF_TEAM_B: {"10.0.0.3": False}}


def test_what_comes_and_goes_between_two_takings_is_no_member_change() -> None:
    pod = BASE.pod("bank/new", ip="10.0.0.9").the_pod("bank/new")

    def come_and_go(resolver: Resolver) -> None:
        resolver.put_pod(pod)
        resolver.remove_pod(pod.key)

    assert changes_of(come_and_go).members == {}


# Rule 2.56
def test_an_address_that_changes_hands_inside_of_a_group_is_no_change_of_the_group() -> None:
    heir = BASE.pod("bank/heir", ip="10.0.0.3", node="node-2").the_pod("bank/heir")

    def hand_over(resolver: Resolver) -> None:
        resolver.put_pod(heir)
        resolver.remove_pod(("bank", "web"))

    assert changes_of(hand_over).members == {}


# Rule 2.56
def test_an_address_that_a_member_has_already_is_no_news_when_it_comes_and_when_it_goes() -> None:
    heir = BASE.pod("bank/heir", ip="10.0.0.3", node="node-2").the_pod("bank/heir")
    resolver = BASE.resolver()

    resolver.put_pod(heir)
    assert resolver.take_changes().members == {}
    resolver.remove_pod(("bank", "web"))
    assert resolver.take_changes().members == {}
    resolver.remove_pod(heir.key)
    assert resolver.take_changes().members == {ALL_OF_TEAM_B: {"10.0.0.3": False}}


# Rules 2.35, 2.56
def test_an_endpoint_that_a_member_has_already_is_no_news() -> None:
    twin = BASE.pod("shop/twin", ip="10.0.0.2", ports=["sql:5432", "sql:6543"]).the_pod("shop/twin")

    found = changes_of(lambda resolver: resolver.put_pod(twin))

    assert found.members == {SQL_OF_SHOP: {("10.0.0.2", Protocol.TCP, 6543): True}}


def test_a_policy_that_starts_to_ask_for_a_name_reports_all_who_have_it_and_one_that_stops_too() -> None:
    resolver = WEB.resolver()

    resolver.put_policy(read_policy("shop/out", TO_SQL))
    assert resolver.take_changes().members[SQL_OF_SHOP] == {("10.0.0.2", Protocol.TCP, 5432): True}
    resolver.remove_policy(("shop", "out"))
    assert resolver.take_changes().members[SQL_OF_SHOP] == {("10.0.0.2", Protocol.TCP, 5432): False}


def test_an_edited_policy_is_a_changed_ruleset_and_touches_the_nodes_of_its_pods() -> None:
    policy = read_policy("shop/p", {"podSelector": labels(app="db")})

    found = changes_of(lambda resolver: resolver.put_policy(policy))

    assert [str(ruleset) for ruleset in found.rulesets] == ["shop/p ingress"]
    assert found.nodes == {"node-1"}
    assert found.members == {WEB_OF_SHOP: {"10.0.0.1": False}}  # nobody asks for the group any more


def test_a_policy_that_comes_and_one_that_goes_touch_the_pods_they_select_and_their_nodes() -> None:
    resolver = BASE.resolver()

    resolver.put_policy(read_policy("bank/deny", {}))
    came = resolver.take_changes()
    resolver.remove_policy(("bank", "deny"))
    went = resolver.take_changes()

    for found in (came, went):
        assert (found.pods, found.nodes) == ({("bank", "web")}, {"node-2"})
        assert [str(ruleset) for ruleset in found.rulesets] == ["bank/deny ingress"]


def test_the_same_policy_again_is_no_change_even_where_it_is_written_differently() -> None:
    rewritten = {
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [pods(app="web")], "ports": []}],
    }

    assert not changes_of(lambda resolver: resolver.put_policy(read_policy("shop/p", rewritten)))


def test_the_same_pod_again_is_no_change() -> None:
    again = msgspec.structs.replace(BASE.the_pod("shop/web"), phase="Pending", uid="other")

    assert not changes_of(lambda resolver: resolver.put_pod(again))


def test_a_relabelled_namespace_changes_the_members_of_the_groups_that_ask_for_its_labels() -> None:
    relabelled = Namespace(name="bank", labels={"team": "z", NAME_LABEL: "bank"})

    found = changes_of(lambda resolver: resolver.put_namespace(relabelled))

    assert found.members == {ALL_OF_TEAM_B: {"10.0.0.3": False}}
    assert found.nodes == set()


def test_a_node_that_changes_is_reported_once() -> None:
    node = Node(name="node-1", pod_cidrs=(parse_cidr("10.0.0.0/24"),))

    def put_twice(resolver: Resolver) -> None:
        resolver.put_node(node)
        resolver.take_changes()
        resolver.put_node(node)

    assert changes_of(lambda resolver: resolver.put_node(node)).nodes == {"node-1"}
    assert not changes_of(put_twice)


def test_removing_what_is_not_there_is_no_change() -> None:
    def remove(resolver: Resolver) -> None:
        resolver.remove_pod(("no", "pod"))
        resolver.remove_policy(("no", "policy"))
        resolver.remove_namespace("nowhere")
        resolver.remove_node("nobody")

    assert not changes_of(remove)


def test_a_node_that_is_gone_keeps_its_pods_until_they_go() -> None:
    resolver = BASE.node("node-1", pods=["10.0.0.0/24"]).resolver()

    resolver.remove_node("node-1")

    assert resolver.view("node-1").pod_cidrs == ()
    assert {pod.name for pod in resolver.view("node-1").pods} == {"web", "db"}
    assert resolver.take_changes().nodes == {"node-1"}


def test_changes_are_handed_over_once() -> None:
    resolver = BASE.resolver()
    resolver.remove_pod(("bank", "web"))

    assert resolver.take_changes()
    assert not resolver.take_changes()
