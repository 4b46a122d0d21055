"""The server as a process: started, found, told to stop."""

import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession, TCPConnector

from controller.lab.apiserver import ApiServer
from tests.unit.lab.apiserver.talk import PODS, Talk

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers, and sees to it that none is left."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*options: object, fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "controller.lab.apiserver", *map(str, options)]
        process = subprocess.Popen(  # noqa: S603 (our own module)
            command, pass_fds=fds, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path.read_text(encoding="utf-8").strip()


async def test_it_says_where_it_listens_and_ends_when_told(start: Start, tmp_path: Path) -> None:
    process = start("--port-file", tmp_path / "port", "--kubeconfig", tmp_path / "kubeconfig")
    port = wait_for(tmp_path / "port", process)
    server = yaml.safe_load((tmp_path / "kubeconfig").read_text(encoding="utf-8"))["clusters"][0]["cluster"][
        "server"
    ]

    async with ClientSession(server) as session, Talk(session).watch(PODS) as stream:
        process.send_signal(signal.SIGTERM)
        assert await stream.rest() == []

    assert server == f"http://127.0.0.1:{port}"
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, f"listening on {server}\n".encode(), b"")


async def test_it_serves_a_socket_that_is_open_already(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start("--fd", listener.fileno(), "--port-file", tmp_path / "port", fds=(listener.fileno(),))
        port = wait_for(tmp_path / "port", process)

        assert int(port) == listener.getsockname()[1]
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            assert (await Talk(session).get(PODS)).code == 200


async def test_tokens_and_https_lead_in_through_the_kubeconfig(start: Start, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret,admin,1,system:masters\n", encoding="utf-8")
    process = start(
        *("--tokens", tokens, "--rbac", "--self-signed", tmp_path),
        *("--kubeconfig", tmp_path / "kubeconfig", "--port-file", tmp_path / "port"),
    )
    wait_for(tmp_path / "port", process)
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text(encoding="utf-8"))

    context = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    url = config["clusters"][0]["cluster"]["server"]
    header = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    async with ClientSession(url, headers=header, connector=TCPConnector(ssl=context)) as session:
        assert (await Talk(session).get(PODS)).code == 200
    assert url.startswith("https://")


def test_a_token_file_that_is_missing_is_named(start: Start, tmp_path: Path) -> None:
    process = start("--tokens", tmp_path / "nowhere")

    _, err = process.communicate(timeout=20)
    assert (process.returncode, b"nowhere" in err) == (1, True)


def test_an_address_that_cannot_be_listened_on_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = start("--port", port)

        _, err = process.communicate(timeout=20)
    assert (process.returncode, f"cannot listen on 127.0.0.1:{port}".encode() in err) == (1, True)


async def test_a_server_listens_on_several_sockets_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        server = ApiServer()
        await server.start(sockets=[one, two])
        codes = []
        for listener in (one, two):
            async with ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}") as session:
                codes.append((await Talk(session).get(PODS)).code)
        await server.stop()

    assert codes == [200, 200]
