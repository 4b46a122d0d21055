"""The operator and the agent with the permissions of manifests/base, at an API server that enforces them.

Nothing they ask for is refused, and nothing that they are granted goes unused: a permission that nobody needs
is one that only an attacker has a use for.
"""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.kube.resource import (
    NAMESPACES,
    NETWORK_POLICIES,
    NODE_POLICIES,
    NODES,
    PEER_GROUP_SLICES,
    PODS,
)
from controller.lab.apiserver.faults import Fault
from controller.lab.namespaces import Namespace
from controller.operator import census
from tests.e2e.install.installed import AGENT, OPERATOR, Cluster, Object, cluster, operator, until
from tests.kernel.namespaces import Namespaces
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology


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


def policy(name: str, peer: str = "web", subject: str = "db") -> Object:
    peers = [{"podSelector": {"matchLabels": {"app": peer}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": subject}},
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
    async with cluster() as found:
        await open_shop(found)
        await found.create(NETWORK_POLICIES, policy("idle", subject="nobody"))
        async with operator(found.server):
            await until(lambda: "create events.events.k8s.io" not in found.unused(OPERATOR), "told")
        async with operator(found.server):
            await until(lambda: "patch events.events.k8s.io" not in found.unused(OPERATOR), "told again")
            await use_the_rest(found)

    assert found.refusals() == []


async def use_the_rest(found: Cluster) -> None:
    """All but the Events."""
    faults = found.server.parts.faults
    await until(lambda: found.names(PEER_GROUP_SLICES), "slices are written")
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
    await until(lambda: not [each for each in found.unused(OPERATOR) if each.startswith("get n")], "fetched")
    faults.clear(watches)

    await found.delete(NETWORK_POLICIES, "db", "shop")
    await found.delete(NETWORK_POLICIES, "db-2", "shop")
    await found.delete(NODES, "node-1")
    for name in ("db", "web", "web-1"):
        await found.delete(PODS, name, "shop")
    await until(lambda: not found.unused(OPERATOR), str(found.unused(OPERATOR)))
    await until(lambda: not found.unused(OPERATOR), str(found.unused(OPERATOR)))


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
