"""Namespaces that are being deleted are emptied and let go, as kube-controller-manager does it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.endings import NamespaceController, NamespaceObject, NamespaceSpec
from controller.lab.podspec import Metadata

GONE_AT = "2026-01-01T00:00:00Z"


class Cluster:
    """A server with one namespace, `ending`, and what is in it; a pod goes at the second deletion only."""

    def __init__(self, contents: Iterable[str]) -> None:
        self.contents = {*contents}
        self.asked: list[str] = []
        self.finalized = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        *_, collection, name = f"/{request.path}".split("/")
        if request.method == "PUT":
            assert (collection, name) == ("ending", "finalize")
            assert (await request.json())["spec"] == {"finalizers": []}
            self.finalized.set()
            return web.json_response({})
        if request.method == "DELETE":
            self.asked.append(f"{collection}/{name}")
            if collection != "pods" or self.asked.count(f"{collection}/{name}") > 1:
                self.contents.discard(f"{collection}/{name}")
            return web.json_response({})
        if name == "ending":
            return web.json_response({"metadata": {"name": "ending", "resourceVersion": "7"}, "spec": {}})
        items = [each.partition("/")[2] for each in sorted(self.contents) if each.startswith(f"{name}/")]
        metadata = [{"metadata": {"name": each, "namespace": "ending"}} for each in items]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": metadata})


@asynccontextmanager
async def controller(cluster: Cluster, *found: NamespaceObject) -> AsyncIterator[NamespaceController]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", cluster.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ApiClient(Connection(server=server)) as client:
        running = NamespaceController(client, lambda: found)
        task = asyncio.create_task(running.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


def namespace(deleted: str | None, *finalizers: str) -> NamespaceObject:
    metadata = Metadata(name="ending", deletion_timestamp=deleted)
    return NamespaceObject(metadata, NamespaceSpec([*finalizers]))


async def test_what_is_in_it_is_deleted_and_then_it_goes() -> None:
    cluster = Cluster(["pods/a", "networkpolicies/b", "deployments/c"])

    async with controller(cluster, namespace(GONE_AT, "kubernetes")) as running:
        running.trigger.pull()
        async with asyncio.timeout(5):
            await cluster.finalized.wait()

    assert cluster.contents == set()
    assert cluster.asked.count("pods/a") == 2


@pytest.mark.parametrize(
    "other", [namespace(None, "kubernetes"), namespace(GONE_AT)], ids=["that stays", "that waits for nobody"]
)
def test_a_namespace_is_left_alone(other: NamespaceObject) -> None:
    assert not other.waits_for_us
