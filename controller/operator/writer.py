"""Writes what the publication says, in its order, as fast as the budget allows, and only as leader.

Nothing queues here: a write takes its content when its turn has come. What stands is replaced under the
resourceVersion that is known; if somebody wrote meanwhile it is read, compared, and replaced only where it
still differs. When the API server fails everything waits a moment; when it refuses one object, only that one.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime

import msgspec

from controller.kube.backoff import Backoff
from controller.kube.client import ApiClient, PartialObject
from controller.kube.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    NotLeader,
    ServerError,
)
from controller.kube.ratelimit import WriteGate
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES, Resource
from controller.objects.resources import (
    GROUP_LABEL,
    TRIGGER_ANNOTATION,
    Metadata,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
    PeerGroupSliceSpec,
)
from controller.operator.held import HeldNode
from controller.operator.metrics import Metrics
from controller.operator.own_watch import read_node, read_slice
from controller.operator.publication import Publication
from controller.operator.steps import Identity, Kind, Step
from controller.telemetry.logs import logger

_ATTEMPTS = 5
_PATIENCE = 3
"""Failures of the server at one object, after which it may be the object."""
_DELAY = 0.2
_LONGEST_DELAY = 60.0
_NAMED = 5
_BREATH = 0.005
"""Seconds of comparing after which others get the event loop."""

_log = logger("operator.writer")
_RESOURCES = {Kind.SLICE: PEER_GROUP_SLICES, Kind.NODE_POLICY: NODE_POLICIES}


class Writer:
    """Writes for one term. `client` is fenced and has no gate: `gate` is passed before a step is taken."""

    def __init__(
        self, client: ApiClient, publication: Publication, gate: WriteGate, metrics: Metrics
    ) -> None:
        self.all_published_at: float | None = None
        """The monotonic moment when nothing was left to write for the first time."""
        self._client = client
        self._publication = publication
        self._gate = gate
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._pause = Backoff(first=0.2, cap=5.0)
        self._paused_until = -math.inf
        self._succeeded_at = -math.inf
        self._said: dict[str, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_ending = False

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Write for ever; cancel it to stop. A failing write ends nothing, a bug does."""
        async with asyncio.TaskGroup() as writes:
            while not self._is_ending:
                await self._until_due()
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(self._gate)
                    step = await self._next_step()
                    if step is not None:
                        task = writes.create_task(self._perform(step, stack.pop_all()), name=step.name)
                        self._under_way.add(task)
                        task.add_done_callback(self._under_way.discard)

    async def end(self, seconds: float) -> None:
        """Begin nothing more, and wait for the writes under way, at most so long."""
        self._is_ending = True
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    async def _until_due(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            moment = self._paused_until
            if moment <= now:
                if self._publication.has_due(now):
                    return
                self._note_all_published(now)
                moment = self._publication.next_at() or math.inf
            try:
                async with asyncio.timeout(None if moment == math.inf else max(0.0, moment - now)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _note_all_published(self, now: float) -> None:
        if self.all_published_at is None and not self._publication.backlog:
            self.all_published_at = now
            _log.info(
                "everything is published",
                nodes=len(self._publication.nodes),
                groups=len(self._publication.groups),
            )

    async def _next_step(self) -> Step | None:
        """The next write that is needed; those that are not are passed over."""
        began = time.monotonic()
        while not self._is_ending and self._publication.has_due(now := time.monotonic()):
            step = self._publication.take(now)
            if step is not None and step.is_needed:
                return step
            if step is not None:
                self._metrics.noops.labels(step.kind.value).inc()
                self._publication.unneeded(step, now)
            if now - began > _BREATH:
                await asyncio.sleep(0)
                began = time.monotonic()
        return None

    async def _perform(self, step: Step, slot: AsyncExitStack) -> None:
        if step.left_out:
            self._tell_left_out(step)
        try:
            async with slot:
                found = await self._write(step)
        except NotLeader:
            self._publication.failed(step, time.monotonic(), 1.0)
        except ApiError as error:
            self._failed(step, error)
        except BaseException:
            self._publication.failed(step, time.monotonic(), 1.0)
            raise
        else:
            self._pause.reset()
            self._succeeded_at = time.monotonic()
            self._publication.wrote(step, found, time.monotonic())
        self.wake()

    def _tell_left_out(self, step: Step) -> None:
        names = sorted({ruleset.policy for ruleset in step.left_out})
        if self._is_news(f"room of {step.name}"):
            _log.error(
                "the policies of this node are too large for one NodePolicy: some are left out, and their "
                "pods are isolated without them; make these smaller or fewer",
                name=step.name,
                policies=", ".join(names[:_NAMED]),
                left_out=len(names),
            )

    def _failed(self, step: Step, error: ApiError) -> None:
        """The object's own fault makes that object wait, longer each time; any other makes all wait."""
        now = time.monotonic()
        is_own = isinstance(error, BadRequest | Conflict) or self._is_alone(step, error)
        if not is_own and now >= self._paused_until:
            self._paused_until = now + max(self._pause.next(), error.retry_after)
        delay = min(_LONGEST_DELAY, _DELAY * 2.0 ** min(step.work.pending.failures, 20)) if is_own else 0.0
        self._publication.failed(step, now, delay, refused=isinstance(error, BadRequest | Forbidden))
        self._metrics.api_errors.labels("write").inc()
        kind = type(error).__name__
        if self._is_news(kind):  # the counters have all of them
            _log.warning("cannot write", kind=step.kind.value, name=step.name, err=str(error))

    def _is_alone(self, step: Step, error: ApiError) -> bool:
        """Whether a failure of the server is one with this object: again and again, and others were written.

        What etcd finds too large, say, is an internal error of kube-apiserver.
        """
        pending = step.work.pending
        is_tried = isinstance(error, ServerError) and pending.failures >= _PATIENCE
        return is_tried and self._succeeded_at > pending.since

    def _is_news(self, what: str) -> bool:
        """Whether it was not said for a minute."""
        now = time.monotonic()
        if now - self._said.get(what, -math.inf) < _LONGEST_DELAY:
            return False
        self._said[what] = now
        return True

    async def _write(self, step: Step) -> Identity:
        """Have it stand, or not stand, as the step says; however often others write at the same time."""
        resource = _RESOURCES[step.kind]
        found = None if step.held is None else Identity(step.held.uid, step.held.version)
        for _ in range(_ATTEMPTS):
            try:
                return await self._write_over(step, resource, found)
            except Conflict:
                found = await self._look(step, resource)
            if found is not None and step.spec is not None and found.digest == step.digest:
                return found
        return await self._write_over(step, resource, found)

    async def _write_over(self, step: Step, resource: Resource, found: Identity | None) -> Identity:
        """One attempt, given what stands. Raises Conflict where it is not that."""
        if step.spec is None:
            return await self._delete(step, resource, found)
        body = _body(step, found)
        if found is None:
            with self._counted(step, "create"):
                written = await self._client.create(resource, body, PartialObject)
        else:
            try:
                with self._counted(step, "update"):
                    written = await self._client.replace(resource, body, PartialObject)
            except NotFound as error:
                raise Conflict(error.request, error.message, code=404) from error
        if step.work.pending.trigger != math.inf:
            self._metrics.event_to_write.observe(max(0.0, time.time() - step.work.pending.trigger))
        meta = written.metadata
        return Identity(meta.uid, meta.resource_version, step.digest, meta.generation)

    async def _delete(self, step: Step, resource: Resource, found: Identity | None) -> Identity:
        if found is not None:
            # Agents write the status of a NodePolicy: its version says nothing about who owns it.
            version = found.version if step.kind is Kind.SLICE else ""
            try:
                with self._counted(step, "delete"):
                    await self._client.delete(resource, step.name, uid=found.uid, resource_version=version)
            except NotFound:
                pass
        return Identity("", "")

    async def _look(self, step: Step, resource: Resource) -> Identity | None:
        """What stands under the name, read afresh.

        Of a NodePolicy mostly the status changed, which its agent writes: then its content need not be read.
        """
        if isinstance(step.held, HeldNode) and step.held.generation:
            known = step.held
            try:
                meta = (await self._client.get(resource, step.name, PartialObject)).metadata
            except NotFound:
                return None
            if (meta.uid, meta.generation) == (known.uid, known.generation):
                return Identity(meta.uid, meta.resource_version, known.digest, meta.generation)
        try:
            raw = await self._client.get(resource, step.name, msgspec.Raw)
        except NotFound:
            return None
        held = (read_slice if step.kind is Kind.SLICE else read_node)(bytes(raw))
        generation = held.generation if isinstance(held, HeldNode) else 0
        return Identity(held.uid, held.version, held.digest, generation)

    @contextmanager
    def _counted(self, step: Step, operation: str) -> Iterator[None]:
        result = "ok"
        try:
            yield
        except (KubeError, asyncio.CancelledError) as error:
            result = "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
            raise
        finally:
            self._metrics.writes.labels(step.kind.value, operation, result).inc()


def _body(step: Step, found: Identity | None) -> NodePolicy | PeerGroupSlice:
    trigger = step.work.pending.trigger
    metadata = Metadata(
        name=step.name,
        resource_version=found.version if found is not None else "",
        labels={GROUP_LABEL: step.group} if step.group else {},
        annotations={TRIGGER_ANNOTATION: _time_text(trigger)} if trigger != math.inf else {},
    )
    if isinstance(step.spec, NodePolicySpec):
        return NodePolicy(metadata=metadata, spec=step.spec)
    if isinstance(step.spec, PeerGroupSliceSpec):
        return PeerGroupSlice(metadata=metadata, spec=step.spec)
    raise TypeError(f"{step.kind} {step.name} is to be deleted, and has no body")


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
