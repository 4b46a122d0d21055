"""An API server with our kinds, for the parts of the agent that talk to one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.apiserver import ApiServer
from controller.objects.resources import NodePolicy, PeerGroupSlice
from tests.e2e.agent.publisher import DEFINITIONS


class Api(NamedTuple):
    """The server, and a client of it."""

    server: ApiServer
    client: ApiClient

    def create(self, found: NodePolicy | PeerGroupSlice) -> None:
        """Put an object there."""
        body = {"apiVersion": found.api_version, "kind": found.kind, **msgspec.to_builtins(found)}
        body.pop("status", None)
        body["metadata"].pop("uid", None)
        self.server.create(body)


@asynccontextmanager
async def serving() -> AsyncIterator[Api]:
    """Until left."""
    async with ApiServer() as server, ApiClient(Connection(server=server.url)) as client:
        for each in DEFINITIONS:
            server.create(each)
        yield Api(server, client)
