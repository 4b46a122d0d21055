"""What the operator costs and how fast it is, against the lab's API server in a process of its own.

    python hack/bench/publishing.py latency [--pods 5000] [--rate 50] [--seconds 60]
    python hack/bench/publishing.py start [--pods 150000]

`latency`: pods are replaced at a steady rate; from when the API server answered the change until a watcher
sees the slice or NodePolicy that carries it. `start`: from starting the operator until everything is
published for the first time, and again after a restart; and the memory it takes. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[2]))

from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.kinds import Cluster, Direction, NetworkPolicy, Peer, Pod, PolicyRule
from controller.objects.labels import LabelSelector
from hack.bench import population

OWN = "/apis/podgate.dev/v1alpha1"
READY = 600.0
_ADDRESS = re.compile(rb'"(10\.200\.[0-9]+\.[0-9]+)"')
"""Addresses that only changes bring."""


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["latency", "start"])
    parser.add_argument("--pods", type=int)
    parser.add_argument("--node-size", type=int)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--no-agents", action="store_true", help="nobody reports that it enforces")
    options = parser.parse_args()
    if options.what == "latency":
        found = asyncio.run(
            latency(
                options.pods or 5_000,
                options.node_size or 100,
                options.rate,
                options.seconds,
                agents=not options.no_agents,
            )
        )
    else:
        found = asyncio.run(start(options.pods or 150_000, options.node_size or population.PODS_PER_NODE))
    print(json.dumps(found, indent=2))


# start


async def start(pods: int, node_size: int) -> dict[str, Any]:
    """Seconds and MiB of a first start, and of a restart with nothing to do."""
    cluster = population.cluster(pods, node_size)
    found: dict[str, Any] = {"pods": len(cluster.pods), "policies": len(cluster.policies)}
    async with api_server(cluster) as session:
        for name in ("first", "again"):
            async with operator(session) as process:
                found[name] = await process.until_published()
                found[name]["rss_mib"] = process.rss_mib()
                found[name]["peak_rss_mib"] = process.rss_mib("VmHWM")
    return found


# latency


async def latency(pods: int, node_size: int, rate: float, seconds: float, *, agents: bool) -> dict[str, Any]:
    """Percentiles of event to write in milliseconds, and writes a pod change."""
    cluster = with_more_policies(population.cluster(pods, node_size), pods // 10)
    async with api_server(cluster) as session, operator(session) as process:
        await process.until_published()
        before = await process.metrics()
        seen = Seen(session, agents=agents)
        watchers = [asyncio.create_task(seen.watch(plural)) for plural in ("peergroupslices", "nodepolicies")]
        await seen.started.wait()
        changes = 0
        began = time.monotonic()
        for number, pod in enumerate(changing(cluster, int(rate * seconds))):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            await replace_pod(session, pod, f"10.200.{number >> 8 & 255}.{number & 255}", seen)
            changes += 1
        await asyncio.sleep(3.0)
        for watcher in watchers:
            watcher.cancel()
        after = await process.metrics()
        return {
            "pods": len(cluster.pods),
            "policies": len(cluster.policies),
            "nodes": len(cluster.nodes),
            "changes_per_second": round(changes / (time.monotonic() - began - 3.0), 1),
            "seen": len(seen.delays),
            "agents_reports": seen.reports,
            "to_first_write_p50_ms": percentile(seen.delays, 50),
            "to_first_write_p99_ms": percentile(seen.delays, 99),
            **event_to_write(before, after),
            "conflicts": int(
                sum(value for name, value in after.items() if "writes_total" in name and "Conflict" in name)
            ),
            "writes_per_change": round((writes(after) - writes(before)) / changes, 2),
            "rss_mib": process.rss_mib(),
            "cpu_percent": round(
                100
                * (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"])
                / (time.monotonic() - began),
                1,
            ),
        }


class _Meta(msgspec.Struct):
    name: str


class _Spec(msgspec.Struct):
    digest: str


class _Object(msgspec.Struct):
    metadata: _Meta
    spec: _Spec


class _Event(msgspec.Struct):
    object: _Object


class Seen:
    """When a watcher saw an address for the first time, in ms after the change was sent to the API server.

    With `agents`, each NodePolicy that it sees is reported as enforced, as by the agent of its node.
    """

    def __init__(self, session: aiohttp.ClientSession, *, agents: bool) -> None:
        self.delays: list[float] = []
        self.reports = 0
        self._session = session
        self._agents = agents
        self._reporting: set[asyncio.Task[None]] = set()
        self._observed: dict[str, str] = {}
        self.started = asyncio.Event()
        self._sent: dict[bytes, float] = {}
        self._watching = 0

    def sent(self, address: str) -> None:
        """A change is under way."""
        self._sent[address.encode()] = time.monotonic()

    async def watch(self, plural: str) -> None:
        """Look for the addresses in every object that is written."""
        session = self._session
        async with session.get(f"{OWN}/{plural}") as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        timeout = aiohttp.ClientTimeout(total=None)
        url = f"{OWN}/{plural}?watch=true&resourceVersion={version}"
        async with session.get(url, timeout=timeout, read_bufsize=1 << 22) as answer:
            self._watching += 1
            if self._watching == 2:
                self.started.set()
            async for line in answer.content:
                now = time.monotonic()
                for address in _ADDRESS.findall(line):
                    if (sent := self._sent.pop(address, None)) is not None:
                        self.delays.append((now - sent) * 1000)
                if self._agents and plural == "nodepolicies":
                    self._enforce(line)

    def _enforce(self, line: bytes) -> None:
        found = msgspec.json.decode(line, type=_Event).object
        if self._observed.get(found.metadata.name) != found.spec.digest:
            self._observed[found.metadata.name] = found.spec.digest
            task = asyncio.create_task(self._report(found.metadata.name, found.spec.digest))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)

    async def _report(self, node: str, digest: str) -> None:
        url = f"{OWN}/nodepolicies/{node}/status"
        body = json.dumps({"status": {"observedDigest": digest}})
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self._session.patch(url, data=body, headers=headers) as answer:
            self.reports += answer.ok


def with_more_policies(cluster: Cluster, count: int) -> Cluster:
    """As many policies as asked for: each further one admits one app to another in its namespace."""
    further = (
        NetworkPolicy(
            namespace=space.name,
            name=f"allow-{source}-to-{target}",
            pod_selector=LabelSelector.of({"app": f"app-{target}"}),
            ingress=(PolicyRule(0, (Peer(0, LabelSelector.of({"app": f"app-{source}"})),)),),
        )
        for source in range(population.APPS)
        for target in range(population.APPS)
        for space in cluster.namespaces
        if space.name != "kube-system"
    )
    missing = max(0, count - len(cluster.policies))
    return replace(cluster, policies=(*cluster.policies, *islice(further, missing)))


def changing(cluster: Cluster, count: int) -> Iterator[Pod]:
    """Pods, evenly over the namespaces."""
    pods = [pod for pod in cluster.pods if pod.namespace != "kube-system"]
    for number in range(count):
        yield pods[number * 37 % len(pods)]


async def replace_pod(session: aiohttp.ClientSession, pod: Pod, address: str, seen: Seen) -> None:
    """A pod gets another address, as after a restart of its sandbox: one change that counts."""
    body = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    url = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
    seen.sent(address)
    headers = {"Content-Type": "application/merge-patch+json"}
    async with session.patch(url, data=json.dumps(body), headers=headers) as answer:
        answer.raise_for_status()


# processes


class OperatorProcess:
    """A running operator."""

    def __init__(
        self, session: aiohttp.ClientSession, process: asyncio.subprocess.Process, health: str
    ) -> None:
        self._session = session
        self._process = process
        self._health = health
        self._began = time.monotonic()

    async def until_published(self) -> dict[str, Any]:
        """Wait for the first complete publication."""
        ready = None
        while time.monotonic() - self._began < READY:
            with suppress(aiohttp.ClientError):
                async with self._session.get(f"http://{self._health}/readyz") as answer:
                    if answer.status == 200 and ready is None:
                        ready = time.monotonic() - self._began
                found = await self.metrics()
                if found["podgate_operator_published"]:
                    return {
                        "ready_s": round(ready or 0.0, 1),
                        "published_s": round(time.monotonic() - self._began, 1),
                        "writes": int(writes(found)),
                        "slices": int(found["podgate_operator_slices"]),
                        "nodepolicies": int(found["podgate_operator_nodepolicies"]),
                        "cpu_s": found["process_cpu_seconds_total"],
                    }
            await asyncio.sleep(0.2)
        raise TimeoutError(f"not published after {READY:.0f} s")

    async def metrics(self) -> dict[str, float]:
        """Every metric, by its name and labels."""
        async with self._session.get(f"http://{self._health}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def rss_mib(self, field: str = "VmRSS") -> int:
        """Memory of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) // 1024


