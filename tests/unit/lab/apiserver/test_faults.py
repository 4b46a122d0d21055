"""What goes wrong on purpose, asked for over HTTP."""

import asyncio
import json
from collections import Counter

import pytest
from aiohttp import ClientConnectionError, ClientError

from controller.lab.apiserver import ApiServer
from tests.unit.lab.apiserver.talk import PODS, Talk, pod

MAPS = "/api/v1/namespaces/default/configmaps"


async def inject(talk: Talk, **fault: object) -> int:
    answer = await talk.post("/debug/faults", fault)
    assert answer.code == 200, answer.body
    return int(answer.body["id"])


async def test_requests_fail_as_often_as_asked(talk: Talk) -> None:
    await inject(talk, action="fail", code=503, count=2)

    assert [(await talk.get(PODS)).code for _ in range(3)] == [503, 503, 200]


async def test_requests_fail_for_as_long_as_asked(talk: Talk) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()  # before the server's clock begins, or the answer's way back would be missing
    await inject(talk, action="fail", code=500, seconds=0.5)

    first = (await talk.get(PODS)).code
    async with asyncio.timeout_at(started + 10):
        while (await talk.get(PODS)).code == 500:
            pass

    assert first == 500
    assert loop.time() - started >= 0.5


async def test_a_fault_may_concern_some_requests_only(talk: Talk) -> None:
    await inject(talk, action="fail", code=409, verbs=["create"], resources=["pods"])

    assert (await talk.post(PODS, pod("web"))).code == 409
    assert (await talk.get(PODS)).code == 200
    assert (await talk.post(MAPS, {"metadata": {"name": "words"}})).code == 201


async def test_a_fault_may_concern_some_clients_only(talk: Talk) -> None:
    await inject(talk, action="fail", agent="podgate-agent")

    assert (await talk.ask("GET", PODS, None, {"User-Agent": "podgate-agent/1"})).code == 503
    assert (await talk.get(PODS)).code == 200


async def test_a_client_is_told_when_to_come_back(talk: Talk) -> None:
    await inject(talk, action="fail", code=429, retry_after=7, count=1)

    async with talk.session.get(PODS) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")


async def test_a_fault_is_taken_away(talk: Talk) -> None:
    one = await inject(talk, action="fail", code=500)
    await inject(talk, action="fail", code=503)

    await talk.delete(f"/debug/faults/{one}")
    second = (await talk.get(PODS)).code
    await talk.delete("/debug/faults")

    assert (second, (await talk.get(PODS)).code) == (503, 200)


async def test_a_fault_that_is_none_is_refused(talk: Talk) -> None:
    assert (await talk.post("/debug/faults", {"action": "explode"})).code == 400
    assert (await talk.post("/debug/nothing", {})).code == 404


async def test_how_often_a_fault_was_met_is_counted(talk: Talk) -> None:
    number = await inject(talk, action="fail", count=2)
    await talk.get(PODS)
    await talk.get(PODS)

    async with talk.session.get("/debug/faults") as response:
        assert await response.json() == [{"id": number, "requests": 2}]


async def test_a_connection_is_dropped(talk: Talk) -> None:
    await inject(talk, action="drop", verbs=["create"], count=10)

    with pytest.raises(ClientConnectionError):
        await talk.post(PODS, pod("web"))
    assert (await talk.get(f"{PODS}/web")).code == 404


async def test_latency_delays_and_does_nothing_else(talk: Talk) -> None:
    await inject(talk, action="latency", delay=0.1, verbs=["list"])
    loop = asyncio.get_running_loop()
    started = loop.time()

    assert (await talk.get(PODS)).code == 200
    assert loop.time() - started >= 0.1


async def test_a_frozen_server_accepts_and_answers_when_it_thaws(talk: Talk) -> None:
    await inject(talk, action="freeze", resources=["pods"])
    waiting = asyncio.create_task(talk.get(PODS))

    done, _ = await asyncio.wait([waiting], timeout=0.1)
    await talk.delete("/debug/faults")

    assert not done
    assert (await waiting).code == 200


async def test_a_frozen_server_holds_back_the_events_of_watches(talk: Talk) -> None:
    async with talk.watch(PODS) as stream:
        await inject(talk, action="freeze", verbs=["watch"])
        await talk.post(PODS, pod("a"))
        waiting = asyncio.create_task(stream.next())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        await talk.delete("/debug/faults")

        assert not done
        assert (await waiting)["object"]["metadata"]["name"] == "a"


async def test_all_watches_are_ended(talk: Talk) -> None:
    async with talk.watch(PODS) as one, talk.watch(MAPS) as two:
        await talk.post("/debug/close-watches", {})

        assert (await one.rest(), await two.rest()) == ([], [])


