"""One leader among the replicas of the operator, by a coordination.k8s.io/v1 Lease.

    LeaderElector(client, identity, namespace=..., name=..., started=..., stopped=..., timing=LeaseTiming())
    await elector.run()      campaigns, leads, campaigns again; cancel it to stop: the lease is then released
    .is_leader  .remaining() seconds  .holder  .last_error
    own_identity(name="") -> str    name, of the host by default, and a random part: a process is a candidate

Safe whatever the clocks on the wall say, as client-go is: the times in the lease are for people. A candidate
measures on its own clock how long it has seen the lease *unchanged*, and takes it after the whole duration.
The leader stops believing in itself `renew` seconds after it *sent* the last renewal that succeeded, without
being told by anyone, also when its process was frozen or the machine slept. Between the two lies the margin
for clocks that run at different speeds.

Give it a client of its own, without gate and fence: a renewal must not queue behind the writes it allows. The
elector is itself the fence for the client that writes (`ApiClient(fence=elector)`).
"""

import asyncio
import logging
import math
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from controller.kube.client import ApiClient
from controller.kube.errors import Conflict, KubeError, NotFound
from controller.kube.resource import LEASES

_log = logging.getLogger(__name__)
_RANDOM = Random()  # noqa: S311 - spreads load, hides nothing
_JITTER = 0.2


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps: a leader that wakes up must find its lease expired."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def own_identity(name: str = "") -> str:
    """Never the same twice: a replica restarted is not the one before, whose writes may be under way.

    Nor where a `name` is given, in place of the host's: two replicas may have been given the same.
    """
    return f"{name or socket.gethostname()}_{secrets.token_hex(8)}"


class LeaseTiming(Struct, frozen=True):
    """Seconds: how long a lease holds, until when the leader must have renewed it, how often one tries."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew > self.retry > 0:
            raise ValueError(
                f"lease timing {self.duration}/{self.renew}/{self.retry} s: each must be longer than the next"
            )


class LeaseSpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """spec of a Lease. Read back unchanged, so every field of v1 stands here."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


class Lease(Struct, frozen=True, rename="camel"):
    """A Lease. The metadata are other people's too, and go back as they came."""

    metadata: dict[str, Any]
    spec: LeaseSpec = field(default_factory=LeaseSpec)
    api_version: str = LEASES.api_version
    kind: str = LEASES.kind


