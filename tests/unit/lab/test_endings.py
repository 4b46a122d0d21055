"""Namespaces that are being deleted are emptied and let go, as kube-controller-manager does it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.endings import NamespaceController, NamespaceObject, NamespaceSpec
from controller.lab.podspec import Metadata

GONE_AT = "2026-01-01T00:00:00Z"


class Cluster:
    """A server with one namespace, `ending`, and what is in it; a pod goes at the second deletion only.

    The namespace itself goes when it is deleted without finalizers, and is not let go by their end alone.
    """

    def __init__(self, contents: Iterable[str], *finalizers: str, deleted: str | None = GONE_AT) -> None:
        self.contents = {*contents}
        self.finalizers = [*finalizers]
        self.deleted = deleted
        self.asked: list[str] = []
        self.looked = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        *_, collection, name = f"/{request.path}".split("/")
        if request.method == "PUT":
            assert (collection, name) == ("ending", "finalize")
            self.finalizers = (await request.json())["spec"]["finalizers"]
            return web.json_response({})
        if request.method == "DELETE" and name == "ending":
            assert (await request.json())["preconditions"] == {"uid": "u1"}
            assert not self.finalizers
            self.gone.set()
            return web.json_response({})
        if request.method == "DELETE":
            self.asked.append(f"{collection}/{name}")
            if collection != "pods" or self.asked.count(f"{collection}/{name}") > 1:
                self.contents.discard(f"{collection}/{name}")
            return web.json_response({})
        if name == "ending":
            self.looked.set()
            metadata = {"name": "ending", "uid": "u1", "resourceVersion": "7"}
            deleted = {"deletionTimestamp": self.deleted} if self.deleted else {}
            spec = {"finalizers": self.finalizers} if self.finalizers else {}
            return web.json_response({"metadata": metadata | deleted, "spec": spec})
        items = [each.partition("/")[2] for each in sorted(self.contents) if each.startswith(f"{name}/")]
        found = [{"metadata": {"name": each, "namespace": "ending"}} for each in items]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": found})


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
    cluster = Cluster(["pods/a", "networkpolicies/b", "deployments/c"], "kubernetes")

    async with controller(cluster, namespace(GONE_AT, "kubernetes")) as running:
        running.trigger.pull()
        async with asyncio.timeout(5):
            await cluster.gone.wait()

    assert cluster.contents == set()
    assert cluster.asked.count("pods/a") == 2


async def test_one_that_is_still_there_without_finalizers_is_deleted_again() -> None:
    cluster = Cluster([])

    async with controller(cluster, namespace(GONE_AT)) as running:
        running.trigger.pull()
        async with asyncio.timeout(5):
            await cluster.gone.wait()


async def test_another_of_its_name_is_left_alone() -> None:
    cluster = Cluster([], "kubernetes", deleted=None)

    async with controller(cluster, namespace(GONE_AT, "kubernetes")) as running:
        running.trigger.pull()
        async with asyncio.timeout(5):
            await cluster.looked.wait()
        await asyncio.sleep(0.05)

    assert cluster.finalizers == ["kubernetes"]
    assert not cluster.gone.is_set()


def test_one_that_nobody_deletes_is_left_alone() -> None:
    assert not namespace(None, "kubernetes").is_ending
