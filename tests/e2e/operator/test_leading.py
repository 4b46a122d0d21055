"""Two operators, one leader."""

import asyncio

from controller.lab.apiserver.faults import Fault
from controller.operator.process import Operator
from tests.e2e.operator.world import World, eventually, pod


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
