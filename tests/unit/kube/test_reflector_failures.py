"""The reflector when the server, the network or an object fails: nothing lost, no ghost, no busy loop."""

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web

from controller.kube.connection import Connection
from controller.kube.reflector import Timing
from tests.unit.kube.files import put
from tests.unit.kube.following import QUICK, following
from tests.unit.kube.scripted import (
    Answer,
    ScriptedServer,
    bookmark,
    cut,
    event,
    hang,
    line,
    listing,
    refusal,
    reply,
    scripted_server,
    silence,
    status,
    stream,
    text,
    thing,
)

EXPIRED = event("ERROR", status(410, "Expired", "too old resource version: 5 (90)"))
ONE = listing(5, thing("a", 1, value="x"))


@pytest.mark.parametrize("gone", [stream(EXPIRED), refusal(410, "Expired")], ids=["event", "status"])
async def test_after_a_410_what_vanished_meanwhile_is_removed(server: ScriptedServer, gone: Answer) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value="x"), thing("b", 2, value="y"))),
        reply(listing(90, thing("b", 2, value="y"), thing("c", 80, value="z"))),
    ]
    server.watches = [gone, silence()]
    async with following(server.connection) as follow:
        await follow.until_told("synced", 2)
        assert follow.told[3:] == ["added c=z", "removed a=x", "synced"]
        assert follow.names == {"b", "c"}
        await follow.until(lambda: len(server.watches_seen) == 2)
    assert server.watches_seen[1].query["resourceVersion"] == "90"


async def test_a_410_on_the_second_page_begins_the_list_again_and_removes_nothing(
    server: ScriptedServer,
) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value="x"), thing("b", 2, value="y"))),
        reply(listing(20, thing("b", 2, value="y"), more="t")),
        refusal(410, "Expired"),
        reply(listing(30, thing("b", 2, value="y"), more="u")),
        reply(listing(30, thing("a", 1, value="x"))),
    ]
    server.watches = [stream(EXPIRED), silence()]
    async with following(server.connection) as follow:
        await follow.until_told("synced", 2)
        assert follow.told == ["added a=x", "added b=y", "synced", "synced"]


async def test_a_list_that_outlives_history_is_at_last_asked_for_in_one_piece(server: ScriptedServer) -> None:
    page = reply(listing(5, thing("a", 1, value="x"), more="t"))
    server.answers = [page, refusal(410, "Expired")] * 3 + [reply(ONE)]
    async with following(server.connection) as follow:
        await follow.until_told("synced")
    assert [each.query.get("limit") for each in server.lists_seen[::2]] == ["500", "500", "500", None]


async def test_a_list_cut_off_in_the_middle_removes_nothing(server: ScriptedServer) -> None:
    server.answers = [
        reply(ONE),
        cut(b'{"kind":"ThingList","metadata":{"resourceVersion":"90"},"items":['),
        text('{"kind":"ThingList","metadata":{"resourceVersion":"90"},"items":['),
        reply({"kind": "ThingList", "metadata": {"resourceVersion": "90"}}),
        reply({"kind": "ThingList", "metadata": {}, "items": []}),
        text("<html>welcome to the hotel network</html>"),
        reply(ONE),
    ]
    server.watches = [stream(EXPIRED), silence()]
    async with following(server.connection) as follow:
        await follow.until_told("synced", 2)
        assert follow.told == ["added a=x", "synced", "synced"]
        assert follow.reflector.counters.errors == {"Gone": 1, "Unreachable": 1, "MalformedAnswer": 4}


async def test_a_watch_cut_in_the_middle_of_a_line_is_resumed_without_loss(server: ScriptedServer) -> None:
    half = line(event("ADDED", thing("b", 7, value="y")))
    server.answers = [reply(ONE)]
    server.watches = [
        cut(line(event("MODIFIED", thing("a", 6, value="z"))) + half[:40]),
        stream(half, then_hang=True),
    ]
    async with following(server.connection) as follow:
        await follow.until_told("added b=y")
        assert follow.told == ["added a=x", "synced", "changed a=x->z", "added b=y"]
    assert [each.query["resourceVersion"] for each in server.watches_seen] == ["5", "6"]
    assert len(server.lists_seen) == 1


