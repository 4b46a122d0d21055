"""The reconcile loop: the newest target is brought to the kernel, kept there, and told of.

There is one loop and one kernel thread. While the thread is busy, whatever arrives is taken account of by the
next target, so that a slow kernel sees fewer changes and never a queue of them. A family that fails is tried
again on its own, ever more slowly, and the other goes on.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from controller.agent.enforcer import Applied
from controller.agent.guard import Check, Schedule
from controller.agent.journal import Journal, not_logged
from controller.agent.kernel_thread import KernelThread
from controller.agent.latency import Latency
from controller.agent.metrics import AgentMetrics
from controller.agent.node import FamilyFailure
from controller.agent.node_kernel import Absent, Checked, NodeKernel, Outcome, Size
from controller.agent.peer_groups import NEVER
from controller.agent.proxy_mode import ipvs_problem
from controller.agent.status import Report
from controller.agent.subscription import News, Problem, Snapshot, Subscription, Target
from controller.dataplane.plan import Commit
from controller.engine.rulesets import LocalPod, NodeView

_Group = TypeVar("_Group")
_Member = TypeVar("_Member")

FIRST_RETRY = 0.5
LAST_RETRY = 30.0
STALE_AFTER = 300.0
"""Seconds without a word of the API server after which what is enforced may be out of date."""
_LOOK_AGAIN = 5.0
"""Seconds after which the loop turns at the latest, for what no event tells of."""
_NEWS_KEPT = 1000


class Outlets(NamedTuple):
    """To whom the loop tells what it did; none of them may wait."""

    report: Callable[[Report], None]
    keep: Callable[[Snapshot, bool], None]
    """What to go on from after a restart, and whether its rules are new, or a peer less is in it."""
    journal: Journal
    metrics: AgentMetrics


class Contact(Protocol):
    """How long ago the API server was heard."""

    def silence(self) -> float:
        """Seconds since then, of the collection that was not heard for longest."""

    def adjust(self) -> None:
        """Other groups may be wanted now."""


class _Family:
    """How far one family is."""

    def __init__(self) -> None:
        self.view: NodeView | None = None
        self.reason = ""
        self.failures = 0
        self.retry_at = 0.0


class Reconciler:
    """Owns what is wanted and how far each family is. Set `arrived` when something arrived."""

    def __init__(  # noqa: PLR0913 - its parts, by name
        self,
        *,
        subscription: Subscription,
        arrived: asyncio.Event,
        kernel: NodeKernel,
        thread: KernelThread,
        schedule: Schedule,
        contact: Contact,
        outlets: Outlets,
    ) -> None:
        self._subscription = subscription
        self._kernel = kernel
        self._thread = thread
        self._schedule = schedule
        self._contact = contact
        self._outlets = outlets
        metrics = outlets.metrics
        self._latency = Latency(
            time.time(), metrics.programming_duration.observe, metrics.watch_to_kernel.observe
        )
        self._arrived = arrived
        self._families = {family: _Family() for family in kernel.families}
        self._target: Target | None = None
        self._in_force: Target | None = None
        self._kept: Target | None = None
        self._news: deque[News] = deque(maxlen=_NEWS_KEPT)
        self._proxy: tuple[Problem, ...] = ()
        self._log_refusals: dict[int, str] = {}
        self._repairs = 0
        self.programmed = asyncio.Event()
        """Set once all families have held a whole target."""

    def why_not_ready(self) -> str:
        """What the first programming waits for; "" once it is done."""
        return "" if self.programmed.is_set() else self._waits_for()

    async def run(self) -> None:
        """Turn for ever."""
        while True:
            self._arrived.clear()
            await self._turn(time.monotonic())
            await self._wait(time.monotonic())

    async def _turn(self, now: float) -> None:
        target = self._subscription.take(now)
        if target is not None:
            self._target = target
            self._news.extend(target.news)
            self._contact.adjust()
        if self._target is not None:
            due = [family for family, state in self._families.items() if self._is_due(state, now)]
            if due:
                await self._programme(self._target, due)
            if (check := self._schedule.due(now)) is not None:
                await self._look(self._target, check)
        self._tell()

    def _is_due(self, state: _Family, now: float) -> bool:
        return self._target is not None and state.view is not self._target.view and now >= state.retry_at

    async def _wait(self, now: float) -> None:
        """Until something arrives or is due."""
        retries = (state.retry_at for state in self._families.values() if state.failures)
        until = min(now + _LOOK_AGAIN, self._subscription.deadline(now), *retries, NEVER)
        if self._target is not None:
            until = min(until, now + self._schedule.wait(now))
        if until > now:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await self._arrived.wait()

    @property
    def view(self) -> NodeView | None:
        """What is in force; None before there is anything."""
        return None if self._in_force is None else self._in_force.view

    # The kernel

    async def _programme(self, target: Target, families: list[int]) -> None:
        began = time.monotonic()

        def job() -> tuple[list[Outcome], dict[int, Size], dict[int, str]]:
            outcomes = self._kernel.apply(target.view, families)
            return outcomes, self._kernel.sizes(), self._kernel.log_refusals()

        outcomes, sizes, refusals = await self._thread.run(job)
        self._outlets.journal.not_logged(refusals)
        self._log_refusals = refusals
        self._outlets.metrics.sized(sizes)
        for outcome in outcomes:
            self._take_outcome(outcome, target)
        if any(_wrote_rules(outcome) for outcome in outcomes):
            self._schedule.written(time.monotonic())
        held = [state.view is target.view for state in self._families.values()]
        if any(held):
            self._keep(target)
        if all(held):
            self._come_into_force(target, time.monotonic() - began)

    def _take_outcome(self, outcome: Outcome, target: Target) -> None:
        state = self._families[outcome.family]
        self._outlets.metrics.applied(outcome)
        if isinstance(outcome, Absent):
            state.view, state.reason = target.view, ""
            state.failures, state.retry_at = 0, 0.0
            self._outlets.journal.absent(outcome)
        elif isinstance(outcome, FamilyFailure):
            pause = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(state.failures, 10))
            state.view, state.reason = None, outcome.reason
            state.failures += 1
            state.retry_at = time.monotonic() + pause
            self._outlets.journal.failed(outcome, pause)
        else:
            state.view, state.reason = target.view, ""
            state.failures, state.retry_at = 0, 0.0
            self._outlets.journal.took(outcome)

    def _come_into_force(self, target: Target, seconds: float) -> None:
        before, self._in_force = self._in_force, target
        if before is None:
            self._schedule.start(time.monotonic())
            self._news.clear()  # what was there before tells nothing of how long changes take
            self.programmed.set()
        self._outlets.metrics.last_sync.set_to_current_time()
        waited = self._latency.applied(self._news, time.monotonic(), time.time())
        self._news.clear()
        self._outlets.journal.in_force(target, seconds, waited)

    def _keep(self, target: Target) -> None:
        """Have it on disk, also while a family fails: a start from what was before could open something."""
        before, self._kept = self._kept, target
        snapshot = self._subscription.snapshot
        if before is not target and snapshot is not None:
            is_urgent = before is None or before.digest != target.digest or _loses_members(before, target)
            self._outlets.keep(snapshot, is_urgent)

    async def _look(self, target: Target, check: Check) -> None:
        """Whether the kernel still holds what it was given. A family that failed is left to its retries."""
        families = [family for family, state in self._families.items() if state.view is target.view]

        def job() -> tuple[list[Checked], tuple[Problem, ...], dict[int, Size], dict[int, dict[str, int]]]:
            found = self._kernel.check(target.view, families, check)
            return found, ipvs_problem(), self._kernel.sizes(), self._kernel.denied()

        began = time.monotonic()
        found, self._proxy, sizes, denied = await self._thread.run(job)
        self._outlets.metrics.denied(denied)
        if check is Check.FULL:
            self._schedule.took(time.monotonic(), time.monotonic() - began)
        self._outlets.metrics.sized(sizes)
        for each in found:
            self._take_check(each, target)
        if families and not any(each.mended for each in found):
            self._outlets.metrics.last_sync.set_to_current_time()

    def _take_check(self, found: Checked, target: Target) -> None:
        self._outlets.journal.drifted(found.drifts)
        if found.mended is None:
            return
        self._take_outcome(found.mended, target)
        self._schedule.start(time.monotonic())
        if isinstance(found.mended, Applied):
            self._repairs += 1
            self._outlets.metrics.drift_repairs.labels(str(found.family)).inc()
            self._outlets.journal.mended(found.mended, self._repairs)

    # What is told

    def _tell(self) -> None:
        problems = (*self._failures(), *self._subscription.problems(), *self._proxy)
        stale = self._why_stale()
        target = self._in_force
        pods = 0 if target is None else len(target.view.pods)
        pending = 0 if target is None else len(target.pending)
        metrics, journal = self._outlets.metrics, self._outlets.journal
        metrics.stale.set(bool(stale))
        audited = 0 if target is None else sum(map(_only_counts, target.view.pods))
        metrics.pods.labels("enforced").set(pods - pending - audited)
        metrics.pods.labels("audited").set(audited)
        metrics.pods.labels("pending").set(pending)
        journal.problems(problems)
        journal.stale(stale)
        if target is None and not problems:
            return  # what an agent before this one said is still so, and need not be taken back for a moment
        self._outlets.report(
            Report(
                digest="" if target is None else target.digest,
                enforced=pods - pending,
                pending=pending,
                backend=self._kernel.backend.value,
                waits_for=self._waits_for(),
                stale=stale,
                problems=problems,
                notes=tuple(not_logged(*each) for each in self._log_refusals.items()),
            )
        )

    def _failures(self) -> Iterable[Problem]:
        for family, state in self._families.items():
            if state.failures:
                yield Problem("ApplyFailed", f"IPv{family} cannot be programmed: {state.reason}")

    def _waits_for(self) -> str:
        """Why the newest target is not in force; "" when it is."""
        if self._target is None:
            if self._subscription.is_gone:
                return "there is no NodePolicy for this node yet"
            return "; ".join(each.message for each in self._subscription.problems()) or (
                "the NodePolicy and its peer groups were not read yet"
            )
        failures = "; ".join(each.message for each in self._failures())
        return failures or ("" if self._in_force is self._target else "it is being programmed")

    def _why_stale(self) -> str:
        if self._subscription.is_gone and self._target is not None:
            return "the NodePolicy of this node was deleted"
        silence = self._contact.silence()
        if silence < STALE_AFTER:
            return ""
        return f"the API server was not heard for more than {STALE_AFTER:.0f} s"


def _only_counts(pod: LocalPod) -> bool:
    """Whether nothing is denied to it. Without rules its trial waits for a group, and it is open as well."""
    return not pod.isolated and (bool(pod.audited) or not pod.rulesets)


def _wrote_rules(outcome: Outcome) -> bool:
    return isinstance(outcome, Applied) and any(isinstance(step, Commit) for step in outcome.steps)


def _loses_members(before: Target, after: Target) -> bool:
    """Whether a group has a member less. O(members of groups that changed)."""
    old, new = before.view, after.view
    return _loses(old.groups, new.groups) or _loses(old.named_ports, new.named_ports)


def _loses(before: Mapping[_Group, frozenset[_Member]], after: Mapping[_Group, frozenset[_Member]]) -> bool:
    return any(
        group in after and found is not after[group] and not found <= after[group]
        for group, found in before.items()
    )
