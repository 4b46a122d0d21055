"""The reconcile loop on a machine in memory: the newest target reaches both families, whatever fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from controller.agent import loop as loop_module
from controller.agent.guard import Schedule
from controller.agent.journal import Journal
from controller.agent.kernel_thread import KernelThread
from controller.agent.loop import STALE_AFTER, Outlets, Reconciler
from controller.agent.metrics import AgentMetrics
from controller.agent.node import NodeEnforcement
from controller.agent.node_kernel import NodeKernel
from controller.agent.status import Report
from controller.agent.subscription import Snapshot, Subscription
from controller.dataplane.kernel import Kernel
from controller.dataplane.settings import Settings
from controller.dataplane.tools import Backend, Result
from tests.unit.agent.published import policy, slices
from tests.unit.builder import NODE, ClusterBuilder, cluster, labels, pods
from tests.unit.fakehost import FakeHost, no_link

SETTINGS = Settings(gates=())
BROKEN = Result(1, "", "it broke")
SHOP = (
    cluster()
    .pod("shop/web", ip=("10.0.9.1", "fd00:9::1"), labels={"app": "web"}, node="elsewhere")
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)
MORE = SHOP.pod("shop/web-1", ip=("10.0.9.2", "fd00:9::2"), labels={"app": "web"}, node="elsewhere")
SECOND = SHOP.policy("shop/db-2", {"podSelector": labels(app="db")})


@pytest.fixture(autouse=True)
def no_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of a fake machine may reach the real one."""
    monkeypatch.setattr("controller.dataplane.kernel.SetLink.__init__", lambda _: no_link())


class Stage:
    """A reconciler, and what it told."""

    def __init__(self) -> None:
        self.host = FakeHost()
        self.subscription = Subscription(NODE, 0.0)
        self.arrived = asyncio.Event()
        self.reports: list[Report] = []
        self.kept: list[tuple[Snapshot, bool]] = []
        self.metrics = AgentMetrics()
        self.silent_for = 0.0
        self.adjusted = 0
        self.schedule = Schedule(0.05, 1000, 1000)
        kernel = NodeKernel(Backend.NFT, self._enforcement)
        self.reconciler = Reconciler(
            subscription=self.subscription,
            arrived=self.arrived,
            kernel=kernel,
            thread=KernelThread(),
            schedule=self.schedule,
            contact=self,
            outlets=Outlets(self.reports.append, self._keep, Journal(NODE), self.metrics),
        )

    def _enforcement(self, family: int) -> NodeEnforcement:
        return NodeEnforcement(Backend.NFT, self.host, SETTINGS, families=(family,))

    def _keep(self, snapshot: Snapshot, is_new: bool) -> None:
        self.kept.append((snapshot, is_new))

    def silence(self) -> float:
        return self.silent_for

    def adjust(self) -> None:
        self.adjusted += 1

    def publish(self, built: ClusterBuilder) -> None:
        for each in slices(built):
            self.subscription.put_slice(each, time.monotonic())
        self.subscription.put_policy(policy(built), time.monotonic())
        self.arrived.set()

    def differences(self, built: ClusterBuilder, family: int) -> list[str]:
        enforcement = NodeEnforcement(Backend.NFT, self.host, SETTINGS, families=(family,))
        return [str(each) for each in enforcement.verify(built.view())]

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"podgate_agent_{name}", labels) or 0.0

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what others do tells nobody
                await asyncio.sleep(0.01)

    async def until_enforced(self, built: ClusterBuilder, *families: int) -> None:
        await self.until(lambda: not any(self.differences(built, each) for each in families or (4, 6)))


@asynccontextmanager
async def running() -> AsyncIterator[Stage]:
    stage = Stage()
    task = asyncio.create_task(stage.reconciler.run())
    try:
        yield stage
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ipv6_fails(command: Sequence[str], _text: str) -> Result | None:
    return BROKEN if command[0] == "ip6tables-nft-restore" else None


async def test_a_target_reaches_both_families_and_is_reported() -> None:
    async with running() as stage:
        stage.publish(SHOP)

        await stage.until_enforced(SHOP)
        await stage.until(lambda: bool(stage.reports) and not stage.reports[-1].waits_for)

    last = stage.reports[-1]
    assert (last.digest, last.enforced, last.pending) == (policy(SHOP).spec.digest, 1, 0)
    assert last.problems == ()
    assert stage.reconciler.why_not_ready() == ""
    assert [is_new for _, is_new in stage.kept] == [True]


async def test_before_the_first_target_nothing_is_said_and_nothing_done() -> None:
    async with running() as stage:
        stage.subscription.remove_policy()
        stage.arrived.set()
        await asyncio.sleep(0.1)

    assert stage.reports == []
    assert "no NodePolicy" in stage.reconciler.why_not_ready()
    assert not stage.host.called("restore")


async def test_a_member_is_kept_for_later_and_a_policy_at_once() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until_enforced(SHOP)
        stage.publish(MORE)
        await stage.until_enforced(MORE)
        stage.publish(MORE.policy("shop/db-2", {"podSelector": labels(app="db")}))
        await stage.until(lambda: len(stage.kept) == 3)

    assert [is_new for _, is_new in stage.kept] == [True, False, True]


async def test_a_member_that_goes_is_kept_at_once() -> None:
    """A start from an older file would let it in again, or whoever has its address now."""
    async with running() as stage:
        stage.publish(MORE)
        await stage.until_enforced(MORE)
        stage.publish(SHOP)
        await stage.until(lambda: len(stage.kept) == 2)

    assert [is_new for _, is_new in stage.kept] == [True, True]


