"""podgate installed: an API server that holds and enforces the base manifests, and an operator on it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.lease import LeaseTiming
from controller.kube.resource import PODS, Resource
from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.apiserver.access import service_account
from controller.operator.process import Operator, Options
from controller.operator.reporter import ReportTiming
from tests.unit.manifests.folders import BASE, read

Object = dict[str, Any]

OPERATOR = service_account("podgate-system", "podgate-operator")
AGENT = service_account("podgate-system", "podgate-agent")
TOKENS = {"operator": OPERATOR, "agent": AGENT, "admin": User("admin", ("system:masters",))}
PATIENCE = 20.0
"""Seconds for what takes one: the machine may be busy."""


class Cluster:
    """An API server with podgate installed, and an administrator."""

    def __init__(self, server: ApiServer, admin: ApiClient) -> None:
        self.server = server
        self._admin = admin

    async def create(self, resource: Resource, found: Object) -> None:
        await self._admin.create(resource, found, dict)

    async def run(self, found: Object) -> None:
        """Create a pod, and have it get its address as from a kubelet."""
        await self.create(PODS, found)
        metadata = found["metadata"]
        await self._admin.patch(
            PODS,
            metadata["name"],
            {"status": found["status"]},
            dict,
            namespace=metadata["namespace"],
            subresource="status",
        )

    async def change(self, resource: Resource, name: str, patch: Object, namespace: str = "") -> None:
        await self._admin.patch(resource, name, patch, dict, namespace=namespace)

    async def delete(self, resource: Resource, name: str, namespace: str = "") -> None:
        await self._admin.delete(resource, name, namespace=namespace)

    async def names(self, resource: Resource) -> list[str]:
        listing = await self._admin.list_metadata(resource)
        return [meta.name for meta in listing.items]

    def refusals(self) -> list[str]:
        """What was answered with 403."""
        return [
            f"{each.user} {each.verb} {each.target}"
            for each in self.server.parts.access.audit
            if each.code == 403
        ]

    def unused(self, user: User) -> list[str]:
        """What a user is granted and has not used."""
        grants = self.server.parts.access.grants(user)
        assert grants
        return [f"{each.verb} {each.resource}.{each.group}" for each in grants if not each.used]


@asynccontextmanager
async def cluster(*sockets: socket.socket) -> AsyncIterator[Cluster]:
    server = ApiServer(Settings(tokens=TOKENS, rbac=True))
    for found in read(BASE):
        server.create(found)
    await server.start(sockets=sockets)
    try:
        async with ApiClient(connection(server, "admin")) as admin:
            yield Cluster(server, admin)
    finally:
        await server.stop()


def connection(server: ApiServer, token: str) -> Connection:
    return Connection(server=server.url, token=token)


@asynccontextmanager
async def operator(server: ApiServer) -> AsyncIterator[Operator]:
    """One replica; it ends as at SIGTERM."""
    options = Options(
        connection=connection(server, "operator"),
        health_address="127.0.0.1:0",
        lease=LeaseTiming(duration=3.0, renew=2.0, retry=0.2),
        grace=0.1,
        census_interval=0.5,
        reports=ReportTiming(look=0.05, settle=0.1),
    )
    running = Operator(options)
    task = asyncio.create_task(running.run())
    try:
        yield running
    finally:
        running.stop()
        await task


async def until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (await found if asyncio.iscoroutine(found := holds()) else found):
        assert time.monotonic() < deadline, f"never came true: {what}"
        await asyncio.sleep(0.02)
