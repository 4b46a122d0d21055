"""One request at a time: what is sent, what comes back, and which error when it does not."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest

from controller.kube import errors
from controller.kube.client import ApiClient, PatchKind, Timeouts
from controller.kube.connection import Connection
from controller.kube.ratelimit import WriteGate
from controller.kube.resource import PODS, Selection
from controller.kube.transport import Request, Transport
from tests.unit.kube.following import THINGS, Thing
from tests.unit.kube.scripted import (
    ScriptedServer,
    bookmark,
    cut,
    hang,
    listing,
    refusal,
    reply,
    scripted_server,
    stream,
    text,
    thing,
)

A = thing("a", 7, value="x")


async def test_a_get_decodes_only_what_is_asked_for(server: ScriptedServer) -> None:
    server.answers = [reply(A)]
    async with ApiClient(server.connection, user_agent="podgate-agent/1.0") as client:
        assert await client.get(THINGS, "a", Thing, namespace="shop") == Thing("x")
    assert server.seen[0].path == "/apis/test.dev/v1/namespaces/shop/things/a"
    assert server.seen[0].headers["User-Agent"] == "podgate-agent/1.0"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.BadRequest),
        (500, "InternalError", errors.ServerError),
        (503, "ServiceUnavailable", errors.ServerError),
        (301, "MovedPermanently", errors.BadRequest),
    ],
)
async def test_each_status_has_its_error(
    server: ScriptedServer, code: int, reason: str, kind: type[errors.ApiError]
) -> None:
    server.answers = [refusal(code, reason, "the server's words")]
    async with ApiClient(server.connection) as client:
        with pytest.raises(kind) as caught:
            await client.get(THINGS, "a", Thing, namespace="shop")
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert str(caught.value).startswith(
        f"GET /apis/test.dev/v1/namespaces/shop/things/a: {code} {reason}: the server's words"
    )


async def test_an_error_that_is_no_status_is_shown_in_its_own_words(server: ScriptedServer) -> None:
    server.answers = [text("upstream connect error", 503)]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.ServerError, match="503 Service Unavailable: upstream connect error"):
            await client.get(THINGS, "a", Thing, namespace="shop")


@pytest.mark.parametrize("body", ["<html>", '{"value": 7}', "", '{"x":' + "[" * 50_000])
async def test_an_answer_of_another_shape_is_malformed(server: ScriptedServer, body: str) -> None:
    server.answers = [text(body)]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.MalformedAnswer):
            await client.get(THINGS, "a", Thing, namespace="shop")


async def test_a_server_that_does_not_speak_http_is_malformed() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with other, ApiClient(_at(other.sockets[0].getsockname()[1])) as client:
        with pytest.raises(errors.MalformedAnswer):
            await client.get(THINGS, "a", Thing, namespace="shop")


async def test_nobody_listening_is_unreachable() -> None:
    async with scripted_server() as server:
        gone = server.connection
    async with ApiClient(gone) as client:
        with pytest.raises(errors.Unreachable, match=r"Cannot connect to host 127.0.0.1:\d+ \["):
            await client.get(THINGS, "a", Thing, namespace="shop")


async def test_a_cut_answer_is_unreachable(server: ScriptedServer) -> None:
    server.answers = [cut(b'{"value": ')]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.Unreachable):
            await client.get(THINGS, "a", Thing, namespace="shop")


async def test_no_answer_in_time_is_unreachable(server: ScriptedServer) -> None:
    server.answers = [hang()]
    async with ApiClient(server.connection, timeouts=Timeouts(request=0.1)) as client:
        with pytest.raises(errors.Unreachable, match=r"not finished within 0.1 s"):
            await client.get(THINGS, "a", Thing, namespace="shop")


async def test_a_watch_that_never_ends_is_ended_by_us(server: ScriptedServer) -> None:
    server.watches = [stream(*[bookmark(n) for n in range(5)], then_hang=True)]
    request = Request(method="GET", path="/x", params={"watch": "true"}, timeout=0.2)
    async with Transport(server.connection, user_agent="t") as transport:
        with pytest.raises(errors.Unreachable, match=r"not ended within 0.2 s"):
            await read(transport.stream(request, silence=60))


async def read(
    watch: AbstractAsyncContextManager[AsyncIterator[list[bytes]]], then: Callable[[], None] = lambda: None
) -> None:
    async with watch as batches:
        async for _ in batches:
            then()


async def test_what_the_reader_of_a_watch_raises_is_left_as_it_is(server: ScriptedServer) -> None:
    def fail() -> None:
        raise OSError("disk full")

    server.watches = [stream(bookmark(1), then_hang=True)]
    async with ApiClient(server.connection) as client:
        with pytest.raises(OSError, match="disk full"):
            await read(client.watch(THINGS, resource_version="1"), then=fail)


async def test_a_line_without_end_is_not_gathered_for_ever(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.kube.transport._LONGEST_LINE", 1000)
    server.watches = [stream(*[b"x" * 300] * 10, then_hang=True)]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.MalformedAnswer, match="a line of more than 1000 bytes"):
            await read(client.watch(THINGS, resource_version="1"))


async def test_after_429_it_waits_as_told_and_tries_again(server: ScriptedServer) -> None:
    server.answers = [refusal(429, "TooManyRequests", headers={"Retry-After": "1"}), reply(A)]
    async with ApiClient(server.connection) as client:
        began = time.monotonic()
        await client.get(THINGS, "a", Thing, namespace="shop")
        assert time.monotonic() - began >= 1.0


async def test_a_429_that_asks_for_too_long_a_wait_is_passed_on(server: ScriptedServer) -> None:
    server.answers = [refusal(429, "TooManyRequests", headers={"Retry-After": "60"})]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.TooManyRequests) as caught:
            await client.get(THINGS, "a", Thing, namespace="shop")
    assert caught.value.retry_after == 60.0


@pytest.mark.parametrize("asked", ["9" * 400, "86400"])
async def test_no_wait_is_longer_than_a_minute(server: ScriptedServer, asked: str) -> None:
    server.answers = [refusal(503, "ServiceUnavailable", headers={"Retry-After": asked})]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.get(THINGS, "a", Thing, namespace="shop")
    assert caught.value.retry_after == 60.0


async def test_after_401_the_token_file_is_read_again_and_the_request_repeated_once(
    server: ScriptedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    server.answers = [reply(A), refusal(401, "Unauthorized"), reply(A)]
    async with ApiClient(Connection(server=server.url, token_file=str(token))) as client:
        await client.get(THINGS, "a", Thing, namespace="shop")
        token.write_text("new\n")
        await client.create(THINGS, A, Thing)
    assert [each.headers["Authorization"] for each in server.seen] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
    ]
    assert server.seen[1].body == server.seen[2].body


async def test_a_second_401_is_an_error(server: ScriptedServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    server.answers = [refusal(401, "Unauthorized")]
    async with ApiClient(Connection(server=server.url, token_file=str(token))) as client:
        with pytest.raises(errors.Unauthorized, match="renew the token"):
            await client.get(THINGS, "a", Thing, namespace="shop")
    assert len(server.seen) == 2


async def test_a_fixed_token_is_not_tried_twice(server: ScriptedServer) -> None:
    server.answers = [refusal(401, "Unauthorized")]
    async with ApiClient(Connection(server=server.url, token="fixed")) as client:  # noqa: S106 - not a real one
        with pytest.raises(errors.Unauthorized):
            await client.get(THINGS, "a", Thing, namespace="shop")
    assert len(server.seen) == 1


async def test_a_redirect_is_not_followed_with_the_token(server: ScriptedServer) -> None:
    async with scripted_server() as elsewhere:
        elsewhere.answers = [reply(A)]
        server.answers = [reply({}, 302, {"Location": elsewhere.url})]
        async with ApiClient(Connection(server=server.url, token="fixed")) as client:  # noqa: S106 - not a real one
            with pytest.raises(errors.BadRequest):
                await client.get(THINGS, "a", Thing, namespace="shop")
        assert elsewhere.seen == []


async def test_a_list_follows_its_pages(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, A, more="t/+=")), reply(listing(5, thing("b", 6, value="y")))]
    async with ApiClient(server.connection) as client:
        found = await client.list_all(THINGS, Thing, Selection("shop", "a=b"), limit=1)
    assert (found.items, found.resource_version) == ([Thing("x"), Thing("y")], "5")
    assert server.seen[1].query == {"labelSelector": "a=b", "limit": "1", "continue": "t/+="}


async def test_a_list_whose_token_expires_begins_again_and_has_nothing_twice(server: ScriptedServer) -> None:
    server.answers = [
        reply(listing(5, A, more="t")),
        refusal(410, "Expired"),
        reply(listing(9, A, more="u")),
        reply(listing(9, thing("b", 6, value="y"))),
    ]
    async with ApiClient(server.connection) as client:
        found = await client.list_all(THINGS, Thing)
    assert (found.items, found.resource_version) == ([Thing("x"), Thing("y")], "9")


async def test_a_list_that_always_expires_is_asked_for_in_one_piece(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, A, more="t")), refusal(410, "Expired")] * 3 + [reply(listing(5, A))]
    async with ApiClient(server.connection) as client:
        assert (await client.list_all(THINGS, Thing)).items == [Thing("x")]
    assert "limit" not in server.seen[-1].query


async def test_metadata_are_asked_for_without_the_rest(server: ScriptedServer) -> None:
    server.answers = [reply(listing(5, A))]
    async with ApiClient(server.connection) as client:
        found = await client.list_metadata(THINGS)
    assert [(each.name, each.uid, each.resource_version) for each in found.items] == [("a", "uid-a", "7")]
    accept = server.seen[0].headers["Accept"]
    assert accept.startswith("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")


async def test_an_answer_without_items_is_no_list(server: ScriptedServer) -> None:
    server.answers = [reply({"metadata": {"resourceVersion": "5"}})]
    async with ApiClient(server.connection) as client:
        with pytest.raises(errors.MalformedAnswer, match="items"):
            await client.list_all(THINGS, Thing)


async def test_a_create_goes_to_the_namespace_of_its_body(server: ScriptedServer) -> None:
    server.answers = [reply(A, 201)]
    async with ApiClient(server.connection, field_manager="podgate-operator") as client:
        await client.create(THINGS, A, Thing)
    request = server.seen[0]
    assert (request.method, request.path) == ("POST", "/apis/test.dev/v1/namespaces/shop/things")
    assert request.query == {"fieldManager": "podgate-operator"}
    assert request.json() == A


async def test_a_create_without_a_namespace_goes_to_that_of_the_connection(server: ScriptedServer) -> None:
    server.answers = [reply(A, 201)]
    async with ApiClient(msgspec.structs.replace(server.connection, namespace="mine")) as client:
        await client.create(THINGS, {"metadata": {"generateName": "a-"}}, Thing)
    assert server.seen[0].path == "/apis/test.dev/v1/namespaces/mine/things"


async def test_a_replace_puts_the_object_at_its_place(server: ScriptedServer) -> None:
    server.answers = [reply(A)]
    async with ApiClient(server.connection) as client:
        await client.replace(THINGS, A, Thing, subresource="status")
    assert (server.seen[0].method, server.seen[0].path) == (
        "PUT",
        "/apis/test.dev/v1/namespaces/shop/things/a/status",
    )


async def test_a_replace_without_a_resource_version_is_refused_before_it_is_sent(
    server: ScriptedServer,
) -> None:
    body = {"metadata": {"name": "a", "namespace": "shop"}}
    async with ApiClient(server.connection) as client:
        with pytest.raises(ValueError, match=r"shop/a: a replace needs metadata.resourceVersion"):
            await client.replace(THINGS, body, Thing)
    assert server.seen == []


async def test_a_patch_says_what_kind_it_is(server: ScriptedServer) -> None:
    server.answers = [reply(A)]
    async with ApiClient(server.connection) as client:
        await client.patch(THINGS, "a", {"value": "x"}, Thing, namespace="shop", subresource="status")
        await client.patch(THINGS, "a", A, Thing, namespace="shop", kind=PatchKind.APPLY, force=True)
    merge, apply = server.seen
    assert merge.path.endswith("/things/a/status")
    assert merge.headers["Content-Type"] == "application/merge-patch+json"
    assert apply.headers["Content-Type"] == "application/apply-patch+yaml"
    assert apply.query == {"fieldManager": "podgate", "force": "true"}


async def test_a_delete_says_which_object_it_means(server: ScriptedServer) -> None:
    server.answers = [reply({"kind": "Status", "status": "Success"})]
    async with ApiClient(server.connection) as client:
        await client.delete(PODS, "web", namespace="shop", uid="u", propagation="Background")
    assert server.seen[0].json() == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Background",
    }


class Term:
    """A fence that holds for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def remaining(self) -> float:
        return self.seconds


