"""A cluster behind a real API server, operators that run against it, and what agents would make of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from controller.engine.group_slices import GroupMembers
from controller.engine.node_policies import ShareReader
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.errors import AlreadyExists
from controller.kube.lease import LeaseTiming
from controller.kube.resource import (
    NAMESPACES,
    NETWORK_POLICIES,
    NODE_POLICIES,
    NODES,
    PEER_GROUP_SLICES,
    PODS,
    Resource,
)
from controller.lab.apiserver import ApiServer
from controller.objects.decode_cluster import decode_namespace, decode_node, decode_pod
from controller.objects.decode_policy import decode_policy
from controller.objects.resources import NodePolicy, PeerGroupSlice, group_of
from controller.operator.process import Operator, Options
from controller.operator.reporter import EVENTS, ReportTiming

Object = dict[str, Any]
HURRY = LeaseTiming(duration=1.5, renew=1.0, retry=0.1)
KINDS = {"Pod": PODS, "Namespace": NAMESPACES, "Node": NODES, "NetworkPolicy": NETWORK_POLICIES}


def pod(key: str, ip: str, node: str = "node-1", **labels: str) -> Object:
    """A running pod `namespace/name`."""
    namespace, name = key.split("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "main", "image": "none", "ports": [{"name": "http", "containerPort": 8080}]}
            ],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]} if ip else {"phase": "Pending"},
    }


def namespace(name: str, **labels: str) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def node(name: str) -> Object:
    """A node."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}


def policy(key: str, spec: Mapping[str, Any]) -> Object:
    """A NetworkPolicy `namespace/name`."""
    home, name = key.split("/")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": home},
        "spec": spec,
    }


def admits(subject: str, *clients: str) -> Object:
    """A spec: `subject` is reached by pods of `clients` only."""
    peers = [{"podSelector": {"matchLabels": {"app": client}}} for client in clients]
    rules = [{"from": peers}] if peers else []
    return {
        "podSelector": {"matchLabels": {"app": subject}},
        "policyTypes": ["Ingress"],
        **({"ingress": rules} if rules else {}),
    }


