"""The vigil itself: it must see what it is there for, or the tests that keep it prove nothing."""

import asyncio

import pytest

from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, policy, selected

pytestmark = pytest.mark.kernel


async def test_a_hole_is_seen(system: System, shop: Shop) -> None:
    async with shop.vigil() as vigil:
        await system.delete(policy(f"{shop.name}/isolated"))
        await system.in_step()
        await asyncio.sleep(0.1)  # for packets

    faults = "\n".join(vigil.faults)
    assert all(f"{way} was open" in faults for way in shop.closed)


async def test_a_way_that_closes_is_seen(system: System, shop: Shop) -> None:
    async with shop.vigil() as vigil:
        await system.apply(policy(f"{shop.name}/isolated", podSelector=selected(role="server")))
        await system.in_step()
        await asyncio.sleep(3.5)  # an open way has three seconds to answer

    faults = "\n".join(vigil.faults)
    assert all(f"{way} was closed" in faults for way in shop.opened)
