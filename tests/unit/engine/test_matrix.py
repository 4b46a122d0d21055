"""The matrix: who is in it, how the outside is cut, and what is allowed in special places."""

import itertools

import pytest

from controller.engine.connections import EVERYTHING, NOTHING, ConnectionSet
from controller.engine.externals import External, Partition
from controller.engine.matrix import Matrix, matrix_of
from controller.objects.addresses import BITS
from controller.objects.kinds import IPBlock, Protocol
from tests.unit.builder import ClusterBuilder, block, cluster, labels, namespaces, pods, port, read_policy

OPEN = (
    cluster()
    .ns("shop")
    .ns("bank")
    .pod("shop/web", labels={"app": "web"})
    .pod("shop/db", labels={"app": "db"})
)
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def matrix(built: ClusterBuilder) -> Matrix:
    return matrix_of(built.build())


def tcp(*ports: int) -> ConnectionSet:
    return ConnectionSet.of((Protocol.TCP, number, number) for number in ports)


def externals(*blocks: dict[str, object]) -> tuple[External, ...]:
    policy = read_policy("shop/some", {"podSelector": {}, "ingress": [{"from": list(blocks)}]})
    return Partition.of([policy]).externals()


# Who is in it


def test_pods_are_sorted_by_namespace_and_name() -> None:
    built = cluster().pod("shop-2/a").pod("shop/b").pod("shop/a")
    assert [pod.key for pod in matrix(built).pods] == [("shop", "a"), ("shop", "b"), ("shop-2", "a")]


def test_without_policies_everybody_reaches_everybody() -> None:
    found = matrix(OPEN)
    ends = ["shop/db", "shop/web", "0.0.0.0/0"]
    for source, destination in itertools.product(ends, ends):
        expected = NOTHING if source == destination == "0.0.0.0/0" else EVERYTHING
        assert found.between(source, destination) == expected


def test_a_pair_without_anything_allowed_is_absent() -> None:
    found = matrix(OPEN.policy("shop/deny", DENY))
    assert set(found.connections) == {("shop/web", "shop/web"), ("shop/db", "shop/db")}


def test_a_pod_reaches_itself_whatever_policies_say() -> None:  # rule 2.44
    assert matrix(OPEN.policy("shop/deny", DENY)).between("shop/web", "shop/web") == EVERYTHING


def test_a_pod_that_has_finished_is_listed_without_connections() -> None:  # rule 2.54
    found = matrix(OPEN.pod("shop/job", phase="Succeeded"))
    assert [pod.name for pod in found.pods] == ["db", "job", "web"]
    assert not any("shop/job" in pair for pair in found.connections)


def test_a_quarantined_pod_reaches_only_itself() -> None:
    found = matrix(OPEN.pod("shop/odd", quarantined=True))
    assert [pair for pair in found.connections if "shop/odd" in pair] == [("shop/odd", "shop/odd")]


def test_both_ends_have_to_agree() -> None:  # rule 2.8
    built = OPEN.policy(
        "shop/in", {"podSelector": labels(app="db"), "ingress": [{"ports": [port(80), port(81)]}]}
    )
    egress = {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"ports": [port(81), port(82)]}],
    }
    assert matrix(built.policy("shop/out", egress)).between("shop/web", "shop/db") == tcp(81)


def test_a_named_port_of_ingress_is_that_of_each_subject() -> None:  # rule 2.34
    built = (
        OPEN.pod("shop/a", labels={"app": "x"}, ports=["http:8080"])
        .pod("shop/b", labels={"app": "x"}, ports=["http:9090"])
        .policy("shop/in", {"podSelector": labels(app="x"), "ingress": [{"ports": [port("http")]}]})
    )
    found = matrix(built)
    assert (found.between("shop/web", "shop/a"), found.between("shop/web", "shop/b")) == (
        tcp(8080),
        tcp(9090),
    )


def test_a_named_port_of_egress_is_that_of_each_destination() -> None:  # rule 2.35
    egress = {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"ports": [port("http")]}],
    }
    built = OPEN.pod("shop/a", ports=["http:8080"]).pod("shop/b", ports=["http:9090"])
    found = matrix(built.policy("shop/out", egress))
    assert (found.between("shop/web", "shop/a"), found.between("shop/web", "shop/b")) == (
        tcp(8080),
        tcp(9090),
    )
    assert found.between("shop/web", "0.0.0.0/0") == NOTHING