async def test_a_watch_that_ends_in_the_middle_of_a_line_is_resumed_without_loss(
    server: ScriptedServer,
) -> None:
    whole = line(event("ADDED", thing("b", 7, value="y")))
    server.answers = [reply(ONE)]
    server.watches = [stream(whole[:40]), stream(whole, then_hang=True)]
    async with following(server.connection) as follow:
        await follow.until_told("added b=y")
    assert [each.query["resourceVersion"] for each in server.watches_seen] == ["5", "5"]


async def test_watches_that_end_at_once_are_resumed_with_growing_pauses_and_never_listed_again(
    server: ScriptedServer,
) -> None:
    server.answers = [reply(ONE)]
    server.watches = [stream()] * 2000
    async with following(server.connection, timing=Timing(backoff=0.02, backoff_cap=0.2)) as follow:
        await follow.reflector.wait_synced()
        await asyncio.sleep(1.0)
    assert len(server.lists_seen) == 1
    assert 3 <= len(server.watches_seen) <= 40


async def test_a_410_storm_slows_the_lists_down(server: ScriptedServer) -> None:
    server.answers = [reply(ONE)]
    server.watches = [stream(EXPIRED)] * 2000
    async with following(server.connection, timing=Timing(backoff=0.02, backoff_cap=0.2)) as follow:
        await follow.reflector.wait_synced()
        await asyncio.sleep(1.0)
        assert follow.names == {"a"}
    assert 3 <= len(server.lists_seen) <= 40


async def test_another_error_event_resumes_the_watch_and_a_third_in_a_row_lists(
    server: ScriptedServer,
) -> None:
    broken = stream(event("ERROR", status(500, "InternalError", "etcd event lost")))
    server.answers = [reply(ONE), reply(listing(9, thing("a", 1, value="x"), thing("b", 8, value="y")))]
    server.watches = [broken, broken, broken, silence()]
    async with following(server.connection) as follow:
        await follow.until_told("added b=y")
        assert follow.reflector.counters.errors == {"ServerError": 3}
        await follow.until(lambda: len(server.watches_seen) == 4)
    assert [each.query["resourceVersion"] for each in server.watches_seen] == ["5", "5", "5", "9"]


async def test_a_server_that_is_back_in_an_earlier_history_is_listed_again(server: ScriptedServer) -> None:
    server.answers = [
        reply(listing(500, thing("a", 400, value="x"), thing("b", 401, value="y"))),
        reply(listing(21, thing("a", 20, value="z"))),
    ]
    server.watches = [
        stream(bookmark(20), then_hang=True),
        stream(event("MODIFIED", thing("a", 22, value="w")), then_hang=True),
    ]
    async with following(server.connection) as follow:
        await follow.until_told("changed a=z->w")
        assert follow.told[3:] == ["changed a=x->z", "removed b=y", "synced", "changed a=z->w"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal(500, "InternalError"), "ServerError"),
        (refusal(503, "ServiceUnavailable"), "ServerError"),
        (refusal(401, "Unauthorized"), "Unauthorized"),
        (refusal(403, "Forbidden"), "Forbidden"),
        (refusal(404, "NotFound"), "NotFound"),
        (cut(), "Unreachable"),
        (text("garbage"), "MalformedAnswer"),
    ],
    ids=["500", "503", "401", "403", "404", "cut", "garbage"],
)
async def test_a_list_that_fails_is_tried_again_until_it_succeeds(failure: Answer, kind: str) -> None:
    async with scripted_server() as server:
        server.answers = [failure, failure, reply(ONE)]
        async with following(server.connection) as follow:
            await follow.until_told("synced")
            # aiohttp itself repeats a GET once where a kept connection turns out closed.
            assert follow.reflector.counters.errors[kind] in ({1, 2} if kind == "Unreachable" else {2})
            assert follow.reflector.last_error == ""


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal(500, "InternalError"), "ServerError"),
        (refusal(401, "Unauthorized"), "Unauthorized"),
        (refusal(403, "Forbidden"), "Forbidden"),
        (cut(b"\n"), "Unreachable"),
    ],
    ids=["500", "401", "403", "cut"],
)
async def test_a_watch_that_fails_is_resumed_where_it_was(failure: Answer, kind: str) -> None:
    async with scripted_server() as server:
        server.answers = [reply(ONE)]
        server.watches = [failure, stream(event("ADDED", thing("b", 6, value="y")), then_hang=True)]
        async with following(server.connection) as follow:
            await follow.until_told("added b=y")
            assert follow.reflector.counters.errors[kind] == 1
        assert len(server.lists_seen) == 1


