"""One lease at a real HTTP server, with the optimistic locking that leader election rests on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from controller.kube.client import ApiClient
from controller.kube.lease import LeaderElector, LeaseTiming
from tests.unit.kube.scripted import ScriptedServer, status
from tests.unit.kube.waiting import until

QUICK = LeaseTiming(duration=2.0, renew=1.5, retry=0.1)
"""Seconds enough that a busy machine does not cost a leader its lease."""
COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/podgate/leases"


class LeaseServer:
    """Answers through a ScriptedServer; `frozen` and `conflicting` are its ways to fail."""

    def __init__(self, server: ScriptedServer) -> None:
        self.lease: dict[str, Any] | None = None
        self.frozen = False
        self.conflicting = False
        self.writes = 0
        self._version = 10
        server.answers = [self.handle]

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.frozen:
            await asyncio.sleep(3600)
        if request.method == "GET":
            return _answer(404, "NotFound") if self.lease is None else web.json_response(self.lease)
        body = json.loads(await request.read())
        assert request.path == COLLECTION + ("" if request.method == "POST" else "/operator")
        if self.conflicting or (request.method == "PUT" and self._is_outdated(body)):
            return _answer(409, "Conflict")
        if request.method == "POST" and self.lease is not None:
            return _answer(409, "AlreadyExists")
        return web.json_response(self.put(body))

    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self.lease = body
        return body

    def touch(self) -> None:
        """Somebody else changes the metadata."""
        assert self.lease is not None
        self.lease["metadata"]["annotations"] = {"looked": "at"}
        self.put(self.lease)

    def take_over(self, identity: str) -> None:
        """Somebody else takes the lease by force."""
        assert self.lease is not None
        self.put({**self.lease, "spec": {**self.spec, "holderIdentity": identity, "renewTime": "whenever"}})

    def _is_outdated(self, body: dict[str, Any]) -> bool:
        return self.lease is None or (
            body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]
        )


class Candidate:
    """An elector at work, and what it told."""

    def __init__(self, client: ApiClient, identity: str, **settings: Any) -> None:  # noqa: ANN401 - of LeaderElector
        self.told: list[str] = []
        self.elector = LeaderElector(
            client,
            identity,
            namespace="podgate",
            name="operator",
            started=lambda: self.told.append("started"),
            stopped=self._stopped,
            **{"timing": QUICK, **settings},
        )
        self.task = asyncio.create_task(self.elector.run())

    async def _stopped(self, why: str) -> None:
        assert not self.elector.is_leader
        self.told.append(f"stopped: {why}")

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Election:
    """Candidates, each with a client of its own."""

    def __init__(self, server: ScriptedServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self.candidates: list[Candidate] = []

    async def join(self, identity: str, **settings: Any) -> Candidate:  # noqa: ANN401 - of LeaderElector
        client = await self._stack.enter_async_context(ApiClient(self._server.connection))
        candidate = Candidate(client, identity, **settings)
        self._stack.push_async_callback(candidate.stop)
        self.candidates.append(candidate)
        return candidate

    @property
    def leaders(self) -> list[str]:
        return [each.elector.identity for each in self.candidates if each.elector.is_leader]

    async def until_led_by(self, *identities: str, seconds: float = 10.0) -> None:
        """Wait for exactly these leaders; there must never be two on the way."""
        await until(
            lambda: self.leaders == list(identities),
            seconds=seconds,
            always=lambda: len(self.leaders) <= 1,
            say=lambda: f"leaders: {self.leaders}",
        )


@asynccontextmanager
async def election(server: ScriptedServer) -> AsyncIterator[Election]:
    async with AsyncExitStack() as stack:
        yield Election(server, stack)


def _answer(code: int, reason: str) -> web.Response:
    return web.json_response(status(code, reason), status=code)
