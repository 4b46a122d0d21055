"""Pods of a lab: they come, answer, become ready, and go."""

import pytest

from controller.lab.namespaces import named
from controller.lab.podspec import ADDRESS_ANNOTATION, SUCCEED_ANNOTATION
from controller.lab.probing import Outcome
from controller.objects.kinds import Protocol
from tests.lab.world import World, eventually, pod, workload

pytestmark = pytest.mark.kernel

UDP_PORT = {"containerPort": 53, "protocol": "UDP"}


@pytest.mark.parametrize("family", [4, 6])
async def test_a_pod_answers_at_its_ports_in_both_families(world: World, family: int) -> None:
    await world.ready(pod("a", 80, UDP_PORT), pod("b", 80, UDP_PORT))

    outcomes = [
        await world.reaches("a", "b", 80, family=family),
        await world.reaches("b", "a", 53, Protocol.UDP, family=family),
    ]

    assert outcomes == [Outcome.ANSWERED] * 2


async def test_where_no_container_has_a_port_a_pod_refuses(world: World) -> None:
    await world.ready(pod("a", 80), pod("b", 80))

    assert await world.reaches("a", "b", 81) is Outcome.REFUSED


async def test_a_pod_tells_its_name(world: World) -> None:
    await world.ready(pod("a"), pod("b", 80))
    address = (await world.pods())[1].addresses[0]

    text = await world.lab.run(f"{world.namespace}/a", ["curl", "-sm5", f"http://{address}/"])

    assert text == f"{world.namespace}/b\n"


async def test_pods_are_spread_over_the_nodes(world: World) -> None:
    pods = await world.ready(workload("Deployment", "web", 3, 80))

    assert {each.node for each in pods} == {"node-1", "node-2", "node-3"}


async def test_a_pod_has_addresses_of_its_nodes_blocks(world: World) -> None:
    (found,) = await world.ready(pod("a", nodeName="node-2"))

    assert [address.rpartition("." if "." in address else "::")[0] for address in found.addresses] == [
        "10.244.2",
        "fd00:244:2",
    ]


async def test_a_pod_may_ask_for_an_address(world: World) -> None:
    wish = {**pod("a", nodeName="node-2")}
    wish["metadata"]["annotations"] = {ADDRESS_ANNOTATION: "10.244.2.200"}

    (found,) = await world.ready(wish)

    assert found.addresses[0] == "10.244.2.200"


async def test_a_pod_on_the_host_network_answers_at_its_node(world: World) -> None:
    pods = await world.ready(pod("a", 80), pod("host", 9100, hostNetwork=True, nodeName="node-3"))

    assert pods[1].addresses == ("172.30.0.13", "fd00:172:30::13")
    assert await world.reaches("a", "172.30.0.13", 9100) is Outcome.ANSWERED


async def test_a_pod_that_is_deleted_leaves_nothing(world: World) -> None:
    await world.ready(pod("a", 80))
    place = world.lab.names.pod(world.namespace, "a")

    await world.lab.delete([{**pod("a"), "metadata": {"name": "a", "namespace": world.namespace}}])
    await eventually(world.pods, lambda found: not found)

    async def namespaces() -> list[str]:
        return named(place)

    assert await eventually(namespaces, lambda found: not found) == []


async def test_a_pod_that_is_made_again_is_another(world: World) -> None:
    before = await world.ready(pod("a", 80))
    await world.lab.delete([{**pod("a"), "metadata": {"name": "a", "namespace": world.namespace}}])
    await eventually(world.pods, lambda pods: not pods)
    after = await world.ready(pod("a", 80), pod("b"))

    assert after[0].metadata.uid != before[0].metadata.uid
    assert await world.reaches("b", "a", 80) is Outcome.ANSWERED


async def test_a_pod_whose_probe_finds_nobody_is_not_ready(world: World) -> None:
    await world.apply(pod("a", 80, readiness={"tcpSocket": {"port": 81}}))

    def has_failed(key: str) -> bool:
        counts = world.lab.probe_counts().get(key)
        return counts is not None and counts.failures > 2

    async def failed() -> bool:
        return has_failed(f"{world.namespace}/a")

    await eventually(failed, bool)
    assert [each.is_ready for each in await world.pods()] == [False]


async def test_readiness_probes_by_port_name_are_made_from_the_node(world: World) -> None:
    port = {"name": "web", "containerPort": 80}
    await world.ready(pod("a", port, readiness={"httpGet": {"port": "web"}, "periodSeconds": 1}))

    async def probes() -> int:
        counts = world.lab.probe_counts().get(f"{world.namespace}/a")
        return counts.probes if counts is not None and not counts.failures else 0

    assert await eventually(probes, lambda found: found >= 2) >= 2


async def test_a_pod_can_succeed(world: World) -> None:
    ends = pod("once", 80)
    ends["metadata"]["annotations"] = {SUCCEED_ANNOTATION: "0.1"}
    await world.apply(ends)

    found = await eventually(world.pods, lambda found: all(each.has_ended for each in found))

    assert [each.status.phase for each in found] == ["Succeeded"]


async def test_the_world_outside_answers_at_every_port(world: World) -> None:
    await world.ready(pod("a"))

    outcomes = [
        await world.reaches("a", "198.51.100.7", 443),
        await world.reaches("a", "2001:db8::7", 53, Protocol.UDP),
    ]

    assert outcomes == [Outcome.ANSWERED] * 2
