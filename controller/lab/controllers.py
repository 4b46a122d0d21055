"""The controllers of a lab: bind pods to nodes, make and delete the pods of workloads, clear up after both.

Each is a loop that wakes when something changed, looks at everything there is, and takes the next steps. What
was written but has not come back through the watch yet is remembered, so that no step is taken twice.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from controller.kube.client import ApiClient
from controller.kube.errors import ApiError, Conflict, NotFound
from controller.kube.resource import PODS, Resource
from controller.lab.podspec import Node, Pod
from controller.lab.rollout import status_of
from controller.lab.scheduling import assign
from controller.lab.workloads import API_VERSIONS, Workload, next_change

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds after which a write that has not come back is taken for lost."""
_RETRY = 0.5


class Trigger:
    """Wakes a loop; several pulls before it wakes are one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def pull(self) -> None:
        """Something changed."""
        self._event.set()

    def pull_later(self, seconds: float) -> None:
        """Look again in a while."""
        asyncio.get_running_loop().call_later(seconds, self._event.set)

    async def wait(self) -> None:
        """Until the next pull."""
        await self._event.wait()
        self._event.clear()


class View:
    """What the controllers know of the cluster: functions that read the reflectors' copies."""

    def __init__(
        self,
        pods: Callable[[], Iterable[Pod]],
        nodes: Callable[[], Iterable[Node]],
        workloads: Callable[[], Iterable[Workload]],
    ) -> None:
        self._pods = pods
        self._nodes = nodes
        self._workloads = workloads

    @property
    def pods(self) -> list[Pod]:
        """All pods."""
        return [*self._pods()]

    @property
    def nodes(self) -> list[Node]:
        """All nodes."""
        return [*self._nodes()]

    @property
    def workloads(self) -> list[Workload]:
        """All workloads."""
        return [*self._workloads()]


class Scheduler:
    """Binds pods that have no node."""

    def __init__(self, client: ApiClient, view: View) -> None:
        self._client = client
        self._view = view
        self._bound: dict[str, str] = {}
        self.trigger = Trigger()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.trigger.wait()
            pods = self._view.pods
            waiting = {pod.metadata.uid for pod in pods if not pod.node}
            self._bound = {uid: node for uid, node in self._bound.items() if uid in waiting}
            chosen = assign(map(self._as_bound, pods), self._view.nodes)
            await asyncio.gather(*(self._bind(pod, chosen[pod.key]) for pod in pods if pod.key in chosen))

    def _as_bound(self, pod: Pod) -> Pod:
        """The pod as it will be when the watch has caught up."""
        node = self._bound.get(pod.metadata.uid)
        if node is None:
            return pod
        return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node))

    async def _bind(self, pod: Pod, node: str) -> None:
        self._bound[pod.metadata.uid] = node
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": pod.metadata.name,
                "namespace": pod.metadata.namespace,
                "uid": pod.metadata.uid,
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(PODS, binding, msgspec.Raw, subresource="binding")
        except (NotFound, Conflict):
            self._bound.pop(pod.metadata.uid, None)
        except ApiError as error:
            _log.warning("pod %s cannot be bound to %s: %s", pod.key, node, error)
            self._bound.pop(pod.metadata.uid, None)
            self.trigger.pull_later(_RETRY)


