"""The operator and the agent with the permissions of manifests/base, at an API server that enforces them.

Nothing they ask for is refused, and nothing that they are granted goes unused: a permission that nobody needs
is one that only an attacker has a use for.
"""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.dataplane.tools import Backend
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.lease import LeaseTiming
from controller.kube.resource import NAMESPACES, NETWORK_POLICIES, NODES, PODS, Resource
from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.apiserver.access import service_account
from controller.lab.apiserver.faults import Fault
from controller.operator import census
from controller.operator.process import Operator, Options
from tests.kernel.namespaces import Namespace, Namespaces
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology
from tests.unit.manifests.folders import BASE, read

Object = dict[str, Any]

OPERATOR = service_account("podgate-system", "podgate-operator")
AGENT = service_account("podgate-system", "podgate-agent")
TOKENS = {"operator": OPERATOR, "agent": AGENT, "admin": User("admin", ("system:masters",))}
NODE_POLICIES = Resource("podgate.dev", "v1alpha1", "nodepolicies", namespaced=False, kind="NodePolicy")
SLICES = Resource("podgate.dev", "v1alpha1", "peergroupslices", namespaced=False, kind="PeerGroupSlice")
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


def pod(name: str, node: str, address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "x"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def node(name: str) -> Object:
    address = {"type": "InternalIP", "address": "192.0.2.1"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDRs": ["10.0.0.0/24"]},
        "status": {"addresses": [address]},
    }


def policy(name: str, peer: str = "web") -> Object:
    peers = [{"podSelector": {"matchLabels": {"app": peer}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers}],
        },
    }


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def open_shop(found: Cluster) -> None:
    await found.create(NAMESPACES, namespace("shop"))
    await found.create(NODES, node("node-1"))
    await found.run(pod("db", "node-1", "10.0.0.3"))
    await found.run(pod("web", "node-1", "10.0.0.4"))
    await found.create(NETWORK_POLICIES, policy("db"))


async def test_the_operator_needs_all_that_it_may_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_PATIENCE", 0.1)
    async with cluster() as found, operator(found.server):
        faults = found.server.parts.faults
        await open_shop(found)
        await until(lambda: found.names(SLICES), "slices are written")
        await until(lambda: found.names(NODE_POLICIES), "a NodePolicy is written")

        # Somebody was faster: it has to look at what stands.
        for resource in ("nodepolicies", "peergroupslices"):
            faults.inject(Fault(action="fail", code=409, verbs=("update",), resources=(resource,), count=1))
        await found.run(pod("web-1", "node-1", "10.0.0.5"))
        await found.change(PODS, "web-1", {"metadata": {"labels": {"app": "web"}}}, "shop")
        await until(lambda: "get peergroupslices.podgate.dev" not in found.unused(OPERATOR), "looked at")
        await found.change(NETWORK_POLICIES, "db", policy("db", "db"), "shop")
        await until(lambda: "get nodepolicies.podgate.dev" not in found.unused(OPERATOR), "looked at")

        # Watches that bring nothing: it has to fetch.
        watches = faults.inject(
            Fault(action="freeze", verbs=("watch",), resources=("namespaces", "networkpolicies", "nodes"))
        )
        await found.create(NAMESPACES, namespace("bank"))
        await found.create(NODES, node("node-2"))
        await found.create(NETWORK_POLICIES, policy("db-2"))
        await until(
            lambda: not [each for each in found.unused(OPERATOR) if each.startswith("get n")], "fetched"
        )
        faults.clear(watches)

        await found.delete(NETWORK_POLICIES, "db", "shop")
        await found.delete(NETWORK_POLICIES, "db-2", "shop")
        await found.delete(NODES, "node-1")
        for name in ("db", "web", "web-1"):
            await found.delete(PODS, name, "shop")
        await until(lambda: not found.unused(OPERATOR), str(found.unused(OPERATOR)))

    assert found.refusals() == []


WHY_NOT = missing(Backend.NFT, Topology.PTP)


def listening(place: Namespace) -> socket.socket:
    with place.entered():
        found = socket.socket()
        found.bind(("127.0.0.1", 0))
        found.listen(16)
    return found


@pytest.mark.kernel
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
async def test_the_agent_needs_all_that_it_may_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("agent")
    own = socket.create_server(("127.0.0.1", 0))
    with Namespaces(["node"]) as places:
        places["node"].run(["ip", "link", "set", "lo", "up"])
        inside = listening(places["node"])
        async with cluster(own, inside) as found, operator(found.server):
            await open_shop(found)
            agent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from controller.cli.main import main; main()"),
                *("agent", "--node-name", "node-1", "--netns", places["node"].name, "--backend", "nft"),
                *("--server", f"http://127.0.0.1:{inside.getsockname()[1]}"),
                *("--token-file", tmp_path / "token", "--state-dir", tmp_path / "state"),
                *("--health-address", "127.0.0.1:0"),
            )
            try:
                await until(lambda: not found.unused(AGENT), str(found.unused(AGENT)))
            finally:
                agent.terminate()
                await agent.wait()

    assert found.refusals() == []