def event_to_write(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Percentiles of the operator's own histogram, in ms: the upper bound of the bucket they fall into."""
    prefix = 'podgate_operator_event_to_write_seconds_bucket{le="'
    counts = [
        (float(name[len(prefix) : -2]), value - before.get(name, 0.0))
        for name, value in after.items()
        if name.startswith(prefix)
    ]
    total = max(count for _, count in counts)
    return {
        f"operator_event_to_write_p{which}_ms_at_most": 1000
        * min(bound for bound, count in counts if count >= total * which / 100)
        for which in (50, 99)
    }


def writes(metrics: dict[str, float]) -> float:
    """Every write that was answered with success."""
    return sum(
        value
        for name, value in metrics.items()
        if name.startswith("podgate_operator_writes_total") and 'result="ok"' in name
    )


@asynccontextmanager
async def operator(session: aiohttp.ClientSession) -> AsyncIterator[OperatorProcess]:
    """An operator, until it is no longer needed."""
    server = str(session._base_url)  # noqa: SLF001 - where the session was pointed to
    health = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("podgate"), "operator", "--server", server, "--health-address", health,
        stderr=sys.stderr,
    )  # fmt: skip
    try:
        yield OperatorProcess(session, process, health)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def api_server(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    """The lab's API server with a cluster in it, and a session to it."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, "-m", "controller.lab.apiserver", "--port-file", str(port_file)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603, ASYNC220 - our own
        try:
            while not port_file.exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.05)
            url = f"http://127.0.0.1:{port_file.read_text().strip()}"
            timeout = aiohttp.ClientTimeout(total=READY)
            async with aiohttp.ClientSession(url, timeout=timeout) as session:
                async with session.post("/debug/load", data=load(cluster)) as answer:
                    print(await answer.text(), file=sys.stderr)
                yield session
        finally:
            process.terminate()
            process.wait()


async def load(cluster: Cluster) -> AsyncIterator[bytes]:
    """The objects, one a line."""
    chunk: list[bytes] = []
    for each in documents(cluster):
        chunk.append(json.dumps(each).encode() + b"\n")
        if len(chunk) == 500:
            yield b"".join(chunk)
            chunk.clear()
    yield b"".join(chunk)


def documents(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Everything as it stands in an API server."""
    yield unchecked(node_policy_crd())
    yield unchecked(peer_group_slice_crd())
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "podgate-system"}}
    for namespace in cluster.namespaces:
        if namespace.name != "kube-system":
            yield {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": namespace.name, "labels": dict(namespace.labels)},
            }
    for node in cluster.nodes:
        addresses = [{"type": "InternalIP", "address": address} for address in node.ips]
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name},
            "status": {"addresses": addresses},
        }
    for pod in cluster.pods:
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)},
            "spec": {
                "nodeName": pod.node,
                "containers": [
                    {
                        "name": "main",
                        "image": "example.org/main:1",
                        "ports": [
                            {"name": port.name, "protocol": port.protocol.name, "containerPort": port.port}
                            for port in pod.ports
                        ],
                    }
                ],
            },
            "status": {"phase": "Running", "podIP": pod.ips[0], "podIPs": [{"ip": pod.ips[0]}]},
        }
    for policy in cluster.policies:
        yield policy_document(policy)


