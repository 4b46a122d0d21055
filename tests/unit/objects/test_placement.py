"""Nodes and addresses for pods that have none: derived from their names, in nobody's way."""

import itertools

import pytest

from controller.objects.addresses import parse_address, parse_cidr
from controller.objects.assembly import build_cluster
from controller.objects.documents import Document
from controller.objects.kinds import Pod
from tests.unit.objects.writing import Manifest, assemble, codes, node, pod, running, workload


def pods(*manifests: Manifest) -> dict[str, Pod]:
    return {item.name: item for item in assemble(*manifests).cluster.pods}


def within(text: str, block: str) -> bool:
    family, value = parse_address(text)
    found = parse_cidr(block)
    return found.family == family and found.first <= value <= found.last


def test_without_nodes_an_address_comes_from_the_default_block() -> None:
    found = pods(pod("shop/a"))["a"]
    assert (len(found.ips), found.node) == (1, "")
    assert within(found.ips[0], "10.244.0.0/16")


def test_the_default_block_can_be_another() -> None:
    blocks = [parse_cidr("10.9.0.0/24"), parse_cidr("fd09::/64")]
    (found,) = build_cluster([Document(pod("shop/a"))], blocks).cluster.pods
    assert within(found.ips[0], "10.9.0.0/24")
    assert within(found.ips[1], "fd09::/64")


def test_a_pod_gets_an_address_of_each_family_of_its_nodes_blocks() -> None:
    found = pods(node("n1", "10.244.7.0/24", "fd00:7::/64"), pod("shop/a"))["a"]
    assert found.node == "n1"
    assert within(found.ips[0], "10.244.7.0/24")
    assert within(found.ips[1], "fd00:7::/64")


def test_families_are_those_of_the_other_pods_where_nodes_do_not_say() -> None:
    found = pods(running("shop/b", "fd00::1"), pod("shop/a"), node("n1"))["a"]
    assert [":" in text for text in found.ips] == [True]


def test_pods_spread_over_the_nodes() -> None:
    found = pods(node("n1"), node("n2"), node("n3"), *(pod(f"shop/p{number}") for number in range(60)))
    assert {item.node for item in found.values()} == {"n1", "n2", "n3"}


def test_the_node_that_a_pod_names_is_kept() -> None:
    assert pods(node("n1"), pod("shop/a", spec={"nodeName": "elsewhere"}))["a"].node == "elsewhere"


@pytest.mark.parametrize("address", ["10.244.2.9", "fd00:2::9"])
def test_a_pod_with_an_address_of_a_nodes_block_is_on_that_node(address: str) -> None:
    nodes = [node("n1", "10.244.1.0/24", "fd00:1::/64"), node("n2", "10.244.2.0/24", "fd00:2::/64")]
    assert pods(*nodes, running("shop/a", address))["a"].node == "n2"


def test_a_host_network_pod_is_on_the_node_of_its_address() -> None:
    manifests = [node("n1", ip="192.168.0.1"), node("n2", ip="192.168.0.2")]
    host = running("shop/a", "192.168.0.2", spec={"hostNetwork": True})
    assert pods(*manifests, host)["a"].node == "n2"


def test_a_synthetic_host_network_pod_has_the_addresses_of_its_node() -> None:
    found = pods(
        node("n1", "10.244.1.0/24", ip="192.168.0.1"), workload("DaemonSet", "a/p", {}, hostNetwork=True)
    )
    assert found["p"].ips == ("192.168.0.1",)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_gets_no_address(phase: str) -> None:
    assert pods(pod("shop/a", status={"phase": phase}))["a"].ips == ()


def test_the_order_of_the_files_changes_nothing() -> None:
    manifests = [
        node("n2", "10.244.2.0/30"),
        node("n1", "10.244.1.0/30"),
        *(pod(f"shop/p{number}") for number in range(3)),
    ]
    results = {repr(sorted(pods(*order).items())) for order in itertools.permutations(manifests)}
    places = {result.split("source=")[0] for result in results}
    assert len(places) == 1


def test_one_more_pod_moves_no_other() -> None:
    nodes = [node("n1", "10.244.1.0/24"), node("n2", "10.244.2.0/24")]
    many = [pod(f"shop/p{number}") for number in range(20)]
    before = {name: (item.node, item.ips) for name, item in pods(*nodes, *many[:-1]).items()}
    after = {name: (item.node, item.ips) for name, item in pods(*nodes, *many).items()}
    assert {name: after[name] for name in before} == before


