"""Before a term begins, this replica has to know all that the leader before it may have known.

A standby follows by its watches, and a watch can hang for a minute without anybody noticing. A leader that
began from what it knew then would write over newer NodePolicies with older ones: a pod that was isolated is
open again. So whoever becomes leader asks the API server first, and lists again what it missed.
"""

import asyncio
import time

from controller.kube.backoff import Backoff
from controller.kube.client import ApiClient
from controller.kube.errors import UNDECODABLE, ApiError
from controller.kube.events import event_head, number
from controller.kube.reflector import Reflector
from controller.kube.resource import PODS
from controller.objects.kinds import Pod
from controller.operator.census import Census
from controller.telemetry.logs import logger

_QUIET = 0.3
"""Seconds without an event after which a watch has brought everything that there was when it began."""
_LONGEST = 2.0
"""Seconds that this may take, and then as many for our own watch to bring the same."""
_LOOK = 0.02

_log = logger("operator.freshness")


async def catch_up(client: ApiClient, pods: Reflector[Pod], census: Census) -> None:
    """Return once everything is known that the API server knew when this was called; however long it takes.

    0.3 s where the watches work, for any number of pods; a list of all pods where theirs does not.
    """
    await census.take()
    if await _missed_pods(client, pods):
        _log.warning("the watch of pods is behind: they are listed again before anything is published")
        pods.restart()
        while not pods.is_current:  # noqa: ASYNC110 - the reflector has no event for it
            await asyncio.sleep(_LOOK)


async def _missed_pods(client: ApiClient, pods: Reflector[Pod]) -> bool:
    """Whether another watch, from where ours is, brings what ours does not."""
    pause = Backoff(first=0.2, cap=5.0)
    for _ in range(2):
        try:
            newest = await _newest_event(client, pods.position)
        except (ApiError, TimeoutError) as error:
            _log.info("cannot ask for newer pods", err=str(error) or "no answer in time")
            await asyncio.sleep(pause.next())
        else:
            return not await _reaches(pods, newest)
    return True


async def _newest_event(client: ApiClient, position: str) -> int:
    """The version of the last of the events that came since; 0 if none did. Raises ApiError, TimeoutError."""
    newest, began = 0, time.monotonic()
    async with (
        asyncio.timeout(_LONGEST) as limit,
        client.watch(PODS, resource_version=position, seconds=_LONGEST + 1) as batches,
    ):
        lines = aiter(batches)
        while time.monotonic() - began < _LONGEST / 2:
            limit.reschedule(asyncio.get_running_loop().time() + _LONGEST)
            try:
                newest = max(newest, *map(_version, await asyncio.wait_for(anext(lines), _QUIET)), 0)
            except (TimeoutError, StopAsyncIteration):
                break
    return newest


def _version(line: bytes) -> int:
    """Of an event; an error, as of a history that is gone, is newer than anything known."""
    try:
        head = event_head(line)
    except UNDECODABLE:
        return 1 << 64
    found = number(head.object.metadata.resource_version)
    return 1 << 64 if head.type == "ERROR" or found is None else found


async def _reaches(pods: Reflector[Pod], version: int) -> bool:
    """Whether our own watch gets that far, in time."""
    until = time.monotonic() + _LONGEST
    while (number(pods.position) or 0) < version:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_LOOK)
    return True
