"""The one thread that touches the kernel, so that the event loop never waits for it.

One, because what it does must happen in order. A daemon thread: a tool that hangs must not keep a process
alive that was told to stop. Stopping in the middle is safe, as every step is atomic, and the next run reads
what is there. It is in the network namespace that the process was in when it was made.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class KernelThread:
    """Does jobs one after the other. Made in the event loop that waits for them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name="kernel", daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """What the job returns or raises. If the waiting is cancelled, the job is done nevertheless."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, done))
        return await done

    def busy_for(self) -> float:
        """Seconds since the present job began; 0 without one."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            self._busy_since = time.monotonic()
            try:
                result, error = job(), None
            except BaseException as caught:  # noqa: BLE001 - it is raised again where the job is waited for
                result, error = None, caught
            self._busy_since = None
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                self._loop.call_soon_threadsafe(_settle, done, result, error)


def _settle(done: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
