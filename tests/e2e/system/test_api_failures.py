"""The API server fails in every way there is: what is enforced stays enforced, what was missed arrives."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import msgspec
import pytest

from controller.kube.errors import NotFound
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.lab.bringup import APISERVER
from controller.objects.kinds import Protocol
from tests.e2e.system.changes import Changes
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, policy, selected

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("debug")]

OUTAGE = float(os.environ.get("PODGATE_E2E_OUTAGE", "10"))
"""Seconds for which the API server is away; 60 with `make soak`."""
STORM = float(os.environ.get("PODGATE_E2E_STORM", "2"))
"""Seconds of each kind of storm."""
OURS = ("podgate-operator", "podgate-agent")


def admitted(shop: Shop) -> dict[str, object]:
    """A policy that lets the intruder in after all."""
    peers = [{"podSelector": selected(role="intruder")}]
    return policy(f"{shop.name}/admitted", podSelector=selected(role="server"), ingress=[{"from": peers}])


async def test_policies_stay_enforced_while_the_api_server_is_away(system: System, shop: Shop) -> None:
    knock = Question(f"{shop.name}/intruder", f"{shop.name}/server", Protocol.TCP, 80, allowed=True)
    async with shop.vigil() as vigil, AsyncExitStack() as outage:
        for agent in OURS:
            await outage.enter_async_context(system.debug.fault("drop", agent=agent))
        await system.debug.close_watches(abort=True)
        began = time.monotonic()
        await system.apply(admitted(shop))  # made meanwhile: it must not be known yet, and will be
        await asyncio.sleep(max(0.0, began + OUTAGE - time.monotonic()))
    vigil.verdict(least=int(50 * OUTAGE))

    await system.in_step(within=60)

    assert await system.wrong([knock]) == []


async def test_an_api_server_that_is_frozen_changes_nothing(system: System, shop: Shop) -> None:
    async with shop.vigil() as vigil:
        system.lab.pause(APISERVER)
        try:
            await asyncio.sleep(STORM)
        finally:
            system.lab.resume(APISERVER)
        await system.in_step(within=60)

    vigil.verdict()


async def while_changes_are_made(
    system: System, shop: Shop, seed: str, seconds: float, disturb: Callable[[], Awaitable[None]]
) -> None:
    """Random changes and a disturbance at the same time; then everything must be in step."""
    changes = Changes(system, seed, pods=6)
    await changes.begin()
    over = time.monotonic() + seconds

    def enough() -> bool:
        return time.monotonic() > over and changes.made > 5

    async def disturbing() -> None:
        while time.monotonic() < over:
            await disturb()

    async with shop.vigil() as vigil:
        await asyncio.gather(changes.until(enough), disturbing())
        await system.settled(within=60)
    try:
        vigil.verdict()
    finally:
        await changes.end()


async def test_watches_that_end_every_second(system: System, shop: Shop) -> None:
    async with system.debug.fault("watch-seconds", delay=1.0):
        await system.debug.close_watches()
        await while_changes_are_made(system, shop, "ends", STORM, lambda: asyncio.sleep(0.1))


async def test_watches_that_are_cut_all_the_time(system: System, shop: Shop) -> None:
    async def cut() -> None:
        await system.debug.close_watches(abort=True)
        await asyncio.sleep(0.2)

    await while_changes_are_made(system, shop, "cuts", STORM, cut)


async def test_a_storm_of_410(system: System, shop: Shop) -> None:
    async def forget() -> None:
        await system.debug.compact()
        await system.debug.close_watches()
        await asyncio.sleep(0.1)

    await while_changes_are_made(system, shop, "gone", STORM, forget)


@pytest.mark.parametrize("within_object", [False, True], ids=["of-objects", "also-of-each"])
async def test_events_that_come_twice_and_in_another_order(
    system: System, shop: Shop, within_object: bool
) -> None:
    async with system.debug.fault(
        "disorder", delay=0.05, duplicate=True, reorder=True, within_object=within_object
    ):
        await system.debug.close_watches()
        await while_changes_are_made(system, shop, "order", STORM, lambda: asyncio.sleep(0.1))
    await system.debug.close_watches()


async def test_somebody_else_writes_to_our_objects_all_the_time(system: System, shop: Shop) -> None:
    """So that nearly every write of the operator, which takes a while, meets a conflict."""
    rounds = count(1)

    async def touch() -> None:
        change = {"metadata": {"annotations": {"example.org/round": str(next(rounds))}}}
        for resource in (NODE_POLICIES, PEER_GROUP_SLICES):
            names = [each.name for each in (await system.client.list_metadata(resource)).items]
            for name in names:
                with contextlib.suppress(NotFound):
                    await system.client.patch(resource, name, change, msgspec.Raw)

    await system.debug.clear_audit()
    async with system.debug.fault("latency", delay=0.03, verbs=["update"], agent=OURS[0]):
        await while_changes_are_made(system, shop, "rival", STORM, touch)

    conflicts = [each for each in await system.debug.audit() if each.code == 409 and OURS[0] in each.agent]
    assert conflicts


async def test_our_objects_are_put_right_when_somebody_deletes_them(system: System, shop: Shop) -> None:
    async with shop.vigil() as vigil:
        for resource in (NODE_POLICIES, PEER_GROUP_SLICES):
            for each in (await system.client.list_metadata(resource)).items:
                await system.client.delete(resource, each.name)
        await system.in_step()

    vigil.verdict(least=20)


async def test_requests_that_fail_now_and_then(system: System, shop: Shop) -> None:
    async def fail() -> None:
        for agent in OURS:
            async with system.debug.fault("fail", code=500, count=3, agent=agent):
                await asyncio.sleep(0.1)
            async with system.debug.fault("fail", code=429, retry_after=1, count=2, agent=agent):
                await asyncio.sleep(0.1)

    await while_changes_are_made(system, shop, "fails", STORM, fail)
