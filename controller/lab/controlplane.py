"""The process that runs a lab's cluster on top of its API server: kubelets, scheduler, workloads, Services.

    python -m controller.lab.controlplane --run-dir /run/podgate-lab/lab

It keeps nothing between runs: when it starts, pods of a run before are made anew at their old addresses.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.reflector import Reflector
from controller.kube.resource import NAMESPACES, NODES, PODS, Resource
from controller.kube.sink import Unreadable
from controller.lab.controllers import Scheduler, View, WorkloadController
from controller.lab.endings import NamespaceController, NamespaceObject
from controller.lab.gateway import Gateway
from controller.lab.kubelet import Kubelet
from controller.lab.listeners import Listener
from controller.lab.namespaces import Namespace, delete_namespaces, named
from controller.lab.network import OUTSIDE_PORT, Names, Network
from controller.lab.podspec import Metadata, Node, Pod, Service
from controller.lab.proxy import ServiceProxy
from controller.lab.registration import place_of
from controller.lab.resources import SERVICES, WORKLOADS
from controller.lab.rundir import RunDir, Settings, write_atomically
from controller.lab.workloads import Workload
from controller.lab.writes import PodWriter
from controller.objects.kinds import Protocol

_log = logging.getLogger(__name__)

T = TypeVar("T")

_SETTLE = 0.01
"""Seconds in which changes that come together are taken together."""
_COUNTS_EVERY = 0.5


class _WireWorkload(Struct):
    metadata: Metadata
    spec: dict[str, Any]


class _Sink(Generic[T]):
    """Tells of every object, or of its end, and that something changed."""

    def __init__(
        self,
        changed: Callable[[], None],
        is_there: Callable[[T], None] = lambda _: None,
        is_gone: Callable[[str, str], None] = lambda _namespace, _name: None,
    ) -> None:
        self._changed = changed
        self._is_there = is_there
        self._is_gone = is_gone

    def added(self, _key: tuple[str, str], value: T, _at: float) -> None:
        self._is_there(value)
        self._changed()

    def changed(self, _key: tuple[str, str], value: T, _old: Any, _at: float) -> None:  # noqa: ANN401
        self._is_there(value)
        self._changed()

    def removed(self, key: tuple[str, str], _old: Any, _at: float) -> None:  # noqa: ANN401
        self._is_gone(*key)
        self._changed()

    def unreadable(self, bad: Unreadable, _at: float) -> None:
        _log.warning("%s is ignored: %s", "/".join(bad.key or ("?",)), bad.reason)

    def synced(self, _at: float) -> None:
        self._changed()


class ControlPlane:
    """All of it, for one lab; `run` it in one event loop."""

    def __init__(self, client: ApiClient, settings: Settings, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._client = client
        self._names = Names(settings.name)
        network = Network(self._names, settings.cni, settings.backend)
        self._writer = PodWriter(client)
        self._gateway = Gateway(settings.port)
        self._kubelet = Kubelet(network, self._writer)
        self._pods = self._reflector(PODS, Pod, lambda each: each, self._pod_is, self._pod_is_gone)
        self._nodes = self._reflector(NODES, Node, lambda each: each, self._node_is, self._node_is_gone)
        self._namespaces = self._reflector(NAMESPACES, NamespaceObject, lambda each: each)
        self._services = self._reflector(SERVICES, Service, lambda each: each)
        self._workloads = [
            self._reflector(resource, _WireWorkload, _as_workload(kind))
            for kind, resource in WORKLOADS.items()
        ]
        view = View(lambda: _values(self._pods), lambda: _values(self._nodes), self._all_workloads)
        self._scheduler = Scheduler(client, view)
        self._controller = WorkloadController(client, view, WORKLOADS)
        self._endings = NamespaceController(client, lambda: _values(self._namespaces))
        self._proxy = ServiceProxy(
            self._names,
            settings.backend,
            run_dir.locks,
            lambda: _values(self._services),
            lambda: _values(self._pods),
        )
        self._settling = False

    async def run(self) -> None:
        """Until cancelled."""
        stale = [name for name in named(self._names.prefix) if ":" in name]
        await asyncio.to_thread(delete_namespaces, stale)
        with Namespace(self._names.fabric) as fabric:
            listeners = [
                Listener(fabric, address, protocol, OUTSIDE_PORT, "outside")
                for address in ("0.0.0.0", "::")  # noqa: S104 - of the fabric's namespace
                for protocol in (Protocol.TCP, Protocol.UDP)
            ]
            try:
                async with asyncio.TaskGroup() as group:
                    for part in self._parts():
                        group.create_task(part)
            finally:
                self._gateway.close_all()
                for listener in listeners:
                    listener.close()

    def _parts(self) -> Iterator[Any]:
        reflectors: list[Reflector[Any]] = [
            self._pods,
            self._nodes,
            self._namespaces,
            self._services,
            *self._workloads,
        ]
        yield from (reflector.run() for reflector in reflectors)
        yield self._writer.run()
        yield self._kubelet.run()
        yield self._scheduler.run()
        yield self._controller.run()
        yield self._endings.run()
        yield self._proxy.run()
        yield self._write_counts()

    def _reflector(
        self,
        resource: Resource,
        wire: type[Any],
        keep: Callable[[Any], T | None],
        is_there: Callable[[T], None] = lambda _: None,
        is_gone: Callable[[str, str], None] = lambda _namespace, _name: None,
    ) -> Reflector[T]:
        sink = _Sink(self._changed, is_there, is_gone)
        return Reflector(self._client, resource, wire=wire, keep=keep, sink=sink)

    def _changed(self) -> None:
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_later(_SETTLE, self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._proxy.trigger.pull()
        self._endings.trigger.pull()
        if all(each.is_synced for each in (self._pods, self._nodes, *self._workloads)):
            self._scheduler.trigger.pull()
            self._controller.trigger.pull()

    def _pod_is(self, pod: Pod) -> None:
        self._kubelet.pod_is(pod)

    def _pod_is_gone(self, namespace: str, name: str) -> None:
        self._kubelet.pod_is_gone(f"{namespace}/{name}")

    def _node_is(self, node: Node) -> None:
        place = place_of(node)
        try:
            with Namespace(self._names.node(place.name)) as namespace:
                self._gateway.open(place.name, namespace)
            self._kubelet.node_is(place)
        except OSError as error:
            _log.warning("node %s: %s (podgate lab add-node makes nodes)", place.name, error)
            return
        self._proxy.node_is(place.name, place.families)

    def _node_is_gone(self, _namespace: str, name: str) -> None:
        self._gateway.close(name)
        self._kubelet.node_is_gone(name)
        self._proxy.node_is_gone(name)

    def _all_workloads(self) -> Iterator[Workload]:
        for reflector in self._workloads:
            yield from _values(reflector)

    async def _write_counts(self) -> None:
        """The readiness probes of each pod, for `lab status` and tests, in a file."""
        before = b""
        while True:
            text = msgspec.json.encode(self._kubelet.counts())
            if text != before:
                await asyncio.to_thread(write_atomically, self._run_dir.probe_counts, text)
                before = text
            await asyncio.sleep(_COUNTS_EVERY)


def _as_workload(kind: str) -> Callable[[_WireWorkload], Workload]:
    return lambda wire: Workload(kind=kind, metadata=wire.metadata, spec=wire.spec)


def _values(reflector: Reflector[T]) -> Iterator[T]:
    return (value for _, value in reflector.items())


async def _main(run_dir: RunDir) -> None:
    settings = run_dir.settings()
    async with ApiClient(Connection(server=settings.server), user_agent="podgate-lab") as client:
        await ControlPlane(client, settings, run_dir).run()


if __name__ == "__main__":
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_main(RunDir(Path(sys.argv[sys.argv.index("--run-dir") + 1]))))
