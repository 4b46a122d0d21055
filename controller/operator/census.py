"""Who is there, asked afresh: what kopf lost is found, and what it never said is gone is forgotten.

After a watch broke, kopf lists again and tells what there is, never what there is no more. A ghost is a
security bug: a policy that was deleted isolates for ever, and the labels of a namespace that is gone admit
those of its successor. So every list of kopf, and the clock, is followed by lists of our own that hold names
and uids only. The first one is also the barrier at the start: before everything that it names is known,
nothing may be published.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from controller.kube.backoff import Backoff
from controller.kube.client import ApiClient, ObjectMeta
from controller.kube.errors import ApiError, KubeError, NotFound
from controller.operator.held import is_newer
from controller.operator.intake import Intake, Key, Known, Received, Source, arrival_of
from controller.operator.kopf_source import RESOURCES
from controller.operator.metrics import Metrics
from controller.telemetry.logs import logger

INTERVAL = 300.0
"""Seconds between two censuses when nothing happens."""
_QUIET = 1.0
"""After a list of kopf: wait until it has told nothing of it for this long, so that one census follows it."""
_PATIENCE = 5.0
"""Without progress for this long, what kopf does not deliver is fetched."""
_LOOK = 0.05

_log = logger("operator.census")


class HistoryLostError(KubeError):
    """The API server has forgotten what it said: nothing that is known can be compared with what it says."""


class Census:
    """Takes a census when asked to, and from time to time."""

    def __init__(
        self, client: ApiClient, intake: Intake, metrics: Metrics, interval: float = INTERVAL
    ) -> None:
        self.complete = asyncio.Event()
        """Set when everything that the first census named is known."""
        self.missing = -1
        """Objects that exist and are not known, as of the last look; -1 before the first."""
        self.taken_at = float("-inf")
        """The monotonic time of the last census that was complete."""
        self._client = client
        self._intake = intake
        self._metrics = metrics
        self._interval = interval
        self._asked = asyncio.Event()
        self._asked_at = float("-inf")

    def ask(self) -> None:
        """A list came in: take a census once it is through."""
        self._asked_at = time.monotonic()
        self._asked.set()

    async def run(self) -> None:
        """Take one now, then whenever asked or the clock says."""
        while True:
            self._asked.clear()
            await self.take()
            self.complete.set()
            await self._until_asked()

    async def take(self) -> None:
        """Take one; returns when everything is known that it named. What fails is tried again.

        Raises HistoryLostError, with which this process ends: the next one knows nothing that is not so.
        """
        pause = Backoff(first=0.2, cap=20.0)
        while True:
            try:
                for source in Source:
                    await self._take(source)
            except ApiError as error:
                self._metrics.api_errors.labels("census").inc()
                _log.warning("census failed", err=str(error))
                await asyncio.sleep(pause.next())
            else:
                self.taken_at = time.monotonic()
                return

    async def _until_asked(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._asked.wait()
                while (quiet := time.monotonic() - self._asked_at) < _QUIET:  # noqa: ASYNC110 - it moves on
                    await asyncio.sleep(_QUIET - quiet)
        except TimeoutError:
            pass  # as good a moment as any

    async def _take(self, source: Source) -> None:
        """List one kind; forget what is gone, and wait for what is missing."""
        began = time.monotonic()
        listing = await self._client.list_metadata(RESOURCES[source])
        listed = {(meta.namespace, meta.name): meta for meta in listing.items}
        known = self._intake.known[source]
        for key, found in known.items():
            if key in listed and _is_from_a_lost_future(found, listed[key], began):
                raise HistoryLostError(
                    f"{source} {_name(key)}: the API server is back at {listed[key].resource_version}, and "
                    f"version {found.version} was known: restored from a backup? All has to be read anew"
                )
        ghosts = [key for key, found in known.items() if _is_ghost(found, listed.get(key), began)]
        for key in ghosts:
            self._intake.forget(source, key, time.time())
            self._metrics.ghosts.labels(source.value).inc()
            _log.info("an object is gone that no watch said is gone", kind=source.value, object=_name(key))
        await self._catch_up(source, listed, began)

    async def _catch_up(self, source: Source, listed: dict[Key, ObjectMeta], began: float) -> None:
        progress_at, before = time.monotonic(), len(listed) + 1
        while missing := self._missing(source, listed, began):
            self.missing = len(missing)
            if len(missing) < before:
                progress_at, before = time.monotonic(), len(missing)
            if time.monotonic() - progress_at > _PATIENCE:
                await self._fetch(source, missing)
                break
            await asyncio.sleep(_LOOK)
        self.missing = 0

    def _missing(self, source: Source, listed: dict[Key, ObjectMeta], began: float) -> list[Key]:
        known = self._intake.known[source]
        return [key for key, meta in listed.items() if not _is_up_to_date(known.get(key), meta, began)]

    async def _fetch(self, source: Source, keys: Iterable[Key]) -> None:
        """Read one by one what kopf lost."""
        for namespace, name in keys:
            try:
                body = await self._client.get(RESOURCES[source], name, dict[str, Any], namespace=namespace)
            except NotFound:
                continue  # gone since the list
            arrival = arrival_of(source, body, Received.now(), gone=False)
            if arrival is not None:
                self._intake.take(arrival)
                self._metrics.recovered.labels(source.value).inc()
                _log.warning("an object was fetched that no watch brought", kind=source.value, object=name)


def _is_ghost(known: Known, listed: ObjectMeta | None, began: float) -> bool:
    """Whether an object that was last heard of before the list began is not in it."""
    return known.seen_at < began and (listed is None or listed.uid != known.uid)


def _is_from_a_lost_future(known: Known, listed: ObjectMeta, began: float) -> bool:
    """Whether a version that was heard of before the list began is newer than the one in the list."""
    is_same = known.seen_at < began and known.uid == listed.uid
    return is_same and is_newer(known.version, listed.resource_version)


def _is_up_to_date(known: Known | None, listed: ObjectMeta, began: float) -> bool:
    """Whether what is known is as new as the list. An event that came since may be an old one, and late."""
    if known is None or is_newer(listed.resource_version, known.version):
        return False
    return known.uid == listed.uid or known.seen_at >= began


def _name(key: Key) -> str:
    return "/".join(filter(None, key))
