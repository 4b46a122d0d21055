"""What users see of their policies and pods as Events."""

import pytest

from controller.kube.resource import NODE_POLICIES
from controller.lab.apiserver.faults import Fault
from controller.objects.resources import NodePolicy
from controller.operator import event_log
from controller.operator.reporter import ReportTiming
from tests.e2e.operator.world import World, admits, eventually, pod, policy

NOBODY = "NetworkPolicy shop/nobody"


async def report_as_agents(world: World) -> None:
    """Every agent says that it enforces what stands."""
    for found in (await world.client.list_all(NODE_POLICIES, NodePolicy)).items:
        status = {"status": {"observedDigest": found.spec.digest}}
        await world.client.patch(NODE_POLICIES, found.metadata.name, status, NodePolicy, subresource="status")


async def has(world: World, subject: str, reason: str) -> bool:
    return reason in await world.reasons(subject)


async def test_a_policy_that_selects_nobody_is_told(shop: World) -> None:
    async with shop.operator():
        await shop.put(policy("shop/nobody", admits("wbe", "client")))
        await eventually(lambda: has(shop, NOBODY, "SelectsNoPods"))

        (found,) = [each for each in await shop.events() if each[0] == NOBODY]
        assert "did you mean app=web" in found[2]


async def test_a_policy_is_told_to_be_enforced_once_every_agent_says_so(shop: World) -> None:
    async with shop.operator() as operator:
        await eventually(lambda: operator.is_published)
        await shop.put(
            pod("shop/api", "10.0.2.7", "node-2", app="api"), policy("shop/api", admits("api", "web"))
        )
        await shop.put(policy("shop/nobody", admits("nobody")))
        await shop.settled()
        await eventually(lambda: has(shop, NOBODY, "SelectsNoPods"))  # the namespace was looked at
        assert not await has(shop, "NetworkPolicy shop/api", "Enforced")
        await report_as_agents(shop)
        await eventually(lambda: has(shop, "NetworkPolicy shop/api", "Enforced"))

        (found,) = [each for each in await shop.events() if each[0] == "NetworkPolicy shop/api"]
        assert found[2] == "enforced on 1 node (generation 1)"


async def test_each_edit_of_a_policy_is_told_to_be_enforced(shop: World) -> None:
    async with shop.operator() as operator:
        await eventually(lambda: operator.is_published)
        await shop.put(policy("shop/web", admits("web", "admin")))
        await shop.settled()
        await report_as_agents(shop)
        await eventually(lambda: has(shop, "NetworkPolicy shop/web", "Enforced"))

        notes = [note for _, reason, note, _ in await shop.events() if reason == "Enforced"]
        assert notes == ["enforced on 1 node (generation 2)"]


async def test_each_turn_to_audit_and_back_is_told(shop: World) -> None:
    async with shop.operator() as operator:
        await eventually(lambda: operator.is_published)

        await turn(shop, "audit", "Audited", 1)
        await turn(shop, "enforce", "Enforced", 1)
        await turn(shop, "audit", "Audited", 2)


async def turn(world: World, mode: str, reason: str, count: int) -> None:
    """Annotate a policy, and wait until that is told for the so-manieth time."""

    async def is_told() -> bool:
        told = [(subject, why, times) for subject, why, _, times in await world.events()]
        return ("NetworkPolicy shop/web", reason, count) in told

    await world.annotate("shop/web", {"podgate.dev/mode": mode})
    await world.settled()
    await report_as_agents(world)
    await eventually(is_told)


async def test_a_pod_that_cannot_be_read_is_told(shop: World) -> None:
    bad = pod("shop/bad", "10.0.1.3", app="not valid ")
    kind = shop.server.parts.registry.named("v1", "Pod")
    assert kind is not None
    shop.server.parts.writer.load(kind, bad)

    async with shop.operator():
        await eventually(lambda: has(shop, "Pod shop/bad", "Quarantined"))


async def test_a_restart_adds_to_the_events_that_are_there(shop: World) -> None:
    await shop.put(policy("shop/nobody", admits("nobody")))
    for _ in range(2):
        async with shop.operator():
            await eventually(lambda: has(shop, NOBODY, "SelectsNoPods"))
            await shop.settled()
            await eventually(lambda: events_written(shop) > 0)
            shop.server.api.counts.clear()

    found = [each for each in await shop.events() if each[0] == NOBODY]
    assert len(found) == 1
    assert found[0][3] == 2


async def test_what_stays_so_is_told_again_though_nothing_changes(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API server forgets Events after an hour; what they say is still so."""
    monkeypatch.setattr(event_log, "REPEAT", 0.2)
    await shop.put(policy("shop/nobody", admits("nobody")))

    async def times() -> int:
        return sum(count for subject, _, _, count in await shop.events() if subject == NOBODY)

    async def is_told_thrice() -> bool:
        return await times() >= 3

    async with shop.operator(reports=ReportTiming(look=0.05, settle=0.1, again=0.1)):
        await eventually(is_told_thrice)


async def test_events_that_cannot_be_written_hold_up_nothing(shop: World) -> None:
    shop.server.parts.faults.inject(Fault(action="fail", code=403, resources=("events",)))
    async with shop.operator() as operator:
        await shop.put(policy("shop/nobody", admits("nobody")))
        await eventually(lambda: operator.is_published)
        await shop.put(pod("shop/client-2", "10.0.2.2", "node-2", app="client"))
        await shop.settled()


async def test_a_standby_writes_no_event(shop: World) -> None:
    async with shop.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with shop.operator(identity="two") as two:
            await eventually(lambda: two.is_synced)
            await shop.put(policy("shop/nobody", admits("nobody")))
            await eventually(lambda: has(shop, NOBODY, "SelectsNoPods"))
            await shop.settled()

            assert [count for subject, *_, count in await shop.events() if subject == NOBODY] == [1]


def events_written(world: World) -> int:
    """Requests that wrote Events."""
    counts = world.server.api.counts.items()
    return sum(count for (_, verb, plural), count in counts if plural == "events" and verb != "list")
