"""kopf on a short lead: what it may do and what it must not; started again whatever it ends with."""

import asyncio
from collections.abc import Sized
from itertools import islice

import kopf
import pytest

from controller.kube.connection import Connection
from controller.operator.kopf_source import RESOURCES, KopfSource, registry_of, settings
from tests.e2e.operator.world import eventually


def test_it_gives_up_on_no_error() -> None:
    backoffs = settings().networking.error_backoffs

    assert not isinstance(backoffs, Sized)  # a length would be the number of attempts
    assert not isinstance(backoffs, float)
    assert max(islice(backoffs, 1000)) <= 11


@pytest.mark.parametrize(
    "registered",
    ["_changing", "_spawning", "_indexing", "_webhooks"],
    ids=["changes", "daemons and timers", "indices", "webhooks"],
)
def test_no_handler_is_registered_that_writes_or_indexes(registered: str) -> None:
    registry = registry_of(Connection(server="http://127.0.0.1:1"), lambda *_: None)

    assert list(getattr(registry, registered).get_all_handlers()) == []


def test_every_kind_is_watched_once() -> None:
    registry = registry_of(Connection(server="http://127.0.0.1:1"), lambda *_: None)

    assert len(list(registry._watching.get_all_handlers())) == len(RESOURCES)  # noqa: SLF001 - kopf has no other way


def test_watches_are_asked_for_in_whole_seconds() -> None:
    """kube-apiserver answers 400 to a fraction, and kopf ends a watcher that is refused."""
    asked = [settings().watching.server_timeout for _ in range(20)]

    assert all(isinstance(seconds, int) and 290 <= seconds <= 310 for seconds in asked)


def test_nothing_is_copied_nor_remembered_of_objects() -> None:
    persistence = settings().persistence
    body = kopf.Body({"metadata": {"name": "web"}, "spec": {"a": 1}})

    assert dict(persistence.diffbase_storage.build(body=body)) == {}
    assert persistence.diffbase_storage.fetch(body=body) is None
    essence = kopf.BodyEssence(spec={"a": 1})
    assert persistence.progress_storage.clear(essence=essence) is essence


def test_it_posts_scans_and_peers_with_nobody_and_kills_no_process() -> None:
    found = settings()

    assert not found.posting.enabled
    assert found.scanning.disabled
    assert found.peering.standalone
    assert found.process.ultimate_exiting_timeout is None


@pytest.mark.parametrize(
    "ending", [RuntimeError("tripped"), asyncio.CancelledError(), SystemExit(1)], ids=type
)
async def test_kopf_is_started_again_whatever_it_ended_with(
    monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    """Its thread must not die: policies would never be heard of again, and nobody would know."""
    runs: list[float] = []

    async def spawn_tasks(**_: object) -> None:
        runs.append(0.0)
        raise ending

    monkeypatch.setattr("controller.operator.kopf_source.kopf.spawn_tasks", spawn_tasks)
    source = KopfSource(Connection(server="http://127.0.0.1:1"), lambda _: None, lambda: None)
    source.start()
    try:
        await eventually(lambda: len(runs) > 1, 5.0)
    finally:
        await source.stop()


async def test_kopf_is_started_again_though_a_watch_of_it_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is cancelled while it waits for an answer takes that for the end of a pause, and goes on."""
    runs: list[float] = []
    swallowed: list[float] = []

    async def failing() -> None:
        raise RuntimeError("a watch failed")

    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(0.0)
        await asyncio.sleep(3600)

    async def spawn_tasks(**_: object) -> list[asyncio.Task[None]]:
        runs.append(0.0)
        watch = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        assert not watch.done()
        return [asyncio.create_task(failing())]

    monkeypatch.setattr("controller.operator.kopf_source.kopf.spawn_tasks", spawn_tasks)
    monkeypatch.setattr("controller.operator.kopf_source._OWN_END", 0.1)
    source = KopfSource(Connection(server="http://127.0.0.1:1"), lambda _: None, lambda: None)
    source.start()
    try:
        await eventually(lambda: len(runs) > 1, 10.0)
    finally:
        await source.stop()

    assert len(swallowed) >= 3
