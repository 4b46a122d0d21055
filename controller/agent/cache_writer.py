"""Keeps the last good state on disk up to date, without writing it at every change of a peer."""

import asyncio
import contextlib
import threading

from controller.agent.last_good import LastGood, LastGoodError
from controller.agent.subscription import Snapshot
from controller.telemetry.logs import logger

SPACING = 10.0
"""Seconds between writes that only bring more members: a megabyte each, on nodes with many peers."""
SHORTEST = 1.0
"""Seconds between any two."""

_log = logger("agent.cache")


class CacheWriter:
    """Owns the newest snapshot that is not on disk yet."""

    def __init__(self, file: LastGood, spacing: float = SPACING) -> None:
        self._file = file
        self._spacing = spacing
        self._newest: Snapshot | None = None
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._is_failing = False
        self._writing = threading.Lock()

    def keep(self, snapshot: Snapshot, is_new: bool) -> None:
        """Have this on disk: soon, or at once where its rules are new or a member went."""
        self._newest = snapshot
        self._arrived.set()
        if is_new:
            self._urgent.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            self._urgent.clear()
            await asyncio.to_thread(self.flush)
            await asyncio.sleep(min(SHORTEST, self._spacing))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._spacing):
                    await self._urgent.wait()

    def flush(self) -> None:
        """Write what is not on disk yet. Blocks. May be called from several threads."""
        with self._writing:
            snapshot, self._newest = self._newest, None
            if snapshot is not None:
                self._save(snapshot)

    def _save(self, snapshot: Snapshot) -> None:
        try:
            self._file.save(snapshot)
        except LastGoodError as error:
            if not self._is_failing:
                _log.warning(str(error))
            self._is_failing = True
        else:
            self._is_failing = False
