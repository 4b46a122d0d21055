"""An agent that dies, is stopped or comes back: its rules stay, and what it missed arrives."""

import asyncio

import pytest

from controller.kube.resource import NODE_POLICIES
from controller.lab.bringup import agent_role
from controller.objects.kinds import Protocol
from controller.objects.resources import NodePolicy
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, policy, selected

pytestmark = pytest.mark.kernel

NODE = "node-1"
"""The server's."""


def locked(shop: Shop) -> dict[str, object]:
    """A policy that lets the intruder be reached by nobody."""
    return policy(f"{shop.name}/locked", podSelector=selected(role="intruder"))


@pytest.mark.parametrize("at_once", [True, False], ids=["killed", "stopped"])
async def test_rules_stay_while_an_agent_is_away(system: System, shop: Shop, at_once: bool) -> None:
    async with shop.vigil() as vigil:
        await system.lab.kill_agent(NODE, at_once=at_once)
        await asyncio.sleep(0.3)  # time for packets: there is nobody to be waited for
        async with system.restarted(agent_role(NODE)):
            system.lab.start_agent(NODE)
        await system.in_step()

    vigil.verdict()


async def test_what_an_agent_missed_arrives_when_it_is_back(system: System, shop: Shop) -> None:
    intruder = "node-3"
    await system.lab.kill_agent(intruder)
    await system.apply(locked(shop))
    published = await system.client.get(NODE_POLICIES, intruder, NodePolicy)
    question = Question(f"{shop.name}/client", f"{shop.name}/intruder", Protocol.TCP, 80, allowed=True)
    before = await system.wrong([question])

    async with shop.vigil() as vigil:
        async with system.restarted(agent_role(intruder)):
            system.lab.start_agent(intruder)
        await system.in_step()

    vigil.verdict()
    assert published.status is not None
    assert before == []  # its agent was away: nobody told the kernel
    assert await system.wrong([Question(*_ends(question), Protocol.TCP, 80, allowed=False)]) == []


async def test_every_agent_may_be_killed_at_once(system: System, shop: Shop) -> None:
    nodes = [place.name for place in await system.lab.nodes()]
    async with shop.vigil() as vigil:
        for node in nodes:
            await system.lab.kill_agent(node)
        await system.apply(locked(shop))
        async with system.restarted(*map(agent_role, nodes)):
            for node in nodes:
                system.lab.start_agent(node)
        await system.in_step()

    vigil.verdict()


def _ends(question: Question) -> tuple[str, str]:
    return question.source, question.destination