class LeaderElector:
    """One candidate. `started` is called when it leads, `stopped` awaited, with the reason, when it does not.

    `stopped` at a clean end is awaited before the lease is released: let it end the writes under way.
    """

    def __init__(  # noqa: PLR0913 - settings, by name
        self,
        client: ApiClient,
        identity: str,
        *,
        namespace: str,
        name: str,
        started: Callable[[], None],
        stopped: Callable[[str], Awaitable[None]],
        timing: LeaseTiming = LeaseTiming(),  # noqa: B008 - frozen
        clock: Callable[[], float] = boot_clock,
        wall: Callable[[], float] = time.time,
        random: Random = _RANDOM,
    ) -> None:
        self.identity = identity
        self.last_error = ""
        """Why the last attempt failed; empty after one that went as it should."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._started = started
        self._stopped = stopped
        self._timing = timing
        self._clock = clock
        self._wall = wall
        self._random = random
        self._seen: Lease | None = None
        self._unchanged_since = -math.inf
        self._leads_until = -math.inf

    @property
    def is_leader(self) -> bool:
        """Whether the lease is ours for certain, now."""
        return self.remaining() > 0

    @property
    def holder(self) -> str:
        """Who held the lease when it was last seen; empty: nobody."""
        return (self._seen.spec.holder_identity or "") if self._seen else ""

    def remaining(self) -> float:
        """Seconds for which the lease is certainly ours; 0 or less: it may not be."""
        return self._leads_until - self._clock()

    async def run(self) -> None:
        """Campaign, lead, campaign again. Errors of the API server are waited out."""
        try:
            while True:
                await self._campaign()
                _log.info("%s: leading as %s", self, self.identity)
                self._started()
                why = await self._lead()
                _log.warning("%s: not leading any more: %s", self, why)
                await self._stopped(why)
        finally:
            await self._resign()

    def __str__(self) -> str:
        return f"lease {self._namespace}/{self._name}"

    async def _campaign(self) -> None:
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._timing.retry * self._random.uniform(1.0, 1.0 + _JITTER))

    async def _lead(self) -> str:
        """Renew until that fails for too long; why it did."""
        while (left := self.remaining()) > 0:
            # Awake at the end in any case, so that whoever listens learns of it then.
            await asyncio.sleep(min(self._timing.retry, left))
            if self.remaining() > 0 and not await self._try() and self.holder != self.identity:
                self._leads_until = -math.inf
                return f"it is held by {self.holder or 'nobody'}"
        problem = self.last_error or "this process did not run"
        return f"it was not renewed for {self._timing.renew:g} s: {problem}"

    async def _try(self) -> bool:
        """One attempt to get or keep the lease, within half the deadline so that there can be another."""
        limit = self._timing.renew / 2
        if self.is_leader:
            limit = min(limit, self.remaining())
        try:
            async with asyncio.timeout(limit):
                done = await self._renew() or await self._acquire()
        except TimeoutError:
            return self._failed(f"no answer within {limit:.1f} s")
        except KubeError as error:
            return self._failed(str(error))
        self.last_error = ""
        return done

    def _failed(self, problem: str) -> bool:
        if problem != self.last_error:
            _log.warning("%s: %s", self, problem)
        self.last_error = problem
        return False

    async def _renew(self) -> bool:
        """The usual case, one request: what we wrote last is still there."""
        if not (self.is_leader and self._seen):
            return False
        try:
            await self._write(self._seen)
        except Conflict:
            return False
        return True

    async def _acquire(self) -> bool:
        """Look, and take it if it is free, ours, or was not renewed for its whole duration."""
        try:
            lease = await self._client.get(LEASES, self._name, Lease, namespace=self._namespace)
        except NotFound:
            await self._write(None)
            return True
        self._observe(lease)
        if self.holder not in {"", self.identity} and not self._is_expired(lease.spec):
            return False
        await self._write(lease)
        return True

    def _observe(self, lease: Lease) -> None:
        """Only a change counts, and when we noticed it: the times in it are of another clock."""
        if self._seen is None or lease.spec != self._seen.spec:
            self._unchanged_since = self._clock()
        self._seen = lease

    def _is_expired(self, spec: LeaseSpec) -> bool:
        duration = spec.lease_duration_seconds or self._timing.duration
        return self._clock() >= self._unchanged_since + duration

    async def _write(self, current: Lease | None) -> None:
        sent = self._clock()
        wanted = Lease({"name": self._name, "namespace": self._namespace}, self._claim(LeaseSpec()))
        if current:
            wanted = replace(current, spec=self._claim(current.spec))
            written = await self._client.replace(LEASES, wanted, Lease)
        else:
            written = await self._client.create(LEASES, wanted, Lease)
        self._observe(written)
        # From when it was sent: it may have been written at once and been answered late.
        self._leads_until = sent + self._timing.renew

    def _claim(self, spec: LeaseSpec) -> LeaseSpec:
        now = self._now()
        is_ours = spec.holder_identity == self.identity
        return replace(
            spec,
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self._timing.duration),
            acquire_time=spec.acquire_time if is_ours else now,
            renew_time=now,
            lease_transitions=(spec.lease_transitions or 0)
            + (not is_ours and spec.holder_identity is not None),
        )

    async def _resign(self) -> None:
        """Stop leading, then say so, that the next need not wait; what cannot be said expires."""
        was_leader, self._leads_until = self.is_leader, -math.inf
        if not was_leader or not self._seen:
            return
        await self._stopped("shutting down")
        now = self._now()
        # As client-go does it: not an empty spec, which older servers refuse.
        spec = replace(
            self._seen.spec, holder_identity="", lease_duration_seconds=1, acquire_time=now, renew_time=now
        )
        try:
            async with asyncio.timeout(self._timing.renew / 2):
                await self._client.replace(LEASES, replace(self._seen, spec=spec), Lease)
        except (KubeError, TimeoutError) as error:
            _log.warning("%s: not released, it expires in %g s: %s", self, self._timing.duration, error)
        else:
            _log.info("%s: released", self)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
