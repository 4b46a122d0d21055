"""The operator as a process: its parts, the order they start in, and how they stop.

    watches -> intake -> engine ----changes----> publication -> writer      (the last two in a term as leader)

A replica that does not lead keeps the engine's state warm and writes nothing. A term begins with nothing but
that state: it reads what stands, compares, and writes what differs.
"""

import asyncio
import gc
import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from msgspec import Struct

from controller.engine.changes import Changes
from controller.engine.resolve import Resolver
from controller.kube.client import ApiClient, Fence
from controller.kube.connection import Connection
from controller.kube.lease import LeaderElector, LeaseTiming, own_identity
from controller.kube.ratelimit import WriteGate
from controller.kube.reflector import Reflector
from controller.kube.resource import PODS
from controller.objects.kinds import Mode, Pod
from controller.objects.wire import WirePod
from controller.operator.census import INTERVAL, Census
from controller.operator.freshness import catch_up
from controller.operator.intake import Arrival, Intake, Source, keep_pod
from controller.operator.kopf_source import KopfSource
from controller.operator.metrics import Metrics
from controller.operator.publication import GRACE
from controller.operator.reporter import ReportTiming
from controller.operator.term import Term, TermSettings
from controller.operator.worklist import Moment
from controller.telemetry.health import HealthServer
from controller.telemetry.logs import logger

LEASE = "podgate-operator"
"""The name of the Lease."""
USER_AGENT = "podgate-operator"

_log = logger("operator")
_LOOK = 0.05


class Options(Struct, frozen=True, kw_only=True):
    """How an operator runs. `grace` and `census_interval` are in seconds; `qps` are writes a second.

    `mode` is that of policies which neither say it themselves nor by their namespace.
    """

    connection: Connection
    namespace: str = "podgate-system"
    mode: Mode = Mode.ENFORCE
    qps: float = 250.0
    in_flight: int = 50
    leader_elect: bool = True
    identity: str = ""
    lease: LeaseTiming = LeaseTiming()
    health_address: str = "127.0.0.1:9440"
    grace: float = GRACE
    census_interval: float = INTERVAL
    reports: ReportTiming = ReportTiming()


class _Always:
    """The fence of an operator without election."""

    def remaining(self) -> float:
        """For ever."""
        return math.inf


