"""An API server that fails, forgets, repeats itself and contradicts: what is published is right at last."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from controller.engine.group_slices import GroupMembers
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.lab.apiserver import ApiServer
from controller.lab.apiserver.faults import Fault
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec
from controller.operator.own_watch import place_of
from controller.operator.process import Operator
from controller.operator.steps import named_groups
from tests.e2e.operator.test_publishing import random_operation
from tests.e2e.operator.world import World, admits, client_of, eventually, namespace, node, pod, policy


async def test_what_is_deleted_while_the_watch_is_broken_leaves_no_ghost(shop: World) -> None:
    async with shop.operator() as operator:
        await shop.settled()
        away = shop.server.parts.faults.inject(
            Fault(action="fail", code=503, verbs=("watch", "list"), agent="podgate-operator")
        )
        break_watches(shop)
        await eventually(lambda: not shop.server.api.streams)
        await shop.delete("NetworkPolicy", "shop/web")
        await shop.delete("Pod", "shop/client")
        await shop.put(namespace("shop", team="b"))
        await shop.delete("Node", "node-2")
        shop.server.parts.store.compact()
        shop.server.parts.faults.clear(away)
        await shop.settled(20.0)

        assert not operator.intake.resolver.rulesets
        assert ghosts(operator) == 2  # no watch ever said that policy and node are gone
        assert set(await shop.published()) == {"node-1"}


async def test_a_policy_replaced_by_another_of_its_name_is_the_new_one(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        await shop.delete("NetworkPolicy", "shop/web")
        await shop.put(policy("shop/web", admits("web", "admin")))
        await shop.delete("Pod", "shop/web")
        await shop.put(pod("shop/web", "10.0.1.9", app="web"))
        await shop.settled()


async def test_the_api_server_fails_for_a_while(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        shop.server.parts.faults.inject(Fault(action="fail", code=503, seconds=3.0, agent="podgate-operator"))
        break_watches(shop)
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.delete("Pod", "shop/client")
        await shop.settled(20.0)


async def test_every_write_meets_a_conflict_at_first(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        shop.server.parts.faults.inject(
            Fault(action="fail", code=409, count=30, verbs=("update", "create", "delete"), resources=OWN)
        )
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.put(policy("ops/deny", {"podSelector": {}}), pod("ops/tool", "10.0.1.9", app="tool"))
        await shop.delete("Pod", "shop/client")
        await shop.settled(20.0)


async def test_requests_that_get_lost_are_made_again(shop: World) -> None:
    async with shop.operator():
        await shop.settled()
        shop.server.parts.faults.inject(
            Fault(action="drop", count=4, verbs=("update", "create"), resources=OWN)
        )
        await shop.put(policy("ops/deny", admits("tool", "web")))
        await shop.put(pod("ops/tool", "10.0.1.9", app="tool"))
        await shop.settled(20.0)


async def test_watches_are_closed_all_the_time_while_much_happens(world: World) -> None:
    draw = random.Random(1)  # noqa: S311 - a test
    world.server.parts.faults.inject(Fault(action="watch-seconds", delay=0.3))
    async with world.operator():
        for number in range(60):
            await random_operation(draw)(world)
            if number % 20 == 10:
                break_watches(world)
        await world.settled(20.0)


async def test_events_come_twice_and_out_of_order(world: World) -> None:
    draw = random.Random(2)  # noqa: S311 - a test
    world.server.parts.faults.inject(Fault(action="disorder", delay=0.1, duplicate=True, reorder=True))
    async with world.operator():
        for _ in range(80):
            await random_operation(draw)(world)
        await world.settled(20.0)


async def test_no_node_policy_ever_names_a_group_whose_slices_are_missing(world: World) -> None:
    draw = random.Random(3)  # noqa: S311 - a test
    await world.put(*(pod(f"shop/crowd-{number}", f"10.3.{number}.1", app="a") for number in range(120)))
    async with recorded(world) as events, world.operator(grace=0.5) as operator:
        await eventually(lambda: operator.is_published)
        await world.put(policy("ops/open", FROM_EVERYWHERE), pod("ops/tool", "10.0.1.9", app="tool"))
        for _ in range(60):
            await random_operation(draw)(world)
        await world.settled(20.0)

    assert sum(event["object"]["kind"] == "NodePolicy" for event in events) > 20
    assert missing_slices(events) == []


async def test_kopf_may_end_and_nothing_else_does(shop: World) -> None:
    """It does at an answer of 410, among others."""
    async with shop.operator() as operator:
        await eventually(lambda: operator.is_published)
        shop.server.parts.faults.inject(
            Fault(action="fail", code=410, verbs=("watch",), agent="kopf", count=1)
        )
        break_watches(shop)
        await eventually(lambda: figure(operator, "kopf_restarts") == 1, 20.0)
        await shop.delete("NetworkPolicy", "shop/web")
        await shop.put(namespace("shop", team="b"))
        await shop.settled()

        assert operator.is_published


async def test_it_waits_for_its_own_kinds() -> None:
    async with ApiServer() as server, client_of(server) as client:
        world = World(server, client)
        await world.put(namespace("podgate-system"), namespace("shop"), node("node-1"))
        await world.put(pod("shop/web", "10.0.1.1", app="web"), policy("shop/web", admits("web")))
        async with world.operator() as operator:
            await eventually(lambda: operator.is_leading)
            await asyncio.sleep(0.2)
            assert not operator.is_published
            server.create(node_policy_crd())
            server.create(peer_group_slice_crd())
            await world.settled()


async def test_nothing_is_published_before_everything_is_known(shop: World) -> None:
    """Half the policies would open what the others close."""
    faults = shop.server.parts.faults
    slow = faults.inject(
        Fault(action="freeze", verbs=("list",), resources=("networkpolicies",), agent="kopf")
    )
    async with shop.operator() as operator:
        await eventually(lambda: len(operator.intake.known["nodes"]) == 2)  # type: ignore[index]
        await asyncio.sleep(0.3)

        assert not operator.is_leading
        assert shop.own_writes() == 0
        faults.clear(slow)
        await shop.settled()


async def test_what_kopf_loses_is_fetched(shop: World) -> None:
    async with shop.operator(census_interval=0.5) as operator:
        await shop.settled()
        known = operator.intake.known["networkpolicies"]  # type: ignore[index]
        lost = known.pop(("shop", "web"))
        operator.intake.resolver.remove_policy(lost.value.key)  # type: ignore[union-attr]

        await eventually(lambda: ("shop", "web") in known, 15.0)


OWN = ("nodepolicies", "peergroupslices")
FROM_EVERYWHERE: dict[str, Any] = {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}}]}]}


def figure(operator: Operator, name: str) -> float | None:
    """A metric without labels."""
    return operator.metrics.registry.get_sample_value(f"podgate_operator_{name}")


def ghosts(operator: Operator) -> float:
    """Objects that were found to be gone."""
    samples = (sample for metric in operator.metrics.ghosts.collect() for sample in metric.samples)
    return sum(float(sample.value) for sample in samples if sample.name.endswith("_total"))


def break_watches(world: World) -> None:
    """End every watch, and forget what they would need to go on."""
    world.server.parts.store.compact()
    for watch in list(world.server.api.streams):
        watch.close()


@asynccontextmanager
async def recorded(world: World) -> AsyncIterator[list[dict[str, Any]]]:
    """Every event of our kinds, in the order of the API server."""
    events: list[dict[str, Any]] = []

    async def follow(resource: Any, version: str) -> None:  # noqa: ANN401
        async with world.client.watch(resource, resource_version=version) as batches:
            async for lines in batches:
                events.extend(msgspec.json.decode(line) for line in lines)

    tasks = []
    for resource in (NODE_POLICIES, PEER_GROUP_SLICES):
        version = (await world.client.list_all(resource, dict[str, Any])).resource_version
        tasks.append(asyncio.create_task(follow(resource, version)))
    yield events
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    events[:] = [event for event in events if event["type"] in {"ADDED", "MODIFIED", "DELETED"}]
    events.sort(key=lambda event: int(event["object"]["metadata"]["resourceVersion"]))


def missing_slices(events: list[dict[str, Any]]) -> list[str]:
    """What agents would miss, had they seen exactly these events."""
    groups: dict[str, GroupMembers] = {}
    found = []
    for event in events:
        name, spec = event["object"]["metadata"]["name"], event["object"]["spec"]
        if event["object"]["kind"] == "PeerGroupSlice":
            place = place_of(name)
            members = groups.setdefault(place.group, GroupMembers())
            if event["type"] == "DELETED":
                members.remove(place.index)
            else:
                members.put(msgspec.convert(spec, PeerGroupSliceSpec))
        elif event["type"] != "DELETED":
            named = named_groups(msgspec.convert(spec, NodePolicySpec))
            found += [
                f"{name}: {group}" for group in named if not (group in groups and groups[group].is_complete)
            ]
    return found
