"""What the API server says of this node, handed to the subscription: its NodePolicy and its groups' slices.

Both are read and nothing else: no pods, no secrets. Slices are asked for by the groups they belong to; when
those change, they are listed anew with another selector. Groups that are not needed any more wait a while
for that, as their coming back is common: a pod that moves, a rollout.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from controller.agent.status_writer import StatusWriter
from controller.agent.subscription import Subscription
from controller.kube.client import ApiClient
from controller.kube.reflector import Reflector, Timing
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES, Selection
from controller.kube.sink import Unreadable
from controller.kube.store import Key
from controller.objects.resources import GROUP_LABEL, NodePolicy, PeerGroupSlice

T = TypeVar("T")

GROUPS_MAX = 400
"""Groups that a selector names; with more, every slice is watched. 17 bytes each, in the URL."""
SHRINK_AFTER = 30.0
"""Seconds for which slices of groups that are not needed any more are watched nevertheless."""


class Feeds:
    """Owns both reflectors. `wake` is called when something arrived that is to be acted on."""

    def __init__(  # noqa: PLR0913 - who they read for, by name
        self,
        client: ApiClient,
        *,
        node: str,
        subscription: Subscription,
        status: StatusWriter,
        wake: Callable[[], None],
        timing: Timing = Timing(),  # noqa: B008 - frozen
    ) -> None:
        self._subscription = subscription
        self._wake = wake
        self._started = time.monotonic()
        self._asked: frozenset[str] | None = frozenset()
        self._is_asking = asyncio.Event()
        self._shrinking: asyncio.TimerHandle | None = None
        self.policies: Reflector[NodePolicy] = Reflector(
            client,
            NODE_POLICIES,
            wire=NodePolicy,
            keep=_itself,
            sink=_PolicySink(self, subscription, status, wake),
            selection=Selection(field_selector=f"metadata.name={node}"),
            timing=timing,
        )
        self.slices: Reflector[PeerGroupSlice] = Reflector(
            client,
            PEER_GROUP_SLICES,
            wire=PeerGroupSlice,
            keep=_itself,
            sink=_SliceSink(self, subscription, wake),
            timing=timing,
        )

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.policies.run())
            tasks.create_task(self._read_slices())

    def silence(self) -> float:
        """Seconds since the API server was heard, of the reflector that waits for longest."""
        heard = [self.policies.last_contact]
        if self._is_asking.is_set():
            heard.append(self.slices.last_contact)
        return time.monotonic() - max(min(heard), self._started)

    def adjust(self) -> None:
        """Ask for the slices of the groups that are wanted now."""
        wanted = self._subscription.wanted
        if not self._covers(wanted):
            self._ask(wanted)
        elif self._asked != wanted and self._shrinking is None and wanted:
            self._shrinking = asyncio.get_running_loop().call_later(SHRINK_AFTER, self._shrink)

    def listed(self) -> None:
        """One of the two collections was listed whole: the slices may be known to the last now."""
        now, wanted = time.monotonic(), self._subscription.wanted
        if self.policies.is_synced and self._covers(wanted) and (self.slices.is_current or not wanted):
            self._subscription.slices_listed(now)
            self._wake()

    async def _read_slices(self) -> None:
        await self._is_asking.wait()
        await self.slices.run()

    def _covers(self, wanted: frozenset[str]) -> bool:
        return self._asked is None or wanted <= self._asked

    def _ask(self, groups: frozenset[str]) -> None:
        if self._shrinking is not None:
            self._shrinking.cancel()
            self._shrinking = None
        asked = groups if len(groups) <= GROUPS_MAX else None
        if asked == self._asked:
            return
        self._asked = asked
        self.slices.restart(label_selector=selector_of(asked))
        self._is_asking.set()

    def _shrink(self) -> None:
        self._shrinking = None
        wanted = self._subscription.wanted
        if wanted and self._covers(wanted):
            self._ask(wanted)


def selector_of(groups: frozenset[str] | None) -> str:
    """The label selector of the slices of some groups; of all groups without any."""
    return GROUP_LABEL if groups is None else f"{GROUP_LABEL} in ({','.join(sorted(groups))})"


def _itself(value: T) -> T:
    return value


class _PolicySink:
    """Tells the subscription of the NodePolicy."""

    def __init__(
        self, feeds: Feeds, subscription: Subscription, status: StatusWriter, wake: Callable[[], None]
    ) -> None:
        self._feeds = feeds
        self._subscription = subscription
        self._status = status
        self._wake = wake
        self._is_there = False

    def added(self, _key: Key, value: NodePolicy, at: float) -> None:
        """There is one."""
        self._is_there = True
        self._status.seen(value)
        if self._subscription.put_policy(value, _arrival(at)):
            self._feeds.adjust()
            self._wake()

    def changed(self, key: Key, value: NodePolicy, _old: NodePolicy, at: float) -> None:
        """It says something else, or only its status does."""
        self.added(key, value, at)

    def removed(self, _key: Key, _old: NodePolicy | None, _at: float) -> None:
        """It was deleted."""
        self._is_there = False
        self._status.gone()
        self._subscription.remove_policy()
        self._wake()

    def unreadable(self, bad: Unreadable, _at: float) -> None:
        """It is there and does not decode."""
        self._is_there = True
        self._subscription.refuse_policy(bad.reason)
        self._wake()

    def synced(self, _at: float) -> None:
        """What was told is what there is."""
        if not self._is_there:
            self._subscription.remove_policy()
        self._feeds.listed()
        self._wake()


class _SliceSink:
    """Tells the subscription of the slices."""

    def __init__(self, feeds: Feeds, subscription: Subscription, wake: Callable[[], None]) -> None:
        self._feeds = feeds
        self._subscription = subscription
        self._wake = wake

    def added(self, _key: Key, value: PeerGroupSlice, at: float) -> None:
        """There is one more."""
        if self._subscription.put_slice(value, _arrival(at)):
            self._wake()

    def changed(self, key: Key, value: PeerGroupSlice, _old: PeerGroupSlice, at: float) -> None:
        """It holds others."""
        self.added(key, value, at)

    def removed(self, key: Key, _old: PeerGroupSlice | None, at: float) -> None:
        """It is gone, or not asked for any more."""
        if self._subscription.remove_slice(key[1], _arrival(at)):
            self._wake()

    def unreadable(self, bad: Unreadable, at: float) -> None:
        """It is there and does not decode."""
        if bad.key is not None and self._subscription.refuse_slice(bad.key[1], bad.reason, _arrival(at)):
            self._wake()

    def synced(self, _at: float) -> None:
        """All that were asked for are told."""
        self._feeds.listed()
        self._wake()


def _arrival(at: float) -> float:
    """A time of day as one of the monotonic clock."""
    return time.monotonic() - max(0.0, time.time() - at)
