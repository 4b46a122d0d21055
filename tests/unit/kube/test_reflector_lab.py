"""The client, the reflector and the elector against the lab's API server, which keeps the real protocol.

Random changes under random faults; in the end the copy must be the server's state, and what the sink was told
must add up to it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from controller.kube import errors
from controller.kube.client import ApiClient, ObjectMeta, PatchKind
from controller.kube.connection import Connection
from controller.kube.lease import LeaderElector, LeaseTiming
from controller.kube.reflector import Reflector, Timing
from controller.kube.resource import LEASES, NODES, PODS, Selection
from controller.kube.sink import Unreadable
from controller.kube.store import Key
from controller.lab.apiserver import ApiServer, Settings
from controller.lab.apiserver.faults import Fault
from tests.unit.kube.waiting import until

ROUNDS, CHANGES = 25, 20


class Pod(Struct):
    """What is kept of a pod here."""

    metadata: ObjectMeta

    @property
    def mark(self) -> tuple[str, str]:
        return (self.metadata.uid, (self.metadata.labels or {}).get("step", ""))


class Ledger:
    """A sink that keeps its own books, and objects to what cannot be."""

    def __init__(self) -> None:
        self.pods: dict[Key, Pod] = {}
        self.syncs = 0

    def added(self, key: Key, value: Pod, _: float) -> None:
        assert key not in self.pods
        self.pods[key] = value

    def changed(self, key: Key, value: Pod, old: Any, _: float) -> None:  # noqa: ANN401 - of Sink
        assert self.pods[key] is old
        assert value.metadata.uid == old.metadata.uid
        self.pods[key] = value

    def removed(self, key: Key, old: Any, _: float) -> None:  # noqa: ANN401 - of Sink
        assert self.pods.pop(key) is old

    def unreadable(self, bad: Unreadable, _: float) -> None:
        raise AssertionError(bad)

    def synced(self, _: float) -> None:
        self.syncs += 1

    @property
    def marks(self) -> dict[Key, tuple[str, str]]:
        return {key: pod.mark for key, pod in self.pods.items()}


@pytest.fixture
async def lab() -> AsyncIterator[ApiServer]:
    async with ApiServer(Settings(bookmark_seconds=0.2)) as server:
        yield server


@pytest.fixture
async def client(lab: ApiServer) -> AsyncIterator[ApiClient]:
    async with ApiClient(Connection(server=lab.url)) as opened:
        yield opened


def pod(name: str, step: int, namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"step": str(step), "side": name[-1]}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


async def marks(client: ApiClient) -> dict[Key, tuple[str, str]]:
    listed = await client.list_all(PODS, Pod)
    return {(each.metadata.namespace, each.metadata.name): each.mark for each in listed.items}


async def change(client: ApiClient, random: Random, step: int) -> None:
    """One random write; the same names again and again, so that they are reused."""
    name = f"pod-{random.randrange(12)}"
    kind = random.choice(["create", "create", "label", "delete"])
    with suppress(errors.AlreadyExists, errors.NotFound):
        if kind == "create":
            await client.create(PODS, pod(name, step), msgspec.Raw)
        elif kind == "label":
            labels = {"metadata": {"labels": {"step": str(step)}}}
            await client.patch(PODS, name, labels, msgspec.Raw, namespace="default")
        else:
            await client.delete(PODS, name, namespace="default")


async def disturb(lab: ApiServer, random: Random) -> None:
    """One fault, against the reflector only: it calls itself `reflector`."""
    faults = lab.parts.faults
    match random.randrange(6):
        case 0:
            lab.parts.store.compact()
        case 1:
            for stream in list(lab.api.streams.values()):
                if stream.transport is not None:
                    stream.transport.abort()
        case 2:
            for watch in list(lab.api.streams):
                watch.close()
        case 3:
            faults.inject(
                Fault(action="fail", code=random.choice([500, 503, 401, 410]), count=2, agent="reflector")
            )
        case 4:
            faults.inject(Fault(action="drop", count=1, agent="reflector"))
        case _:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_after_random_changes_under_random_faults_the_copy_is_the_state_of_the_server(
    lab: ApiServer, client: ApiClient, seed: int
) -> None:
    random, ledger = Random(seed), Ledger()  # noqa: S311 - repeatable
    async with ApiClient(Connection(server=lab.url), user_agent="reflector") as own:
        timing = Timing(backoff=0.005, backoff_cap=0.05)
        reflector = Reflector(own, PODS, wire=Pod, keep=lambda each: each, sink=ledger, timing=timing, page=5)
        task = asyncio.create_task(reflector.run())
        for step in range(ROUNDS):
            await disturb(lab, random)
            for _ in range(CHANGES):
                await change(client, random, step)
        lab.parts.faults.clear()
        wanted = await marks(client)
        await until(
            lambda: task.done() or ledger.marks == wanted,
            say=lambda: f"{ledger.marks} is not {wanted}; {reflector.counters}",
        )
        assert not task.done(), task.exception()
        assert {key: each.mark for key, each in reflector.items()} == wanted
        assert reflector.counters.lists > 1
        task.cancel()


async def test_objects_deleted_behind_a_broken_watch_and_a_compaction_are_removed(
    lab: ApiServer, client: ApiClient
) -> None:
    ledger = Ledger()
    for number in range(20):
        await client.create(PODS, pod(f"pod-{number}", 0), msgspec.Raw)
    async with ApiClient(Connection(server=lab.url), user_agent="reflector") as own:
        reflector = Reflector(
            own, PODS, wire=Pod, keep=lambda each: each, sink=ledger, timing=Timing(backoff=0.01)
        )
        task = asyncio.create_task(reflector.run())
        await until(lambda: bool(lab.api.streams) and len(ledger.pods) == 20)
        lab.parts.faults.inject(Fault(action="fail", code=503, agent="reflector"))
        for watch in list(lab.api.streams):
            watch.close()
        for number in range(10):
            await client.delete(PODS, f"pod-{number}", namespace="default")
        lab.parts.store.compact()
        lab.parts.faults.clear()
        await until(lambda: len(ledger.pods) == 10)
        assert reflector.counters.errors["Gone"] == 1
        task.cancel()


@pytest.mark.parametrize("seed", range(3))
async def test_duplicates_and_events_out_of_order_end_in_the_state_of_the_server(
    lab: ApiServer, client: ApiClient, seed: int
) -> None:
    random, ledger = Random(seed), Ledger()  # noqa: S311 - repeatable
    lab.parts.faults.inject(
        Fault(action="disorder", delay=0.02, duplicate=True, reorder=True, within_object=True)
    )
    async with ApiClient(Connection(server=lab.url)) as own:
        reflector = Reflector(own, PODS, wire=Pod, keep=lambda each: each, sink=ledger)
        task = asyncio.create_task(reflector.run())
        await reflector.wait_synced()
        for step in range(200):
            await change(client, random, step)
        wanted = await marks(client)
        await until(
            lambda: task.done() or ledger.marks == wanted, say=lambda: f"{ledger.marks} is not {wanted}"
        )
        assert not task.done(), task.exception()
        assert reflector.counters.old > 0
        assert reflector.counters.lists == 1
        task.cancel()


async def test_a_selector_change_follows_objects_in_and_out(lab: ApiServer, client: ApiClient) -> None:
    ledger = Ledger()
    for number in range(10):
        await client.create(PODS, pod(f"pod-{number}", 0), msgspec.Raw)
    async with ApiClient(Connection(server=lab.url)) as own:
        reflector = Reflector(
            own,
            PODS,
            wire=Pod,
            keep=lambda each: each,
            sink=ledger,
            selection=Selection("default", "side in (1,2)"),
            timing=Timing(backoff=0.01),
        )
        task = asyncio.create_task(reflector.run())
        await until(lambda: {name for _, name in ledger.pods} == {"pod-1", "pod-2"})
        reflector.restart(label_selector="side in (2,3)")
        await until(lambda: {name for _, name in ledger.pods} == {"pod-2", "pod-3"})
        labels = {"metadata": {"labels": {"side": "9"}}}
        await client.patch(PODS, "pod-3", labels, msgspec.Raw, namespace="default")
        await until(lambda: {name for _, name in ledger.pods} == {"pod-2"})
        task.cancel()


class TestVerbs:
    async def test_pages_hold_every_object_once(self, client: ApiClient) -> None:
        for number in range(23):
            await client.create(PODS, pod(f"pod-{number}", 0), msgspec.Raw)
        found = await client.list_all(PODS, Pod, limit=5)
        assert sorted(each.metadata.name for each in found.items) == sorted(f"pod-{n}" for n in range(23))

    async def test_a_page_after_a_compaction_is_gone(self, lab: ApiServer, client: ApiClient) -> None:
        for number in range(5):
            await client.create(PODS, pod(f"pod-{number}", 0), msgspec.Raw)
        first = await client.page(PODS, Pod, limit=2)
        lab.parts.store.compact()
        with pytest.raises(errors.Gone):
            await client.page(PODS, Pod, limit=2, token=first.metadata.token)

    async def test_a_replace_of_what_has_changed_conflicts(self, client: ApiClient) -> None:
        created = await client.create(PODS, pod("web", 0), dict)
        await client.patch(PODS, "web", {"metadata": {"labels": {"a": "b"}}}, dict, namespace="default")
        created["metadata"]["labels"] = {"c": "d"}
        with pytest.raises(errors.Conflict):
            await client.replace(PODS, created, dict)

    async def test_a_second_create_already_exists(self, client: ApiClient) -> None:
        await client.create(PODS, pod("web", 0), dict)
        with pytest.raises(errors.AlreadyExists):
            await client.create(PODS, pod("web", 0), dict)

    async def test_a_delete_spares_another_object_of_the_name(self, client: ApiClient) -> None:
        created = await client.create(PODS, pod("web", 0), Pod)
        with pytest.raises(errors.Conflict):
            await client.delete(PODS, "web", namespace="default", uid="another")
        await client.delete(PODS, "web", namespace="default", uid=created.metadata.uid)
        with pytest.raises(errors.NotFound):
            await client.get(PODS, "web", Pod, namespace="default")

    async def test_the_status_is_changed_through_its_subresource_only(self, client: ApiClient) -> None:
        await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, dict)
        change = {"status": {"phase": "Running"}}
        assert "phase" not in (await client.patch(NODES, "n", change, dict)).get("status", {})
        assert (await client.patch(NODES, "n", change, dict, subresource="status"))["status"][
            "phase"
        ] == "Running"

    async def test_an_apply_owns_what_it_says(self, client: ApiClient) -> None:
        applied = await client.patch(
            PODS, "web", pod("web", 3), Pod, namespace="default", kind=PatchKind.APPLY
        )
        assert applied.mark[1] == "3"

    async def test_metadata_are_listed_alone(self, client: ApiClient) -> None:
        created = await client.create(PODS, pod("web", 0), Pod)
        found = await client.list_metadata(PODS, Selection("default"))
        assert [(each.name, each.uid) for each in found.items] == [("web", created.metadata.uid)]

    async def test_a_selector_of_four_hundred_groups_fits_into_a_request(self, client: ApiClient) -> None:
        await client.create(PODS, pod("web", 7), Pod)
        groups = ",".join(f"group-{number:012}" for number in range(400))
        assert (await client.list_all(PODS, Pod, Selection("default", f"step in ({groups})"))).items == []


async def test_two_electors_hand_the_lease_over_at_the_lab(lab: ApiServer) -> None:
    told: list[str] = []

    async def stopped(_: str) -> None:
        told.append("stopped")

    async with ApiClient(Connection(server=lab.url)) as client:
        electors = [
            LeaderElector(
                client,
                name,
                namespace="default",
                name="operator",
                started=partial(told.append, name),
                stopped=stopped,
                timing=LeaseTiming(2.0, 1.5, 0.05),
            )
            for name in ("first", "second")
        ]
        first = asyncio.create_task(electors[0].run())
        await until(lambda: told == ["first"])
        second = asyncio.create_task(electors[1].run())
        await until(lambda: electors[1].holder == "first")
        first.cancel()
        await until(lambda: told == ["first", "stopped", "second"])
        lease = await client.get(LEASES, "operator", dict, namespace="default")
        assert lease["spec"]["holderIdentity"] == "second"
        second.cancel()
        await until(second.done)
