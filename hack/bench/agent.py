"""`make bench-agent`: what an agent costs its node, and how long a change takes from the watch to the kernel.

The node of docs/scale.md: 110 pods, 40 policies and as many peer groups of 1,000 members, through an API
server in a process of its own, in a network namespace of their own. The times are those that the agent
measures itself, event by event, from the arrival of the bytes until both families hold the change. Needs
root.

    sudo .venv/bin/python hack/bench/agent.py [--seconds 30] [--rate 20] [--idle 30] [--json agent.json]

Changes: a member of a random group comes or goes (a slice each); every tenth is a policy that comes or goes
(a NodePolicy). Idle: nothing happens, at the default intervals of the drift checks; children count.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec import Struct
from msgspec.structs import replace

from controller.dataplane.tools import Backend
from controller.engine.group_slices import GroupPacking, slice_spec
from controller.engine.node_policies import group_id, node_policy_spec
from controller.engine.resolve import Resolver
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.resource import CUSTOM_RESOURCE_DEFINITIONS
from controller.objects.kinds import Cluster
from hack.bench.node import NODE, base_cluster, policy
from tests.e2e.agent.publisher import DEFINITIONS, Publisher, peer_slice, version

GROUPS = 40
HEALTH = 9441
_PATIENCE = 60.0
_SETTLING = 10.0
"""Seconds after start-up, with the first full check of the rules; the next ones are minutes apart."""
_COMMAND = "from controller.cli.main import main; main()"
_TICKS = os.sysconf("SC_CLK_TCK")


class Figures(Struct, frozen=True):
    """Of one backend. Memory in MiB, times in milliseconds, processor in percent of one."""

    ready: float
    rss: float
    children: float
    peak: float
    idle: float
    busy: float
    changes: int
    p50: float
    p99: float
    worst: float


def main() -> None:
    """Measure both backends, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to make changes")
    parser.add_argument("--rate", type=float, default=20.0, help="changes a second")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds without any")
    parser.add_argument("--backend", choices=list(Backend), help="only this one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607
        figures = asyncio.run(measure(Backend(options.backend), options))
        print(json.dumps({name: getattr(figures, name) for name in figures.__struct_fields__}))
        return
    found = {each: _in_namespace(each) for each in Backend if options.backend in {None, each}}
    print_table(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def _in_namespace(backend: Backend) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XTABLES_LOCKFILE": f"{folder}/lock"}
        command = ["unshare", "-n", sys.executable, __file__, *sys.argv[1:], "--inside", "--backend", backend]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def measure(backend: Backend, options: argparse.Namespace) -> Figures:
    """One backend, in the present network namespace."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _api_server(folder) as server:
            async with ApiClient(Connection(server=server)) as client:
                for each in DEFINITIONS:
                    await client.create(CUSTOM_RESOURCE_DEFINITIONS, each, dict)
                changes = Changes(client)
                await changes.publish()
                with _agent(server, backend, folder) as agent:
                    return await _observe(agent, changes, options)


async def _observe(agent: "AgentProcess", changes: "Changes", options: argparse.Namespace) -> Figures:
    ready = await agent.wait_ready()
    await asyncio.sleep(_SETTLING)
    rss, children = agent.rss(), agent.children_rss()
    idle = await agent.processor(asyncio.sleep(options.idle))
    skip = len(agent.waited())
    busy = await agent.processor(changes.make(options.rate, options.seconds))
    await asyncio.sleep(1.0)
    waited = sorted(agent.waited()[skip:])
    return Figures(
        ready=ready,
        rss=rss,
        children=children,
        peak=agent.peak(),
        idle=idle,
        busy=busy,
        changes=len(waited),
        p50=statistics.median(waited),
        p99=waited[int(len(waited) * 0.99) - 1],
        worst=waited[-1],
    )


class Changes:
    """What an operator would write for a cluster that changes."""

    def __init__(self, client: ApiClient) -> None:
        whole = base_cluster()
        policies = whole.policies[:GROUPS]
        self._cluster: Cluster = replace(whole, policies=policies)
        self._publisher = Publisher(client)
        self._random = random.Random(1)  # noqa: S311 - the same changes each time
        self._packings: list[tuple[str, GroupPacking]] = []
        self._specs = [
            node_policy_spec(Resolver.of(replace(whole, policies=each)).share(NODE), version)
            for each in (
                policies,
                (*policies, replace(policy(7), name="one-more", ingress=policy(8).ingress)),
            )
        ]

    async def publish(self) -> None:
        """All of it."""
        resolver = Resolver.of(self._cluster)
        for group in resolver.groups():
            packing = GroupPacking()
            packing.become(resolver.members(group))  # type: ignore[arg-type]
            self._packings.append((group_id(group), packing))
            for index in range(packing.count):
                await self._write(group_id(group), packing, index)
        await self._publisher.put_policy(NODE, self._specs[0])

    async def make(self, rate: float, seconds: float) -> None:
        """Make changes, evenly spaced."""
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            if number % 10 == 9:
                await self._publisher.put_policy(NODE, self._specs[number // 10 % 2 ^ 1])
            else:
                await self._change_member()

    async def _change_member(self) -> None:
        key, packing = self._random.choice(self._packings)
        index = self._random.randrange(packing.count)
        address = f"10.200.{self._random.randrange(256)}.{self._random.randrange(256)}"
        leaving = self._random.choice(packing.members(index))
        changed = packing.change({leaving: False, address: True})
        for each in {*changed.grown, *changed.shrunk}:
            await self._write(key, packing, each)

    async def _write(self, key: str, packing: GroupPacking, index: int) -> None:
        await self._publisher.put_slice(peer_slice(key, slice_spec(packing, index, "peers")))


class AgentProcess:
    """A running agent, and what it costs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._began = time.monotonic()

    async def wait_ready(self) -> float:
        """Milliseconds from its start until the node is programmed."""
        while "first programming done" not in self._log.read_text():
            if self._process.poll() is not None or time.monotonic() - self._began > _PATIENCE:
                raise SystemExit(f"the agent does not become ready:\n{self._log.read_text()}")
            await asyncio.sleep(0.005)
        return (time.monotonic() - self._began) * 1000

    def waited(self) -> list[float]:
        """What it says each change took, so far."""
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if "waited_ms" in line)
        return [each for line in lines for each in line["waited_ms"]]

    def rss(self) -> float:
        """Resident now."""
        return _status(self._process.pid, "VmRSS")

    def peak(self) -> float:
        """The most it ever was."""
        return _status(self._process.pid, "VmHWM")

    def children_rss(self) -> float:
        """The restore processes that it keeps open."""
        return sum(_status(child, "VmRSS") for child in _children(self._process.pid))

    async def processor(self, meanwhile: Awaitable[None]) -> float:
        """Percent of a processor that it and its children use while something else is done."""
        before, began = self._processor_seconds(), time.monotonic()
        await meanwhile
        return 100 * (self._processor_seconds() - before) / (time.monotonic() - began)

    def _processor_seconds(self) -> float:
        return sum(_processor_seconds(each) for each in (self._process.pid, *_children(self._process.pid)))


@contextlib.contextmanager
def _api_server(folder: Path) -> Iterator[str]:
    """The address of an API server in a process of its own."""
    port_file = folder / "port"
    command = [sys.executable, "-m", "controller.lab.apiserver", "--port-file", str(port_file)]
    with _running(subprocess.Popen(command, stdout=subprocess.DEVNULL)):  # noqa: S603
        deadline = time.monotonic() + _PATIENCE
        while not port_file.exists() or not port_file.read_text().strip():
            if time.monotonic() > deadline:
                raise SystemExit("the API server does not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}"


@contextlib.contextmanager
def _agent(server: str, backend: Backend, folder: Path) -> Iterator[AgentProcess]:
    log = folder / "agent.log"
    command = [
        *(sys.executable, "-c", _COMMAND, "agent", "--node-name", NODE, "--backend", backend),
        *("--server", server, "--state-dir", str(folder / "state")),
        *("--log-level", "debug", "--log-format", "json"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603
    with _running(process):
        yield AgentProcess(process, log)


@contextlib.contextmanager
def _running(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _status(process: int, field: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    found = next((line for line in lines if line.startswith(f"{field}:")), f"{field}: 0 kB")
    return int(found.split()[1]) / 1024


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _processor_seconds(process: int) -> float:
    """Its own, and that of its children which have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def print_table(found: dict[Backend, dict[str, float]]) -> None:
    """Markdown, a row a figure."""
    print(f"| {GROUPS} groups of 1,000, 110 pods | " + " | ".join(found) + " |")
    print("|---|" + "---:|" * len(found))
    for name, text in _ROWS.items():
        print(f"| {text} | " + " | ".join(f"{each[name]:.1f}" for each in found.values()) + " |")


_ROWS = {
    "ready": "start to programmed, ms",
    "rss": "resident, MiB",
    "children": "resident, kept restore processes, MiB",
    "peak": "most resident ever, MiB",
    "idle": "processor when idle, %",
    "busy": "processor under change, %",
    "changes": "changes",
    "p50": "watch to kernel p50, ms",
    "p99": "watch to kernel p99, ms",
    "worst": "watch to kernel worst, ms",
}


if __name__ == "__main__":
    main()
