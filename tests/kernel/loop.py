"""An event loop in a thread of its own, so that traffic goes on while a test does something else."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

_LAST_WORDS = 0.05
"""Seconds for which the loop goes on, so that connections that were closed can go."""


class LoopThread:
    """The loop runs between entering and leaving."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="lab traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(asyncio.sleep(_LAST_WORDS))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for its result. From other threads only."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()