def unchecked(crd: dict[str, Any]) -> dict[str, Any]:
    """A definition without its schema, since this is about the operator.

    The lab's API server checks a schema in Python: tens of milliseconds for a NodePolicy of 100 pods.
    """
    for version in crd["spec"]["versions"]:
        version["schema"] = {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        }
    return crd


def policy_document(policy: NetworkPolicy) -> dict[str, Any]:
    """A policy as its author wrote it."""
    spec: dict[str, Any] = {
        "podSelector": selector(policy.pod_selector),
        "policyTypes": [direction.value for direction in policy.directions],
    }
    for direction, peers in ((Direction.INGRESS, "from"), (Direction.EGRESS, "to")):
        rules = [rule_document(rule, peers) for rule in policy.rules(direction)]
        if rules:
            spec[direction.value.lower()] = rules
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": spec,
    }


def rule_document(rule: PolicyRule, peers: str) -> dict[str, Any]:
    """One rule."""
    found: dict[str, Any] = {}
    if rule.peers is not None:
        found[peers] = []
        for peer in rule.peers:
            item: dict[str, Any] = {}
            if peer.ip_block is not None:
                item["ipBlock"] = {
                    "cidr": str(peer.ip_block.cidr),
                    "except": [str(each) for each in peer.ip_block.excepts],
                }
            if peer.pod_selector is not None:
                item["podSelector"] = selector(peer.pod_selector)
            if peer.namespace_selector is not None:
                item["namespaceSelector"] = selector(peer.namespace_selector)
            found[peers].append(item)
    if rule.ports is not None:
        found["ports"] = [
            {
                "protocol": port.protocol.name,
                **({} if port.port is None else {"port": port.port}),
                **({} if port.end_port is None else {"endPort": port.end_port}),
            }
            for port in rule.ports
        ]
    return found


def selector(value: LabelSelector) -> dict[str, Any]:
    """A label selector in its long form."""
    if value.selects_everything:
        return {}
    return {
        "matchExpressions": [
            {
                "key": each.key,
                "operator": each.operator.value,
                **({"values": list(each.values)} if each.values else {}),
            }
            for each in value.requirements
        ]
    }


def percentile(values: list[float], which: int) -> float:
    """A percentile, rounded; 0 of nothing."""
    if len(values) < 2:
        return 0.0
    return round(statistics.quantiles(values, n=100)[which - 1], 1)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
