import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

from controller import __version__
from controller.telemetry.health import AddressError, HealthServer, split_address
from controller.telemetry.metrics import new_registry

State = dict[str, str]
Get = Callable[[str], AbstractAsyncContextManager[aiohttp.ClientResponse]]


@pytest.fixture
def state() -> State:
    return {"synced": "", "leader": ""}


@pytest.fixture
async def get(state: State) -> AsyncIterator[Get]:
    server = HealthServer(
        "127.0.0.1:0",
        {"synced": lambda: state["synced"], "leader": lambda: state["leader"]},
        new_registry("podgate_test"),
    )
    address = await server.start()
    async with aiohttp.ClientSession(f"http://{address}") as session:
        yield session.get
    await server.close()


async def test_a_process_is_alive_whatever_its_checks_say(get: Get, state: State) -> None:
    state["synced"] = "pods are not listed yet"

    async with get("/livez") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_readiness_names_the_check_that_fails(get: Get, state: State) -> None:
    state["synced"] = "pods are not listed yet"

    async with get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (
            503,
            "[-] synced: pods are not listed yet\n[+] leader\n",
        )


async def test_a_check_can_be_asked_alone(get: Get, state: State) -> None:
    state["synced"] = "pods are not listed yet"

    async with get("/readyz/leader") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_a_check_that_is_not_there_is_said_to_be_missing(get: Get) -> None:
    async with get("/readyz/else") as answer:
        assert (answer.status, await answer.text()) == (404, "no check else: there are synced, leader\n")


async def test_metrics_tell_the_version(get: Get) -> None:
    async with get("/metrics") as answer:
        text = await answer.text()

    assert f'version="{__version__}"' in text
    assert "podgate_test_build_info" in text
    assert "process_resident_memory_bytes" in text


async def test_an_address_in_use_is_said_in_one_line() -> None:
    first = HealthServer("127.0.0.1:0", {}, new_registry("podgate_test"))
    address = await first.start()
    second = HealthServer(address, {}, new_registry("podgate_test"))

    with pytest.raises(AddressError, match=f"cannot serve health on {address}: .*in use"):
        await second.start()

    await first.close()


@pytest.mark.parametrize("text", ["", "9440", ":9440", "::1:9440", "localhost:", "localhost:99999", "a:b"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        split_address(text)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert split_address("[::1]:9440") == ("::1", 9440)


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def test_two_colons_are_every_address_of_both_families() -> None:
    server = HealthServer("[::]:0", {}, new_registry("podgate_test"))
    port = (await server.start()).rpartition(":")[2]

    found = [await status_of(f"http://{host}:{port}/livez") for host in ("127.0.0.1", "[::1]")]

    await server.close()
    assert found == [200, 200]


async def test_two_colons_are_ipv4_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = HealthServer("[::]:0", {}, new_registry("podgate_test"))

    address = await server.start()

    found = await status_of(f"http://127.0.0.1:{address.rpartition(':')[2]}/livez")
    await server.close()
    assert (address.rpartition(":")[0], found) == ("0.0.0.0", 200)


async def test_two_colons_at_a_port_that_is_taken_are_an_error() -> None:
    first = HealthServer("[::]:0", {}, new_registry("podgate_test"))
    address = await first.start()

    with pytest.raises(AddressError, match="cannot serve health"):
        await HealthServer(address, {}, new_registry("podgate_test")).start()
    await first.close()


@pytest.mark.parametrize("pod_ip", ["127.0.0.1", "::1"])
async def test_a_pod_address_in_brackets_is_served_in_either_family(pod_ip: str) -> None:
    server = HealthServer(f"[{pod_ip}]:0", {}, new_registry("podgate_test"))
    address = await server.start()

    found = await status_of(f"http://{address}/livez")

    await server.close()
    assert found == 200
