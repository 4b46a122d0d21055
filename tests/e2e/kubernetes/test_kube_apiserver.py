"""podgate against etcd and kube-apiserver, where KUBEBUILDER_ASSETS has them (`make test-kubernetes`).

What the lab's API server only imitates is asked here: schemas, admission policies in CEL, tokens that are
bound to a node, RBAC, watches that a restart has made too old.
"""

from typing import Any

import msgspec
import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.errors import ApiError
from controller.kube.resource import NODE_POLICIES
from controller.lab.kubernetes import VARIABLE
from controller.lab.standalone import Standalone
from tests.e2e.kubernetes.real import (
    ASSETS,
    agent_token,
    kubectl,
    needs_kubernetes,
    numbers,
    opened,
    refusals,
    token_of,
)
from tests.e2e.operator.world import Cluster, admits, eventually, policy
from tests.unit.manifests.folders import MANIFESTS

MANAGER = "kube-controller-manager"
POLICIES = ("podgate-agent-own-status", "podgate-operator-writes")
OVERLAYS = (
    "base",
    "cleanup",
    *(f"overlays/{name}" for name in ("audit", "drop-log", "dual-stack", "ha", "kind")),
)

pytestmark = needs_kubernetes


async def refused(connection: Connection, verb: str, name: str) -> str:
    """What is said against a write by whoever holds the connection; empty where it is let in."""
    async with ApiClient(connection, user_agent="test") as client:
        try:
            if verb == "report":
                status = {"status": {"observedDigest": f"d{next(numbers)}"}}
                await client.patch(NODE_POLICIES, name, status, dict, subresource="status")
            elif verb == "change":
                found = await client.get(NODE_POLICIES, name, dict)
                found["spec"]["digest"] = f"d{next(numbers)}"
                await client.replace(NODE_POLICIES, found, dict)
        except ApiError as error:
            return str(error)
    return ""


async def published(cluster: Cluster) -> None:
    """Both nodes have their NodePolicy, made by an operator that has gone again."""
    async with cluster.operator():
        await cluster.settled()


# Manifests


@pytest.mark.parametrize("folder", OVERLAYS)
def test_every_overlay_is_accepted(server: Standalone, folder: str) -> None:
    printed = kubectl(server, "apply", "-k", str(MANIFESTS / folder), "--dry-run=server", "--validate=strict")

    assert "(server dry run)" in printed


def test_our_schemas_are_structural(server: Standalone) -> None:
    found = msgspec.json.decode(kubectl(server, "get", "crd", "-o", "json"))["items"]

    conditions = {each["type"]: each["status"] for item in found for each in item["status"]["conditions"]}
    assert len(found) == 2
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.skipif(not (ASSETS and (ASSETS / MANAGER).is_file()), reason=f"no {MANAGER} in {VARIABLE}")
async def test_the_admission_policies_have_the_right_types(server: Standalone, cluster: Cluster) -> None:
    options = ("--controllers=validatingadmissionpolicy-status-controller", "--leader-elect=false")
    server.run_beside(MANAGER, f"--kubeconfig={server.kubeconfig}", "--secure-port=0", *options)
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    async def checked() -> bool:
        items = msgspec.json.decode(await cluster.client.raw(path))["items"]
        found.update({each["metadata"]["name"]: each.get("status", {}) for each in items})
        return all("typeChecking" in status for status in found.values())

    found: dict[str, Any] = {}
    await eventually(checked, 30.0)

    assert sorted(found) == sorted(POLICIES)
    assert [status["typeChecking"] for status in found.values()] == [{}, {}]


# Who may write what


async def test_an_agent_reports_for_its_own_node_only(server: Standalone, cluster: Cluster) -> None:
    await published(cluster)
    connection = server.connection(await agent_token(server, cluster, "node-1"))

    assert await refused(connection, "report", "node-1") == ""
    assert "an agent writes the status of its own node only" in await refused(connection, "report", "node-2")
    assert "cannot get" in await refused(connection, "change", "node-1")


async def test_a_token_bound_to_no_node_reports_for_none(server: Standalone, cluster: Cluster) -> None:
    await published(cluster)
    connection = server.connection(token_of(server, "podgate-agent"))

    assert "an agent writes the status of its own node only" in await refused(connection, "report", "node-1")


async def test_the_operator_writes_what_is_enforced_and_reports_nothing(cluster: Cluster) -> None:
    await published(cluster)

    assert await refused(cluster.connection, "change", "node-1") == ""
    assert "cannot patch" in await refused(cluster.connection, "report", "node-1")


async def test_an_administrator_writes_neither(server: Standalone, cluster: Cluster) -> None:
    await published(cluster)

    assert "only podgate's operator writes" in await refused(server.connection(), "change", "node-1")
    assert "only podgate's agents write" in await refused(server.connection(), "report", "node-1")


# The operator


async def test_it_publishes_and_tells_with_its_own_rights(cluster: Cluster) -> None:
    before = await refusals(cluster.client)
    async with cluster.operator():
        home = await opened(cluster)
        await cluster.settled()
        await cluster.put(policy(f"{home}/nobody", admits("nobody")))
        await eventually(lambda: is_told(cluster, f"NetworkPolicy {home}/nobody"))
        await cluster.delete("Pod", f"{home}/client")
        await cluster.delete("NetworkPolicy", f"{home}/web")
        await cluster.settled()

    assert await refusals(cluster.client) == before


async def test_what_was_taken_away_is_written_again(cluster: Cluster) -> None:
    async with cluster.operator():
        await opened(cluster)
        await cluster.settled()

        await cluster.client.delete(NODE_POLICIES, "node-1")

        await cluster.settled()


async def test_the_second_takes_over_when_the_first_ends(cluster: Cluster) -> None:
    async with cluster.operator(identity="one") as one:
        await eventually(lambda: one.is_published)
        async with cluster.operator(identity="two") as two:
            await eventually(lambda: two.is_synced)
            assert not two.is_leading
            one.stop()
            await eventually(lambda: two.is_leading)
            await opened(cluster)
            await cluster.settled()


async def test_it_catches_up_after_a_restart_of_the_server(server: Standalone, cluster: Cluster) -> None:
    """Watches of quiet kinds ask for a version that the new server no longer knows: 410."""
    async with cluster.operator():
        await opened(cluster)
        await cluster.settled()

        server.restart()

        async with ApiClient(server.connection(), user_agent="test") as client:
            again = Cluster(client)
            await opened(again)
            await again.settled(60.0)


async def is_told(cluster: Cluster, subject: str) -> bool:
    return "SelectsNoPods" in await cluster.reasons(subject)
