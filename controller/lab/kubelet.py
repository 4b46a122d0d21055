"""The kubelets of all nodes of a lab, in one: pods of the API server become namespaces that answer.

A pod that is scheduled gets a network namespace, an address of its node's block, and a listener on each
container port; its status says so, and its readiness probes run from the node. A pod that is deleted loses
all of it a moment later: nothing in it needs a longer grace period. Pods on the host network answer at their
node.

What is wanted is the last word of the API server on each pod, what runs is in `_running`; one loop brings the
second to the first, in batches, so that nothing of a pod overlaps with its successor of the same name.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct, field

from controller.lab.addressing import AddressError, NodePlace, Pool, family_of
from controller.lab.listeners import Listener
from controller.lab.namespaces import CommandError, Namespace
from controller.lab.network import Network, PodLink
from controller.lab.podspec import (
    ADDRESS_ANNOTATION,
    SUCCEED_ANNOTATION,
    Pod,
    conditions,
    listening,
    readiness_checks,
)
from controller.lab.readiness import Counts, watch_readiness
from controller.lab.wiring import Attachment

_log = logging.getLogger(__name__)

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - of the pod's own namespace
_LINGER = 0.2
"""Seconds that a deleted pod still answers, as those do that end gracefully: Services forget it meanwhile."""
_RETRY = 1.0
"""Seconds until a pod that could not be started is tried again."""


class PodApi(Protocol):
    """What a kubelet tells the API server: handed over here, and written when it can be."""

    def set_status(self, pod: Pod, status: Mapping[str, Any]) -> None:
        """Merge into the pod's status."""

    def finish_deletion(self, pod: Pod) -> None:
        """The pod has ended: its object may go."""


class _Node(Struct):
    """A node, its namespace, and the addresses it gives out."""

    place: NodePlace
    namespace: Namespace
    pools: dict[int, Pool]


