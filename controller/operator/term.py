"""One term as leader: reads what stands, compares it with what the engine says, writes what differs.

Nothing is taken over from an earlier term, since somebody else may have led in between.
"""

import asyncio
import time

from msgspec import Struct

from controller.engine.changes import Changes
from controller.kube.client import ApiClient
from controller.kube.ratelimit import WriteGate
from controller.kube.reflector import Reflector
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.operator.intake import Intake
from controller.operator.metrics import Metrics
from controller.operator.own_watch import (
    NodeSink,
    SliceSink,
    WireNodePolicy,
    WireSlice,
    keep_node,
    keep_slice,
)
from controller.operator.publication import Publication
from controller.operator.reporter import Reporter, ReportTiming
from controller.operator.worklist import Moment
from controller.operator.writer import Writer
from controller.telemetry.logs import logger

_BREATH = 0.005
_DRAIN = 2.0
"""Seconds that writes under way have to end when the term does."""

_log = logger("operator.term")


class TermSettings(Struct, frozen=True):
    """What a term is told: see `publication.GRACE`, `reporter.ReportTiming`; `identity` signs Events."""

    grace: float
    reports: ReportTiming
    identity: str


class Term:
    """Runs until it is cancelled. `client` is fenced: a term that is over cannot write, however late."""

    def __init__(
        self, client: ApiClient, intake: Intake, gate: WriteGate, metrics: Metrics, settings: TermSettings
    ) -> None:
        self.publication = Publication(intake.resolver, settings.grace)
        self.writer = Writer(client, self.publication, gate, metrics)
        self.reporter = Reporter(
            client,
            intake,
            self.publication,
            metrics,
            identity=settings.identity,
            timing=settings.reports,
        )
        self._slices = Reflector(
            client,
            PEER_GROUP_SLICES,
            wire=WireSlice,
            keep=keep_slice,
            sink=SliceSink(self.publication, metrics, self.writer.wake),
        )
        self._nodes = Reflector(
            client,
            NODE_POLICIES,
            wire=WireNodePolicy,
            keep=keep_node,
            sink=NodeSink(self.publication, metrics, self.writer.wake),
        )

    def absorb(self, changes: Changes, at: Moment) -> None:
        """The engine's results changed."""
        self.publication.absorb(changes, at)
        self.reporter.absorb(changes)
        self.writer.wake()

    async def run(self) -> None:
        """Serve the term."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._slices.run(), name="slices")
            group.create_task(self._nodes.run(), name="nodepolicies")
            await self._slices.wait_synced()
            await self._nodes.wait_synced()
            await self._compare()
            self.reporter.begin()
            group.create_task(self.reporter.run(), name="reports")
            await self.writer.run()

    async def end(self) -> None:
        """Begin no write any more, and let those under way end."""
        await self.writer.end(_DRAIN)

    async def _compare(self) -> None:
        began = breathed = time.monotonic()
        for _ in self.publication.begin(Moment(began, time.time())):
            if time.monotonic() - breathed > _BREATH:
                await asyncio.sleep(0)
                breathed = time.monotonic()
        _log.info(
            "leading",
            slices=len(self._slices),
            nodepolicies=len(self._nodes),
            to_look_at=self.publication.backlog,
            seconds=round(time.monotonic() - began, 3),
        )
