"""What the tests of a lab say: workloads in a namespace of their own, and who reaches whom."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from controller.lab.lab import Lab
from controller.lab.podspec import Pod
from controller.lab.probing import Outcome, Shot
from controller.objects.kinds import Protocol

T = TypeVar("T")

WITHIN = 10.0


class World:
    """One namespace of a lab."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab = lab
        self.namespace = namespace
        self._seen: list[Pod] = []
        self._object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}

    async def open(self) -> None:
        await self.lab.apply(
            [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}]
        )

    async def close(self) -> None:
        """Everything in it goes, and the pods' networks with it."""
        await self.lab.delete(
            [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}]
        )
        await eventually(self.pods, lambda found: not found)

    async def apply(self, *manifests: Mapping[str, Any]) -> None:
        await self.lab.apply(
            [{**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in manifests]
        )

    async def delete(self, *manifests: Mapping[str, Any]) -> None:
        await self.lab.delete(
            [{**each, "metadata": {"namespace": self.namespace, **each["metadata"]}} for each in manifests]
        )

    async def label(self, **labels: str) -> None:
        """Label the namespace."""
        metadata = {"name": self.namespace, "labels": labels}
        await self.lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])

    async def ready(self, *manifests: Mapping[str, Any]) -> list[Pod]:
        """The pods, once all of what was applied is there."""
        await self.apply(*manifests)
        await self.lab.wait_ready(WITHIN)
        return await self.pods()

    def shot(self, source: str, destination: str, port: int) -> Shot:
        """A packet between pods that `pods` has seen, without asking the API server."""
        addresses = {each.metadata.name: each.addresses[0] for each in self._seen}
        place = self.lab.names.pod(self.namespace, source)
        return Shot(place, addresses[source], addresses[destination], port)

    async def pods(self) -> list[Pod]:
        found = [pod for pod in await self.lab.pods() if pod.metadata.namespace == self.namespace]
        self._seen = sorted(found, key=lambda pod: pod.key)
        return self._seen

    async def reaches(
        self, source: str, destination: str, port: int, protocol: Protocol = Protocol.TCP, family: int = 0
    ) -> Outcome:
        return await self.lab.probe(
            self._full(source), self._full(destination), port, protocol, family=family
        )

    def _full(self, name: str) -> str:
        return name if "/" in name or "." in name or ":" in name else f"{self.namespace}/{name}"


async def eventually(
    look: Callable[[], Awaitable[T]], is_so: Callable[[T], bool], within: float = WITHIN
) -> T:
    """What is seen once it is so."""
    deadline = time.monotonic() + within
    while not is_so(found := await look()):
        assert time.monotonic() < deadline, f"still after {within:g} s: {found}"
        await asyncio.sleep(0.02)
    return found


def pod(
    name: str, *ports: int | Mapping[str, Any], labels: Mapping[str, str] | None = None, **spec: object
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": pod_spec(*ports, **spec),
    }


def pod_spec(*ports: int | Mapping[str, Any], **spec: object) -> dict[str, Any]:
    listed = [{"containerPort": port} if isinstance(port, int) else dict(port) for port in ports]
    probe = spec.pop("readiness", None)
    container: dict[str, Any] = {"name": "main", "image": "x", "ports": listed}
    if probe is not None:
        container["readinessProbe"] = probe
    return {"containers": [container], **spec}


def workload(kind: str, name: str, replicas: int = 1, *ports: int, **spec: object) -> dict[str, Any]:
    body: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(*ports)},
        **spec,
    }
    if kind != "DaemonSet":
        body["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def service(name: str, port: int, target: int | str, **spec: object) -> dict[str, Any]:
    ports: Sequence[Mapping[str, Any]] = [{"port": port, "targetPort": target}]
    body = {"selector": {"app": name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}
