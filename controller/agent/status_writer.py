"""Brings the node's status to the API server: only what changed, and not at every change.

A digest that was newly applied is written at once, as somebody may wait for it; everything else at most once
a second. A failure is tried again, ever more slowly, and nothing waits for it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from controller.agent.status import Report, node_status
from controller.kube.backoff import Backoff
from controller.kube.client import ApiClient
from controller.kube.errors import ApiError, NotFound
from controller.kube.resource import NODE_POLICIES
from controller.objects.resources import NodePolicy, NodePolicyStatus
from controller.telemetry.logs import logger

SPACING = 1.0
"""Seconds between writes that are not urgent."""
_WARN_AGAIN = 60.0

_log = logger("agent.status")


class StatusWriter:
    """Owns what the API server is thought to hold. Everything is called in one event loop."""

    def __init__(self, client: ApiClient, node: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._report: Report | None = None
        self._held: NodePolicyStatus | None = None
        self._uid = ""
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._backoff = Backoff(first=0.5, cap=30.0)
        self._warned_at = float("-inf")

    def seen(self, policy: NodePolicy) -> None:
        """The NodePolicy as the API server has it; what one before it held is not held any more."""
        if policy.metadata.uid != self._uid:
            self._uid = policy.metadata.uid
            self._held = policy.status
            self._changed.set()

    def gone(self) -> None:
        """There is no NodePolicy to write to."""
        self._uid = ""
        self._held = None

    def tell(self, report: Report) -> None:
        """Say this from now on."""
        if report == self._report:
            return
        if self._report is None or report.digest != self._report.digest:
            self._urgent.set()
        self._report = report
        self._changed.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._urgent.clear()
            pause = await self._write()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._urgent.wait()

    async def _write(self) -> float:
        """Write what is not held yet; returns the seconds to wait before the next write."""
        if self._report is None or not self._uid:
            return 0.0
        wanted = node_status(self._report, self._held, _now())
        if wanted == self._held:
            return 0.0
        uid = self._uid
        try:
            change = {"status": msgspec.to_builtins(wanted)}
            await self._client.patch(NODE_POLICIES, self._node, change, msgspec.Raw, subresource="status")
        except NotFound:
            return SPACING  # deleted; the watch says when there is another one
        except ApiError as error:
            self._warn(error)
            self._changed.set()
            return self._backoff.next() + SPACING
        self._backoff.reset()
        if uid == self._uid:
            self._held = wanted
        return SPACING

    def _warn(self, error: ApiError) -> None:
        if self._clock() - self._warned_at >= _WARN_AGAIN:
            self._warned_at = self._clock()
            _log.warning(f"the status of NodePolicy {self._node} cannot be written: {error}", node=self._node)


def _now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
