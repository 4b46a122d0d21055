"""`podgate operator` as a process: how it starts, what it says, how it ends."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.kube.lease import Lease
from controller.kube.resource import LEASES
from tests.e2e.operator.world import World, eventually, pod

PROGRAM = (sys.executable, "-c", "from controller.cli.main import main; main()", "operator")


async def start(*options: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM, "--health-address", "127.0.0.1:0", *options, stdout=PIPE, stderr=PIPE
    )


async def refused(*options: str) -> tuple[int | None, str]:
    """The exit code and the last line on standard error of a call that cannot work."""
    process = await start(*options)
    _, said = await asyncio.wait_for(process.communicate(), 20.0)
    return process.returncode, said.decode().splitlines()[-1]


class Running:
    """A process, and the lines of its log so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def said(self, msg: str) -> dict[str, Any]:
        return next((line for line in self.lines if line["msg"] == msg), {})


@asynccontextmanager
async def running(world: World, *options: str) -> AsyncIterator[Running]:
    process = await start("--server", world.connection.server, *options)
    found = Running(process)
    reading = asyncio.create_task(found.read())
    try:
        yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def test_it_publishes_and_ends_at_sigterm_and_what_it_published_stays(shop: World) -> None:
    async with running(shop) as found:
        await eventually(lambda: bool(found.said("everything is published")), 30.0)
        found.process.send_signal(signal.SIGTERM)

        assert await asyncio.wait_for(found.process.wait(), 10.0) == 0

    lease = await shop.client.get(LEASES, "podgate-operator", Lease, namespace="podgate-system")
    assert lease.spec.holder_identity == ""
    assert await shop.published() == await shop.expected()


async def test_it_publishes_as_a_user_without_a_name(shop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's user is in no /etc/passwd: kopf asked for its name, and ended before a watch."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    nobody = "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody\n"
    monkeypatch.setattr(f"{__name__}.PROGRAM", (sys.executable, "-c", nobody + PROGRAM[2], "operator"))

    async with running(shop) as found:
        await eventually(lambda: bool(found.said("everything is published")), 30.0)

        assert not found.said("kopf ended and is started again")


async def test_its_log_is_json_and_says_nothing_of_single_events(shop: World) -> None:
    async with running(shop) as found:
        await eventually(lambda: bool(found.said("everything is published")), 30.0)
        before = len(found.lines)
        for number in range(20):
            await shop.put(pod(f"shop/client-{number}", f"10.0.2.{number + 10}", "node-2", app="client"))
        await shop.settled()

        assert len(found.lines) == before
        assert found.said("in step with the API server")["pods"] == 2
        assert {"ts", "level", "logger", "msg"} <= found.lines[0].keys()


async def test_health_tells_what_it_waits_for(shop: World) -> None:
    async with running(shop) as found:
        await eventually(lambda: bool(found.said("everything is published")), 30.0)
        address = f"http://{found.said('started')['health']}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/readyz?verbose") as answer:
                assert (answer.status, await answer.text()) == (200, "[+] synced\n")
            async with session.get(f"{address}/metrics") as answer:
                metrics = await answer.text()

    assert "podgate_operator_leader 1.0" in metrics
    assert 'podgate_operator_writes_total{kind="NodePolicy",op="create",result="ok"} 2.0' in metrics


async def test_a_process_without_its_api_server_waits_and_is_alive() -> None:
    process = await start("--server", "http://127.0.0.1:1")
    found = Running(process)
    reading = asyncio.create_task(found.read())
    await eventually(lambda: bool(found.said("started")), 20.0)
    address = f"http://{found.said('started')['health']}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/livez") as answer:
            assert answer.status == 200
        async with session.get(f"{address}/readyz") as answer:
            assert answer.status == 503
            assert "pods are not listed yet" in await answer.text()
    process.terminate()

    assert await asyncio.wait_for(process.wait(), 10.0) == 0
    await reading


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--kubeconfig", "/nowhere"), "podgate: kubeconfig /nowhere: no such file"),
        (
            ("--server", "http://127.0.0.1:1", "--health-address", "here"),
            "podgate: 'here' is no address to serve on: write host:port, as in 127.0.0.1:9440",
        ),
    ],
)
async def test_a_wrong_call_is_an_error_of_one_line(options: tuple[str, ...], line: str) -> None:
    assert await refused(*options) == (2, line)


async def test_a_token_file_that_is_missing_is_an_error_of_one_line(shop: World, tmp_path: Path) -> None:
    missing = tmp_path / "token"

    status, line = await refused("--server", shop.connection.server, "--token-file", str(missing))

    assert status == 2
    assert line.startswith(f"podgate: token file {missing}: ")
