"""The system under test: a lab with the API server, the operator and an agent on each node, all of them real.

A test changes objects through the API, waits until `in_step` finds everything as a computation from scratch
says, down to the last rule of every kernel, and asks with packets. Nothing sleeps for a fixed time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from controller.kube.client import ApiClient
from controller.kube.resource import NAMESPACES
from controller.lab.lab import Lab
from controller.lab.podspec import ADDRESS_ANNOTATION
from tests.e2e.system.debug import Debug
from tests.e2e.system.expectation import Expectation
from tests.e2e.system.kernels import Kernels
from tests.e2e.system.packets import Packets, Question, Wrong

Manifest = Mapping[str, Any]

WITHIN = 30.0
"""Seconds for what should take a tenth of one: the machine may be busy."""
_POLL = 0.01
_SHOWN = 10


class System:
    """The lab of one test. `unknown_denied` is how its agents run at present (--unknown-pods)."""

    def __init__(self, lab: Lab, kernels: Kernels) -> None:
        self.lab = lab
        self.kernels = kernels
        self.debug = Debug(lab.settings.server)
        self.unknown_denied = False

    @property
    def client(self) -> ApiClient:
        """To the API server."""
        return self.lab.client

    # Waiting

    async def in_step(self, within: float = WITHIN) -> Expectation:
        """Wait until operator, agents and kernels are where the objects say; fails with what is not."""
        deadline = time.monotonic() + within
        while True:
            found = await Expectation.read(self.client)
            differences = found.differences() or await self.kernels.differences(
                found.views, unknown_denied=self.unknown_denied
            )
            if not differences:
                return found
            first = "\n".join(differences[:_SHOWN])
            assert time.monotonic() < deadline, f"after {within:g} s {len(differences)} differ:\n{first}"
            await asyncio.sleep(_POLL)

    async def settled(self, within: float = WITHIN) -> Expectation:
        """The same, once every pod is ready."""
        await self.lab.wait_ready(within)
        return await self.in_step(within)

    @asynccontextmanager
    async def restarted(self, *roles: str) -> AsyncIterator[None]:
        """Start processes of these roles anew in here; returns when each has taken up its work."""
        before = {role: self._beginnings(role) for role in roles}
        yield
        deadline = time.monotonic() + WITHIN
        while late := [role for role in roles if self._beginnings(role) <= before[role]]:
            assert time.monotonic() < deadline, f"not at work after {WITHIN:g} s: {late}"
            await asyncio.sleep(_POLL)

    def _beginnings(self, role: str) -> int:
        """How often a process of a role has said that it began to work."""
        words = "first programming done" if role.startswith("agent/") else "in step with the API server"
        return self.lab.log(role).count(words) if self.lab.run_dir.log(role).exists() else 0

    def broken(self) -> list[str]:
        """What any process of the lab wrote of bugs in it."""
        return [
            f"{log.name}: {text[max(0, text.index(word) - 300) :][:3000]}"
            for log in sorted(self.lab.run_dir.logs.iterdir())
            for text in (log.read_text(errors="replace"),)
            for word in ("Traceback", "never retrieved")
            if word in text
        ]

    # Packets

    async def wrong(self, questions: Sequence[Question]) -> list[Wrong]:
        """The packets that fare otherwise than they should."""
        with await Packets.of(self.lab) as packets:
            return await packets.wrong(questions)

    # Objects

    async def apply(self, *manifests: Manifest) -> None:
        """Create or change objects."""
        await self.lab.apply(manifests)

    async def delete(self, *manifests: Manifest) -> None:
        """Delete objects, and wait until those of them that end slowly are gone."""
        await self.lab.delete(manifests)
        gone = {(each["kind"], _key(each)) for each in manifests}
        await self.until_gone(
            [key for kind, key in gone if kind == "Pod"], [key for kind, key in gone if kind == "Namespace"]
        )

    async def until_gone(self, pods: Iterable[str] = (), namespaces: Iterable[str] = ()) -> None:
        """Wait until pods `namespace/name` and namespaces do not exist any more."""
        wanted = {*pods}, {*namespaces}
        deadline = time.monotonic() + WITHIN
        while True:
            there = {pod.key for pod in await self.lab.pods()} if wanted[0] else set()
            spaces = await self._names(NAMESPACES) if wanted[1] else set()
            left = (wanted[0] & there) | (wanted[1] & spaces)
            if not left:
                return
            assert time.monotonic() < deadline, f"still there: {sorted(left)}"
            await asyncio.sleep(_POLL)

    async def clear(self, namespaces: Iterable[str]) -> None:
        """Delete namespaces with all that is in them."""
        await self.delete(*(namespace(name) for name in namespaces))

    async def _names(self, resource: Any) -> set[str]:  # noqa: ANN401
        return {each.name for each in (await self.client.list_metadata(resource)).items}


def _key(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    home = metadata.get("namespace", "default")
    return metadata["name"] if manifest["kind"] == "Namespace" else f"{home}/{metadata['name']}"


# Manifests


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(
    key: str,
    labels: Mapping[str, str],
    *,
    node: str = "",
    address: str = "",
    ports: Iterable[Mapping[str, Any]] = (),
    **spec: object,
) -> dict[str, Any]:
    """A Pod that answers at 80/TCP and 80/UDP, beside other ports."""
    home, name = key.split("/")
    listed = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, *ports]
    metadata: dict[str, Any] = {"namespace": home, "name": name, "labels": dict(labels)}
    if address:
        metadata["annotations"] = {ADDRESS_ANNOTATION: address}
    body: dict[str, Any] = {"containers": [{"name": "main", "image": "x", "ports": listed}], **spec}
    if node:
        body["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def policy(key: str, **spec: object) -> dict[str, Any]:
    """A NetworkPolicy; without `podSelector` for all pods of its namespace."""
    home, name = key.split("/")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": home, "name": name},
        "spec": {"podSelector": {}, **spec},
    }


def selected(**labels: str) -> dict[str, Any]:
    """A selector of labels."""
    return {"matchLabels": labels}
