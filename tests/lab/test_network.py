"""The network of a lab alone: nodes and pods of both CNI styles, who answers there, and that it all goes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.addressing import NodePlace, plan_node
from controller.lab.listeners import Listener
from controller.lab.namespaces import CommandError, Namespace, named
from controller.lab.network import Names, Network, PodLink
from controller.lab.probing import Outcome, Shot, fire
from controller.lab.wiring import Attachment, Cni
from controller.objects.kinds import Protocol
from tests.kernel.requirements import missing

pytestmark = pytest.mark.kernel

NODES = [plan_node(f"node-{number}", number, (4, 6)) for number in (1, 2)]
PODS = {"a": (0, 2), "b": (0, 3), "c": (1, 2)}
"""Which node each is on, and the last part of its address."""


def address(pod: str, family: int) -> str:
    node, last = PODS[pod]
    return f"10.244.{node + 1}.{last}" if family == 4 else f"fd00:244:{node + 1}::{last}"


def link(names: Names, pod: str) -> PodLink:
    addresses = {family: address(pod, family) for family in (4, 6)}
    return PodLink(names.pod("x", pod), NODES[PODS[pod][0]], Attachment(f"pod{PODS[pod][1]}", addresses))


@pytest.fixture(params=list(Cni))
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    lacking = missing(Backend.NFT, request.param)
    if lacking:
        pytest.skip(lacking)
    found = Network(Names(f"net{os.getpid()}"), request.param, Backend.NFT)
    try:
        found.add_fabric((4, 6))
        for node in NODES:
            found.add_node(node)
        found.add_pods([link(found.names, pod) for pod in PODS])
        yield found
    finally:
        found.remove()


def opened(stack: ExitStack, network: Network) -> dict[str, Namespace]:
    return {name: stack.enter_context(Namespace(name)) for name in named(network.names.prefix)}


def shots(network: Network, family: int, port: int, protocol: Protocol | None) -> list[Shot]:
    return [
        Shot(network.names.pod("x", source), address(source, family), address(target, family), port, protocol)
        for source in PODS
        for target in PODS
        if source != target
    ]


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
@pytest.mark.parametrize("family", [4, 6])
async def test_pods_reach_each_other(network: Network, family: int, protocol: Protocol) -> None:
    with ExitStack() as stack:
        namespaces = opened(stack, network)
        for pod in PODS:
            listener = Listener(
                namespaces[network.names.pod("x", pod)], address(pod, family), protocol, 80, pod
            )
            stack.callback(listener.close)

        assert set(await fire(shots(network, family, 80, protocol), namespaces)) == {Outcome.ANSWERED}


def test_links_are_waited_for(network: Network) -> None:
    """A pod whose first datagram was dropped by a link still coming up never heard that it was."""
    with Namespace(network.names.pod("x", "a")) as pod:
        pod.run(["ip", "-batch", "-"], "link add one type veth peer name two\nlink set one up\n")

        with pytest.raises(CommandError, match=r"one in pg-.*: not up after 0\.1 s"):
            pod.await_links(["eth0", "one"], limit=0.1)

        pod.run(["ip", "link", "set", "two", "up"])
        pod.await_links(["eth0", "one", "two"])
        shown = pod.run(["ip", "-o", "link", "show", "one"])
        addresses = pod.run(["ip", "-o", "-6", "address", "show", "one", "scope", "link", "-tentative"])

    assert "state UP" in shown
    assert "noop" not in shown
    assert "fe80:" in addresses


async def test_a_port_where_nobody_listens_refuses(network: Network) -> None:
    with ExitStack() as stack:
        namespaces = opened(stack, network)

        outcomes = await fire(shots(network, 4, 81, Protocol.TCP), namespaces)

    assert set(outcomes) == {Outcome.REFUSED}


async def test_a_packet_that_is_dropped_is_silent(network: Network) -> None:
    with ExitStack() as stack:
        namespaces = opened(stack, network)
        node = namespaces[network.names.node("node-1")]
        node.run(["iptables-nft", "-A", "FORWARD", "-d", address("a", 4), "-j", "DROP"])
        shot = Shot(network.names.pod("x", "c"), address("c", 4), address("a", 4), 80)

        assert await fire([shot], namespaces, patience=0.1) == [Outcome.SILENT]


@pytest.mark.parametrize("outside", ["203.0.113.9", "2001:db8:7::9"])
async def test_the_world_outside_is_reached_by_pods_and_nodes(network: Network, outside: str) -> None:
    family = 6 if ":" in outside else 4
    with ExitStack() as stack:
        namespaces = opened(stack, network)
        fabric = namespaces[network.names.fabric]
        listener = Listener(fabric, "::" if family == 6 else "0.0.0.0", Protocol.TCP, 7, "outside")
        stack.callback(listener.close)
        places: list[tuple[str, str]] = [
            (network.names.pod("x", "a"), address("a", family)),
            (network.names.node("node-2"), NODES[1].addresses[family]),
        ]

        outcomes = await fire([Shot(name, own, outside, 443) for name, own in places], namespaces)

    assert outcomes == [Outcome.ANSWERED] * 2


def test_a_pod_that_goes_leaves_its_place_to_the_next(network: Network) -> None:
    for _ in range(3):
        network.remove_pods([link(network.names, "a")])
        network.add_pods([link(network.names, "a")])

    assert network.names.pod("x", "a") in named(network.names.prefix)


def test_pods_of_which_only_a_part_exists_can_be_removed(network: Network) -> None:
    network.remove_pods([link(network.names, "a")])

    network.remove_pods([link(network.names, "a")])

    assert network.names.pod("x", "a") not in named(network.names.prefix)


def test_a_node_comes_and_goes(network: Network) -> None:
    third: NodePlace = plan_node("node-3", 3, (4, 6))
    network.add_node(third)

    network.remove_node(third)

    assert network.names.node("node-3") not in named(network.names.prefix)


def test_nothing_is_left(network: Network) -> None:
    network.remove()

    assert not [*Path("/run/netns").glob(f"{network.names.prefix}*")]
