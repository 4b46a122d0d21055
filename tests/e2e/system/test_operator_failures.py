"""Operators that die, come back, are two, or have wrong clocks: nothing opens, and nothing is lost."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.kube.resource import LEASES
from controller.lab.bringup import OPERATOR
from tests.e2e.system.changes import Changes
from tests.e2e.system.clocks import COMPILER, Clocks
from tests.e2e.system.debug import Record
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System

pytestmark = pytest.mark.kernel

STANDBY = "operator-2"
LEASE = "podgate-operator"
HOME = "podgate-system"
TAKEOVER = 25.0
"""Seconds: a lease of 15 has to expire, looked at every 2 to 2.4, by a process that has to start first."""
HOUR = 3600
_HEALTH = re.compile(r"health=(\S+)")


async def holder(system: System) -> str:
    """Who has the lease."""
    lease = await system.client.get(LEASES, LEASE, dict[str, object], namespace=HOME)
    spec = lease["spec"]
    assert isinstance(spec, dict)
    return str(spec["holderIdentity"])


async def until(is_so: Callable[[], bool], within: float = TAKEOVER) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until_another_leads(system: System, before: str) -> None:
    """Wait until the lease is not that of `before`, who never gave it back."""
    deadline = time.monotonic() + TAKEOVER
    while await holder(system) in {before, ""}:
        assert time.monotonic() < deadline, f"{before} still has the lease"
        await asyncio.sleep(0.05)


async def writes_of(system: System, role: str) -> int:
    """How many writes an operator says it has sent."""
    address = _HEALTH.findall(system.lab.log(role))[-1]
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    samples = [each for family in families for each in family.samples]
    return int(sum(each.value for each in samples if each.name == "podgate_operator_writes_total"))


async def audited_writes(system: System) -> list[Record]:
    """The writes of any operator to our objects, as the API server saw them."""
    return [
        record
        for record in await system.debug.audit()
        if record.agent.startswith("podgate-operator")
        and record.resource in {"nodepolicies", "peergroupslices"}
        and record.verb in {"create", "update", "patch", "delete"}
    ]


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Clocks:
    """Clocks that are wrong."""
    if COMPILER is None:
        pytest.skip("needs cc, to make a clock that is wrong")
    return Clocks.made_in(tmp_path_factory.mktemp("clocks"))


@pytest.fixture
async def one_operator_left(system: System) -> AsyncIterator[None]:
    """Whatever happens in the test, the usual operator with the usual clock leads afterwards."""
    yield
    await system.lab.kill_operator(STANDBY, at_once=False)
    await system.lab.kill_operator(at_once=False)
    async with system.restarted(OPERATOR):
        system.lab.start_operator()
    await system.in_step(within=60)


@pytest.mark.usefixtures("debug")
async def test_a_restart_with_nothing_changed_writes_nothing(system: System, shop: Shop) -> None:
    def all_published() -> int:
        return system.lab.log(OPERATOR).count("everything is published")

    before = all_published()
    await system.debug.clear_audit()
    async with shop.vigil() as vigil, system.restarted(OPERATOR):
        await system.lab.restart_operator()
    await until(lambda: all_published() > before)
    await system.in_step()

    vigil.verdict(least=10)
    assert await audited_writes(system) == []


@pytest.mark.usefixtures("debug", "one_operator_left")
async def test_one_leads_and_writes_whoever_dies_and_whatever_the_clocks_say(
    system: System, shop: Shop, clocks: Clocks
) -> None:
    """The first one is killed amid changes, and started again.

    By the clock of the second the lease was not renewed for an hour; by that of the first after its restart
    it was renewed in the future, and is for an hour to come.
    """
    changes = Changes(system, "two", pods=6)
    first, before = await holder(system), await writes_of(system, OPERATOR)
    await system.debug.clear_audit()
    async with system.restarted(STANDBY):
        system.lab.start_operator(STANDBY, clocks.ahead(HOUR))
    async with shop.vigil() as vigil:
        await changes.begin()
        together = time.monotonic() + 5.0  # the second one looks at the lease every 2 s
        await changes.until(lambda: time.monotonic() > together)
        await system.settled()
        assert await holder(system) == first
        assert await writes_of(system, STANDBY) == 0
        assert await writes_of(system, OPERATOR) - before == len(await audited_writes(system)) > 0

        await system.debug.clear_audit()
        is_over = asyncio.Event()
        making = asyncio.create_task(changes.until(is_over.is_set))
        at_death = changes.made
        await until(lambda: changes.made > at_death + 3)
        await system.lab.kill_operator()
        async with system.restarted(OPERATOR):
            system.lab.start_operator(environment=clocks.ahead(-HOUR))
        by_the_dead = len(await audited_writes(system))  # nobody leads for 15 s
        await until_another_leads(system, first)
        is_over.set()
        await making
        await system.settled()
        written = [await writes_of(system, role) for role in (OPERATOR, STANDBY)]
        assert sum(written) == len(await audited_writes(system)) - by_the_dead > 0
        assert min(written) == 0
    await changes.end()

    vigil.verdict()
