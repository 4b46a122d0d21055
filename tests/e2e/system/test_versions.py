"""Upgrade and rollback beside an earlier version: operator and agents of both, in either order.

Needs a checkout of the earlier one with its environment: `make test-upgrade FROM=REVISION` makes it.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.lab import programs
from controller.lab.bringup import OPERATOR, agent_role
from controller.lab.processes import python
from controller.objects.kinds import Protocol
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import WITHIN, System, policy, selected

EARLIER = os.environ.get("PODGATE_EARLIER", "")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not EARLIER, reason="no earlier podgate: make test-upgrade FROM=REVISION makes one"),
]

_AGENTS = ("agent/node-1", "agent/node-2", "agent/node-3")


class Installation:
    """Which version each process of the lab is started from.

    What an earlier one logs is blotted out: its bugs are known, and a test fails for those of this version.
    """

    def __init__(self, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
        self._system = system
        self._patch = monkeypatch
        self._earlier_since: dict[str, int] = {}

    async def define(self, version: str) -> None:
        """The CustomResourceDefinitions of a version, which every upgrade begins with."""
        folder = Path(version) / "manifests/base/crds"
        found: list[Mapping[str, Any]] = [
            yaml.safe_load(file.read_text()) for file in folder.glob("*.podgate.dev.yaml")
        ]
        assert found
        await self._system.apply(*found)

    async def replace(self, version: str, roles: Iterable[str]) -> None:
        """End processes as Kubernetes does, one after another, and start each from that version."""
        for role in roles:
            log = self._system.lab.run_dir.log(role)
            async with self._system.restarted(role):
                await self._end(role)
                size = log.stat().st_size
                self._begin(version, role)
            if role in self._earlier_since:
                _blot_out(log, self._earlier_since.pop(role), size)
            if version != ".":
                self._earlier_since[role] = size

    async def _end(self, role: str) -> None:
        if role == OPERATOR:
            await self._system.lab.kill_operator(at_once=False)
        else:
            await self._system.lab.kill_agent(_node(role), at_once=False)

    def _begin(self, version: str, role: str) -> None:
        with self._patch.context() as patch:
            patch.setattr(programs, "python", lambda *arguments: _python(version, *arguments))
            if role == OPERATOR:
                self._system.lab.start_operator()
            else:
                self._system.lab.start_agent(_node(role))


def _node(role: str) -> str:
    return role.removeprefix("agent/")


def _blot_out(log: Path, start: int, end: int) -> None:
    with log.open("r+b") as file:
        file.seek(start)
        file.write(b" " * (end - start))


def _python(version: str, *arguments: str) -> list[str]:
    interpreter, *options = python(*arguments)
    return [interpreter if version == "." else f"{version}/.venv/bin/python", *options]


async def changes_come_through(system: System, shop: Shop) -> None:
    """A new policy, its edit and its deletion show in packets."""
    gate = f"{shop.name}/gate"
    peers = [{"from": [{"podSelector": selected(role="client")}]}]
    for change, allowed in (
        (system.apply(policy(gate, podSelector=selected(role="intruder"), ingress=[])), False),
        (system.apply(policy(gate, podSelector=selected(role="intruder"), ingress=peers)), True),
        (system.apply(policy(gate, podSelector=selected(role="intruder"), ingress=[])), False),
        (system.delete(policy(gate)), True),
    ):
        await change
        await _until(system, shop, allowed=allowed)


async def _until(system: System, shop: Shop, *, allowed: bool) -> None:
    ways = [
        Question(f"{shop.name}/client", f"{shop.name}/intruder", protocol, 80, allowed, family)
        for protocol in (Protocol.TCP, Protocol.UDP)
        for family in (4, 6)
    ]
    deadline = time.monotonic() + WITHIN
    await asyncio.sleep(0.1)  # a way that should be open and is not yet is asked for long
    while wrong := await system.wrong(ways):
        assert time.monotonic() < deadline, "\n".join(map(str, wrong))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("roles", [(OPERATOR, *_AGENTS), (*_AGENTS, OPERATOR)], ids=["operator", "agents"])
async def test_nothing_opens_and_nothing_closes_with_either_first(
    system: System, shop: Shop, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...]
) -> None:
    """The whole way back and forth: to the earlier version, and from it to this one."""
    installation = Installation(system, monkeypatch)
    assert [agent_role(node.name) for node in await system.lab.nodes()] == [*_AGENTS]
    try:
        async with shop.vigil() as vigil:
            for version in (EARLIER, "."):
                await installation.define(version)
                for role in roles:
                    await installation.replace(version, [role])
                    await changes_come_through(system, shop)
    finally:
        await installation.define(".")
        await installation.replace(".", roles)
    await system.in_step()

    vigil.verdict()
