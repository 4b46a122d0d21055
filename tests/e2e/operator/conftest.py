"""A server of its own for each test, with our kinds and a small cluster."""

from collections.abc import AsyncIterator

import pytest

from controller.lab.apiserver import ApiServer
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from tests.e2e.operator.world import World, admits, client_of, namespace, node, pod, policy


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ApiServer() as server, client_of(server) as client:
        server.create(node_policy_crd())
        server.create(peer_group_slice_crd())
        found = World(server, client)
        await found.put(namespace("podgate-system"), namespace("shop", team="a"), namespace("ops"))
        await found.put(node("node-1"), node("node-2"))
        yield found


@pytest.fixture
async def shop(world: World) -> World:
    """Two nodes, two pods, one policy."""
    await world.put(
        pod("shop/web", "10.0.1.1", app="web"),
        pod("shop/client", "10.0.2.1", "node-2", app="client"),
        policy("shop/web", admits("web", "client")),
    )
    return world
