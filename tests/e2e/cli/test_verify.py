"""`podgate verify` of a cluster whose operator and agents are played by the test."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from controller.cli import live as reading
from controller.cli.main import podgate
from controller.engine.node_policies import PolicyVersion, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import RulesetId
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.lab.apiserver import ApiServer, write_kubeconfig
from controller.objects.assembly import observed_cluster
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.resources import Condition, Metadata, NodePolicy, NodePolicyStatus, PeerGroupSlice
from tests.e2e.agent.publisher import Publisher, peer_slice
from tests.e2e.cli.test_live import CLUSTER, DENY, pod, put

ALLOW = {
    **DENY,
    "metadata": {"name": "allow", "namespace": "shop"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
    },
}
GOOD = (Condition("Ready", "True"), Condition("Degraded", "False"), Condition("Stale", "False"))


class Published:
    """An API server in which everything is as operator and agents would have it."""

    def __init__(self, server: ApiServer, client: ApiClient, kubeconfig: Path) -> None:
        self.server = server
        self.client = client
        self._kubeconfig = kubeconfig

    async def verify(self, *arguments: str) -> Result:
        """The verb, in a thread as the server needs this one."""
        call = ["verify", "--settle", "0s", *arguments, "--kubeconfig", str(self._kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, podgate, call, standalone_mode=False)

    async def publish(self) -> None:
        """Everything, as of what there is now."""
        cluster = observed_cluster(await reading.documents(self.client)).cluster
        resolver = Resolver.of(cluster)

        def version(ruleset: RulesetId) -> PolicyVersion:
            policy = resolver.policy((ruleset.namespace, ruleset.name))
            assert policy is not None
            return PolicyVersion(policy.uid, policy.generation)

        await Publisher(self.client).publish(cluster)
        for node in resolver.nodes():
            spec = node_policy_spec(resolver.share(node), version)
            status = NodePolicyStatus(
                observed_digest=spec.digest, applied_at="2026-01-01T00:00:00Z", conditions=GOOD
            )
            written = NodePolicy(metadata=Metadata(node), spec=spec, status=status)
            put(self.server, msgspec.json.decode(msgspec.json.encode(written)))

    async def slice(self) -> PeerGroupSlice:
        """The only one there is."""
        (found,) = (await self.client.list_all(PEER_GROUP_SLICES, PeerGroupSlice)).items
        return found


@pytest.fixture
async def published(tmp_path: Path) -> AsyncIterator[Published]:
    async with ApiServer() as server, ApiClient(Connection(server=server.url)) as client:
        for definition in (node_policy_crd(), peer_group_slice_crd()):
            server.create(definition)
        for each in (*CLUSTER, ALLOW):
            put(server, each)
        kubeconfig = tmp_path / "kubeconfig"
        write_kubeconfig(kubeconfig, server.url)
        found = Published(server, client, kubeconfig)
        await found.publish()
        yield found


async def test_a_chain_without_fault(published: Published) -> None:
    result = await published.verify()

    assert result.return_value == 0, result.output
    assert result.output.splitlines() == [
        "text -> published       as it should be: 2 nodes, 1 peer group",
        "published -> reported   as it should be: 2 agents",
        "  (no pod here is an agent's, so this rests on what agents reported last)",
    ]


async def test_a_removed_node_policy_is_missing(published: Published) -> None:
    await published.client.delete(NODE_POLICIES, "node-2")

    result = await published.verify()

    assert result.return_value == 1
    assert "  NodePolicy node-2 is missing: the operator has not written it\n" in result.output


async def test_a_broken_slice_names_group_and_addresses(published: Published) -> None:
    found = await published.slice()
    broken = msgspec.structs.replace(found.spec, addresses=("10.9.9.9",))
    await Publisher(published.client).put_slice(peer_slice(found.metadata.name.split("-")[1], broken))

    result = await published.verify("-o", "json")

    differences = json.loads(result.output)["links"][0]["differences"]
    assert [each["message"] for each in differences] == ["lacks 10.0.1.1", "holds 10.9.9.9 and should not"]
    assert "app=web" in differences[0]["object"]


async def test_a_policy_that_was_not_published_is_named(published: Published) -> None:
    put(published.server, {**DENY, "metadata": {"name": "later", "namespace": "shop"}})

    result = await published.verify()

    assert result.return_value == 1
    assert "  NodePolicy node-2 lacks ruleset shop/later/Ingress\n" in result.output


async def test_only_the_nodes_asked_for_count(published: Published) -> None:
    await published.client.delete(NODE_POLICIES, "node-2")

    assert (await published.verify("--node", "node-1")).return_value == 0
    assert (await published.verify("--node", "node-2")).return_value == 1


async def test_an_agent_that_is_late_is_named(published: Published) -> None:
    held = await published.client.get(NODE_POLICIES, "node-2", dict)
    held["status"]["observedDigest"] = "older"
    await published.client.patch(
        NODE_POLICIES, "node-2", {"status": held["status"]}, dict, subresource="status"
    )

    result = await published.verify()

    assert result.return_value == 1
    assert "  NodePolicy node-2 its agent reports to have applied another version, older\n" in result.output


async def test_an_agent_whose_pod_is_not_ready_is_not_believed(published: Published) -> None:
    agent = pod("agent-1", "node-1", "192.0.2.1", "agent")
    agent["metadata"]["namespace"] = "podgate-system"
    agent["metadata"]["labels"] = {
        "app.kubernetes.io/name": "podgate",
        "app.kubernetes.io/component": "agent",
    }
    agent["spec"]["hostNetwork"] = True
    put(published.server, agent)

    result = await published.verify()

    assert "node-1 its agent's pod podgate-system/agent-1 is not ready" in result.output
    assert "node-2 no pod of an agent is on this node any more" in result.output


async def test_what_is_on_its_way_is_no_drift(published: Published) -> None:
    await published.client.delete(NODE_POLICIES, "node-2")
    waiting = asyncio.create_task(published.verify("--settle", "20s"))
    await asyncio.sleep(0.3)

    await published.publish()

    assert (await waiting).return_value == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--node", "node-9"), "no node 'node-9', no pod on it and no NodePolicy of it"),
        (("--node", "Node_9"), "is no name of a node"),
        (("--kernel", "--node", "a", "--node", "b"), "say which with --node NODE"),
        (("-f", "x.yaml", "--kernel"), "are for a live cluster"),
    ],
)
async def test_a_wrong_call_is_said_in_one_line(
    published: Published, arguments: tuple[str, ...], message: str
) -> None:
    assert message in str((await published.verify(*arguments)).exception)


async def test_a_cluster_without_podgate_is_an_error(tmp_path: Path) -> None:
    async with ApiServer() as server, ApiClient(Connection(server=server.url)) as client:
        write_kubeconfig(tmp_path / "kubeconfig", server.url)

        result = await Published(server, client, tmp_path / "kubeconfig").verify()

    assert "podgate is not installed there" in str(result.exception)