async def test_while_nothing_listens_the_objects_stay_and_grow_old(server: ScriptedServer) -> None:
    server.answers = [reply(ONE)]
    server.watches = [cut()]
    async with scripted_server() as other:
        dead = other.url
    async with following(Connection(server=dead)) as follow:
        await follow.until_error("Unreachable", 3)
        assert follow.reflector.last_contact == float("-inf")
        assert not follow.reflector.is_synced
        assert "Unreachable" in follow.reflector.last_error


async def test_when_the_token_is_replaced_the_reflector_does_not_even_notice(
    server: ScriptedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    put(token, "old")

    def expires(answer: Answer) -> Answer:
        async def checked(request: web.Request) -> web.StreamResponse:
            is_valid = request.headers["Authorization"] == "Bearer new"
            return await (answer if is_valid else refusal(401, "Unauthorized"))(request)

        return checked

    server.answers = [reply(ONE)]
    server.watches = [
        stream(event("ADDED", thing("b", 6, value="y")), linger=0.05),
        expires(silence()),
        expires(stream(event("ADDED", thing("c", 7, value="z")), then_hang=True)),
    ]
    async with following(Connection(server=server.url, token_file=str(token))) as follow:
        await follow.until_told("added b=y")
        put(token, "new")
        await follow.until_told("added c=z")
        assert follow.reflector.counters.errors == {}
    assert len(server.lists_seen) == 1


async def test_a_silent_watch_is_given_up_and_resumed(server: ScriptedServer) -> None:
    server.answers = [reply(ONE)]
    server.watches = [silence(), stream(event("ADDED", thing("b", 6, value="y")), then_hang=True)]
    timing = Timing(backoff=0.01, backoff_cap=0.05, silence=0.2)
    async with following(server.connection, timing=timing) as follow:
        await follow.until_told("added b=y")
        assert follow.reflector.counters.errors["Silent"] >= 1
    assert len(server.lists_seen) == 1


async def test_a_watch_that_is_not_even_answered_is_given_up(server: ScriptedServer) -> None:
    server.answers = [reply(ONE)]
    server.watches = [hang(), stream(event("ADDED", thing("b", 6, value="y")), then_hang=True)]
    async with following(server.connection, timing=Timing(backoff=0.01, silence=0.2)) as follow:
        await follow.until_told("added b=y")


async def test_last_contact_moves_with_every_byte(server: ScriptedServer) -> None:
    server.answers = [reply(ONE)]
    server.watches = [stream(bookmark(6), linger=0.05), silence()]
    async with following(server.connection) as follow:
        await follow.reflector.wait_synced()
        first = follow.reflector.last_contact
        await follow.until(lambda: follow.reflector.last_contact > first)
        assert follow.reflector.last_contact <= time.monotonic()


async def test_an_unreadable_item_of_a_list_spoils_no_other(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value=7), thing("b", 2, value="y")))]
    async with following(server.connection) as follow:
        await follow.until_told("synced")
        assert follow.told == ["unreadable a", "added b=y", "synced"]
        bad = follow.diary.bad[0]
        assert (bad.key, bad.uid) == (("shop", "a"), "uid-a")
        assert "$.value" in bad.reason
        assert b'"value": 7' in bad.raw


