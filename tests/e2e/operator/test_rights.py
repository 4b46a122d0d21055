"""What the operator may do, it needs; what it does, it may."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.lab.apiserver import ApiServer, Settings, User
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from tests.e2e.operator.world import World, admits, namespace, node, pod, policy

NAME = "system:serviceaccount:podgate-system:podgate-operator"
READ = ["get", "list", "watch"]
RULES = [
    {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": READ},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": READ},
    {
        "apiGroups": ["podgate.dev"],
        "resources": ["nodepolicies", "peergroupslices"],
        "verbs": [*READ, "create", "update", "delete"],
    },
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]
LEASES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
]


@pytest.fixture
async def guarded() -> AsyncIterator[World]:
    """A cluster that enforces RBAC, and the operator's token in it."""
    settings = Settings(
        rbac=True, tokens={"admin": User("admin", ("system:masters",)), "operator": User(NAME)}
    )
    async with ApiServer(settings) as server:
        for value in (node_policy_crd(), peer_group_slice_crd(), *role()):
            server.create(value)
        async with ApiClient(Connection(server=server.url, token="admin")) as client:  # noqa: S106
            world = World(server, client)
            world.connection = Connection(server=server.url, token="operator")  # noqa: S106
            await world.put(namespace("podgate-system"), namespace("shop"), node("node-1"))
            yield world


def role() -> list[dict[str, Any]]:
    """The role as manifests give it."""
    rbac = "rbac.authorization.k8s.io"
    subject = [{"kind": "ServiceAccount", "name": "podgate-operator", "namespace": "podgate-system"}]

    def made(kind: str, name: str, home: str = "", **rest: Any) -> dict[str, Any]:  # noqa: ANN401
        meta = {"name": name, **({"namespace": home} if home else {})}
        return {"apiVersion": f"{rbac}/v1", "kind": kind, "metadata": meta, **rest}

    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "podgate-system"}},
        made("ClusterRole", "podgate-operator", rules=RULES),
        made(
            "ClusterRoleBinding",
            "podgate-operator",
            subjects=subject,
            roleRef={"apiGroup": rbac, "kind": "ClusterRole", "name": "podgate-operator"},
        ),
        made("Role", "podgate-operator", "podgate-system", rules=LEASES),
        made(
            "RoleBinding",
            "podgate-operator",
            "podgate-system",
            subjects=subject,
            roleRef={"apiGroup": rbac, "kind": "Role", "name": "podgate-operator"},
        ),
    ]


async def test_it_works_without_any_right_to_change_what_is_not_its_own(guarded: World) -> None:
    async with guarded.operator():
        await guarded.put(
            pod("shop/web", "10.0.1.1", app="web"),
            policy("shop/web", admits("web", "client")),
        )
        await guarded.settled()
        await guarded.delete("Pod", "shop/web")
        await guarded.delete("NetworkPolicy", "shop/web")
        await guarded.settled()

    refused = [each for each in guarded.server.parts.access.audit if each.user == NAME and each.code == 403]
    assert refused == []


async def test_objects_of_users_are_exactly_as_they_were(guarded: World) -> None:
    await guarded.put(pod("shop/web", "10.0.1.1", app="web"), policy("shop/web", admits("web", "client")))
    before = await contents(guarded)

    async with guarded.operator():
        await guarded.settled()

    assert await contents(guarded) == before


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
