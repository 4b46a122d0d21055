"""What the operator may do, it needs; what it does, it may."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.apiserver.access import service_account
from tests.e2e.operator.world import World, admits, eventually, namespace, node, pod, policy
from tests.unit.manifests.folders import BASE, read

OPERATOR = service_account("podgate-system", "podgate-operator")


@pytest.fixture
async def guarded() -> AsyncIterator[World]:
    """A cluster that enforces the permissions of the base manifests, and the operator's token in it."""
    tokens = {"admin": User("admin", ("system:masters",)), "operator": OPERATOR}
    async with ApiServer(Settings(rbac=True, tokens=tokens)) as server:
        for value in read(BASE):
            server.create(value)
        async with ApiClient(Connection(server=server.url, token="admin")) as client:  # noqa: S106
            world = World(server, client)
            world.connection = Connection(server=server.url, token="operator")  # noqa: S106
            await world.put(namespace("shop"), node("node-1"))
            yield world


async def test_it_works_without_any_right_to_change_what_is_not_its_own(guarded: World) -> None:
    async with guarded.operator():
        await guarded.put(
            pod("shop/web", "10.0.1.1", app="web"),
            policy("shop/web", admits("web", "client")),
        )
        await guarded.settled()
        await guarded.put(policy("shop/nobody", admits("nobody")))
        await eventually(lambda: told(guarded))
        await guarded.delete("Pod", "shop/web")
        await guarded.delete("NetworkPolicy", "shop/web")
        await guarded.settled()

    refused = [
        each for each in guarded.server.parts.access.audit if each.user == OPERATOR.name and each.code == 403
    ]
    assert refused == []


async def test_objects_of_users_are_exactly_as_they_were(guarded: World) -> None:
    await guarded.put(pod("shop/web", "10.0.1.1", app="web"), policy("shop/web", admits("web", "client")))
    before = await contents(guarded)

    async with guarded.operator():
        await guarded.settled()

    assert await contents(guarded) == before


async def told(world: World) -> bool:
    """Whether the Event about the policy that selects nobody is there."""
    return "SelectsNoPods" in await world.reasons("NetworkPolicy shop/nobody")


async def contents(world: World) -> list[bytes]:
    """Every object of users, to the byte."""
    paths = (
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/api/v1/nodes",
        "/apis/networking.k8s.io/v1/networkpolicies",
    )
    lists = [msgspec.json.decode(await world.client.raw(path)) for path in paths]
    return [msgspec.json.encode(item) for found in lists for item in found["items"]]
