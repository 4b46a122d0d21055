"""The status reaches the API server: what changed, not more often than need be, and again after failures."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controller.agent.status import Report
from controller.agent.status_writer import StatusWriter
from controller.agent.subscription import Problem
from controller.kube.resource import NODE_POLICIES
from controller.lab.apiserver.faults import Fault
from controller.objects.resources import NodePolicy
from tests.unit.agent.api import Api, serving
from tests.unit.agent.published import SHOP, policy
from tests.unit.builder import NODE

FIRST = Report(digest="d1", enforced=1, backend="nft")


class Writing:
    """A writer that runs, and the API server it writes to."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.writer = StatusWriter(api.client, NODE)

    async def held(self) -> NodePolicy:
        return await self.api.client.get(NODE_POLICIES, NODE, NodePolicy)

    async def see(self) -> None:
        self.writer.seen(await self.held())

    def patches(self) -> int:
        return sum(each.verb == "patch" and each.code == 200 for each in self.api.server.parts.access.audit)

    async def until_enforced(self, pods: int) -> None:
        async with asyncio.timeout(15):
            while await self._enforced() != pods:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def _enforced(self) -> int:
        status = (await self.held()).status
        return -1 if status is None else status.pods_enforced


@asynccontextmanager
async def writing() -> AsyncIterator[Writing]:
    async with serving() as api:
        api.create(policy(SHOP))
        found = Writing(api)
        task = asyncio.create_task(found.writer.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_told_is_written() -> None:
    async with writing() as found:
        await found.see()

        found.writer.tell(FIRST)

        await found.until_enforced(1)


async def test_what_was_told_before_the_node_policy_was_seen_is_written_then() -> None:
    async with writing() as found:
        found.writer.tell(FIRST)

        await found.see()

        await found.until_enforced(1)


async def test_what_is_held_already_is_not_written() -> None:
    async with writing() as found:
        await found.see()
        found.writer.tell(FIRST)
        await found.until_enforced(1)
        second = Writing(found.api)
        task = asyncio.create_task(second.writer.run())
        await second.see()

        second.writer.tell(FIRST)
        await asyncio.sleep(0.1)
        task.cancel()

        assert found.patches() == 1


async def test_a_new_digest_is_written_at_once_and_all_else_once_a_second() -> None:
    async with writing() as found:
        await found.see()
        found.writer.tell(FIRST)
        await found.until_enforced(1)
        began = time.monotonic()
        found.writer.tell(Report(digest="d2", enforced=2, backend="nft"))
        await found.until_enforced(2)
        at_once = time.monotonic() - began
        for pods in range(3, 30):
            found.writer.tell(Report(digest="d2", enforced=pods, backend="nft"))
            await asyncio.sleep(0)
        await found.until_enforced(29)

        assert at_once < 0.9
        assert time.monotonic() - began > 0.9
        assert found.patches() == 3


async def test_a_write_that_fails_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    async with writing() as found:
        await found.see()
        found.api.server.parts.faults.inject(Fault(action="fail", code=500, count=1, verbs=("patch",)))

        found.writer.tell(FIRST)

        await found.until_enforced(1)
    assert "the status of NodePolicy node-1 cannot be written" in capsys.readouterr().out


async def test_a_node_policy_that_was_made_anew_gets_the_status_again() -> None:
    async with writing() as found:
        await found.see()
        found.writer.tell(FIRST)
        await found.until_enforced(1)
        await found.api.client.delete(NODE_POLICIES, NODE)
        found.writer.gone()
        found.api.create(policy(SHOP))

        await found.see()

        await found.until_enforced(1)


async def test_without_a_node_policy_nothing_is_written() -> None:
    async with writing() as found:
        found.writer.tell(FIRST)
        await asyncio.sleep(0.1)

        assert found.patches() == 0


async def test_times_of_conditions_stay_while_they_do_not_turn() -> None:
    async with writing() as found:
        await found.see()
        found.writer.tell(FIRST)
        await found.until_enforced(1)
        before = (await found.held()).status
        found.writer.tell(Report(digest="d2", enforced=2, problems=(Problem("KubeProxyIPVS", "ipvs"),)))
        await found.until_enforced(2)
        after = (await found.held()).status

        assert before is not None
        assert after is not None
        assert after.conditions[0].last_transition_time == before.conditions[0].last_transition_time
        assert after.conditions[1].status == "True"