async def test_a_write_outside_the_term_is_held_back_and_reads_are_not(server: ScriptedServer) -> None:
    server.answers = [reply(A)]
    async with ApiClient(server.connection, fence=Term(0.0)) as client:
        await client.get(THINGS, "a", Thing, namespace="shop")
        with pytest.raises(
            errors.NotLeader, match=r"POST /apis/test.dev/v1/namespaces/shop/things: held back"
        ):
            await client.create(THINGS, A, Thing)
    assert [each.method for each in server.seen] == ["GET"]


async def test_a_write_does_not_outlast_the_term(server: ScriptedServer) -> None:
    server.answers = [hang()]
    async with ApiClient(server.connection, fence=Term(0.2)) as client:
        with pytest.raises(errors.Unreachable, match=r"not finished within 0.2 s"):
            await client.create(THINGS, A, Thing)


async def test_the_term_is_looked_at_when_the_turn_has_come(server: ScriptedServer) -> None:
    server.answers = [reply(A)]
    term = Term(10.0)
    gate = WriteGate(qps=5, burst=1, in_flight=1)
    async with ApiClient(server.connection, fence=term, gate=gate) as client:
        await client.create(THINGS, A, Thing)
        waiting = asyncio.create_task(client.create(THINGS, A, Thing))
        await asyncio.sleep(0)
        term.seconds = 0.0
        with pytest.raises(errors.NotLeader):
            await waiting
    assert len(server.seen) == 1


async def test_a_client_that_is_not_open_says_so(server: ScriptedServer) -> None:
    with pytest.raises(RuntimeError, match="use it as `async with`"):
        await ApiClient(server.connection).get(THINGS, "a", Thing, namespace="shop")


def _at(port: int) -> Connection:
    return Connection(server=f"http://127.0.0.1:{port}")
