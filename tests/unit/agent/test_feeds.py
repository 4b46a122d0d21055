"""The agent reads its NodePolicy and the slices of its groups, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from controller.agent import feeds as feeds_module
from controller.agent.feeds import Feeds
from controller.agent.status_writer import StatusWriter
from controller.agent.subscription import Subscription
from controller.kube.resource import NODE_POLICIES
from tests.e2e.agent.publisher import Publisher
from tests.unit.agent.api import Api, serving
from tests.unit.agent.published import MORE_POLICIES, SHOP, group
from tests.unit.builder import NODE, ClusterBuilder


class Reading:
    """Feeds that run, and the subscription they fill."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.publisher = Publisher(api.client)
        self.subscription = Subscription(NODE, 5.0, awaits_list=True)
        self.arrived = asyncio.Event()
        self.feeds = Feeds(
            api.client,
            node=NODE,
            subscription=self.subscription,
            status=StatusWriter(api.client, NODE),
            wake=self.arrived.set,
        )

    async def publish(self, built: ClusterBuilder) -> None:
        await self.publisher.publish(built.build())

    async def until_view(self, built: ClusterBuilder) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while True:
                target = self.subscription.take(loop.time())
                self.feeds.adjust()
                if target is not None and target.view == built.view():
                    return
                self.arrived.clear()
                with_deadline = min(0.2, max(0.0, self.subscription.deadline(loop.time()) - loop.time()))
                await asyncio.wait([asyncio.ensure_future(self.arrived.wait())], timeout=with_deadline)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what others do tells nobody
                await asyncio.sleep(0.01)

    @property
    def selector(self) -> str:
        return self.feeds.slices.selection.label_selector


@asynccontextmanager
async def reading() -> AsyncIterator[Reading]:
    async with serving() as api:
        found = Reading(api)
        task = asyncio.create_task(found.feeds.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_there_makes_a_view() -> None:
    async with reading() as found:
        await found.publish(SHOP)

        await found.until_view(SHOP)

    assert found.selector == f"podgate.dev/group in ({group(SHOP)})"


async def test_groups_that_come_are_asked_for() -> None:
    async with reading() as found:
        await found.publish(SHOP)
        await found.until_view(SHOP)

        await found.publish(MORE_POLICIES)

        await found.until_view(MORE_POLICIES)
        assert all(key in found.selector for key in found.subscription.wanted)


async def test_groups_that_go_are_asked_for_a_while_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "SHRINK_AFTER", 0.2)
    async with reading() as found:
        await found.publish(MORE_POLICIES)
        await found.until_view(MORE_POLICIES)
        await found.publish(SHOP)
        await found.until_view(SHOP)
        before = found.selector

        await found.until(lambda: found.selector == f"podgate.dev/group in ({group(SHOP)})")

        await found.publish(SHOP.pod("shop/web-2", ip="10.0.9.2", labels={"app": "web"}, node="elsewhere"))
        await found.until(lambda: len(found.feeds.slices) == 1)
    assert before.count(",") == 1


async def test_with_very_many_groups_every_slice_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "GROUPS_MAX", 1)
    async with reading() as found:
        await found.publish(MORE_POLICIES)

        await found.until_view(MORE_POLICIES)

    assert found.selector == "podgate.dev/group"


async def test_a_node_without_policies_needs_no_slices() -> None:
    async with reading() as found:
        await found.publish(SHOP.without_policies())

        await found.until_view(SHOP.without_policies())

    asked = {each.resource for each in found.api.server.parts.access.audit if each.verb == "list"}
    assert asked == {"nodepolicies"}


async def test_without_a_node_policy_the_subscription_knows() -> None:
    async with reading() as found:
        await found.until(lambda: found.subscription.is_gone)


async def test_a_deleted_node_policy_is_told() -> None:
    async with reading() as found:
        await found.publish(SHOP)
        await found.until_view(SHOP)

        await found.api.client.delete(NODE_POLICIES, NODE)

        await found.until(lambda: found.subscription.is_gone)


async def test_the_node_policies_of_other_nodes_are_not_read() -> None:
    async with reading() as found:
        await found.publish(SHOP.pod("shop/far", ip="10.0.7.1", node="node-2"))
        await found.until_view(SHOP)

    assert [key for key, _ in found.feeds.policies.items()] == [("", NODE)]


async def test_silence_is_that_of_the_collection_that_was_not_heard_for_longest() -> None:
    async with reading() as found:
        await found.publish(SHOP)
        await found.until_view(SHOP)

        found.feeds.policies.last_contact += 400
        found.feeds.slices.last_contact += 1000

        assert -400 <= found.feeds.silence() < -390


async def test_a_slice_that_does_not_decode_is_a_fault_of_its_group() -> None:
    async with reading() as found:
        await found.publish(SHOP)
        await found.until_view(SHOP)
        key = group(SHOP)
        broken = {
            "apiVersion": "podgate.dev/v1alpha1",
            "kind": "PeerGroupSlice",
            "metadata": {"name": f"pg-{key}-1", "labels": {"podgate.dev/group": key}},
            "spec": {"selector": 7},
        }

        found.api.server.create(broken)

        await found.until(lambda: bool(found.feeds.slices.counters.unreadable))
