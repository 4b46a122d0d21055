"""From API objects to what agents read, over HTTP."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from controller.kube.errors import NotFound
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.objects.kinds import Mode
from controller.objects.resources import TRIGGER_ANNOTATION, NodePolicy, PeerGroupSlice
from tests.e2e.operator.world import World, admits, eventually, namespace, node, pod, policy


async def test_a_cluster_is_published(shop: World) -> None:
    async with shop.operator():
        await shop.settled()


async def test_changes_are_published(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.put(policy("ops/deny", {"podSelector": {}}), pod("ops/tool", "10.0.1.9", app="tool"))
        await shop.settled()
        await shop.delete("Pod", "shop/client")
        await shop.put(namespace("shop", team="b"))
        await shop.put(node("node-3"))
        await shop.settled()
        await shop.delete("NetworkPolicy", "shop/web")
        await shop.delete("Node", "node-3")
        await shop.settled()


async def test_a_restart_with_nothing_changed_writes_nothing(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
    shop.server.api.counts.clear()

    async with shop.operator() as again:
        await eventually(lambda: again.is_published)

    assert shop.own_writes() == 0


async def test_the_time_of_the_event_travels_with_what_it_caused(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.settled()

    (found,) = (await shop.client.list_all(PEER_GROUP_SLICES, PeerGroupSlice)).items
    assert found.metadata.annotations[TRIGGER_ANNOTATION] > "2020"


async def test_after_two_hundred_random_operations_every_node_has_what_it_must(world: World) -> None:
    draw = random.Random(4)  # noqa: S311 - a test
    async with world.operator():
        for _ in range(200):
            await random_operation(draw)(world)
        await world.settled()

        assert len(await world.published()) >= 2


async def test_what_somebody_else_does_to_our_objects_is_put_right(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        (found,) = (await shop.client.list_all(PEER_GROUP_SLICES, dict[str, Any])).items
        found["spec"]["addresses"] = ["192.0.2.1"]
        await shop.client.replace(PEER_GROUP_SLICES, found, dict[str, Any])
        await shop.client.delete(NODE_POLICIES, "node-1")
        await shop.settled()
        await shop.client.delete(PEER_GROUP_SLICES, found["metadata"]["name"])
        forged = await shop.client.get(NODE_POLICIES, "node-1", dict[str, Any])
        forged["spec"].pop("pods")
        await shop.client.replace(NODE_POLICIES, forged, dict[str, Any])
        await shop.settled()


async def test_the_status_of_agents_costs_no_write(shop: World) -> None:
    async with shop.operator() as operator:
        await shop.settled()
        await eventually(lambda: operator.is_published)
        shop.server.api.counts.clear()
        change = {"status": {"observedDigest": "abc"}}
        await shop.client.patch(NODE_POLICIES, "node-1", change, NodePolicy, subresource="status")
        await shop.put(pod("shop/web-2", "10.0.1.7", app="other"))
        await shop.settled()

    assert shop.own_writes() == 2  # the agent's, and the NodePolicy that its status did not change


async def test_one_bad_object_stops_nothing(shop: World) -> None:
    kinds = shop.server.parts.registry
    bad_policy = policy("shop/bad", {"podSelector": {"matchLabels": 7}})
    bad_pod = pod("shop/bad", "10.0.1.3", app="web")
    bad_pod["metadata"]["labels"]["tier"] = "no label value "
    for value in (bad_policy, bad_pod):  # from before an upgrade: the API server would refuse them today
        kind = kinds.named(value["apiVersion"], value["kind"])
        assert kind is not None
        shop.server.parts.writer.load(kind, value)

    async with shop.operator():
        await shop.settled()
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.settled()

    pods = {each.name: each for each in (await shop.published())["node-1"].pods}
    assert pods["bad"].isolated == ("Egress", "Ingress")


def random_operation(draw: random.Random) -> Callable[[World], Awaitable[None]]:
    """Something happens in the cluster."""
    home, app, host = draw.choice(("shop", "ops")), draw.choice("abc"), draw.choice(("node-1", "node-2"))
    name = draw.choice("pqrstuvw")
    match draw.randrange(10):
        case 0 | 1 | 2 | 3:
            address = f"10.0.{draw.randrange(4)}.{draw.randrange(1, 250)}"
            return lambda world: world.put(pod(f"{home}/{name}", address, host, app=app))
        case 4 | 5:
            return lambda world: gone(world, "Pod", f"{home}/{name}")
        case 6 | 7:
            return lambda world: world.put(policy(f"{home}/{name}", admits(app, *draw.sample("abc", 2))))
        case 8:
            return lambda world: gone(world, "NetworkPolicy", f"{home}/{name}")
        case _:
            return lambda world: world.put(namespace(home, team=app))


async def gone(world: World, kind: str, key: str) -> None:
    """Delete what may not be there."""
    with suppress(NotFound):
        await world.delete(kind, key)


# Modes


async def audited(world: World, node: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Each pod of a NodePolicy with the directions in which it is isolated, and in which audited."""
    found = await world.client.get(NODE_POLICIES, node, NodePolicy)
    return [(pod.name, pod.isolated, pod.audited) for pod in found.spec.pods]


async def test_an_operator_in_audit_mode_isolates_nobody_who_is_not_to_be_by_annotation(shop: World) -> None:
    marked = policy("shop/client", admits("client"))
    marked["metadata"]["annotations"] = {"podgate.dev/mode": "enforce"}
    await shop.put(marked)
    async with shop.operator(mode=Mode.AUDIT) as operator:
        await eventually(lambda: operator.is_published)
        modes = {each.spec.mode for each in (await shop.client.list_all(NODE_POLICIES, NodePolicy)).items}

        assert await audited(shop, "node-1") == [("web", (), ("Ingress",))]
        assert await audited(shop, "node-2") == [("client", ("Ingress",), ())]
        assert modes == {"audit"}
        assert operator.metrics.registry.get_sample_value("podgate_operator_policies_audited") == 1

    async with shop.operator():
        await shop.settled()
        assert await audited(shop, "node-1") == [("web", ("Ingress",), ())]


async def test_only_the_annotation_that_counts_leads_to_a_write(shop: World) -> None:
    async with shop.operator() as operator:
        await eventually(lambda: operator.is_published)
        shop.server.api.counts.clear()
        await shop.annotate("shop/web", {"example.com/other": "1"})
        await shop.annotate("shop/web", {"podgate.dev/mode": "audit"})
        await shop.settled()

    assert await audited(shop, "node-1") == [("web", (), ("Ingress",))]
    assert shop.own_writes() == 1
