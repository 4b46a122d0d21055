"""The reflector when all goes well, and what its sink may rely on."""

import asyncio
import time

import pytest

from controller.kube.client import ApiClient
from controller.kube.reflector import Reflector, Timing
from controller.kube.resource import Selection
from controller.kube.store import Key
from tests.unit.kube.following import THINGS, Diary, Thing, following, value_of
from tests.unit.kube.scripted import ScriptedServer, bookmark, event, listing, reply, silence, stream, thing


async def test_a_list_is_told_item_by_item_and_then_synced(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value="x"), thing("b", 2, value="y")))]
    async with following(server.connection) as follow:
        await follow.reflector.wait_synced()
        assert follow.told == ["added a=x", "added b=y", "synced"]
        assert follow.reflector.get(("shop", "a")) == "x"


async def test_a_long_list_comes_in_pages_and_is_synced_once(server: ScriptedServer) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value="x"), more="page two")),
        reply(listing(5, thing("b", 2, value="y"))),
    ]
    async with following(server.connection, page=1) as follow:
        await follow.until_told("synced")
        assert follow.told == ["added a=x", "added b=y", "synced"]
    assert [each.query for each in server.lists_seen] == [
        {"limit": "1"},
        {"limit": "1", "continue": "page two"},
    ]


async def test_the_watch_goes_on_from_the_list(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    async with following(server.connection) as follow:
        await follow.until(lambda: len(server.watches_seen) == 1)
    query = server.watches_seen[0].query
    assert (query["resourceVersion"], query["allowWatchBookmarks"]) == ("5", "true")
    assert 290 <= int(query["timeoutSeconds"]) <= 320


async def test_lists_may_be_compressed_and_watches_not(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    async with following(server.connection) as follow:
        await follow.until(lambda: len(server.watches_seen) == 1)
    assert [each.headers["Accept-Encoding"] for each in server.seen] == ["gzip", "identity"]


async def test_events_are_told_in_order(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value="x")))]
    server.watches = [
        stream(
            event("ADDED", thing("b", 6, value="y")),
            event("MODIFIED", thing("a", 7, value="z")),
            event("DELETED", thing("a", 8, value="z")),
            then_hang=True,
        )
    ]
    async with following(server.connection) as follow:
        await follow.until_told("removed a=z")
        assert follow.told == ["added a=x", "synced", "added b=y", "changed a=x->z", "removed a=z"]
        assert follow.names == {"b"}


async def test_an_event_is_told_with_the_time_it_arrived(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    server.watches = [stream(event("ADDED", thing("a", 6, value="x")), then_hang=True)]
    began = time.time()
    async with following(server.connection) as follow:
        await follow.until_told("added a=x")
        assert began <= follow.diary.times[-1] <= time.time()


async def test_an_event_in_pieces_is_one_event(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    server.watches = [
        stream(
            b'{"type":"ADDED","obj',
            b'ect":{"metadata":{"name":"a","namespace":"shop",',
            b'"uid":"1","resourceVersion":"6"},"value":"x"}}\n',
            then_hang=True,
        )
    ]
    async with following(server.connection) as follow:
        await follow.until_told("added a=x")


async def test_the_same_name_with_another_uid_is_a_removal_and_an_addition(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value="x", uid="first")))]
    server.watches = [stream(event("MODIFIED", thing("a", 7, value="y", uid="second")), then_hang=True)]
    async with following(server.connection) as follow:
        await follow.until_told("added a=y")
        assert follow.told[2:] == ["removed a=x", "added a=y"]


async def test_the_same_name_with_another_uid_in_a_list_is_a_removal_and_an_addition(
    server: ScriptedServer,
) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value="x", uid="first"))),
        reply(listing(9, thing("a", 7, value="x", uid="second"))),
    ]
    async with following(server.connection) as follow:
        await follow.until_told("synced")
        follow.reflector.restart()
        await follow.until_told("synced", 2)
        assert follow.told[2:] == ["removed a=x", "added a=x", "synced"]