def test_a_pod_selector_looks_in_the_namespace_of_its_own_policy() -> None:  # rule 2.12
    ingress = {"podSelector": {}, "ingress": [{"from": [pods(app="web")]}]}
    built = OPEN.pod("bank/web", labels={"app": "web"}).pod("bank/db")
    found = matrix(built.policy("shop/in", ingress).policy("bank/in", ingress))
    assert found.between("shop/web", "shop/db") == found.between("bank/web", "bank/db") == EVERYTHING
    assert found.between("shop/web", "bank/db") == found.between("bank/web", "shop/db") == NOTHING


def test_one_address_family_that_lets_it_through_is_enough() -> None:
    built = (
        cluster()
        .pod("shop/web", ip=("10.0.0.1", "fd00::1"))
        .pod("shop/db", ip=("10.0.0.2", "fd00::2"), labels={"app": "db"})
        .policy("shop/in", {"podSelector": labels(app="db"), "ingress": [{"from": [block("::/0")]}]})
    )
    found = matrix(built)
    assert found.between("shop/web", "shop/db") == EVERYTHING
    assert found.between("::/0", "shop/db") == EVERYTHING
    assert found.between("0.0.0.0/0", "shop/db") == NOTHING


def test_a_range_has_no_connections_with_pods_of_the_other_family() -> None:  # rule 2.21
    assert matrix(OPEN).between("shop/web", "::/0") == NOTHING


# Nodes


def nodes() -> ClusterBuilder:
    return (
        OPEN.node("node-1", "172.16.0.1")
        .node("node-2", "172.16.0.2")
        .pod("shop/agent", ip="172.16.0.1", host_network=True)
        .pod("shop/far", node="node-2")
        .policy("shop/deny", DENY)
    )


def test_a_host_network_pod_reaches_the_pods_of_its_node_only() -> None:  # rules 2.40, 2.46
    found = matrix(nodes())
    assert found.between("shop/agent", "shop/web") == EVERYTHING
    assert found.between("shop/agent", "shop/far") == NOTHING


def test_the_matrix_says_what_a_node_gets_only_because_the_pod_is_its_own() -> None:  # rule 2.40
    found = matrix(
        nodes().policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"ports": [port(80)]}]})
    )
    assert found.from_other_nodes == {
        ("shop/agent", "shop/web"): NOTHING,
        ("shop/agent", "shop/db"): tcp(80),
    }


def test_no_selector_finds_a_host_network_pod() -> None:  # rule 2.43
    egress = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [namespaces()]}]}
    found = matrix(nodes().policy("shop/out", egress))
    assert found.between("shop/web", "shop/agent") == NOTHING


def test_policies_do_not_isolate_a_host_network_pod() -> None:  # rule 2.42
    found = matrix(nodes())
    assert found.between("0.0.0.0/0", "shop/agent") == EVERYTHING
    assert found.between("shop/agent", "0.0.0.0/0") == EVERYTHING


def test_a_range_that_holds_the_address_of_the_node_is_still_outside() -> None:
    ingress = {"podSelector": {}, "ingress": [{"from": [block("172.16.0.1/32")], "ports": [port(80)]}]}
    assert matrix(nodes().policy("shop/in", ingress)).between("172.16.0.1/32", "shop/web") == tcp(80)


def test_two_pods_at_one_address_get_what_both_allow() -> None:  # rule 2.56
    built = (
        OPEN.pod("shop/new", ip="10.0.0.2", labels={"app": "new"})
        .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"ports": [port(80), port(81)]}]})
        .policy("shop/new", {"podSelector": labels(app="new"), "ingress": [{"ports": [port(81), port(82)]}]})
    )
    assert matrix(built).between("shop/web", "shop/db") == tcp(81)


# The outside


def test_without_blocks_each_family_is_one_range() -> None:
    assert [each.id for each in externals(pods())] == ["0.0.0.0/0", "::/0"]


def test_a_block_cuts_its_family_and_leaves_the_other_whole() -> None:
    assert [(each.id, each.title) for each in externals(block("203.0.113.0/26"))] == [
        ("0.0.0.0-203.0.112.255+1", "other IPv4"),
        ("203.0.113.0/26", "203.0.113.0/26"),
        ("::/0", "any IPv6"),
    ]