async def test_an_unreadable_event_spoils_no_other_and_mends_when_the_object_does(
    server: ScriptedServer,
) -> None:
    server.answers = [reply(ONE)]
    server.watches = [
        stream(
            event("MODIFIED", thing("a", 6, value=["not text"])),
            event("ADDED", thing("b", 7, value="y")),
            event("MODIFIED", thing("a", 8, value="z")),
            then_hang=True,
        )
    ]
    async with following(server.connection) as follow:
        await follow.until_told("added a=z")
        assert follow.told[2:] == ["unreadable a", "added b=y", "added a=z"]


async def test_an_unreadable_object_that_goes_is_removed(server: ScriptedServer) -> None:
    server.answers = [
        reply(listing(5, thing("a", 1, value=7), thing("b", 2, value=8))),
        reply(listing(9)),
    ]
    server.watches = [stream(event("DELETED", thing("b", 6, value=8)), EXPIRED), silence()]
    async with following(server.connection) as follow:
        await follow.until_told("synced", 2)
        assert follow.told == [
            "unreadable a",
            "unreadable b",
            "synced",
            "removed b=None",
            "removed a=None",
            "synced",
        ]


async def test_a_mistake_of_ours_about_one_object_quarantines_that_object(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, thing("a", 1, value="bug"), thing("b", 2, value="y")))]
    async with following(server.connection) as follow:
        await follow.until_told("synced")
        assert follow.diary.bad[0].reason == "RuntimeError: a mistake of ours"
        assert follow.names == {"b"}


async def test_an_item_without_a_name_is_reported_without_a_key(server: ScriptedServer) -> None:
    server.answers = [
        reply(listing(5, {"metadata": {}}, {"metadata": {"name": 7}}, thing("b", 2, value="y")))
    ]
    async with following(server.connection) as follow:
        await follow.until_told("synced")
        assert follow.told == ["unreadable ?", "unreadable ?", "added b=y", "synced"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"!!! not json\n",
        b'{"type":"MODIFIED","object":{"metadata":{"name":7}}}\n',
        b'{"type":"SURPRISE","object":{"metadata":{"name":"a"}}}\n',
        b'{"type":"ADDED"}\n',
        b"\xff\xfe\x00\n",
    ],
)
async def test_a_line_that_is_no_event_stops_no_other_and_is_made_good_by_a_list(
    server: ScriptedServer, garbage: bytes
) -> None:
    server.answers = [
        reply(ONE),
        reply(listing(9, thing("a", 6, value="changed in the lost line"), thing("b", 7, value="y"))),
    ]
    server.watches = [stream(garbage + line(event("ADDED", thing("b", 7, value="y")))), silence()]
    async with following(server.connection) as follow:
        await follow.until_told("synced", 2)
        assert follow.told[2:] == ["added b=y", "changed a=x->changed in the lost line", "synced"]


async def test_a_restart_interrupts_the_pause_after_a_failure(server: ScriptedServer) -> None:
    server.answers = [reply(ONE), reply(listing(9, thing("b", 7, value="y")))]
    server.watches = [refusal(403, "Forbidden"), silence()]
    timing = Timing(backoff=3600.0, backoff_cap=3600.0)
    async with following(server.connection, timing=timing) as follow:
        await follow.until_error("Forbidden")
        follow.reflector.restart(label_selector="x=y")
        await follow.until_told("added b=y")


async def test_a_watch_closed_every_so_often_loses_nothing(server: ScriptedServer) -> None:
    server.answers = [reply(listing(0))]
    server.watches = [stream(event("ADDED", thing(f"n{i}", i, value="x")), linger=0.02) for i in range(1, 31)]
    async with following(server.connection, timing=QUICK) as follow:
        await follow.until_told("added n30=x")
        assert len(follow.names) == 30
    assert len(server.lists_seen) == 1