async def test_what_one_family_holds_is_kept_while_the_other_fails() -> None:
    """Else the file would be as old as the failure, and a start from it open what was closed since."""
    async with running() as stage:
        stage.host.trouble = ipv6_fails
        stage.publish(SHOP)
        await stage.until_enforced(SHOP, 4)
        stage.publish(SECOND)
        await stage.until(lambda: len(stage.kept) == 2)

    snapshot, is_new = stage.kept[-1]
    assert (snapshot.spec, is_new) == (policy(SECOND).spec, True)


async def test_what_arrives_while_the_kernel_is_busy_is_done_at_once() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until(lambda: stage.sample("apply_duration_seconds_count", family="4") == 1)
        for _ in range(20):
            stage.publish(MORE)
            stage.publish(SECOND)
        await stage.until_enforced(SECOND)
        await stage.until(lambda: stage.reports[-1].digest == policy(SECOND).spec.digest)

    assert stage.sample("apply_duration_seconds_count", family="4") == 2


async def test_a_family_that_fails_keeps_the_other_from_nothing() -> None:
    async with running() as stage:
        stage.host.trouble = ipv6_fails
        stage.publish(SHOP)
        await stage.until_enforced(SHOP, 4)
        stage.publish(SECOND)
        await stage.until_enforced(SECOND, 4)
        await stage.until(lambda: bool(stage.reports) and bool(stage.reports[-1].problems))

    last = stage.reports[-1]
    assert last.problems[0].reason == "ApplyFailed"
    assert "IPv6 cannot be programmed" in last.waits_for
    assert stage.sample("apply_errors_total", family="6", reason="commit") >= 1
    assert stage.sample("apply_errors_total", family="4", reason="commit") == 0
    assert "IPv6" in stage.reconciler.why_not_ready()


async def test_a_family_that_works_again_is_brought_to_the_newest_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_module, "FIRST_RETRY", 0.05)
    async with running() as stage:
        stage.host.trouble = ipv6_fails
        stage.publish(SHOP)
        await stage.until(lambda: bool(stage.reports) and bool(stage.reports[-1].problems))
        stage.publish(SECOND)
        stage.host.trouble = lambda _command, _text: None

        await stage.until_enforced(SECOND)
        await stage.until(lambda: not stage.reports[-1].problems)

    assert stage.reports[-1].digest == policy(SECOND).spec.digest


async def test_a_bug_in_one_family_stops_nothing() -> None:
    def trouble(command: Sequence[str], _text: str) -> Result | None:
        if command[0] == "ip6tables-nft-save":
            raise ZeroDivisionError("a bug")
        return None

    async with running() as stage:
        stage.host.trouble = trouble
        stage.publish(SHOP)
        await stage.until(lambda: bool(stage.reports) and bool(stage.reports[-1].problems))
        stage.host.trouble = lambda _command, _text: None
        found = stage.differences(SHOP, 4)

    assert found == []
    assert "internal error at" in stage.reports[-1].problems[0].message
    assert "ZeroDivisionError: a bug" in stage.reports[-1].problems[0].message


async def test_drift_is_mended_and_counted() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until_enforced(SHOP)
        stage.host.chains[4].clear()

        await stage.until_enforced(SHOP)
        await stage.until(lambda: stage.sample("drift_repairs_total", family="4") == 1)

    assert stage.sample("drift_repairs_total", family="6") == 0


async def test_a_node_that_hears_nothing_for_five_minutes_is_stale_and_goes_on() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until_enforced(SHOP)
        stage.silent_for = STALE_AFTER
        stage.arrived.set()
        await stage.until(lambda: stage.sample("stale") == 1)
        stage.host.chains[4].clear()
        await stage.until_enforced(SHOP)

    assert "was not heard" in stage.reports[-1].stale
    assert stage.reports[-1].waits_for == ""


async def test_a_deleted_node_policy_makes_the_node_stale() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until_enforced(SHOP)
        stage.subscription.remove_policy()
        stage.arrived.set()
        await stage.until(lambda: stage.sample("stale") == 1)

    assert stage.differences(SHOP, 4) == []


async def test_changes_are_timed_but_not_what_was_there_at_the_start() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until_enforced(SHOP)
        await stage.until(stage.reconciler.programmed.is_set)
        before = stage.sample("watch_to_kernel_seconds_count")
        stage.publish(MORE)
        await stage.until(lambda: stage.sample("watch_to_kernel_seconds_count") == 1)

    assert before == 0


async def test_a_pod_whose_trial_waits_for_a_group_is_not_said_to_be_enforced() -> None:
    async with running() as stage:
        stage.subscription.put_policy(policy(SHOP.audit(namespace="shop")), time.monotonic())
        stage.arrived.set()

        await stage.until(lambda: bool(stage.reports))

    assert stage.sample("pods", state="audited") == len(SHOP.view().pods)
    assert stage.sample("pods", state="enforced") == 0


async def test_metrics_tell_what_is_in_the_kernel() -> None:
    async with running() as stage:
        stage.publish(SHOP)
        await stage.until(stage.reconciler.programmed.is_set)

    held = Kernel(4, Backend.NFT, stage.host).read()
    assert stage.sample("rules", family="4") == sum(len(each.rules) for each in held.chains)
    assert stage.sample("ipset_entries", family="4") == sum(len(each.entries) for each in held.sets)
