"""The agent as a process: its parts put together, started in order, and stopped without touching a rule.

First what is there: rules of an earlier run go on enforcing until everything was listed once; where there are
none, what was enforced last is programmed from disk. Then the API server is asked, for ever. Stopping closes
what is open and leaves the kernel as it is.
"""

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec import Struct

from controller.agent.cache_writer import CacheWriter
from controller.agent.drop_log import DropLines, DropLog
from controller.agent.feeds import Feeds
from controller.agent.guard import Schedule
from controller.agent.journal import Journal
from controller.agent.kernel_thread import KernelThread
from controller.agent.last_good import LastGood, LastGoodError
from controller.agent.loop import Outlets, Reconciler
from controller.agent.memory import be_frugal
from controller.agent.metrics import AgentMetrics
from controller.agent.node_kernel import NodeKernel
from controller.agent.packet_log import PacketLog
from controller.agent.status_writer import StatusWriter
from controller.agent.subscription import Snapshot, Subscription
from controller.dataplane.settings import DropLog as LogSettings
from controller.engine.node_policies import ResourceError
from controller.engine.rulesets import NodeView
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.telemetry.health import HealthServer
from controller.telemetry.logs import logger

CACHE_AFTER = 3.0
"""Seconds that rules of an earlier run stay alone before what is on disk is compared with them."""
_LAST_JOB = 1.0
"""Seconds that a running job in the kernel has to end when the agent stops."""
_TICK = 0.01

_log = logger("agent")


class AgentSettings(Struct, frozen=True, kw_only=True):
    """What the agent is told, in seconds where it is time."""

    node: str
    state_dir: Path
    health_address: str
    patience: float = 1.0
    canary: float = 5.0
    full: float = 3600.0
    drop_log: LogSettings | None = None
    """Where the kernel logs denied packets, if it does."""


async def serve(
    settings: AgentSettings, connection: Connection, open_kernel: Callable[[], NodeKernel]
) -> None:
    """Enforce until SIGTERM or SIGINT.

    Raises what `open_kernel` raises, and AddressError, before anything is done.
    """
    be_frugal()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    thread = KernelThread()
    kernel = await thread.run(open_kernel)
    has_rules = await thread.run(kernel.has_rules)
    async with ApiClient(connection, user_agent="podgate-agent", field_manager="podgate-agent") as client:
        agent = _Agent(settings, client, thread, kernel, has_rules=has_rules)
        address = await agent.health.start()
        try:
            _log.info(
                f"agent of {settings.node} started: {kernel.backend} backend, "
                f"{'rules of an earlier run are in force' if has_rules else 'no rules are there yet'}",
                node=settings.node,
                server=connection.server,
                health=address,
            )
            await _until(stop, agent.run())
        except Exception:
            _log.exception(f"agent of {settings.node} ends by an error; its rules stay in force")
            raise
        finally:
            await agent.close()
    _log.info(f"agent of {settings.node} stopped; its rules stay in force", node=settings.node)


class _Agent:
    """The parts of one agent."""

    def __init__(
        self,
        settings: AgentSettings,
        client: ApiClient,
        thread: KernelThread,
        kernel: NodeKernel,
        *,
        has_rules: bool,
    ) -> None:
        file = LastGood(settings.state_dir, settings.node)
        snapshot = _load(file)
        self._thread = thread
        self._kernel = kernel
        self._cache = CacheWriter(file)
        self._status = StatusWriter(client, settings.node)
        metrics = AgentMetrics()
        subscription = _subscription(settings, snapshot, has_rules=has_rules)
        arrived = asyncio.Event()
        self._feeds = Feeds(
            client,
            node=settings.node,
            subscription=subscription,
            status=self._status,
            wake=arrived.set,
        )
        self._reconciler = Reconciler(
            subscription=subscription,
            arrived=arrived,
            kernel=kernel,
            thread=thread,
            schedule=Schedule(settings.canary, settings.canary, settings.full),
            contact=self._feeds,
            outlets=Outlets(self._status.tell, self._cache.keep, Journal(settings.node, _log), metrics),
        )
        self._drop_log = _drop_log(settings.drop_log, lambda: self._reconciler.view, metrics)
        checks = {"programmed": self._reconciler.why_not_ready}
        self.health = HealthServer(settings.health_address, checks, metrics.registry)

    async def run(self) -> None:
        """For ever; what any part raises ends all of them."""
        self._feeds.adjust()
        parts: tuple[Coroutine[Any, Any, None], ...] = (
            self._feeds.run(),
            self._reconciler.run(),
            self._status.run(),
            self._cache.run(),
            self._settle(),
            *(() if self._drop_log is None else (self._drop_log.run(),)),
        )
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(part)

    async def close(self) -> None:
        """Let go of everything but the rules, in about a second."""
        await self.health.close()
        self._cache.flush()
        patience = time.monotonic() + _LAST_JOB
        while self._thread.busy_for() and time.monotonic() < patience:  # noqa: ASYNC110 - another thread's state
            await asyncio.sleep(_TICK)
        if not self._thread.busy_for():
            await self._thread.run(self._kernel.close)

    async def _settle(self) -> None:
        """What start-up made stays: the collector need not look at it ever again."""
        await self._reconciler.programmed.wait()
        gc.collect()
        gc.freeze()


def _load(file: LastGood) -> Snapshot | None:
    try:
        return file.load()
    except LastGoodError as error:
        _log.warning(str(error))
        return None


def _drop_log(
    settings: LogSettings | None, view: Callable[[], NodeView | None], metrics: AgentMetrics
) -> DropLog | None:
    """None where denied packets are not to be logged, or cannot be: that is no reason not to enforce."""
    if settings is None:
        return None
    try:
        source = PacketLog(settings.group)
    except OSError as error:
        _log.warning(f"denied packets are not logged: {error}; they are enforced all the same")
        return None
    return DropLog(source, view, DropLines(logger("agent.drops")), metrics)


def _subscription(settings: AgentSettings, snapshot: Snapshot | None, *, has_rules: bool) -> Subscription:
    awaits_list = has_rules or snapshot is not None
    found = Subscription(settings.node, settings.patience, awaits_list=awaits_list)
    if snapshot is None:
        return found
    now = time.monotonic()
    try:
        found.restore(snapshot, now, now + CACHE_AFTER if has_rules else now)
    except ResourceError as error:
        _log.warning(f"{settings.state_dir}: what was enforced last cannot be understood: {error}")
        return Subscription(settings.node, settings.patience, awaits_list=has_rules)
    return found


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until told to stop. Raises what the work raises."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
