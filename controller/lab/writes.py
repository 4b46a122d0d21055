"""What kubelets write to the API server: statuses and the end of deletions, each pod in order, retried.

Only the last status of a pod counts, so a slow server makes fewer writes, never a queue that grows.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from controller.kube.client import ApiClient
from controller.kube.errors import ApiError, Conflict, NotFound
from controller.kube.resource import PODS
from controller.lab.podspec import Pod

_log = logging.getLogger(__name__)

_WRITERS = 8
_RETRY = 0.5


class _Write(Struct):
    """What is to be written of one pod next. None for status: its deletion is finished."""

    pod: Pod
    status: dict[str, Any] | None


class PodWriter:
    """Takes writes from kubelets, and makes them while `run` does."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._waiting: dict[str, _Write] = {}
        self._busy: set[str] = set()
        self._wake = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def set_status(self, pod: Pod, status: Mapping[str, Any]) -> None:
        """Merge into the pod's status; what was to be merged before and has not been, is too."""
        before = self._waiting.get(pod.metadata.uid)
        merged = {**((before.status or {}) if before else {}), **status}
        self._put(_Write(pod, merged))

    def finish_deletion(self, pod: Pod) -> None:
        """Delete the pod without grace."""
        self._put(_Write(pod, None))

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(self._work())

    def _put(self, write: _Write) -> None:
        self._waiting[write.pod.metadata.uid] = write
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._wake:
            self._wake.notify()

    async def _work(self) -> None:
        while True:
            async with self._wake:
                await self._wake.wait_for(lambda: self._waiting.keys() - self._busy)
                uid = next(uid for uid in self._waiting if uid not in self._busy)
                write = self._waiting.pop(uid)
                self._busy.add(uid)
            try:
                await self._write(write)
            except (NotFound, Conflict):
                pass  # gone, or another pod of that name by now: nobody asks for this any more
            except ApiError as error:
                _log.warning("pod %s: %s; trying again", write.pod.key, error)
                self._waiting.setdefault(uid, write)
                await asyncio.sleep(_RETRY)
            finally:
                self._busy.discard(uid)
            await self._notify()

    async def _write(self, write: _Write) -> None:
        metadata = write.pod.metadata
        if write.status is None:
            await self._client.delete(
                PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid, grace_seconds=0
            )
            return
        change = {"metadata": {"uid": metadata.uid}, "status": write.status}
        await self._client.patch(
            PODS, metadata.name, change, msgspec.Raw, namespace=metadata.namespace, subresource="status"
        )