async def test_watches_of_one_resource_are_ended(talk: Talk) -> None:
    async with talk.watch(PODS) as pods, talk.watch(MAPS) as maps:
        await talk.ask("POST", "/debug/close-watches", resource="pods")
        await talk.post(MAPS, {"metadata": {"name": "words"}})

        assert await pods.rest() == []
        assert await maps.take(1) == [("ADDED", "words")]


async def test_all_watches_are_cut(talk: Talk) -> None:
    async with talk.watch(PODS) as stream:
        await talk.ask("POST", "/debug/close-watches", abort="1")

        with pytest.raises(ClientError):
            await stream.rest()


async def test_watches_last_only_so_long(talk: Talk) -> None:
    await inject(talk, action="watch-seconds", delay=0.05)

    async with talk.watch(PODS) as stream:
        assert await stream.rest() == []


async def test_events_are_told_twice(talk: Talk) -> None:
    await inject(talk, action="disorder", duplicate=True)

    async with talk.watch(PODS) as stream:
        await talk.post(PODS, pod("a"))
        assert await stream.take(2) == [("ADDED", "a"), ("ADDED", "a")]


async def test_events_are_mixed_up_between_objects_and_stay_in_order_within_one(talk: Talk) -> None:
    await inject(talk, action="disorder", reorder=True, delay=0.3)
    names = [f"pod-{number}" for number in range(8)]

    async with talk.watch(PODS) as stream:
        for name in names:
            await talk.post(PODS, pod(name))
            await talk.delete(f"{PODS}/{name}")
        events = await stream.take(16)

    assert [name for _, name in events] != [name for name in names for _ in range(2)]
    assert Counter(name for _, name in events) == dict.fromkeys(names, 2)
    for name in names:
        assert [event for event, of in events if of == name] == ["ADDED", "DELETED"]


async def test_events_of_one_object_are_mixed_up_on_demand(talk: Talk) -> None:
    await inject(talk, action="disorder", reorder=True, within_object=True, delay=0.3)
    await talk.post(PODS, pod("a"))
    seen = (await talk.get(PODS)).metadata["resourceVersion"]

    async with talk.watch(PODS, resourceVersion=seen) as stream:
        for number in range(8):
            await talk.patch(f"{PODS}/a", {"metadata": {"labels": {"n": str(number)}}})
        labels = [(await stream.next())["object"]["metadata"]["labels"]["n"] for _ in range(8)]

    assert sorted(labels) == [str(number) for number in range(8)]
    assert labels != sorted(labels)


async def test_a_token_is_refused_while_others_count(talk: Talk) -> None:
    await talk.post("/debug/tokens", {"token": "one", "user": "a"})
    await talk.post("/debug/tokens", {"token": "two", "user": "b"})
    await inject(talk, action="reject-token", token="one")  # noqa: S106 (of the test)

    codes = [
        (await talk.ask("GET", PODS, None, {"Authorization": f"Bearer {token}"})).code
        for token in ("one", "two")
    ]

    assert codes == [401, 200]


async def test_requests_are_counted_by_agent_verb_and_kind(talk: Talk) -> None:
    headers = {"User-Agent": "tester"}
    await talk.ask("GET", PODS, None, headers)
    await talk.ask("GET", f"{PODS}/web", None, headers)
    await talk.ask("GET", PODS, None, headers)

    async with talk.session.get("/debug/requests") as response:
        counts = await response.json()

    assert counts == [
        {"agent": "tester", "verb": "get", "resource": "pods", "count": 1},
        {"agent": "tester", "verb": "list", "resource": "pods", "count": 2},
    ]


async def test_objects_are_loaded_as_they_are(talk: Talk, server: ApiServer) -> None:
    loaded = [
        {**pod(f"pod-{number}"), "status": {"podIP": f"192.0.2.{number}", "phase": "Running"}}
        for number in range(3)
    ]
    for value in loaded:
        value["metadata"]["namespace"] = "default"
        value["metadata"]["annotations"] = {"long": "x" * 300_000}
    lines = b"\n".join(json.dumps(value).encode() for value in loaded)

    async with talk.session.post("/debug/load", data=lines) as response:
        assert await response.json() == {"loaded": 3}

    assert (await talk.get(f"{PODS}/pod-2")).body["status"] == {"podIP": "192.0.2.2", "phase": "Running"}
    async with talk.session.get("/debug/state") as response:
        state = await response.json()
    assert (state["objects"]["pods"], state["revision"]) == (3, server.parts.store.revision)
