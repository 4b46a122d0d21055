"""Two operators, one leader."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.apiserver.faults import Fault
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.operator.process import Operator
from tests.e2e.operator.world import HURRY, World, admits, eventually, namespace, node, pod, policy


@pytest.fixture
async def two_users() -> AsyncIterator[World]:
    """The small shop, in a cluster that tells two operators apart."""
    admins = ("system:masters",)
    settings = Settings(tokens={"one": User("one", admins), "two": User("two", admins)})
    async with (
        ApiServer(settings) as server,
        ApiClient(Connection(server=server.url, token="one")) as client,  # noqa: S106
    ):
        server.create(node_policy_crd())
        server.create(peer_group_slice_crd())
        world = World(server, client)
        await world.put(namespace("podgate-system"), namespace("shop"), node("node-1"), node("node-2"))
        await world.put(
            pod("shop/web", "10.0.1.1", app="web"),
            pod("shop/client", "10.0.2.1", "node-2", app="client"),
            policy("shop/web", admits("web", "client")),
        )
        yield world


def leaders(*operators: Operator) -> list[bool]:
    return [each.is_leading for each in operators]


async def test_only_the_leader_writes(shop: World) -> None:
    async with shop.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with shop.operator(identity="two") as two:
            await eventually(lambda: two.is_synced)
            shop.server.api.counts.clear()
            await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
            await shop.settled()

            assert leaders(one, two) == [True, False]
            assert shop.own_writes() == 2


async def test_the_other_takes_over_when_the_leader_ends(shop: World) -> None:
    async with shop.operator(identity="two") as two:
        await eventually(lambda: two.is_leading)
        async with shop.operator(identity="one") as one:
            await eventually(lambda: one.is_synced)
            two.stop()
            await eventually(lambda: one.is_leading, 5.0)
            await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
            await shop.settled()


async def test_the_other_takes_over_when_the_leader_is_cut_off(shop: World) -> None:
    """It cannot renew; it stops by itself before the other begins."""
    both: list[list[bool]] = []
    async with shop.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with shop.operator(identity="two") as two:
            await eventually(lambda: two.is_synced)
            shop.server.parts.faults.inject(
                Fault(action="fail", code=503, verbs=("update",), resources=("leases",), count=12)
            )
            looking = asyncio.create_task(_look(both, one, two))
            await eventually(lambda: not one.is_leading, 5.0)
            await eventually(lambda: one.is_leading or two.is_leading, 10.0)
            await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
            await shop.settled()
            looking.cancel()

    assert [True, True] not in both


async def test_the_other_takes_over_when_the_leader_is_killed(shop: World) -> None:
    """It releases nothing: its lease has to expire."""
    async with shop.operator(identity="two") as two:
        await eventually(lambda: two.is_leading)
        async with shop.operator(identity="one") as one:
            await eventually(lambda: one.is_synced)
            silent = shop.server.parts.faults.inject(Fault(action="drop", resources=("leases",)))
            two.stop()
            await eventually(lambda: not two.is_leading)
            shop.server.parts.faults.clear(silent)
            await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
            await shop.settled()

            assert leaders(one, two) == [True, False]


async def test_a_new_leader_finds_nothing_to_write(shop: World) -> None:
    async with shop.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with shop.operator(identity="two") as two:
            await eventually(lambda: two.is_synced)
            shop.server.api.counts.clear()
            one.stop()
            await eventually(lambda: two.is_published, 5.0)

            assert shop.own_writes() == 0


async def test_without_election_it_leads_at_once(shop: World) -> None:
    async with shop.operator(leader_elect=False) as one:
        await shop.settled()

        assert one.is_leading


async def _look(seen: list[list[bool]], *operators: Operator) -> None:
    while True:
        seen.append(leaders(*operators))
        await asyncio.sleep(0.005)


async def test_a_new_leader_whose_watches_hang_takes_nothing_back(two_users: World) -> None:
    """What it knows may be minutes old; what the leader before it published is not."""
    world = two_users
    second = Connection(server=world.server.url, token="two")  # noqa: S106
    async with world.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with world.operator(identity="two", connection=second) as two:
            await eventually(lambda: two.is_synced)
            world.server.parts.faults.inject(
                Fault(action="freeze", verbs=("watch",), users=("two",), seconds=30)
            )
            await world.put(policy("shop/client", admits("client")), pod("shop/db", "10.0.2.9", app="web"))
            await world.delete("Pod", "shop/web")
            await world.settled()
            world.server.api.counts.clear()
            one.stop()
            await eventually(lambda: two.is_published, 15.0)

            assert world.own_writes() == 0
            assert await world.published() == await world.expected()


async def test_two_that_were_given_one_identity_do_not_both_lead(shop: World) -> None:
    """As the replicas of a Deployment are with a constant `--identity` among their arguments."""
    both: list[list[bool]] = []
    async with shop.operator(identity="same") as one, shop.operator(identity="same") as two:
        await eventually(lambda: one.is_synced and two.is_synced)
        looking = asyncio.create_task(_look(both, one, two))
        await eventually(lambda: any(leaders(one, two)))
        await asyncio.sleep(2 * HURRY.duration)
        looking.cancel()

    assert [True, True] not in both