def test_no_address_is_given_twice_nor_taken_from_pods_and_nodes() -> None:
    manifests = [
        node("n1", "10.0.0.0/28", ip="10.0.0.3"),
        running("shop/real", "10.0.0.5", node="n1"),
        *(pod(f"shop/p{number}") for number in range(12)),
    ]
    addresses = [text for item in pods(*manifests).values() for text in item.ips]
    assert len(set(addresses)) == len(addresses) == 13
    assert not set(addresses) & {"10.0.0.0", "10.0.0.3", "10.0.0.15"}


def test_a_block_that_is_full_is_a_warning() -> None:
    assembly = assemble(node("n1", "10.0.0.0/30"), *(pod(f"shop/p{number}") for number in range(5)))
    assert sum(bool(item.ips) for item in assembly.cluster.pods) == 2
    assert codes(assembly) == ["no-free-address"]
    assert "3 pods" in assembly.findings[0].message


@pytest.mark.parametrize(
    ("block", "count"), [("10.0.0.4/32", 1), ("10.0.0.4/31", 2), ("fd00::/127", 2), ("fd00::/126", 3)]
)
def test_the_smallest_blocks_are_used_up(block: str, count: int) -> None:
    assembly = assemble(node("n1", block), *(pod(f"shop/p{number}") for number in range(5)))
    assert sum(bool(item.ips) for item in assembly.cluster.pods) == count


# Pods on the host network of nodes whose addresses nobody says (rule 2.40).

HOST = {"hostNetwork": True}


def test_a_host_network_pod_without_a_known_node_has_an_address_of_its_own() -> None:
    found = pods(workload("DaemonSet", "a/p", {}, **HOST), pod("a/q", spec=HOST))
    assert all(within(item.ips[0], "100.64.0.0/16") for item in found.values())
    assert found["p"].ips != found["q"].ips


def test_host_network_pods_of_one_node_share_its_synthetic_address() -> None:
    found = pods(*(pod(f"a/{name}", spec=HOST | {"nodeName": f"n{name[0]}"}) for name in ("1a", "1b", "2a")))
    assert found["1a"].ips == found["1b"].ips != found["2a"].ips


def test_a_node_without_addresses_has_that_of_its_host_network_pods() -> None:
    cluster = assemble(node("n1"), pod("a/p", spec=HOST)).cluster
    assert within(cluster.nodes[0].ips[0], "100.64.0.0/16")
    assert cluster.pods[0].ips == cluster.nodes[0].ips
    with_pods = [running("a/p", "192.168.0.9", node="n1", spec=HOST), pod("a/q", spec=HOST)]
    cluster = assemble(node("n1"), *with_pods).cluster
    assert [cluster.nodes[0].ips, *(item.ips for item in cluster.pods)] == [("192.168.0.9",)] * 3


def test_a_synthetic_node_address_does_not_depend_on_whether_the_node_is_in_the_files() -> None:
    on_n1 = pod("a/p", spec=HOST | {"nodeName": "n1"})
    assert pods(on_n1)["p"].ips == pods(node("n1"), on_n1)["p"].ips


def test_synthetic_node_addresses_have_the_families_of_the_cluster() -> None:
    v6 = pods(running("a/x", "fd00::1"), pod("a/p", spec=HOST))["p"]
    assert [within(text, "fd64::/64") for text in v6.ips] == [True]
    both = pods(running("a/x", "10.0.0.1", "fd00::1"), pod("a/p", spec=HOST))["p"]
    assert [":" in text for text in both.ips] == [False, True]


def test_a_synthetic_node_address_is_not_one_that_is_taken() -> None:
    host = pod("a/p", spec=HOST | {"nodeName": "n1"})
    (taken,) = pods(host)["p"].ips
    assert pods(host, running("b/x", taken))["p"].ips != (taken,)


def test_a_finished_host_network_pod_gets_no_address() -> None:
    assert pods(pod("a/p", spec=HOST, status={"phase": "Failed"}))["p"].ips == ()


def test_the_order_of_the_files_changes_no_synthetic_node_address() -> None:
    manifests = [node("n1"), pod("a/p", spec=HOST | {"nodeName": "n2"}), pod("a/q", spec=HOST)]
    found = {
        tuple((item.name, item.ips) for item in pods(*order).values())
        for order in itertools.permutations(manifests)
    }
    assert len(found) == 1
