"""What a copy of the cluster's pods costs a client: CPU and memory of `controller.kube.reflector`.

    .venv/bin/python hack/bench/reflector.py [--pods 10000] [--events 20000] [--json reflector.json]

A server answers from bytes made beforehand (gzip for lists), pods of 6.5 KB as deployments make them. The
client is a process of its own, whose CPU time and resident memory are measured: after its imports, after a
list in pages of 500, for a second list in which nothing changed, for events in one burst, and for the same
events once more, which are then old. What it keeps of a pod is what decides traffic.
"""

import argparse
import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from msgspec import Struct

PAGE = 500
PAUSE = 5.0
"""Seconds between the two bursts; the first is worked off by then."""
_RANDOM = Random(1)  # noqa: S311 - the same pods in every run


class Figures(Struct, kw_only=True):
    """Seconds of CPU, MB of resident memory, microseconds an event."""

    pods: int
    import_mb: float = 0.0
    list_cpu: float = 0.0
    list_wall: float = 0.0
    list_mb: float = 0.0
    peak_mb: float = 0.0
    relist_cpu: float = 0.0
    events: int = 0
    event_us: float = 0.0
    duplicate_us: float = 0.0
    after_events_mb: float = 0.0


# ------------------------------------------------------------------- the server


def pod(number: int, version: int) -> dict[str, Any]:
    """A pod of a deployment with two containers, as an API server would write it."""
    app, namespace = number % 400, number % 40
    stamp = "2026-01-01T00:00:00Z"
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"app-{app}-7d4b9c",
        "uid": _uid(app),
        "controller": True,
    }
    labels = {
        "app.kubernetes.io/name": f"app-{app}",
        "app.kubernetes.io/part-of": f"team-{namespace}",
        "pod-template-hash": "7d4b9c",
        "tier": "backend",
    }
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        "metadata": {
            "name": f"app-{app}-7d4b9c-{number:05}",
            "generateName": f"app-{app}-7d4b9c-",
            "namespace": f"team-{namespace}",
            "uid": _uid(1_000_000 + number),
            "resourceVersion": str(version),
            "creationTimestamp": stamp,
            "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": "0123456789abcdef" * 4},
            "ownerReferences": [owner],
            "managedFields": [_managed("kube-controller-manager", 44), _managed("kubelet", 40)],
        },
        "spec": {
            "containers": [_container("app", 8080, 14), _container("sidecar", 9090, 4)],
            "nodeName": f"node-{number % 100}",
            "serviceAccountName": "default",
            "volumes": [{"name": "kube-api-access", "projected": {"defaultMode": 420}}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": "192.168.0.1",
            "startTime": stamp,
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": stamp}
                for kind in (
                    "PodReadyToStartContainers",
                    "Initialized",
                    "Ready",
                    "ContainersReady",
                    "PodScheduled",
                )
            ],
            "containerStatuses": [
                {
                    "name": name,
                    "ready": True,
                    "restartCount": 0,
                    "image": "registry.example/app:1.2.3",
                    "imageID": "registry.example/app@sha256:" + "ab" * 32,
                    "state": {"running": {"startedAt": stamp}},
                }
                for name in ("app", "sidecar")
            ],
        },
    }


def _uid(number: int) -> str:
    return f"{number:08x}-1f5e-4c1a-9d7e-0123456789ab"


def _managed(manager: str, fields: int) -> dict[str, Any]:
    names: dict[str, Any] = {f"f:field{number}": {".": {}, "f:name": {}} for number in range(fields)}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {".": {}}}, "f:spec": names},
    }