async def test_duplicates_and_late_events_are_ignored(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 4, value="x")))]
    server.watches = [
        stream(
            event("MODIFIED", thing("a", 8, value="new")),
            event("MODIFIED", thing("a", 6, value="late")),
            event("MODIFIED", thing("a", 8, value="again")),
            event("DELETED", thing("a", 7)),
            event("ADDED", thing("b", 9, value="y")),
            then_hang=True,
        )
    ]
    async with following(server.connection) as follow:
        await follow.until_told("added b=y")
        assert follow.told[2:] == ["changed a=x->new", "added b=y"]
        assert follow.reflector.counters.old == 3


async def test_a_late_event_does_not_bring_back_what_was_deleted(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 4, value="x")))]
    server.watches = [
        stream(
            event("DELETED", thing("a", 8)),
            event("MODIFIED", thing("a", 7, value="late")),
            event("ADDED", thing("a", 9, value="born again", uid="other")),
            then_hang=True,
        )
    ]
    async with following(server.connection) as follow:
        await follow.until_told("added a=born again")
        assert follow.told[2:] == ["removed a=x", "added a=born again"]


async def test_what_keep_has_no_interest_in_is_not_remembered(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value=""), thing("b", 2, value="y")))]
    server.watches = [stream(event("MODIFIED", thing("b", 6, value="")), then_hang=True)]
    async with following(server.connection) as follow:
        await follow.until_told("removed b=y")
        assert follow.told == ["added b=y", "synced", "removed b=y"]
        assert len(follow.reflector) == 0


async def test_a_bookmark_moves_the_place_to_go_on_from(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    server.watches = [stream(bookmark(40), linger=0.03), silence()]
    async with following(server.connection) as follow:
        await follow.until(lambda: len(server.watches_seen) == 2)
        assert follow.told == ["synced"]
    assert server.watches_seen[1].query["resourceVersion"] == "40"


async def test_selectors_are_sent_with_lists_and_watches(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    selection = Selection("shop", "app in (a,b)", "metadata.name=x")
    async with following(server.connection, selection=selection) as follow:
        await follow.until(lambda: len(server.watches_seen) == 1)
    for each in server.seen:
        assert each.path == "/apis/test.dev/v1/namespaces/shop/things"
        assert (each.query["labelSelector"], each.query["fieldSelector"]) == (
            "app in (a,b)",
            "metadata.name=x",
        )


async def test_another_selector_keeps_the_old_objects_until_its_list_is_complete(
    server: ScriptedServer,
) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value="x"), thing("b", 2, value="y"))),
        reply(listing(9, thing("b", 2, value="y"), more="more")),
        reply(listing(9, thing("c", 3, value="z"))),
    ]
    async with following(server.connection) as follow:
        await follow.until(lambda: len(server.watches_seen) == 1)
        follow.reflector.restart(label_selector="app=b")
        assert (follow.reflector.is_current, follow.reflector.is_synced) == (False, True)
        await follow.until_told("synced", 2)
        assert follow.told[3:] == ["added c=z", "removed a=x", "synced"]
        assert follow.reflector.is_current
        await follow.until(lambda: len(server.watches_seen) == 2)
    assert server.watches_seen[1].query["labelSelector"] == "app=b"


async def test_a_restart_during_a_list_is_followed_by_one_with_the_new_selector(
    server: ScriptedServer,
) -> None:
    server.answers = [reply(listing(5)), reply(listing(6))]
    async with following(server.connection) as follow:
        follow.reflector.restart(label_selector="app=a")
        follow.reflector.restart(label_selector="app=b")
        await follow.until(lambda: len(server.watches_seen) == 1)
        assert follow.reflector.is_current
    assert server.lists_seen[-1].query["labelSelector"] == "app=b"


async def test_the_first_list_waits_for_its_jitter(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5))]
    timing = Timing(start_jitter=0.2)
    began = time.monotonic()
    async with following(server.connection, timing=timing) as follow:
        await follow.reflector.wait_synced()
    # Random(1) draws 0.134 of 1.
    assert time.monotonic() - began > 0.02


async def test_a_failing_sink_ends_the_reflector(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value="x")))]
    async with ApiClient(server.connection) as client:
        reflector = Reflector(client, THINGS, wire=Thing, keep=value_of, sink=FailingSink())
        with pytest.raises(RuntimeError, match="full"):
            await asyncio.wait_for(reflector.run(), 10)


class FailingSink(Diary):
    def added(self, key: Key, value: str, at: float) -> None:  # noqa: ARG002 - of Sink
        raise RuntimeError("full")