class _Running(Struct):
    """A pod that runs, and what there is of it."""

    pod: Pod
    node: _Node
    addresses: Mapping[int, str]
    link: PodLink | None
    started: str
    counts: Counts = field(default_factory=Counts)
    is_ready: bool = False
    closing: ExitStack = field(default_factory=ExitStack)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class Kubelet:
    """Runs the pods of the nodes it is told of. Of one event loop."""

    def __init__(self, network: Network, api: PodApi) -> None:
        self._network = network
        self._api = api
        self._nodes: dict[str, _Node] = {}
        self._leaving: list[_Node] = []
        self._wanted: dict[str, Pod] = {}
        self._running: dict[str, _Running] = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()

    # What the API server says

    def node_is(self, place: NodePlace) -> None:
        """A node is there, and its namespace too."""
        known = self._nodes.get(place.name)
        if known is not None and known.place == place:
            return
        namespace = Namespace(self._network.names.node(place.name))
        pools = {family: Pool(block) for family, block in place.pod_blocks.items()}
        self._nodes[place.name] = _Node(place, namespace, pools)
        self._touch(key for key, pod in self._wanted.items() if pod.node == place.name)

    def node_is_gone(self, name: str) -> None:
        """A node is no more, nor are its pods."""
        node = self._nodes.pop(name, None)
        if node is not None:
            self._leaving.append(node)
            self._touch(key for key, running in self._running.items() if running.node is node)

    def pod_is(self, pod: Pod) -> None:
        """The last word on a pod."""
        self._wanted[pod.key] = pod
        running = self._running.get(pod.key)
        if running is None or running.pod.metadata.uid != pod.metadata.uid:
            self._touch([pod.key])
        elif not self._should_run(pod):
            self._touch_later(pod.key)

    def pod_is_gone(self, key: str) -> None:
        """A pod is no more, and nobody waited for it to end."""
        if self._wanted.pop(key, None) is not None:
            self._touch([key])

    # What runs

    def counts(self) -> dict[str, Counts]:
        """The readiness probes of each running pod so far."""
        return {key: running.counts for key, running in self._running.items()}

    async def run(self) -> None:
        """Until cancelled; then nothing answers any more, and the namespaces stay."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                dirty, self._dirty = self._dirty, set()
                leaving, self._leaving = self._leaving, []
                await self._stop([self._running[key] for key in sorted(dirty) if self._is_to_stop(key)])
                for node in leaving:
                    node.namespace.close()
                self._finish([self._wanted[key] for key in sorted(dirty) if key in self._wanted])
                await self._start([self._wanted[key] for key in sorted(dirty) if self._is_to_start(key)])
        finally:
            for running in self._running.values():
                _silence(running)

    def _touch(self, keys: Iterable[str]) -> None:
        self._dirty.update(keys)
        self._wake.set()

    def _touch_later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(_LINGER, self._touch, [key])

    def _should_run(self, pod: Pod) -> bool:
        return pod.node in self._nodes and not pod.is_terminating and not pod.has_ended

    def _is_to_stop(self, key: str) -> bool:
        running, pod = self._running.get(key), self._wanted.get(key)
        if running is None:
            return False
        return pod is None or pod.metadata.uid != running.pod.metadata.uid or not self._should_run(pod)

    def _is_to_start(self, key: str) -> bool:
        pod = self._wanted.get(key)
        return pod is not None and key not in self._running and self._should_run(pod)

    # Stopping

    async def _stop(self, pods: Iterable[_Running]) -> None:
        stopping = [*pods]
        for running in stopping:
            _silence(running)
            del self._running[running.pod.key]
        links = [running.link for running in stopping if running.link is not None]
        if links:
            try:
                await asyncio.to_thread(self._network.remove_pods, links)
            except (CommandError, OSError) as error:
                _log.error("the networks of pods remain, until the lab goes down: %s", error)
        for running in stopping:
            if running.link is not None:
                for family, address in running.addresses.items():
                    running.node.pools[family].give_back(address)
            _log.info("pod %s stopped on %s", running.pod.key, running.node.place.name)

    def _finish(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            if pod.is_terminating and pod.node in self._nodes:
                self._api.finish_deletion(pod)

    # Starting

    async def _start(self, pods: Iterable[Pod]) -> None:
        prepared = [running for pod in pods if (running := self._prepare(pod)) is not None]
        for running in await self._attach(prepared):
            try:
                self._listen(running)
            except OSError as error:
                _log.error("pod %s cannot listen: %s", running.pod.key, error)
            self._running[running.pod.key] = running
            running.tasks.append(asyncio.create_task(self._live(running)))

    def _prepare(self, pod: Pod) -> _Running | None:
        """Addresses for a pod; None, and another try later, where there are none."""
        node = self._nodes[pod.node]
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if pod.spec.host_network:
            return _Running(pod, node, node.place.addresses, None, started)
        addresses: dict[int, str] = {}
        try:
            for family, pool in node.pools.items():
                addresses[family] = pool.take(_wish(pod, family))
        except AddressError as error:
            _log.error("pod %s on %s: %s", pod.key, pod.node, error)
            self._give_up(_Running(pod, node, addresses, None, started))
            return None
        device = f"pod{next(iter(addresses.values())).rpartition('.')[2]}"
        name = self._network.names.pod(pod.metadata.namespace, pod.metadata.name)
        link = PodLink(name, node.place, Attachment(device, addresses))
        return _Running(pod, node, addresses, link, started)

    async def _attach(self, prepared: list[_Running]) -> list[_Running]:
        """Those whose links could be made; all at once, and one by one where that fails."""
        linked = [running for running in prepared if running.link is not None]
        if not linked:
            return prepared
        links = [running.link for running in linked if running.link is not None]
        try:
            await asyncio.to_thread(self._network.add_pods, links)
        except (CommandError, OSError) as error:
            await asyncio.to_thread(self._network.remove_pods, links)
            if len(linked) == 1:
                _log.error("pod %s cannot be attached: %s", linked[0].pod.key, error)
                self._give_up(linked[0])
                return [running for running in prepared if running.link is None]
            return [each for running in prepared for each in await self._attach([running])]
        return prepared

    def _give_up(self, running: _Running) -> None:
        for family, address in running.addresses.items():
            running.node.pools[family].give_back(address)
        asyncio.get_running_loop().call_later(_RETRY, self._touch, [running.pod.key])

    def _listen(self, running: _Running) -> None:
        namespace = running.node.namespace
        if running.link is not None:
            namespace = running.closing.enter_context(Namespace(running.link.namespace))
        for family, address in running.addresses.items():
            own = address if running.link is None else _ANY[family]
            for protocol, port in listening(running.pod):
                listener = Listener(namespace, own, protocol, port, running.pod.key)
                running.closing.callback(listener.close)

    async def _live(self, running: _Running) -> None:
        """What a pod does all its life, until cancelled."""
        self._api.set_status(running.pod, _status(running))

        def tell(ready: bool) -> None:
            running.is_ready = ready
            self._api.set_status(running.pod, _status(running))

        address = next(iter(running.addresses.values()))
        async with asyncio.TaskGroup() as group:
            group.create_task(
                watch_readiness(
                    running.node.namespace, address, readiness_checks(running.pod), running.counts, tell
                )
            )
            group.create_task(self._succeed(running))

    async def _succeed(self, running: _Running) -> None:
        after = running.pod.annotations.get(SUCCEED_ANNOTATION)
        if after is None:
            return
        try:
            await asyncio.sleep(float(after))
        except ValueError:
            _log.warning("pod %s: %s is %r, not a number", running.pod.key, SUCCEED_ANNOTATION, after)
            return
        running.is_ready = False
        self._api.set_status(running.pod, {**_status(running), "phase": "Succeeded"})


def _silence(running: _Running) -> None:
    for task in running.tasks:
        task.cancel()
    running.closing.close()


def _wish(pod: Pod, family: int) -> str:
    """The address a pod had before this process, or asks for."""
    wishes = [*pod.addresses, *pod.annotations.get(ADDRESS_ANNOTATION, "").split(",")]
    return next((each.strip() for each in wishes if each.strip() and family_of(each) == family), "")


def _status(running: _Running) -> dict[str, Any]:
    addresses = [{"ip": address} for address in running.addresses.values()]
    hosts = [{"ip": address} for address in running.node.place.addresses.values()]
    return {
        "phase": "Running",
        "startTime": running.started,
        "podIP": addresses[0]["ip"],
        "podIPs": addresses,
        "hostIP": hosts[0]["ip"],
        "hostIPs": hosts,
        "conditions": conditions(running.is_ready, running.started),
        "containerStatuses": [
            {
                "name": container.name,
                "image": container.image or "",
                "imageID": "",
                "ready": running.is_ready,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": running.started}},
            }
            for container in running.pod.spec.containers or ()
        ],
    }
