"""A lab for programs and tests: started, used and removed in one `async with`.

    async with Lab.up(nodes=3, cni=Cni.BRIDGE) as lab:
        await lab.apply(Path("examples/shop"))
        await lab.wait_ready()
        assert await lab.probe("shop/web-0", "shop/db-0", 5432) is Outcome.SILENT

What is in it is described by the modules beside this one. A lab of a program that dies is removed by the next
that starts.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from controller.dataplane.tools import Backend, save_command
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.resource import NODES, PODS
from controller.lab import manifests, processes
from controller.lab.addressing import NodePlace, free_number, plan_node
from controller.lab.bringup import (
    OPERATOR,
    agent_role,
    api_sockets,
    bring_up,
    require_root,
    start_agent,
    start_controlplane,
    start_operator,
    sweep,
    take_down,
)
from controller.lab.expectation import disagreements, evaluator_of, not_enforced
from controller.lab.manifests import Manifest, read_manifests
from controller.lab.namespaces import Namespace
from controller.lab.network import Names, Network
from controller.lab.pairs import Pair, PairProbe, pairs_of
from controller.lab.podspec import Metadata, Node, Pod, Service
from controller.lab.probing import PATIENCE, Outcome, Shot, fire
from controller.lab.programs import has_podgate, podgate_objects
from controller.lab.readiness import Counts
from controller.lab.registration import place_of, register
from controller.lab.resources import SERVICES, WORKLOADS
from controller.lab.rollout import incomplete
from controller.lab.rundir import RunDir, Settings, labs_folder
from controller.lab.targets import Ends
from controller.lab.wiring import Cni
from controller.lab.workloads import Workload
from controller.objects.kinds import Protocol

_numbers = count(1)
_POLL = 0.03
_SHORT = 0.25
"""Patience where a mistake only means another look."""


class NotReadyError(Exception):
    """What was waited for did not come; the message says what is missing."""


class _WireWorkload(msgspec.Struct):
    metadata: Metadata
    spec: dict[str, Any]
    status: dict[str, Any] = {}


class Lab:
    """A running lab. Make it with `Lab.up`, or `Lab.attached` to one that `podgate lab up` started."""

    def __init__(self, run_dir: RunDir, settings: Settings, client: ApiClient) -> None:
        self.run_dir = run_dir
        self.settings = settings
        self.client = client
        self.names = Names(settings.name)

    # From nothing and back

    @classmethod
    @asynccontextmanager
    async def up(  # noqa: PLR0913 - by name
        cls,
        nodes: int | Sequence[NodePlace] = 3,
        *,
        cni: Cni = Cni.PTP,
        dual_stack: bool = False,
        backend: Backend = Backend.NFT,
        with_podgate: bool = False,
        name: str = "",
    ) -> AsyncIterator["Lab"]:
        """A lab for as long as this lasts. Raises BringUpError."""
        name = name or f"t{os.getpid()}x{next(_numbers)}"
        settings = new_settings(
            name, cni=cni, dual_stack=dual_stack, backend=backend, with_podgate=with_podgate, owned=True
        )
        run_dir = RunDir(labs_folder() / name)
        await asyncio.to_thread(sweep)
        try:
            async with cls.started(run_dir, settings, nodes) as lab:
                yield lab
        finally:
            await asyncio.to_thread(take_down, name, run_dir)

    @classmethod
    @asynccontextmanager
    async def started(
        cls, run_dir: RunDir, settings: Settings, nodes: int | Sequence[NodePlace]
    ) -> AsyncIterator["Lab"]:
        """A lab that stays afterwards. Raises BringUpError; what was made by then stays too."""
        require_root()
        listeners = api_sockets()
        try:
            settings = msgspec.structs.replace(settings, port=listeners[0].getsockname()[1])
            places = planned(nodes, settings.families)
            await asyncio.to_thread(bring_up, run_dir, settings, places, listeners)
        finally:
            for listener in listeners:
                listener.close()
        async with cls.attached(run_dir) as lab:
            start_controlplane(run_dir, settings)
            await asyncio.gather(*(register(lab.client, place) for place in places))
            if settings.with_podgate:
                await manifests.apply(lab.client, podgate_objects())
                start_operator(run_dir, settings)
                for place in places:
                    start_agent(run_dir, settings, place.name)
            yield lab

    @classmethod
    @asynccontextmanager
    async def attached(cls, run_dir: RunDir) -> AsyncIterator["Lab"]:
        """A lab that runs already. Raises LabStateError where none does."""
        settings = run_dir.settings()
        async with ApiClient(Connection(server=settings.server), user_agent="podgate-lab") as client:
            yield cls(run_dir, settings, client)

    # Objects

    async def apply(self, source: str | Path | Iterable[Manifest]) -> None:
        """Apply a file, a folder, YAML text or objects; Nodes in them are left out: a lab has its own."""
        found = [each for each in read_manifests(source) if each["kind"] != "Node"]
        await manifests.apply(self.client, found)

    async def delete(self, source: str | Path | Iterable[Manifest]) -> None:
        """Delete what `apply` would apply."""
        await manifests.delete(self.client, read_manifests(source))

    async def pods(self) -> list[Pod]:
        """All pods."""
        return (await self.client.list_all(PODS, Pod)).items

    async def nodes(self) -> list[NodePlace]:
        """All nodes."""
        return [place_of(node) for node in (await self.client.list_all(NODES, Node)).items]

    async def service_address(self, namespace: str, name: str) -> str:
        """The first cluster address of a Service."""
        service = await self.client.get(SERVICES, name, Service, namespace=namespace)
        return service.spec.cluster_ip or ""

    async def wait_ready(self, within: float = 30.0) -> None:
        """Until every workload is complete and every pod ready. Raises NotReadyError."""
        deadline = time.monotonic() + within
        while missing := await self.missing():
            if time.monotonic() > deadline:
                words = "\n  ".join(missing[:10])
                raise NotReadyError(f"not ready after {within:g} s, see {self.run_dir.logs}:\n  {words}")
            await asyncio.sleep(_POLL)

    async def missing(self) -> list[str]:
        """What is not ready, in words."""
        found = [
            f"{kind} {each.metadata.namespace}/{each.metadata.name} is not complete"
            for kind, resource in WORKLOADS.items()
            for each in (await self.client.list_all(resource, _WireWorkload)).items
            if incomplete(Workload(kind=kind, metadata=each.metadata, spec=each.spec), each.status)
        ]
        for pod in await self.pods():
            if pod.is_terminating:
                found.append(f"pod {pod.key} is being deleted")
            elif not pod.is_ready and not pod.has_ended:
                found.append(f"pod {pod.key} is not ready (node: {pod.node or 'none'})")
        return found

    # Packets

    async def probe(  # noqa: PLR0913 - by name
        self,
        source: str,
        destination: str,
        port: int,
        protocol: Protocol | None = Protocol.TCP,
        *,
        family: int = 0,
        patience: float = PATIENCE,
    ) -> Outcome:
        """What comes back for one packet; see `probe_many`."""
        return (await self.probe_many([(source, destination, port, protocol)], family, patience))[0]

    async def probe_many(
        self,
        probes: Iterable[tuple[str, str, int, Protocol | None]],
        family: int = 0,
        patience: float = PATIENCE,
    ) -> list[Outcome]:
        """What comes back for packets that are sent together: source, destination, port, protocol.

        Ends are pods `namespace/name`, nodes and `outside`; destinations may be addresses. Protocol None is
        an ICMP echo. Raises TargetError for an end that is not in the lab.
        """
        ends = await self.ends()
        shots = [ends.shot(*probe, family) for probe in probes]
        return await self.fire(shots, patience)

    async def fire(self, shots: Sequence[Shot], patience: float = PATIENCE) -> list[Outcome]:
        """What comes back for packets whose ends are known."""
        with ExitStack() as stack:
            namespaces = {
                name: stack.enter_context(Namespace(name)) for name in {shot.namespace for shot in shots}
            }
            return await fire(shots, namespaces, patience)

    async def ends(self) -> Ends:
        """Everybody who can send, by name."""
        return Ends(self.names, await self.pods(), await self.nodes())

    async def disagreements(self, family: int = 0, patience: float = PATIENCE) -> list[PairProbe]:
        """All pairs of pods, probed; those whose outcome is not what the policies say at this moment."""
        pods = await self.pods()
        pairs = pairs_of(Ends(self.names, pods, await self.nodes()), pods, family=family)
        return disagreements(await evaluator_of(self.client), await self.probe_pairs(pairs, patience))

    async def probe_pairs(self, pairs: Sequence[Pair], patience: float = PATIENCE) -> list[PairProbe]:
        """What comes back for probes of `pairs_of`."""
        outcomes = await self.fire([pair.shot for pair in pairs], patience)
        return [PairProbe(pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]

    async def wait_agreed(self, within: float = 20.0) -> None:
        """Until every policy is enforced and every packet fares as they say. Raises NotReadyError."""
        deadline = time.monotonic() + within
        while self.settings.with_podgate and (late := await not_enforced(self.client)):
            if time.monotonic() > deadline:
                raise NotReadyError(f"not enforced after {within:g} s: {', '.join(late)}")
            await asyncio.sleep(_POLL)
        for family in self.settings.families:
            while found := await self.disagreements(family, _SHORT):
                if time.monotonic() > deadline:
                    words = "\n  ".join(map(str, found[:10]))
                    raise NotReadyError(f"{len(found)} pairs not as the policies say:\n  {words}")

    def probe_counts(self) -> dict[str, Counts]:
        """The readiness probes of each pod until half a second ago."""
        try:
            return msgspec.json.decode(self.run_dir.probe_counts.read_bytes(), type=dict[str, Counts])
        except FileNotFoundError:
            return {}

    async def run(self, place: str, command: Sequence[str]) -> str:
        """The output of a command in a pod `namespace/name` or a node. Raises CommandError."""
        name = (await self.ends()).find(place).namespace

        def blocking() -> str:
            with Namespace(name) as namespace:
                return namespace.run(command)

        return await asyncio.to_thread(blocking)

    # Nodes

    async def add_node(self, name: str = "") -> NodePlace:
        """One more node, with an agent where the lab runs podgate."""
        there = await self.nodes()
        number = free_number(each.number for each in there)
        place = plan_node(name or f"node-{number}", number, self.settings.families)
        await asyncio.to_thread(self._network.add_node, place)
        await register(self.client, place)
        if self.settings.with_podgate:
            self.start_agent(place.name)
        return place

    async def remove_node(self, name: str, within: float = 10.0) -> None:
        """A node less: its object, its pods, its agent and its namespace. Raises NotReadyError."""
        places = {each.name: each for each in await self.nodes()}
        place = places[name]
        await self.client.delete(NODES, name)
        deadline = time.monotonic() + within
        while any(pod.node == name for pod in await self.pods()):
            if time.monotonic() > deadline:
                raise NotReadyError(f"the pods of {name} are still there after {within:g} s")
            await asyncio.sleep(_POLL)
        await self.kill_agent(name)
        await asyncio.to_thread(self._network.remove_node, place)

    def rules(self, node: str, family: int = 4) -> str:
        """What iptables-save prints on a node."""
        with Namespace(self.names.node(node)) as namespace:
            return namespace.run(save_command(self.settings.backend, family))

    # Processes

    def processes(self) -> list[processes.LabProcess]:
        """Those of the lab."""
        return processes.processes_of(self.settings.name)

    def start_agent(self, node: str, options: Sequence[str] = ()) -> None:
        """Start the agent of a node, with more options of its command."""
        start_agent(self.run_dir, self.settings, node, options)

    async def restart_agent(self, node: str, options: Sequence[str] = ()) -> None:
        """Stop the agent of a node as Kubernetes does, and start it again."""
        await self.kill_agent(node, at_once=False)
        self.start_agent(node, options)

    async def kill_agent(self, node: str, *, at_once: bool = True) -> None:
        """SIGKILL, or SIGTERM, for the agent of a node."""
        await self._stop(agent_role(node), at_once=at_once)

    def start_operator(self, role: str = OPERATOR, environment: Mapping[str, str] | None = None) -> None:
        """Start the operator, or under another role one more replica of it."""
        start_operator(self.run_dir, self.settings, role, environment)

    async def restart_operator(self) -> None:
        """Stop the operator as Kubernetes does, and start it again."""
        await self.kill_operator(at_once=False)
        self.start_operator()

    async def kill_operator(self, role: str = OPERATOR, *, at_once: bool = True) -> None:
        """SIGKILL, or SIGTERM, for the operator, or another replica of it."""
        await self._stop(role, at_once=at_once)

    def pause(self, role: str) -> None:
        """SIGSTOP for the processes of a role, `apiserver` say: they are there and do nothing."""
        self._signal(role, signal.SIGSTOP)

    def resume(self, role: str) -> None:
        """SIGCONT."""
        self._signal(role, signal.SIGCONT)

    def log(self, role: str) -> str:
        """What the processes of a role have printed so far."""
        return self.run_dir.log(role).read_text(errors="replace")

    def _signal(self, role: str, number: signal.Signals) -> None:
        for process in self.processes():
            if process.role == role:
                os.kill(process.pid, number)

    async def _stop(self, role: str, *, at_once: bool) -> None:
        found = [process for process in self.processes() if process.role == role]
        await asyncio.to_thread(processes.stop, self.settings.name, found, at_once=at_once)

    @property
    def _network(self) -> Network:
        return Network(self.names, self.settings.cni, self.settings.backend)


def new_settings(  # noqa: PLR0913 - by name
    name: str, *, cni: Cni, dual_stack: bool, backend: Backend, with_podgate: bool, owned: bool
) -> Settings:
    """Settings of a lab to be started."""
    owner = os.getpid() if owned else 0
    return Settings(
        name=name,
        cni=cni,
        backend=backend,
        families=(4, 6) if dual_stack else (4,),
        port=0,
        with_podgate=with_podgate and has_podgate(),
        owner=owner,
        owner_started=processes.start_time(owner),
    )


def planned(nodes: int | Sequence[NodePlace], families: Sequence[int]) -> list[NodePlace]:
    """So many nodes, or these."""
    if not isinstance(nodes, int):
        return [*nodes]
    return [plan_node(f"node-{number}", number, families) for number in range(1, nodes + 1)]
