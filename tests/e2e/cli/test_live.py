"""The verbs on a live cluster, against a real API server over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import podgate
from controller.engine.node_policies import PolicyVersion, node_policy_spec
from controller.engine.reports import AGENT_LABELS
from controller.engine.resolve import Resolver
from controller.engine.rulesets import RulesetId
from controller.lab.apiserver import ApiServer, Settings, User, write_kubeconfig
from controller.lab.apiserver.store import Record
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.kinds import Cluster, Mode
from controller.objects.read import read
from controller.objects.resources import Metadata, NodePolicy, NodePolicyStatus

EXAMPLE = Path(__file__).parents[3] / "examples" / "change" / "before.yaml"
DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": "shop"},
    "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]},
}


def pod(name: str, node: str, ip: str, app: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    }


CLUSTER = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}},
    pod("web", "node-1", "10.0.1.1", "web"),
    pod("db", "node-2", "10.0.2.1", "db"),
    DENY,
]


def put(server: ApiServer, value: dict[str, Any]) -> Record:
    """An object with its status, which a create leaves out, as everywhere in Kubernetes."""
    kind = server.parts.registry.named(value["apiVersion"], value["kind"])
    assert kind is not None
    return server.parts.writer.load(kind, deepcopy(value))


class Live(NamedTuple):
    """A running API server and where its kubeconfig is."""

    server: ApiServer
    kubeconfig: Path

    async def run(self, *arguments: str) -> Result:
        """A verb, in a thread as the server needs this one."""
        call = [*arguments, "--kubeconfig", str(self.kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, podgate, call, standalone_mode=False)

    def publish(self, node: str, *, observed: bool, mode: Mode = Mode.ENFORCE) -> None:
        """What operator and agent would have written of a node by now."""
        cluster = msgspec.structs.replace(self.cluster(), mode=mode)
        spec = node_policy_spec(Resolver.of(cluster).share(node), self._version)
        status = NodePolicyStatus(observed_digest=spec.digest if observed else "")
        written = NodePolicy(metadata=Metadata(node), spec=spec, status=status)
        put(self.server, msgspec.json.decode(msgspec.json.encode(written)))

    def cluster(self) -> Cluster:
        """What the API server holds, as the engine sees it."""
        return read([str(self.kubeconfig.parent / "cluster.yaml")]).cluster

    def _version(self, ruleset: RulesetId) -> PolicyVersion:
        (policy,) = (each for each in self.stored if each["metadata"]["name"] == ruleset.name)
        return PolicyVersion(policy["metadata"]["uid"], policy["metadata"]["generation"])

    @property
    def stored(self) -> list[dict[str, Any]]:
        """The policies as they were stored."""
        return [*yaml.safe_load_all((self.kubeconfig.parent / "stored.yaml").read_text())]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with ApiServer() as server:
        for definition in (node_policy_crd(), peer_group_slice_crd()):
            server.create(definition)
        stored = [put(server, each) for each in CLUSTER]
        (tmp_path / "cluster.yaml").write_text(yaml.safe_dump_all(CLUSTER))
        (tmp_path / "stored.yaml").write_text(yaml.safe_dump(stored[-1].object()))
        kubeconfig = tmp_path / "kubeconfig"
        write_kubeconfig(kubeconfig, server.url)
        yield Live(server, kubeconfig)


async def test_a_policy_that_every_node_reports_is_enforced(live: Live) -> None:
    live.publish("node-2", observed=True)

    result = await live.run("status", "-n", "shop")

    assert result.return_value == 0, result.output
    assert result.output.splitlines() == [
        "NAMESPACE   NAME   PODS   ENFORCED   STATE",
        "shop        deny   1      1/1        enforced",
    ]


@pytest.mark.parametrize(("ready", "state"), [("True", "enforced"), ("False", "stale")])
async def test_what_an_agent_reported_that_is_not_ready_is_not_taken_for_what_is(
    live: Live, ready: str, state: str
) -> None:
    """Its node may have been restarted, and be without a rule: an agent that is gone cannot say so."""
    live.publish("node-2", observed=True)
    put(live.server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "podgate-system"}})
    agent = pod("agent-x", "node-2", "10.0.2.9", "agent")
    agent["metadata"] |= {"namespace": "podgate-system", "labels": AGENT_LABELS}
    agent["status"]["conditions"] = [{"type": "Ready", "status": ready}]
    put(live.server, agent)

    result = await live.run("status", "-n", "shop", "-o", "json")
    waited = await live.run("wait", "--for=enforced", "--all", "-n", "shop", "--timeout", "0s")

    assert json.loads(result.output)["policies"][0]["state"] == state
    assert (result.return_value, waited.return_value) == ((0, 0) if ready == "True" else (1, 1))


async def test_what_is_missing_is_said_per_node(live: Live) -> None:
    live.publish("node-2", observed=False)

    result = await live.run("status", "-o", "wide")

    assert result.return_value == 1
    assert "  node-2: pending, no agent has reported from this node" in result.output


async def test_status_as_json_names_every_node(live: Live) -> None:
    result = await live.run("status", "-o", "json")

    (policy,) = json.loads(result.output)["policies"]
    assert (policy["state"], policy["nodesEnforced"], policy["nodes"][0]["name"]) == ("pending", 0, "node-2")


async def test_wait_ends_when_the_agents_report(live: Live) -> None:
    waiting = asyncio.create_task(
        live.run("wait", "--for=enforced", "networkpolicy/deny", "-n", "shop", "--timeout", "20s")
    )
    await asyncio.sleep(0.5)
    live.publish("node-2", observed=True)

    result = await waiting

    assert result.return_value == 0, result.output
    assert result.output == "networkpolicy/deny enforced on 1/1 nodes\n"


async def test_wait_does_not_call_enforced_what_only_counts(live: Live) -> None:
    for node in ("node-1", "node-2"):
        live.publish(node, observed=True, mode=Mode.AUDIT)

    result = await live.run("wait", "--for=enforced", "--all", "-n", "shop")

    assert (result.return_value, result.output) == (0, "networkpolicy/deny audited on 1/1 nodes\n")


async def test_what_is_planned_for_a_cluster_is_in_its_mode(live: Live) -> None:
    live.publish("node-2", observed=True, mode=Mode.AUDIT)

    planned = str(live.kubeconfig.parent / "cluster.yaml")
    there, back = await live.run("diff", "cluster:", planned), await live.run("diff", planned, "cluster:")

    assert (there.return_value, back.return_value) == (0, 0), there.output + back.output


async def test_wait_gives_up_and_says_what_is_missing(live: Live) -> None:
    result = await live.run("wait", "--for=enforced", "netpol/deny", "-n", "shop", "--timeout", "0.2s")

    assert result.return_value == 1
    assert "node-2 (pending: the operator has not written the NodePolicy of this node)" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "nobody"), "no NetworkPolicy nobody"),
        (("wait", "--for=enforced"), "name policies"),
        (("wait", "--for=enforced", "pod/web"), "no networkpolicy/NAME"),
    ],
)
async def test_a_wrong_call_is_said_in_one_line(live: Live, arguments: tuple[str, ...], message: str) -> None:
    result = await live.run(*arguments)

    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


async def test_a_cluster_without_podgate_is_told_from_one_that_is_slow(tmp_path: Path) -> None:
    async with ApiServer() as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.url)

        result = await Live(server, tmp_path / "kubeconfig").run("status")

    assert "podgate is not installed there" in str(result.exception)


async def test_explain_reads_the_cluster(live: Live) -> None:
    result = await live.run("explain", "shop/web", "shop/db", "--port", "5432/TCP", "-f", "cluster:")

    assert result.return_value == 1, result.output
    assert "no rule of the policies that isolate shop/db matches:\n" in result.output


async def test_diff_compares_the_cluster_with_files(live: Live) -> None:
    planned = live.kubeconfig.parent / "planned.yaml"
    planned.write_text(yaml.safe_dump_all([each for each in CLUSTER if each is not DENY]))

    result = await live.run("diff", "cluster:", str(planned))

    assert result.return_value == 1, result.output
    assert "shop/deny removed\n  + anyone -> shop/db  all" in result.output


async def test_an_unreachable_cluster_is_an_error_in_one_line(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    call = ["matrix", "-f", "cluster:", "--kubeconfig", str(tmp_path / "kubeconfig")]

    result = await asyncio.to_thread(CliRunner().invoke, podgate, call, standalone_mode=False)

    assert "127.0.0.1:9" in str(result.exception)


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.96.0.50",
        "selector": {"app": "db"},
        "ports": [{"port": 80, "targetPort": 5432}],
    },
}


async def test_explain_asks_the_cluster_for_its_services(live: Live) -> None:
    put(live.server, SERVICE)

    result = await live.run("explain", "shop/web", "10.96.0.50", "--port", "80", "-f", "cluster:")

    assert result.return_value == 1, result.output
    assert "shop/web -> shop/db 5432/TCP: DENIED" in result.output


async def test_explain_goes_on_where_services_may_not_be_read(tmp_path: Path) -> None:
    reader = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [
            {
                "apiGroups": ["", "networking.k8s.io"],
                "resources": ["pods", "nodes", "namespaces", "networkpolicies"],
                "verbs": ["list"],
            }
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    }
    async with ApiServer(Settings(tokens={"reader": User("reader")}, rbac=True)) as server:
        for each in (reader, binding):
            server.create(each)
        for value in CLUSTER:
            put(server, value)
        write_kubeconfig(tmp_path / "kubeconfig", server.url, token="reader")  # noqa: S106 - of this test

        result = await Live(server, tmp_path / "kubeconfig").run(
            "explain", "shop/web", "shop/db", "-f", "cluster:"
        )

    assert result.return_value == 1, result.output
    assert "note: Services are not known: " in result.output


async def test_the_mode_of_the_operator_is_read_off_what_it_wrote(live: Live) -> None:
    for node in ("node-1", "node-2"):
        live.publish(node, observed=True, mode=Mode.AUDIT)

    status = await live.run("status", "-n", "shop")
    asked = ("explain", "shop/web", "shop/db", "--port", "80", "-f", "cluster:")
    explained, enforced = await live.run(*asked), await live.run(*asked, "--mode", "enforce")
    verified = await live.run("verify", "--settle", "0s", "-o", "json")

    assert status.output.splitlines() == [
        "NAMESPACE   NAME   PODS   ENFORCED   STATE      MODE",
        "shop        deny   1      1/1        enforced   audit",
    ]
    assert (explained.return_value, enforced.return_value) == (0, 1), explained.output
    assert "would be denied" in explained.output
    assert json.loads(verified.stdout)["links"][0]["ok"], verified.output
