"""What the API server of the lab does on request: faults, storms, objects that no validation would let in.

A real kube-apiserver does none of it: tests that ask are skipped there.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

OURS = "podgate-"
"""What the user agents of the operator and the agents begin with, and not that of the tests or the lab."""


class Record(Struct, frozen=True):
    """A request that was answered."""

    agent: str
    verb: str
    resource: str
    subresource: str
    name: str
    code: int
    seconds: float


class Debug:
    """The /debug of one API server."""

    def __init__(self, server: str) -> None:
        self._root = f"{server}/debug"

    @asynccontextmanager
    async def fault(self, action: str, **more: object) -> AsyncIterator[None]:
        """A fault for as long as this lasts (see `controller.lab.apiserver.faults`)."""
        number = (await self._ask("POST", "faults", {"action": action, **more}))["id"]
        try:
            yield
        finally:
            await self._ask("DELETE", f"faults/{number}")

    async def close_watches(self, *, abort: bool = False) -> None:
        """End every watch; with `abort` by cutting its connection."""
        await self._ask("POST", f"close-watches{'?abort=1' if abort else ''}")

    async def compact(self) -> None:
        """Forget history: whoever goes on from there gets 410."""
        await self._ask("POST", "compact")

    async def load(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Store objects as they are."""
        lines = b"\n".join(map(msgspec.json.encode, objects))
        async with aiohttp.ClientSession() as session, session.post(f"{self._root}/load", data=lines) as done:
            assert done.status == 200, await done.text()

    async def audit(self) -> list[Record]:
        """The requests so far."""
        return msgspec.convert(await self._ask("GET", "audit"), list[Record], strict=False)

    async def clear_audit(self) -> None:
        """Begin a new record."""
        await self._ask("DELETE", "audit")

    async def is_there(self) -> bool:
        """Whether the API server is that of the lab."""
        try:
            await self._ask("GET", "state")
        except (AssertionError, aiohttp.ClientError):
            return False
        return True

    async def _ask(self, method: str, what: str, body: object = None) -> Any:  # noqa: ANN401  plain values
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self._root}/{what}", json=body) as done,
        ):
            assert done.status == 200, await done.text()
            return await done.json()
