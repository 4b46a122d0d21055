"""Unmodified clients: kopf and the kubernetes client."""

import asyncio
import threading
from pathlib import Path
from typing import Any, Self

import kopf
import kubernetes
import pytest

from controller.lab.apiserver import ApiServer, write_kubeconfig
from tests.unit.lab.apiserver.talk import CRDS, PODS, WIDGETS, Talk, definition, pod, until, widget


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server.url)
    return path


class Operator:
    """kopf in a thread and loop of its own: when it stops it cancels every task of its loop."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.seen: list[tuple[str | None, str, str]] = []

    async def _run(self) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
        for resource in ("pods", "widgets"):
            kopf.on.event(resource, registry=registry)(self._on_event)
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.watching.chunk_size = 2
        await kopf.operator(
            registry=registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=self._stop,
            ready_flag=self._ready,
        )

    async def _on_event(
        self, *, event: kopf.RawEvent, name: str, resource: kopf.Resource, **_: object
    ) -> None:
        self.seen.append((event["type"], resource.plural, name))

    async def __aenter__(self) -> Self:
        self._thread.start()
        assert await asyncio.to_thread(self._ready.wait, 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, 20)
        assert not self._thread.is_alive()

    async def until(self, *expected: tuple[str | None, str, str]) -> None:
        await until(lambda: set(expected) <= set(self.seen))


async def test_kopf_is_told_of_what_is_there_and_of_what_changes(
    talk: Talk, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    await talk.post(CRDS, definition())
    for name in ("a", "b", "c"):
        await talk.post(PODS, pod(name))

    async with Operator() as operator:
        await operator.until((None, "pods", "a"), (None, "pods", "b"), (None, "pods", "c"))
        await talk.post(WIDGETS, widget("one"))
        await operator.until(("ADDED", "widgets", "one"))
        await talk.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}})
        await talk.delete(f"{PODS}/b")
        await operator.until(("MODIFIED", "pods", "a"), ("DELETED", "pods", "b"))
        await talk.post("/debug/compact", {})
        await talk.ask("POST", "/debug/close-watches", abort="1")
        await talk.post(PODS, pod("d"))
        await until(lambda: any(name == "d" for _, _, name in operator.seen))


def _use_kubernetes_client(kubeconfig: Path) -> list[tuple[str, str]]:
    """Create, list, patch, watch and delete; the events seen. Untyped, as most of that client is."""
    kube: Any = kubernetes
    with kube.config.new_client_from_config(str(kubeconfig)) as client:
        core = kube.client.CoreV1Api(client)
        for name in ("a", "b", "c"):
            core.create_namespaced_pod("default", pod(name, {"app": name}))
        first = core.list_namespaced_pod("default", limit=2)
        rest = core.list_namespaced_pod("default", limit=2, _continue=first.metadata._continue)  # noqa: SLF001
        assert [item.metadata.name for item in (*first.items, *rest.items)] == ["a", "b", "c"]
        core.patch_namespaced_pod("a", "default", {"metadata": {"labels": {"x": "y"}}})
        core.delete_namespaced_pod("b", "default")
        custom = kube.client.CustomObjectsApi(client)
        where = ("example.com", "v1", "default", "widgets")
        made = custom.create_namespaced_custom_object(*where, widget("one", spec={"size": 1}))
        made["spec"]["size"] = 2
        replaced = custom.replace_namespaced_custom_object(*where, "one", made)
        assert replaced["metadata"]["generation"] == 2
        since = first.metadata.resource_version
        watch = kube.watch.Watch().stream(
            core.list_namespaced_pod, "default", resource_version=since, timeout_seconds=1
        )
        return [(event["type"], event["object"].metadata.name) for event in watch]


async def test_the_kubernetes_client_lists_writes_and_watches(talk: Talk, kubeconfig: Path) -> None:
    await talk.post(CRDS, definition())

    events = await asyncio.to_thread(_use_kubernetes_client, kubeconfig)

    assert events == [("MODIFIED", "a"), ("DELETED", "b")]