def _container(name: str, port: int, variables: int) -> dict[str, Any]:
    return {
        "name": name,
        "image": "registry.example/app:1.2.3",
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "env": [{"name": f"VARIABLE_{number}", "value": f"value-{number}"} for number in range(variables)],
        "resources": {
            "limits": {"cpu": "1", "memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "64Mi"},
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io"}],
    }


class Server:
    """Pages and events, made beforehand. The first watch is silent, the second brings all events twice."""

    def __init__(self, pods: int, events: int) -> None:
        self.size = len(json.dumps(pod(0, 1), separators=(",", ":")))
        self._watches = 0
        self._pages = [self._page(start, pods) for start in range(0, pods, PAGE)]
        versions = range(pods + 1, pods + 1 + events)
        self._events = b"".join(
            _compact({"type": "MODIFIED", "object": pod(_RANDOM.randrange(pods), version)}) + b"\n"
            for version in versions
        )

    @staticmethod
    def _page(start: int, pods: int) -> bytes:
        end = min(pods, start + PAGE)
        metadata: dict[str, Any] = {"resourceVersion": str(pods)}
        if end < pods:
            metadata["continue"] = str(end)
        items = [pod(number, number + 1) for number in range(start, end)]
        return gzip.compress(
            _compact({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}), 1
        )

    async def answer(self, request: Any) -> Any:  # noqa: ANN401 - of aiohttp.web, which the client must not load
        """A page, or the events."""
        from aiohttp import web  # noqa: PLC0415

        if request.query.get("watch") != "true":
            page = self._pages[int(request.query.get("continue", "0")) // PAGE]
            return web.Response(
                body=page, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
            )
        response = web.StreamResponse()
        await response.prepare(request)
        self._watches += 1
        if self._watches > 1:
            await response.write(self._events)
            await asyncio.sleep(PAUSE)
            await response.write(self._events)
        await asyncio.sleep(3600)
        return response


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


async def serve(pods: int, events: int) -> None:
    """Print the size of a pod and the port, then answer until the input ends."""
    from aiohttp import web  # noqa: PLC0415 - the client's process must not load it

    server = Server(pods, events)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(server.size, runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


# ------------------------------------------------------------------- the client


def resident_mb(field: str = "VmRSS") -> float:
    """Resident memory of this process; `VmHWM`: the most it ever was."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(field):
            return round(int(text.split()[1]) / 1024, 1)
    raise LookupError(field)


class Books:
    """A sink that counts."""

    def __init__(self) -> None:
        self.told = self.lists = 0

    def added(self, _key: object, _value: object, _at: float) -> None:
        """One told."""
        self.told += 1

    def changed(self, _key: object, _value: object, _old: object, _at: float) -> None:
        """One told."""
        self.told += 1

    def removed(self, key: object, _old: object, _at: float) -> None:
        """Nothing vanishes here."""
        raise RuntimeError(f"{key} vanished")

    def unreadable(self, bad: object, _at: float) -> None:
        """Everything can be read here."""
        raise RuntimeError(str(bad))

    def synced(self, _at: float) -> None:
        """A list is complete."""
        self.lists += 1


async def measure(port: int, pods: int, events: int) -> Figures:
    """In this process, which has imported nothing but what an agent needs."""
    from controller.kube.client import ApiClient  # noqa: PLC0415 - the imports are measured
    from controller.kube.connection import Connection  # noqa: PLC0415
    from controller.kube.reflector import Reflector  # noqa: PLC0415
    from controller.kube.resource import PODS  # noqa: PLC0415

    figures = Figures(pods=pods, events=events, import_mb=resident_mb())
    from controller.objects.wire import WirePod  # noqa: PLC0415 - of the engine, not of the client

    books, keep = Books(), Keeper()
    async with ApiClient(Connection(server=f"http://127.0.0.1:{port}")) as client:
        reflector = Reflector(client, PODS, wire=WirePod, keep=keep, sink=books)
        began, wall = time.process_time(), time.perf_counter()
        task = asyncio.create_task(reflector.run())
        await reflector.wait_synced()
        figures.list_cpu = time.process_time() - began
        figures.list_wall = time.perf_counter() - wall
        figures.list_mb, figures.peak_mb = resident_mb(), resident_mb("VmHWM")
        reflector.restart()
        began = time.process_time()
        await until(task, lambda: books.lists == 2)
        figures.relist_cpu = time.process_time() - began
        began = time.process_time()
        await until(task, lambda: reflector.counters.events >= events)
        figures.event_us = (time.process_time() - began) / events * 1e6
        figures.after_events_mb = resident_mb()
        began = time.process_time()
        await until(task, lambda: reflector.counters.events == 2 * events)
        figures.duplicate_us = (time.process_time() - began) / events * 1e6
        task.cancel()
    if books.told != pods + events or reflector.counters.old != events:
        raise RuntimeError(f"{books.told} told, {reflector.counters} of {pods} pods and {events} events")
    return figures


async def until(task: "asyncio.Task[None]", condition: Callable[[], bool]) -> None:
    """Look now and then, for looking costs too."""
    while not condition():
        if task.done():
            task.result()
        await asyncio.sleep(0.02)


class Kept(Struct, frozen=True, gc=False):
    """What decides the traffic of a pod, about as the operator remembers it."""

    uid: str
    labels: tuple[tuple[str, str], ...]
    ips: tuple[str, ...]
    node: str
    phase: str
    ports: tuple[tuple[str, str, int], ...]


class Keeper:
    """Makes it of a pod; label sets, ports and names are few, and shared."""

    def __init__(self) -> None:
        self._shared: dict[Any, Any] = {}

    def __call__(self, pod: Any) -> Kept:  # noqa: ANN401 - a WirePod, not to be imported yet
        """The value of one pod."""
        share = self._shared.setdefault
        labels = tuple(sorted((pod.metadata.labels or {}).items()))
        ports = tuple(
            (port.name or "", port.protocol or "TCP", port.container_port or 0)
            for container in pod.spec.containers
            for port in container.ports or ()
        )
        node, phase = pod.spec.node_name, pod.status.phase
        return Kept(
            uid=pod.metadata.uid,
            labels=share(labels, labels),
            ips=tuple(each.ip for each in pod.status.pod_ips or ()),
            node=share(node, node),
            phase=share(phase, phase),
            ports=share(ports, ports),
        )


# ---------------------------------------------------------------------- both


def main() -> None:
    """Start both processes; print what the client measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = ["--pods", str(options.pods), "--events", str(options.events)]
    if options.serve:
        asyncio.run(serve(options.pods, options.events))
    elif options.port:
        print(
            json.dumps(msgspec.to_builtins(asyncio.run(measure(options.port, options.pods, options.events))))
        )
    else:
        report(sizes, options.json)


def report(sizes: list[str], into: Path | None) -> None:
    """Run the server, then the client against it."""
    command = [sys.executable, __file__, *sizes]
    with subprocess.Popen(  # noqa: S603
        [*command, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            size, port = (server.stdout.readline() if server.stdout else "").split()
            client = subprocess.run([*command, "--port", port], check=True, stdout=subprocess.PIPE)  # noqa: S603
        finally:
            if server.stdin:
                server.stdin.close()
    figures = msgspec.json.decode(client.stdout, type=Figures)
    if into:
        into.write_bytes(client.stdout)
    print(f"{figures.pods} pods of {size} bytes of JSON")
    print(f"after the imports        {figures.import_mb:6.1f} MB")
    print(f"list                     {figures.list_mb:6.1f} MB, at most {figures.peak_mb:.1f} MB")
    print(f"                         {figures.list_cpu:6.2f} s of CPU, {figures.list_wall:.2f} s")
    print(f"list, nothing changed    {figures.relist_cpu:6.2f} s of CPU")
    print(f"events in a burst        {figures.event_us:6.1f} us of CPU each")
    print(f"after them               {figures.after_events_mb:6.1f} MB")
    print(f"the same, now old        {figures.duplicate_us:6.1f} us of CPU each")


if __name__ == "__main__":
    main()
