"""Watches: what is told, in which order, from where on, and until when."""

from itertools import pairwise

import pytest
from aiohttp import ClientSession

from controller.lab.apiserver import ApiServer, Settings
from controller.lab.apiserver.selectors import Selection
from controller.lab.apiserver.store import Change
from controller.lab.apiserver.watches import BACKLOG, Watch
from controller.lab.apiserver.wire import Form
from tests.unit.lab.apiserver.talk import PODS, Talk, pod, until

METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


async def revision(talk: Talk) -> str:
    return str((await talk.get(PODS)).metadata["resourceVersion"])


async def test_changes_are_told_in_order_with_rising_revisions(talk: Talk) -> None:
    async with talk.watch(PODS, resourceVersion=await revision(talk)) as stream:
        await talk.post(PODS, pod("a"))
        await talk.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}})
        await talk.delete(f"{PODS}/a")

        events = [await stream.next() for _ in range(3)]

    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert all(one < next_one for one, next_one in pairwise(revisions))
    assert events[0]["object"]["kind"] == "Pod"


async def test_a_watch_without_revision_begins_with_what_is_there(talk: Talk) -> None:
    await talk.post(PODS, pod("a"))

    async with talk.watch(PODS) as stream:
        await talk.post(PODS, pod("b"))

        assert await stream.take(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_goes_on_from_a_revision(talk: Talk) -> None:
    await talk.post(PODS, pod("a"))
    seen = await revision(talk)
    await talk.post(PODS, pod("b"))
    await talk.delete(f"{PODS}/a")

    async with talk.watch(PODS, resourceVersion=seen) as stream:
        assert await stream.take(2) == [("ADDED", "b"), ("DELETED", "a")]


@pytest.mark.parametrize(
    "selector",
    [{"labelSelector": "app=web"}, {"labelSelector": "app in (web,x)"}, {"labelSelector": "app!=db"}],
)
async def test_what_leaves_a_selection_is_deleted_and_what_enters_is_added(
    talk: Talk, selector: dict[str, str]
) -> None:
    await talk.post(PODS, pod("a", {"app": "web"}))

    async with talk.watch(PODS, resourceVersion=await revision(talk), **selector) as stream:
        for labels in ({"app": "db"}, {"app": "db", "b": "c"}, {"app": "web"}, {"app": "web", "b": "d"}):
            await talk.patch(f"{PODS}/a", {"metadata": {"labels": labels}})
        await talk.delete(f"{PODS}/a")

        assert await stream.take(4) == [("DELETED", "a"), ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


@pytest.mark.parametrize(
    "query", [{"fieldSelector": "metadata.name=a"}, {"fieldSelector": "spec.nodeName=node-1"}]
)
async def test_a_selected_watch_is_told_of_nothing_else(talk: Talk, query: dict[str, str]) -> None:
    async with talk.watch("/api/v1/pods", resourceVersion=await revision(talk), **query) as stream:
        await talk.post(PODS, pod("b", nodeName="node-2"))
        await talk.post(PODS, pod("a", nodeName="node-1"))

        assert await stream.take(1) == [("ADDED", "a")]


async def test_a_watch_of_a_namespace_is_told_of_nothing_else(talk: Talk) -> None:
    async with talk.watch(PODS, resourceVersion=await revision(talk)) as stream:
        await talk.post("/api/v1/namespaces/kube-system/pods", pod("b"))
        await talk.post(PODS, pod("a"))

        assert await stream.take(1) == [("ADDED", "a")]


async def test_a_watch_ends_in_time_with_a_bookmark_of_the_latest_revision(talk: Talk) -> None:
    started = await revision(talk)
    await talk.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "elsewhere"}})
    latest = await revision(talk)

    query = {"timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    async with talk.watch(PODS, resourceVersion=started, **query) as stream:
        events = await stream.rest()

    assert [event["type"] for event in events] == ["BOOKMARK"]
    assert events[0]["object"]["metadata"]["resourceVersion"] == latest


async def test_bookmarks_come_regularly_to_those_who_want_them() -> None:
    async with ApiServer(Settings(bookmark_seconds=0.05)) as server, ClientSession(server.url) as session:
        talk = Talk(session)
        async with talk.watch(
            PODS, resourceVersion=await revision(talk), allowWatchBookmarks="true"
        ) as stream:
            types = [(await stream.next())["type"] for _ in range(2)]
        async with talk.watch(PODS, resourceVersion=await revision(talk), timeoutSeconds="1") as stream:
            unasked = await stream.rest()

    assert types == ["BOOKMARK", "BOOKMARK"]
    assert unasked == []


async def test_initial_events_end_with_a_bookmark(talk: Talk) -> None:
    await talk.post(PODS, pod("a"))

    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with talk.watch(PODS, **query) as stream:
        added = await stream.next()
        mark = await stream.next()
        await talk.post(PODS, pod("b"))
        later = await stream.next()

    assert (added["type"], mark["type"], later["type"]) == ("ADDED", "BOOKMARK", "ADDED")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_initial_events_need_a_match_of_revisions(talk: Talk) -> None:
    assert (await talk.get(PODS, watch="true", sendInitialEvents="true")).code == 422


async def test_an_old_revision_is_an_error_event_in_a_successful_answer(talk: Talk) -> None:
    seen = await revision(talk)
    await talk.post(PODS, pod("a"))
    await talk.post("/debug/compact", {})

    async with talk.watch(PODS, resourceVersion=seen) as stream:
        events = await stream.rest()

    assert [event["type"] for event in events] == ["ERROR"]
    assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")
    assert events[0]["object"]["message"].startswith(f"too old resource version: {seen} (")


async def test_compaction_meets_even_those_who_missed_nothing(talk: Talk) -> None:
    seen = await revision(talk)
    await talk.post("/debug/compact", {})

    async with talk.watch(PODS, resourceVersion=seen) as stream:
        assert (await stream.next())["object"]["code"] == 410
    async with talk.watch(PODS, resourceVersion=await revision(talk)) as stream:
        await talk.post(PODS, pod("a"))
        assert await stream.take(1) == [("ADDED", "a")]


async def test_the_history_is_bounded() -> None:
    async with ApiServer(Settings(history=3)) as server, ClientSession(server.url) as session:
        talk = Talk(session)
        revisions = [(await talk.post(PODS, pod(name))).metadata["resourceVersion"] for name in "abcde"]

        async with talk.watch(PODS, resourceVersion=revisions[1]) as stream:
            assert await stream.take(3) == [("ADDED", "c"), ("ADDED", "d"), ("ADDED", "e")]
        async with talk.watch(PODS, resourceVersion=revisions[0]) as stream:
            assert (await stream.next())["type"] == "ERROR"


async def test_a_later_server_does_not_know_the_revisions_of_an_earlier_one(talk: Talk) -> None:
    seen = await revision(talk)

    async with (
        ApiServer() as later,
        ClientSession(later.url) as session,
        Talk(session).watch(PODS, resourceVersion=seen) as stream,
    ):
        assert (await stream.next())["object"]["code"] == 410


async def test_a_watch_may_be_of_metadata_only(talk: Talk) -> None:
    async with talk.watch(PODS, METADATA, resourceVersion=await revision(talk)) as stream:
        await talk.post(PODS, pod("a"))
        event = await stream.next()

    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in event["object"]


async def test_a_watch_whose_client_has_left_is_forgotten(talk: Talk, server: ApiServer) -> None:
    async with talk.watch(PODS):
        assert len(server.api.streams) == 1

    await until(lambda: not server.api.streams)
    assert server.parts.store.table(("", "pods")).listeners() == []


async def test_watches_end_when_the_server_stops() -> None:
    server = ApiServer()
    await server.start()
    async with ClientSession(server.url) as session, Talk(session).watch(PODS) as stream:
        await server.stop()
        assert await stream.rest() == []


async def test_the_same_objects_go_to_many_watches(talk: Talk) -> None:
    async with talk.watch(PODS) as one, talk.watch(PODS) as two, talk.watch("/api/v1/pods") as three:
        await talk.post(PODS, pod("a"))

        events = [await stream.next() for stream in (one, two, three)]

    assert events[0] == events[1] == events[2]


async def test_a_client_that_does_not_read_is_cut_off(server: ApiServer) -> None:
    kind = server.parts.registry.named("v1", "Pod")
    assert kind is not None
    record = server.create(pod("a"))
    watch = Watch(Selection(), Form(kind))

    for _ in range(BACKLOG + 1):
        watch.take(Change("ADDED", None, record))

    assert watch.closed
    assert await watch.drain(0) == []
