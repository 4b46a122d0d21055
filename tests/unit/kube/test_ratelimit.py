"""The token bucket and the gate of writers."""

import asyncio
from contextlib import suppress

import pytest

from controller.kube.ratelimit import TokenBucket, WriteGate
from tests.unit.kube.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(10.0, 3, Clock())
    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0.0, 0.0, 0.0, 0.1, 0.2])


def test_a_pause_fills_the_bucket_up_to_the_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 3, clock)
    for _ in range(3):
        bucket.reserve()
    clock.now = 1000.0
    assert [bucket.reserve() for _ in range(4)] == pytest.approx([0.0, 0.0, 0.0, 0.1])


def test_over_a_long_time_the_rate_holds() -> None:
    clock = Clock()
    bucket = TokenBucket(50.0, 5, clock)
    for _ in range(1000):
        clock.now += bucket.reserve()
    assert clock.now == pytest.approx((1000 - 5) / 50.0)


async def test_who_gives_up_waiting_gives_its_turn_back() -> None:
    bucket = TokenBucket(10.0, 1, Clock())
    await bucket.take()
    waiting = asyncio.create_task(bucket.take())
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert bucket.reserve() == pytest.approx(0.1)


@pytest.mark.parametrize(("qps", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_rate_that_lets_nothing_through_is_refused(qps: float, burst: int) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        TokenBucket(qps, burst)


async def test_no_more_than_so_many_writes_are_under_way() -> None:
    gate = WriteGate(qps=1e6, burst=1000, in_flight=3)
    inside = most = done = 0

    async def write() -> None:
        nonlocal inside, most, done
        async with gate:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
            done += 1

    tasks = [asyncio.create_task(write()) for _ in range(20)]
    await until(lambda: done == 20)
    await asyncio.gather(*tasks)
    assert most == 3


async def test_a_write_that_fails_or_is_given_up_frees_its_place() -> None:
    gate = WriteGate(qps=0.001, burst=1, in_flight=1)
    with suppress(RuntimeError):
        async with gate:
            raise RuntimeError
    waiting = asyncio.create_task(gate.__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    other = asyncio.create_task(gate.__aenter__())
    await asyncio.sleep(0.01)
    # It holds the place and waits for its token only.
    assert gate._slots.locked()  # noqa: SLF001 - nothing else shows it
    other.cancel()
