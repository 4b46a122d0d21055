"""Writes, over HTTP: what meets something else than expected is looked at, and put right in the end."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.ratelimit import WriteGate
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES
from controller.lab.apiserver import ApiServer
from controller.lab.apiserver.faults import Fault
from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.resources import TRIGGER_ANNOTATION, NodePolicy
from controller.operator.metrics import Metrics
from controller.operator.publication import Publication
from controller.operator.worklist import NEVER, Moment
from controller.operator.writer import Writer
from tests.unit.builder import ClusterBuilder, labels
from tests.unit.operator.publishing import Stage
from tests.unit.operator.test_publication import ALLOW_CLIENTS, BARE, SHOP

Object = dict[str, Any]


class Lease:
    """A fence that a test opens and closes."""

    def __init__(self) -> None:
        self.is_ours = True

    def remaining(self) -> float:
        return 60.0 if self.is_ours else -1.0


class Desk:
    """A writer at work, and everything around it."""

    def __init__(self, server: ApiServer, client: ApiClient, lease: Lease) -> None:
        self.server = server
        self.client = client
        self.lease = lease
        self.stage = Stage()
        self.metrics = Metrics()
        self.publication = Publication(self.stage.resolver)
        self.stage.publication = self.publication
        self.writer = Writer(client, self.publication, WriteGate(), self.metrics)

    def begin(self, builder: ClusterBuilder, trigger: float = 1000.0) -> None:
        """A term in which nothing is known to stand."""
        self.stage.become(builder)
        for _ in self.publication.begin(Moment(time.monotonic(), trigger)):
            pass
        self.writer.wake()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.writer.run())
        yield
        task.cancel()
        await asyncio.wait({task})

    async def done(self) -> None:
        """Wait until everything stands."""
        await until(lambda: not self.publication.backlog)

    def counted(self, verb: str) -> int:
        """Requests of one verb for our kinds."""
        plurals = {"nodepolicies", "peergroupslices"}
        return sum(
            count
            for (_, each, plural), count in self.server.api.counts.items()
            if each == verb and plural in plurals
        )

    def writes(self, **labels: str) -> float:
        return self.metrics.registry.get_sample_value("podgate_operator_writes_total", labels) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    lease = Lease()
    async with (
        ApiServer() as server,
        ApiClient(Connection(server=server.url), user_agent="podgate", fence=lease) as client,
    ):
        server.create(node_policy_crd())
        server.create(peer_group_slice_crd())
        yield Desk(server, client, lease)


async def test_everything_is_written_once(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()

    assert (desk.counted("create"), desk.counted("update"), desk.counted("get")) == (3, 0, 0)
    assert desk.writes(kind="NodePolicy", op="create", result="ok") == 2.0


async def test_what_stands_already_is_adopted_and_not_written(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
    again = Desk(desk.server, desk.client, desk.lease)
    desk.server.api.counts.clear()

    again.begin(SHOP)
    async with again.writing():
        await again.done()

    assert (again.counted("create"), again.counted("get"), again.counted("update")) == (3, 3, 0)


async def test_what_stands_otherwise_is_replaced(desk: Desk) -> None:
    desk.begin(BARE)
    async with desk.writing():
        await desk.done()
    again = Desk(desk.server, desk.client, desk.lease)

    again.begin(SHOP)
    async with again.writing():
        await again.done()

    found = await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)
    assert [each.id for each in found.spec.rulesets] == ["shop/web/Ingress"]


async def test_what_somebody_changed_meanwhile_is_put_right(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
        forged = await desk.client.get(NODE_POLICIES, "node-1", Object)
        forged["spec"]["pods"] = []
        await desk.client.replace(NODE_POLICIES, forged, Object)
        desk.stage.become(SHOP.pod("shop/second", labels={"app": "web"}, node="node-1", ip="10.0.0.7"))
        desk.writer.wake()
        await desk.done()

    found = await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)
    assert [each.name for each in found.spec.pods] == ["second", "web"]


async def test_what_somebody_deleted_meanwhile_is_created(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
        await desk.client.delete(NODE_POLICIES, "node-1")
        desk.stage.become(SHOP.pod("shop/second", labels={"app": "web"}, node="node-1", ip="10.0.0.7"))
        desk.writer.wake()
        await desk.done()

    assert (await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)).metadata.name == "node-1"


async def test_what_nobody_can_read_is_replaced(desk: Desk) -> None:
    kind = desk.server.parts.registry.named("podgate.dev/v1alpha1", "NodePolicy")
    assert kind is not None
    junk = {
        "apiVersion": "podgate.dev/v1alpha1",
        "kind": "NodePolicy",
        "metadata": {"name": "node-1"},
        "spec": {"digest": 7},
    }
    desk.server.parts.writer.load(kind, junk)

    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()

    assert (await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)).spec.pods


async def test_an_object_that_is_gone_need_not_be_deleted(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
        await desk.client.delete(NODE_POLICIES, "node-2")
        desk.stage.become(BARE.without_pod("shop/client"))
        desk.stage.resolver.remove_node("node-2")
        desk.stage.absorb()
        desk.writer.wake()
        await desk.done()

    assert "node-2" not in desk.publication.nodes


async def test_the_trigger_is_an_annotation_and_a_measured_delay(desk: Desk) -> None:
    desk.begin(SHOP, trigger=time.time() - 2.0)
    async with desk.writing():
        await desk.done()

    found = await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)
    assert found.metadata.annotations[TRIGGER_ANNOTATION].endswith("Z")
    assert (desk.metrics.registry.get_sample_value("podgate_operator_event_to_write_seconds_sum") or 0) >= 6.0


async def test_what_no_event_caused_has_no_trigger(desk: Desk) -> None:
    desk.begin(SHOP, trigger=NEVER)
    async with desk.writing():
        await desk.done()

    assert (await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)).metadata.annotations == {}
    assert math.isinf(NEVER)


async def test_who_does_not_lead_writes_nothing(desk: Desk) -> None:
    desk.lease.is_ours = False
    desk.begin(SHOP)
    async with desk.writing():
        await asyncio.sleep(0.1)
        assert desk.counted("create") == 0
        desk.lease.is_ours = True
        await desk.done()

    assert desk.counted("create") == 3


async def test_an_api_server_that_fails_is_asked_seldom(desk: Desk) -> None:
    number = desk.server.parts.faults.inject(Fault(action="fail", code=503))
    desk.begin(BARE.policy("shop/web", ALLOW_CLIENTS))
    for other in range(200):
        desk.stage.become(BARE.pod("shop/other", node=f"node-{other}"))
    async with desk.writing():
        await asyncio.sleep(0.5)
        asked = desk.server.parts.faults.hits[number]
        desk.server.parts.faults.clear()
        await desk.done()

    assert 1 <= asked <= 250


async def test_an_object_that_is_refused_holds_up_no_other(desk: Desk) -> None:
    number = desk.server.parts.faults.inject(
        Fault(action="fail", code=422, verbs=("create",), resources=("peergroupslices",))
    )
    desk.begin(SHOP)
    async with desk.writing():
        await until(lambda: len(desk.publication.nodes) == 2)
        assert (await desk.client.list_all(PEER_GROUP_SLICES, Object)).items == []
        desk.server.parts.faults.clear(number)
        await desk.done()

    assert len((await desk.client.list_all(PEER_GROUP_SLICES, Object)).items) == 1


async def test_an_object_at_which_the_server_fails_again_and_again_holds_up_no_other(desk: Desk) -> None:
    """What etcd finds too large is an internal error of kube-apiserver, and so is its outage."""
    many = SHOP
    for number in range(20):
        peer = {"podSelector": labels(n=str(number))}
        many = many.policy(f"shop/p{number}", {"podSelector": {}, "ingress": [{"from": [peer]}]})
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
        fault = desk.server.parts.faults.inject(
            Fault(action="fail", code=500, verbs=("update",), resources=("nodepolicies",))
        )
        desk.stage.become(SHOP.policy("shop/more", {"podSelector": {}, "policyTypes": ["Ingress"]}))
        desk.writer.wake()
        await until(lambda: desk.server.parts.faults.hits[fault] > 3)
        for number in range(20):
            one = many.build().policies[number]
            desk.stage.resolver.put_policy(one)
            desk.stage.absorb()
            desk.writer.wake()
            await until(lambda number=number: desk.counted("create") >= 4 + number)  # type: ignore[misc]

        assert desk.server.parts.faults.hits[fault] < 30


async def test_ending_waits_for_what_is_under_way_and_begins_nothing(desk: Desk) -> None:
    desk.server.parts.faults.inject(Fault(action="latency", delay=0.2, verbs=("create",)))
    desk.begin(BARE)
    async with desk.writing():
        await until(lambda: desk.publication.work.in_flight > 0)
        await desk.writer.end(5.0)
        desk.stage.become(BARE.node("node-3"))
        desk.writer.wake()
        await asyncio.sleep(0.05)

    assert set(desk.publication.nodes) == {"node-1", "node-2"}


async def test_a_status_that_an_agent_wrote_meanwhile_is_no_other_content(desk: Desk) -> None:
    desk.begin(SHOP)
    async with desk.writing():
        await desk.done()
        change = {"status": {"observedDigest": "abc"}}
        await desk.client.patch(NODE_POLICIES, "node-1", change, NodePolicy, subresource="status")
        desk.server.api.counts.clear()
        desk.stage.become(SHOP.pod("shop/second", labels={"app": "web"}, node="node-1", ip="10.0.0.7"))
        desk.writer.wake()
        await desk.done()

    assert (desk.counted("get"), desk.writes(kind="NodePolicy", op="update", result="Conflict")) == (1, 1.0)
    found = await desk.client.get(NODE_POLICIES, "node-1", NodePolicy)
    assert [each.name for each in found.spec.pods] == ["second", "web"]
    assert found.status is not None
    assert found.status.observed_digest == "abc"
