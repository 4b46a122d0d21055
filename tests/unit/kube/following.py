"""A reflector at work in a test: what it told its sink, and waiting for that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from msgspec import Struct

from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.reflector import Reflector, Timing
from controller.kube.resource import EVERYTHING, Resource, Selection
from controller.kube.sink import Unreadable
from controller.kube.store import Key
from tests.unit.kube.waiting import until

THINGS = Resource("test.dev", "v1", "things", namespaced=True, kind="Thing")
QUICK = Timing(backoff=0.01, backoff_cap=0.05, steady=0.02, silence=5.0)


class Thing(Struct):
    """The fields of a thing that count."""

    value: str


def value_of(thing: Thing) -> str | None:
    """Kept: the value. A thing without one is of no interest; one called `bug` trips our code."""
    if thing.value == "bug":
        raise RuntimeError("a mistake of ours")
    return thing.value or None


class Diary:
    """A sink that remembers what it was told, as short texts."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.bad: list[Unreadable] = []
        self.times: list[float] = []

    def added(self, key: Key, value: str, at: float) -> None:
        self._note(f"added {key[1]}={value}", at)

    def changed(self, key: Key, value: str, old: Any, at: float) -> None:  # noqa: ANN401 - of Sink
        self._note(f"changed {key[1]}={old}->{value}", at)

    def removed(self, key: Key, old: Any, at: float) -> None:  # noqa: ANN401 - of Sink
        self._note(f"removed {key[1]}={old}", at)

    def unreadable(self, bad: Unreadable, at: float) -> None:
        self.bad.append(bad)
        self._note(f"unreadable {bad.key[1] if bad.key else '?'}", at)

    def synced(self, at: float) -> None:
        self._note("synced", at)

    def _note(self, text: str, at: float) -> None:
        self.told.append(text)
        self.times.append(at)


class Following:
    """A running reflector with its diary."""

    def __init__(self, reflector: Reflector[str], diary: Diary, task: "asyncio.Task[None]") -> None:
        self.reflector = reflector
        self.diary = diary
        self.task = task

    @property
    def told(self) -> list[str]:
        return self.diary.told

    @property
    def names(self) -> set[str]:
        return {name for (_, name), _ in self.reflector.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; fails with what was told if it does not in time."""
        await until(
            lambda: self.task.done() or condition(),
            say=lambda: f"told: {self.told}; last error: {self.reflector.last_error}",
        )
        if self.task.done():
            self.task.result()

    async def until_told(self, text: str, times: int = 1) -> None:
        await self.until(lambda: self.told.count(text) >= times)

    async def until_error(self, kind: str, times: int = 1) -> None:
        await self.until(lambda: self.reflector.counters.errors[kind] >= times)


@asynccontextmanager
async def following(
    connection: Connection, *, timing: Timing = QUICK, selection: Selection = EVERYTHING, page: int = 500
) -> AsyncIterator[Following]:
    diary = Diary()
    async with ApiClient(connection) as client:
        reflector = Reflector(
            client,
            THINGS,
            wire=Thing,
            keep=value_of,
            sink=diary,
            selection=selection,
            timing=timing,
            page=page,
            random=Random(1),  # noqa: S311 - the same waits in every run
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield Following(reflector, diary, task)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
