"""One server for all tests of a module, and an administrator's view of it for each."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from controller.kube.client import ApiClient
from controller.lab.standalone import Standalone, standalone
from tests.e2e.kubernetes.real import ASSETS, kubectl, token_of
from tests.e2e.operator.world import Cluster, node
from tests.unit.manifests.folders import INSTALL

_TLS_ENDS = 0.1
"""Seconds for which the loop goes on, so that connections that were cut off can go."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """One for all tests here, with podgate's single file applied by kubectl."""
    assert ASSETS is not None
    with standalone(ASSETS, tmp_path_factory.mktemp("kubernetes")) as found:
        kubectl(found, "apply", "--server-side", "-f", str(INSTALL))
        kubectl(found, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield found


@pytest.fixture
async def cluster(server: Standalone) -> AsyncIterator[Cluster]:
    """An administrator's view, with two nodes; operators run with the token of their service account."""
    async with ApiClient(server.connection(), user_agent="test") as client:
        found = Cluster(client)
        found.connection = server.connection(token_of(server, "podgate-operator"))
        await found.put(node("node-1"), node("node-2"))
        yield found
    await asyncio.sleep(_TLS_ENDS)
