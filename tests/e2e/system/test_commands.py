"""What an operator of a cluster asks podgate with, on a cluster that lives."""

import asyncio
import json
import sys

import pytest

from controller.lab.bringup import agent_role
from controller.lab.gateway import NODE_PORT
from controller.objects.kinds import Protocol
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, policy, selected

pytestmark = pytest.mark.kernel

_PROGRAM = "from controller.cli.main import main; main()"


async def podgate(system: System, *arguments: str, kubeconfig: bool = True) -> tuple[int, str]:
    """The exit code of a command, and all it says."""
    cluster = ("--kubeconfig", str(system.lab.run_dir.kubeconfig)) if kubeconfig else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, *arguments),
        *cluster,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def locked(shop: Shop) -> dict[str, object]:
    """A policy that lets the intruder, who is on node-3, be reached by nobody."""
    return policy(f"{shop.name}/locked", podSelector=selected(role="intruder"))


async def test_once_wait_returns_packets_are_dropped(system: System, shop: Shop) -> None:
    await system.apply(locked(shop))

    code, text = await podgate(system, "wait", "--for=enforced", "networkpolicy/locked", "-n", shop.name)

    assert (code, text) == (0, "networkpolicy/locked enforced on 1/1 nodes\n")
    ends = (f"{shop.name}/client", f"{shop.name}/intruder")
    assert await system.wrong([Question(*ends, Protocol.UDP, 80, allowed=False)]) == []


async def test_wait_and_status_say_which_node_is_late(system: System, shop: Shop) -> None:
    await system.lab.kill_agent("node-3")
    await system.apply(locked(shop))

    code, text = await podgate(
        system, *("wait", "--for=enforced", "--all", "-n", shop.name, "--timeout", "1s")
    )
    _, status = await podgate(system, "status", "-n", shop.name, "-o", "json")

    async with system.restarted(agent_role("node-3")):
        system.lab.start_agent("node-3")
    await system.in_step()
    assert code == 1
    assert "networkpolicy/locked not enforced after 1 s" in text
    assert "node-3" in text
    states = {each["name"]: each["state"] for each in json.loads(status)["policies"]}
    assert states == {"isolated": "enforced", "locked": "pending"}


async def test_verify_finds_nothing_to_complain_of_on_any_node(system: System, shop: Shop) -> None:
    await system.apply(locked(shop))
    await system.in_step()

    found = [
        await podgate(
            system,
            *("verify", "-f", "cluster:", "--node", node, "--netns", system.lab.names.node(node)),
        )
        for node in ("node-1", "node-3")
    ]

    assert [code for code, _ in found] == [0, 0], found


async def test_verify_follows_the_whole_chain_of_a_cluster_that_lives(system: System, shop: Shop) -> None:
    await system.apply(locked(shop))

    code, text = await podgate(system, "verify", "--settle", "20s", "-o", "json")

    assert code == 0, text
    links = json.loads(text)["links"]
    assert [(each["name"], each["differences"]) for each in links] == [
        ("text -> published", []),
        ("published -> reported", []),
    ]
    place = system.lab.names.node("node-3")
    kernel = await podgate(
        system,
        *("verify", "--kernel", "--node", "node-3", "--netns", place),
        *("--server", f"http://127.0.0.1:{NODE_PORT}"),
        kubeconfig=False,
    )
    assert kernel[0] == 0, kernel[1]


async def test_verify_names_the_link_that_is_broken(system: System, shop: Shop) -> None:
    await system.lab.kill_agent("node-3")
    await system.apply(locked(shop))

    code, text = await podgate(system, "verify", "--settle", "2s")

    async with system.restarted(agent_role("node-3")):
        system.lab.start_agent("node-3")
    await system.in_step()
    assert code == 1
    assert "text -> published       as it should be" in text
    assert "published -> reported   1 difference" in text
    assert "NodePolicy node-3 its agent reports to have applied another version" in text