class Operator:
    """One replica. `run` until `stop`."""

    def __init__(self, options: Options) -> None:
        self.metrics = Metrics()
        self.intake = Intake(self._changed, mode=options.mode)
        self.health_address = ""
        """Where health is served, once it is."""
        self._options = options
        self._identity = own_identity(options.identity)
        self._stopping = asyncio.Event()
        self._synced = asyncio.Event()
        self._term: Term | None = None
        self._broken: asyncio.Future[None]

    @property
    def is_synced(self) -> bool:
        """Whether everything that there was at the start is known."""
        return self._synced.is_set()

    @property
    def is_leading(self) -> bool:
        """Whether a term is under way."""
        return self._term is not None

    @property
    def is_published(self) -> bool:
        """Whether everything was published at least once in the term that is under way."""
        return self._term is not None and self._term.writer.all_published_at is not None

    def stop(self) -> None:
        """End: what is being written is finished, the lease released, and everything published stays."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. Raises ConfigurationError for wrong credentials, AddressError for health."""
        options = self._options
        self._broken = asyncio.get_running_loop().create_future()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(ApiClient(options.connection, user_agent=USER_AGENT))
            lease_client = await stack.enter_async_context(
                ApiClient(options.connection, user_agent=USER_AGENT)
            )
            pods = Reflector(client, PODS, wire=WirePod, keep=keep_pod, sink=self.intake)
            self.intake.pods_of = lambda: (pod for _, pod in pods.items())
            census = Census(client, self.intake, self.metrics, options.census_interval)
            kopf = KopfSource(options.connection, self._take, census.ask)
            self._watch_figures(pods, census, kopf)
            health = HealthServer(
                options.health_address,
                {"synced": lambda: self._why_not_synced(pods, census)},
                self.metrics.registry,
            )
            self.health_address = await health.start()
            stack.push_async_callback(health.close)
            _log.info(
                "started",
                server=options.connection.server,
                health=self.health_address,
                mode=options.mode.value,
            )
            kopf.start()
            stack.push_async_callback(kopf.stop)
            await self._until_stopped(pods, census, lease_client)
        _log.info("stopped")

    async def _until_stopped(self, pods: Reflector[Pod], census: Census, lease_client: ApiClient) -> None:
        tasks: list[asyncio.Task[Any]] = [
            # The lease is released first, while everything that takes is still there.
            asyncio.create_task(self._lead(pods, census, lease_client), name="lead"),
            asyncio.create_task(pods.run(), name="pods"),
            asyncio.create_task(census.run(), name="census"),
            asyncio.create_task(self._stopping.wait(), name="stop"),
        ]
        watched: list[asyncio.Future[Any]] = [*tasks, self._broken]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            await _end(task)
        for future in watched:
            if future.done() and not future.cancelled() and (error := future.exception()) is not None:
                raise error

    def _take(self, arrival: Arrival) -> None:
        """What kopf brought. A bug in the engine must end the process: what it knows may be wrong now."""
        try:
            self.intake.take(arrival)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            _log.exception(
                "cannot take in an object", kind=arrival.source.value, object="/".join(arrival.key)
            )
            if not self._broken.done():
                self._broken.set_exception(error)

    async def _lead(self, pods: Reflector[Pod], census: Census, lease_client: ApiClient) -> None:
        await pods.wait_synced()
        await census.complete.wait()
        # 150,000 pods are for life: they need not be looked at again by the collector.
        gc.collect()
        gc.freeze()
        self._synced.set()
        _log.info(
            "in step with the API server",
            pods=len(pods),
            policies=len(self.intake.known[Source.NETWORK_POLICIES]),
            namespaces=len(self.intake.known[Source.NAMESPACES]),
            nodes=len(self.intake.known[Source.NODES]),
        )
        if not self._options.leader_elect:
            await self._serve_term(_Always())
            return
        await self._campaign(lease_client, pods, census)

    async def _campaign(self, client: ApiClient, pods: Reflector[Pod], census: Census) -> None:
        options = self._options
        async with asyncio.TaskGroup() as group:
            running: list[asyncio.Task[None]] = []

            async def lead() -> None:
                await catch_up(client, pods, census)  # the leader before may have known more than we do
                await self._serve_term(elector)

            def started() -> None:
                running.append(group.create_task(lead(), name="term"))

            async def stopped(why: str) -> None:
                _log.info("the term ends", reason=why)
                if self._term is not None:
                    await self._term.end()
                while running:
                    await _end(running.pop())

            elector = LeaderElector(
                client,
                self._identity,
                namespace=options.namespace,
                name=LEASE,
                started=started,
                stopped=stopped,
                timing=options.lease,
            )
            await elector.run()

    async def _serve_term(self, fence: Fence) -> None:
        options = self._options
        gate = WriteGate(qps=options.qps, burst=max(1, int(options.qps)), in_flight=options.in_flight)
        async with ApiClient(options.connection, user_agent=USER_AGENT, fence=fence) as client:
            settings = TermSettings(options.grace, options.reports, self._identity)
            self._term = Term(client, self.intake, gate, self.metrics, settings)
            try:
                await self._term.run()
            finally:
                self._term = None

    def _changed(self, changes: Changes, at: float) -> None:
        """The engine says something else than before: a term, if there is one, has something to write."""
        if self._term is not None:
            with self.metrics.reconcile.time():
                self._term.absorb(changes, Moment(time.monotonic(), at))

    def _why_not_synced(self, pods: Reflector[Pod], census: Census) -> str:
        if self._synced.is_set():
            return ""
        if not pods.is_synced:
            return f"pods are not listed yet: {pods.last_error or 'under way'}"
        if census.missing:
            return (
                "objects are not listed yet"
                if census.missing < 0
                else f"{census.missing} objects are missing"
            )
        return "almost"

    def _watch_figures(self, pods: Reflector[Pod], census: Census, kopf: KopfSource) -> None:
        intake, watch = self.intake, self.metrics.watch

        def of_term(figure: Callable[[Term], float]) -> Callable[[], float]:
            return lambda: figure(self._term) if self._term is not None else 0.0

        watch("pods_tracked", lambda: len(pods))
        watch("policies", lambda: len(intake.known[Source.NETWORK_POLICIES]))
        watch("policies_audited", lambda: _audited(intake.resolver))
        watch("namespaces", lambda: len(intake.known[Source.NAMESPACES]))
        watch("nodes", lambda: len(intake.known[Source.NODES]))
        watch("quarantined_pods", lambda: len(intake.quarantined))
        watch("pods_silence_seconds", lambda: _age(pods.last_contact))
        watch("census_age_seconds", lambda: _age(census.taken_at))
        watch("kopf_restarts", lambda: kopf.restarts)
        watch("leader", lambda: float(self.is_leading))
        watch("published", lambda: float(self.is_published))
        watch("groups", of_term(lambda term: len(term.publication.groups)))
        watch("group_members", of_term(lambda term: term.publication.members))
        watch("slices", of_term(lambda term: term.publication.slices))
        watch("nodepolicies", of_term(lambda term: len(term.publication.nodes)))
        watch("queue_depth", of_term(lambda term: term.publication.backlog))
        watch(
            "queue_oldest_age_seconds",
            of_term(lambda term: term.publication.oldest_age(time.monotonic())),
        )


def _audited(resolver: Resolver) -> int:
    """O(policies), which costs milliseconds where there are 10,000."""
    return sum(resolver.mode_of(policy) is Mode.AUDIT for policy in resolver.policies())


def _age(moment: float) -> float:
    """Seconds since a monotonic moment; NaN for one that never was."""
    return time.monotonic() - moment if math.isfinite(moment) else math.nan


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for it; what it raised is for whoever started it."""
    task.cancel()
    await asyncio.wait({task})