class Cluster:
    """What is at an API server, whichever, seen with a client of the test's own."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.connection = client.connection

    async def put(self, *objects: Object) -> None:
        """Create objects, or bring them to this state, status included."""
        for value in objects:
            await self._put(value)

    async def annotate(self, key: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of a NetworkPolicy."""
        home, _, name = key.rpartition("/")
        change = {"metadata": {"annotations": annotations}}
        await self.client.patch(NETWORK_POLICIES, name, change, Object, namespace=home)

    async def delete(self, kind: str, key: str) -> None:
        """Delete an object `namespace/name`, or `name`."""
        home, _, name = key.rpartition("/")
        await self.client.delete(KINDS[kind], name, namespace=home)

    async def _put(self, value: Object) -> None:
        resource = KINDS[value["kind"]]
        meta = value["metadata"]
        try:
            found = await self.client.create(resource, value, Object)
        except AlreadyExists:
            found = await self.client.get(resource, meta["name"], Object, namespace=meta.get("namespace", ""))
            found["metadata"]["labels"] = meta.get("labels", {})
            found["spec"] = value.get("spec", {}) if value["kind"] != "Pod" else found["spec"]
            found = await self.client.replace(resource, found, Object)
        if "status" in value:
            found["status"] = value["status"]
            await self.client.replace(resource, found, Object, subresource="status")

    async def expected(self) -> dict[str, NodeView]:
        """What every node must enforce, from scratch."""
        resolver = Resolver()
        for value in await self._list(NODES):
            resolver.put_node(decode_node(value).node)
        for value in await self._list(NAMESPACES):
            resolver.put_namespace(decode_namespace(value).namespace)
        for value in await self._list(NETWORK_POLICIES):
            resolver.put_policy(decode_policy(value))
        for value in await self._list(PODS):
            resolver.put_pod(decode_pod(value).pod)
        return {name: resolver.view(name) for name in resolver.nodes() if name}

    async def published(self) -> dict[str, NodeView]:
        """What agents would make of what is published; KeyError where a group is not even begun."""
        groups = await self.groups()
        views = {}
        for found in (await self.client.list_all(NODE_POLICIES, NodePolicy)).items:
            share = ShareReader().read(found.metadata.name, found.spec)
            views[found.metadata.name] = NodeView(
                node=found.metadata.name,
                pods=share.view.pods,
                rulesets=share.view.rulesets,
                groups={ref: groups[key].members() for ref, key in share.groups.items()},  # type: ignore[misc]
                named_ports={ref: groups[key].members() for ref, key in share.named_ports.items()},  # type: ignore[misc]
                known=share.view.known,
                pod_cidrs=share.view.pod_cidrs,
            )
        return views

    async def groups(self) -> dict[str, GroupMembers]:
        """Every group by its id."""
        found: dict[str, GroupMembers] = {}
        for each in (await self.client.list_all(PEER_GROUP_SLICES, PeerGroupSlice)).items:
            found.setdefault(group_of(each.metadata), GroupMembers()).put(each.spec)
        return found

    async def settled(self, seconds: float = 15.0) -> None:
        """Wait until what is published is what a computation from scratch says."""
        await eventually(self._is_settled, seconds)

    async def _is_settled(self) -> bool:
        try:
            return await self.published() == await self.expected()
        except KeyError:
            return False

    async def _list(self, resource: Resource) -> list[Object]:
        found = (await self.client.list_all(resource, Object)).items
        for value in found:
            value.setdefault("apiVersion", resource.api_version)
        return found

    async def events(self) -> list[tuple[str, str, str, int]]:
        """Every Event: the object, the reason, the note, how often."""
        found = (await self.client.list_all(EVENTS, Object)).items
        return sorted(
            (
                f"{each['regarding']['kind']} {each['regarding']['namespace']}/{each['regarding']['name']}",
                each["reason"],
                each["note"],
                each.get("series", {}).get("count", 1),
            )
            for each in found
        )

    async def reasons(self, name: str) -> list[str]:
        """The reasons of the Events about an object."""
        return [reason for subject, reason, *_ in await self.events() if subject == name]

    def options(self, **changes: Any) -> Options:  # noqa: ANN401 - any option
        """How operators run here: in a hurry."""
        settings: Object = {
            "connection": self.connection,
            "health_address": "127.0.0.1:0",
            "lease": HURRY,
            "reports": ReportTiming(look=0.05, settle=0.1),
        }
        return Options(**settings | changes)

    @asynccontextmanager
    async def operator(self, **options: Any) -> AsyncIterator[Operator]:  # noqa: ANN401
        """A running operator, stopped as SIGTERM would at the end."""
        running = Operator(self.options(**options))
        task = asyncio.create_task(running.run())
        try:
            yield running
        finally:
            running.stop()
            await task


class World(Cluster):
    """The lab's API server, which counts what it is asked and fails on demand."""

    def __init__(self, server: ApiServer, client: ApiClient) -> None:
        super().__init__(client)
        self.server = server

    def own_writes(self) -> int:
        """Writes of our kinds since the counts were cleared, by whoever."""
        verbs = {"create", "update", "patch", "delete"}
        plurals = {"nodepolicies", "peergroupslices"}
        counts = self.server.api.counts.items()
        return sum(count for (_, verb, plural), count in counts if verb in verbs and plural in plurals)


@asynccontextmanager
async def client_of(server: ApiServer) -> AsyncIterator[ApiClient]:
    """A client with all rights."""
    async with ApiClient(Connection(server=server.url), user_agent="test") as client:
        yield client


async def eventually(is_so: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until something is so; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = is_so()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        await asyncio.sleep(0.02)
