"""podgate against etcd and kube-apiserver, where KUBEBUILDER_ASSETS has them (`make test-kubernetes`).

What the lab's API server only imitates is asked here: schemas, admission policies in CEL, tokens that are
bound to a node, RBAC, watches that a restart has made too old.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.errors import ApiError
from controller.kube.resource import NODE_POLICIES
from controller.lab.kubernetes import VARIABLE, assets_of
from controller.lab.standalone import Standalone, standalone
from tests.e2e.operator.world import Cluster, admits, eventually, namespace, node, pod, policy
from tests.unit.manifests.folders import INSTALL, MANIFESTS

ASSETS = assets_of(os.environ)
MANAGER = "kube-controller-manager"
SYSTEM = "podgate-system"
POLICIES = ("podgate-agent-own-status", "podgate-operator-writes")
OVERLAYS = (
    "base",
    "cleanup",
    *(f"overlays/{name}" for name in ("audit", "drop-log", "dual-stack", "ha", "kind")),
)

_TLS_ENDS = 0.1
"""Seconds for which the loop goes on, so that connections that were cut off can go."""

_numbers = count(1)

pytestmark = pytest.mark.skipif(
    ASSETS is None,
    reason=f"no etcd and kube-apiserver: {VARIABLE} names none (make test-kubernetes builds them)",
)


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


def kubectl(server: Standalone, *arguments: str) -> str:
    assert ASSETS is not None
    command = [str(ASSETS / "kubectl"), f"--kubeconfig={server.kubeconfig}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout


def token_of(server: Standalone, account: str, *bound: str) -> str:
    """A token as the kubelet asks for it, bound to a pod where one is named."""
    options = [f"--bound-object-{key}={value}" for key, value in zip(("kind", "name"), bound, strict=False)]
    return kubectl(server, "create", "token", account, f"--namespace={SYSTEM}", *options).strip()


async def agent_token(server: Standalone, cluster: Cluster, at: str) -> str:
    """That of the pod of an agent, on a node."""
    name = f"agent-{next(_numbers)}"
    found = pod(f"{SYSTEM}/{name}", "", at)
    found["spec"]["serviceAccountName"] = "podgate-agent"
    await cluster.put(found)
    return token_of(server, "podgate-agent", "Pod", name)


async def refused(connection: Connection, verb: str, name: str) -> str:
    """What is said against a write by whoever holds the connection; empty where it is let in."""
    async with ApiClient(connection, user_agent="test") as client:
        try:
            if verb == "report":
                status = {"status": {"observedDigest": f"d{next(_numbers)}"}}
                await client.patch(NODE_POLICIES, name, status, dict, subresource="status")
            elif verb == "change":
                found = await client.get(NODE_POLICIES, name, dict)
                found["spec"]["digest"] = f"d{next(_numbers)}"
                await client.replace(NODE_POLICIES, found, dict)
        except ApiError as error:
            return str(error)
    return ""


async def published(cluster: Cluster) -> None:
    """Both nodes have their NodePolicy, made by an operator that has gone again."""
    async with cluster.operator():
        await cluster.settled()


async def refusals(client: ApiClient) -> int:
    """How often the server has answered 400 or 403."""
    text = (await client.raw("/metrics")).decode()
    lines = re.findall(r'^apiserver_request_total\{code="40[03]".*\} (\d+)$', text, re.MULTILINE)
    return sum(map(int, lines))


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


async def opened(cluster: Cluster) -> str:
    """A namespace of its own with two pods and a policy; its name."""
    home = f"shop-{next(_numbers)}"
    number = next(_numbers)
    await cluster.put(namespace(home))
    await cluster.put(
        pod(f"{home}/web", f"10.0.1.{number}", app="web"),
        pod(f"{home}/client", f"10.0.2.{number}", "node-2", app="client"),
        policy(f"{home}/web", admits("web", "client")),
    )
    return home


async def is_told(cluster: Cluster, subject: str) -> bool:
    return "SelectsNoPods" in await cluster.reasons(subject)
