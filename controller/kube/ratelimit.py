"""How fast we may write: a token bucket and a limit of requests under way.

    TokenBucket(qps, burst).take() -> None            waits for its turn, in order of arrival
    WriteGate(qps=..., burst=..., in_flight=...)      `async with gate:` around each write

Neither asyncio nor aiohttp has a bucket. Nothing here queues work: whoever waits holds its place, and what is
written when the turn comes is the writer's newest content, so a slow server is met by coalescing.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self


class TokenBucket:
    """`qps` on average, `burst` at once after a pause. O(1); fair, because each call reserves its moment."""

    def __init__(self, qps: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        if qps <= 0 or burst < 1:
            raise ValueError(f"a rate of {qps}/s with a burst of {burst} lets nothing through")
        self._qps = qps
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._counted_at = clock()

    async def take(self) -> None:
        """Wait until one more is allowed. Cancelled while waiting, it gives its turn back."""
        delay = self.reserve()
        if delay <= 0:
            return
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            self._tokens += 1
            raise

    def reserve(self) -> float:
        """Take a token, if need be one that is still to come; the seconds until then."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._qps)
        self._counted_at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._qps)


class WriteGate:
    """What every write passes: at most `in_flight` under way, at most `qps` begun a second.

    The slot comes first, so that a token is never spent on a request that then waits for a slot.
    """

    def __init__(self, *, qps: float = 250.0, burst: int = 500, in_flight: int = 50) -> None:
        self._bucket = TokenBucket(qps, burst)
        self._slots = asyncio.Semaphore(in_flight)

    async def __aenter__(self) -> Self:
        await self._slots.acquire()
        try:
            await self._bucket.take()
        except BaseException:
            self._slots.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()
