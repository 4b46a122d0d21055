"""One thread does the kernel's work: in order, beside the event loop, and never in the way of an end."""

import asyncio
import itertools
import threading
import time

import pytest

from controller.agent.kernel_thread import KernelThread


async def test_jobs_are_done_in_order_and_in_one_thread() -> None:
    thread = KernelThread()
    numbers = itertools.count()

    done = await asyncio.gather(
        *(thread.run(lambda: (next(numbers), threading.get_ident())) for _ in range(5))
    )

    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    assert {ident for _, ident in done} != {threading.get_ident()}
    assert len({ident for _, ident in done}) == 1


async def test_what_a_job_raises_comes_to_who_waits_and_the_next_is_done() -> None:
    thread = KernelThread()

    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)

    assert await thread.run(lambda: 2) == 2


async def test_the_event_loop_turns_while_a_job_runs() -> None:
    thread, release = KernelThread(), threading.Event()
    job = asyncio.create_task(thread.run(lambda: release.wait(10)))
    await asyncio.sleep(0.01)
    busy = thread.busy_for()

    release.set()

    assert await job
    assert busy > 0
    assert thread.busy_for() == 0


async def test_a_job_goes_on_when_nobody_waits_for_it_any_more() -> None:
    thread, release, done = KernelThread(), threading.Event(), threading.Event()

    def wait_and_tell() -> None:
        release.wait(10)
        done.set()

    job = asyncio.create_task(thread.run(wait_and_tell))
    await asyncio.sleep(0.01)

    job.cancel()
    release.set()

    with pytest.raises(asyncio.CancelledError):
        await job
    assert done.wait(10)


def test_a_job_that_hangs_keeps_no_event_loop_from_its_end() -> None:
    release = threading.Event()

    async def hang() -> None:
        job = asyncio.create_task(KernelThread().run(lambda: release.wait(60)))
        await asyncio.sleep(0.01)
        job.cancel()

    began = time.monotonic()
    asyncio.run(hang())
    seconds = time.monotonic() - began
    release.set()

    assert seconds < 30  # it hangs for 60