def test_addresses_of_excepts_belong_to_the_rest() -> None:  # rule 2.20
    found = {each.title: each.ranges for each in externals(block("198.51.100.0/24", "198.51.100.64/28"))}
    assert found["198.51.100.0/24 (part)"] == (
        ("198.51.100.0", "198.51.100.63"),
        ("198.51.100.80", "198.51.100.255"),
    )
    assert ("198.51.100.64", "198.51.100.79") in found["other IPv4"]


def test_blocks_that_overlap_are_cut_where_they_do() -> None:
    found = [each.id for each in externals(block("10.0.0.0/8"), block("10.1.0.0/16"))]
    assert found == ["0.0.0.0-9.255.255.255+1", "10.0.0.0-10.0.255.255+1", "10.1.0.0/16", "::/0"]


def test_a_block_that_is_the_whole_family_leaves_no_rest() -> None:
    assert [each.title for each in externals(block("0.0.0.0/0"), block("::/0"))] == ["0.0.0.0/0", "::/0"]


def test_two_halves_leave_no_rest() -> None:
    assert [each.id for each in externals(block("0.0.0.0/1"), block("128.0.0.0/1"))] == [
        "0.0.0.0/1",
        "128.0.0.0/1",
        "::/0",
    ]


def test_titles_are_different_for_different_ranges() -> None:
    parts = externals(block("10.0.0.0/8", "10.0.0.0/16"), block("10.0.0.0/8", "10.1.0.0/16"))
    assert len({each.title for each in parts}) == len(parts)


def test_blocks_of_a_direction_that_the_policy_does_not_have_cut_nothing() -> None:  # rule 2.4
    policy = read_policy(
        "shop/some",
        {"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{"to": [block("10.0.0.0/8")]}]},
    )
    assert len(Partition.of([policy]).externals()) == 2


@pytest.mark.parametrize(("family", "host"), [(4, "255.255.255.255/32"), (6, f"ffff{':ffff' * 7}/128")])
def test_the_last_address_of_a_family_can_be_in_a_block(family: int, host: str) -> None:
    last = (1 << BITS[family]) - 1
    policy = read_policy("shop/some", {"podSelector": {}, "ingress": [{"from": [block(host)]}]})
    rest, *others = [each for each in Partition.of([policy]).externals() if each.family == family]
    assert rest.addresses.intervals == ((0, last - 1),)
    assert [each.addresses.intervals for each in others] == [((last, last),)]


def test_asking_for_the_bit_of_an_unknown_block_is_an_error() -> None:
    policy = read_policy("shop/some", {"podSelector": {}, "ingress": [{"from": [block("10.0.0.0/8")]}]})
    peers = policy.ingress[0].peers
    assert peers is not None
    known = peers[0].ip_block
    assert isinstance(known, IPBlock)
    with pytest.raises(KeyError):
        Partition([]).bit(known)


# Parts of it


def test_around_a_namespace_there_are_only_its_connections_and_their_ends() -> None:
    built = OPEN.pod("bank/a").pod("bank/b").policy("bank/deny", DENY).policy("shop/deny", DENY)
    out = {"podSelector": labels(app="web"), "policyTypes": ["Egress"], "egress": [{"to": [namespaces()]}]}
    let_in = {"podSelector": {}, "ingress": [{"from": [namespaces()]}]}
    found = matrix(built.policy("shop/out", out).policy("bank/in", let_in)).around({"bank"})
    assert set(found.connections) == {
        ("bank/a", "bank/a"),
        ("bank/b", "bank/b"),
        ("shop/web", "bank/a"),
        ("shop/web", "bank/b"),
    }
    assert [pod.name for pod in found.pods] == ["a", "b", "web"]
    assert [external.id for external in found.externals] == ["0.0.0.0/0", "::/0"]


def test_reduced_to_a_port_other_ports_and_pairs_without_it_are_gone() -> None:
    built = OPEN.policy(
        "shop/in", {"podSelector": labels(app="db"), "ingress": [{"ports": [port(80), port(81)]}]}
    )
    found = matrix(built).reduced_to(tcp(80))
    assert found.between("shop/web", "shop/db") == tcp(80)
    assert found.reduced_to(tcp(82)).connections == {}
