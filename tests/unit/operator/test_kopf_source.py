"""Kopf runs in a thread of its own, and is started again whatever it ends with."""

import asyncio

import pytest

from controller.kube.connection import Connection
from controller.operator.kopf_source import KopfSource
from tests.e2e.operator.world import eventually


@pytest.mark.parametrize(
    "ending", [RuntimeError("tripped"), asyncio.CancelledError(), SystemExit(1)], ids=type
)
async def test_kopf_is_started_again_whatever_it_ended_with(
    monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    """Its thread must not die: policies would never be heard of again, and nobody would know."""
    runs: list[float] = []

    async def operator(**_: object) -> None:
        runs.append(0.0)
        raise ending

    monkeypatch.setattr("controller.operator.kopf_source.kopf.operator", operator)
    source = KopfSource(Connection(server="http://127.0.0.1:1"), lambda _: None, lambda: None)
    source.start()
    try:
        await eventually(lambda: len(runs) > 1, 5.0)
    finally:
        await source.stop()
