"""Who lives at an address."""

import pytest

from controller.engine.endpoints import Addresses, Endpoint
from controller.objects.addresses import AddressError, parse_cidr
from tests.unit.builder import ClusterBuilder, cluster

NETWORK = (
    cluster()
    .node("node-1", "172.16.0.1", "fd01::1")
    .node("node-2", "172.16.0.2")
    .pod("shop/web", ip=("10.0.0.1", "fd00::1"))
    .pod("shop/db", ip="10.0.0.2", node="node-2")
)


def names_at(built: ClusterBuilder, address: str) -> list[str]:
    return [pod.name for pod in Addresses(built.build()).at(address).pods]


def test_a_pod_lives_at_its_addresses() -> None:
    assert names_at(NETWORK, "10.0.0.1") == ["web"]
    assert names_at(NETWORK, "fd00::1") == ["web"]


# Rule 2.57
def test_a_pod_has_one_endpoint_for_each_address() -> None:
    found = Addresses(NETWORK.build()).of_pod(NETWORK.the_pod("shop/web"))

    assert [(end.family, end.address) for end in found] == [(4, "10.0.0.1"), (6, "fd00::1")]


def test_an_address_of_nobody_is_outside() -> None:
    found = NETWORK.end("192.0.2.1")

    assert (found.pods, found.subjects, found.node) == ((), (), "")


def test_an_address_of_a_node_is_the_node() -> None:
    found = NETWORK.end("172.16.0.2")

    assert (found.pods, found.node) == ((), "node-2")


# Rule 2.43
def test_a_host_network_pod_is_its_node() -> None:
    built = NETWORK.pod("shop/agent", ip="172.16.0.1", host_network=True)

    (found,) = Addresses(built.build()).of_pod(built.the_pod("shop/agent"))

    assert found == built.end("172.16.0.1")
    assert (found.pods, found.subjects, found.node) == ((), (), "node-1")


# Rule 2.43
def test_a_host_network_pod_tells_where_the_addresses_of_an_unknown_node_are() -> None:
    built = cluster().pod("shop/agent", ip="172.16.0.9", node="node-9", host_network=True)

    assert built.end("172.16.0.9").node == "node-9"


# Rule 2.54
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("host_network", [False, True])
def test_a_finished_pod_has_no_endpoint_and_its_address_is_nobodys(phase: str, host_network: bool) -> None:
    built = cluster().pod("shop/job", ip="10.0.0.7", phase=phase, host_network=host_network)

    assert Addresses(built.build()).of_pod(built.the_pod("shop/job")) == ()
    assert built.end("10.0.0.7") == Endpoint(4, 0x0A000007)


# Rule 2.55
@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown", ""])
def test_any_other_phase_is_live(phase: str) -> None:
    assert names_at(cluster().pod("shop/web", ip="10.0.0.7", phase=phase), "10.0.0.7") == ["web"]


# Rule 2.53
def test_a_pod_without_an_address_has_no_endpoint() -> None:
    built = cluster().pod("shop/web", ip=())

    assert Addresses(built.build()).of_pod(built.the_pod("shop/web")) == ()


# Rule 2.56
def test_two_pods_can_have_one_address_and_both_are_found() -> None:
    built = NETWORK.pod("shop/new", ip="10.0.0.1")

    assert sorted(names_at(built, "10.0.0.1")) == ["new", "web"]


# Rule 2.56
def test_of_pods_with_one_address_those_of_the_node_in_question_are_judged_and_the_pod_asked_for_first() -> (
    None
):
    built = NETWORK.pod("shop/a", ip="10.0.0.1", node="node-2").pod("shop/x", ip="10.0.0.1")

    (found, *_) = Addresses(built.build()).of_pod(built.the_pod("shop/x"))

    assert [pod.name for pod in found.subjects] == ["x", "web"]
    assert len(found.pods) == 3


def test_a_mapped_ipv6_spelling_is_the_ipv4_address() -> None:
    assert names_at(NETWORK, "::ffff:10.0.0.1") == ["web"]


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(AddressError):
        NETWORK.end("10.0.0.256")


# Rules 2.19, 2.21
@pytest.mark.parametrize(
    ("address", "block", "inside"),
    [
        ("10.0.0.255", "10.0.0.0/24", True),
        ("10.0.1.0", "10.0.0.0/24", False),
        ("9.255.255.255", "10.0.0.0/8", False),
        ("10.0.0.1", "0.0.0.0/0", True),
        ("10.0.0.1", "::/0", False),
        ("fd00::1", "0.0.0.0/0", False),
        ("64:ff9b::a00:1", "::/0", True),
        ("10.0.0.1", "10.0.0.1/32", True),
    ],
)
def test_an_address_is_in_a_block_of_its_own_family_alone(address: str, block: str, inside: bool) -> None:
    assert cluster().end(address).is_in(parse_cidr(block)) is inside


def test_people_see_the_pod_the_node_or_the_address() -> None:
    assert str(NETWORK.end("10.0.0.1")) == "shop/web"
    assert str(NETWORK.end("172.16.0.2")) == "node node-2 (172.16.0.2)"
    assert str(NETWORK.end("192.0.2.1")) == "192.0.2.1"