class WorkloadController:
    """Makes and deletes the pods of Deployments and the other kinds, and writes their status."""

    def __init__(self, client: ApiClient, view: View, resources: Mapping[str, Resource]) -> None:
        self._client = client
        self._view = view
        self._resources = resources
        self._made: dict[str, float] = {}
        self._deleted: dict[str, float] = {}
        self._written: dict[str, dict[str, Any]] = {}
        self.trigger = Trigger()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.trigger.wait()
            pods, nodes, workloads = self._view.pods, self._view.nodes, self._view.workloads
            self._forget(pods)
            owned: dict[str, list[Pod]] = defaultdict(list)
            for pod in pods:
                if pod.controller is not None:
                    owned[pod.controller.uid].append(pod)
            steps = [self._step(each, owned[each.metadata.uid], nodes) for each in workloads]
            await asyncio.gather(*steps, self._collect(pods, nodes, workloads))

    def _forget(self, pods: Sequence[Pod]) -> None:
        """What has come back through the watch, or never will."""
        there = {pod.key for pod in pods}
        gone = {pod.metadata.uid for pod in pods if pod.is_terminating}
        alive = {pod.metadata.uid for pod in pods}
        late = time.monotonic() - _PATIENCE
        self._made = {key: at for key, at in self._made.items() if key not in there and at > late}
        self._deleted = {
            uid: at for uid, at in self._deleted.items() if uid in alive and uid not in gone and at > late
        }

    async def _step(self, workload: Workload, pods: list[Pod], nodes: list[Node]) -> None:
        prefix = f"{workload.metadata.namespace}/{workload.metadata.name}-"
        pending = any(key.startswith(prefix) for key in self._made)
        if pending or any(pod.metadata.uid in self._deleted for pod in pods):
            self.trigger.pull_later(_RETRY)
            return
        change = next_change(workload, pods, nodes)
        by_name = {pod.metadata.name: pod for pod in pods}
        await asyncio.gather(
            self._write_status(workload, pods, nodes),
            *(self._make(workload, manifest) for manifest in change.create),
            *(self._delete(by_name[name]) for name in change.delete),
        )

    async def _make(self, workload: Workload, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        self._made[key] = time.monotonic()
        try:
            await self._client.create(PODS, manifest, msgspec.Raw)
        except ApiError as error:
            # A StatefulSet's pod of before may still be there; a namespace may be going away.
            level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
            _log.log(level, "%s %s: %s", workload.kind, workload.metadata.name, error)
            self._made.pop(key, None)
            self.trigger.pull_later(_RETRY)

    async def _delete(self, pod: Pod, grace_seconds: int | None = None) -> None:
        self._deleted[pod.metadata.uid] = time.monotonic()
        try:
            await self._client.delete(
                PODS,
                pod.metadata.name,
                namespace=pod.metadata.namespace,
                uid=pod.metadata.uid,
                grace_seconds=grace_seconds,
            )
        except (NotFound, Conflict):
            self.trigger.pull()
        except ApiError as error:
            _log.warning("pod %s cannot be deleted: %s", pod.key, error)
            self._deleted.pop(pod.metadata.uid, None)
            self.trigger.pull_later(_RETRY)

    async def _write_status(self, workload: Workload, pods: list[Pod], nodes: list[Node]) -> None:
        status, uid = status_of(workload, pods, nodes), workload.metadata.uid
        if not status or self._written.get(uid) == status:
            return
        self._written[uid] = status
        change = {"metadata": {"uid": uid}, "status": status}
        name, namespace = workload.metadata.name, workload.metadata.namespace
        resource = self._resources[workload.kind]
        try:
            await self._client.patch(
                resource, name, change, msgspec.Raw, namespace=namespace, subresource="status"
            )
        except (NotFound, Conflict):
            pass
        except ApiError as error:
            _log.warning("status of %s %s/%s: %s", workload.kind, namespace, name, error)
            self._written.pop(uid, None)
            self.trigger.pull_later(_RETRY)

    async def _collect(self, pods: list[Pod], nodes: list[Node], workloads: list[Workload]) -> None:
        """Delete pods whose workload or whose node is gone, which has no kubelet to wait for any more."""
        uids = {each.metadata.uid for each in workloads}
        names = {node.metadata.name for node in nodes}
        homeless = [pod for pod in pods if pod.node and pod.node not in names]
        orphans = [
            pod
            for pod in pods
            if pod.controller and pod.controller.kind in API_VERSIONS and pod.controller.uid not in uids
            if not pod.is_terminating and pod not in homeless
        ]
        await asyncio.gather(*map(self._delete, orphans), *(self._delete(pod, 0) for pod in homeless))
