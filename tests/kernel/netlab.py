"""A lab: nodes, pods and a world outside, made of network namespaces, and real packets through real rules.

    with Lab({"node-1": ["x/a", "x/b"], "node-2": ["x/c"]}, Topology.BRIDGE) as lab:
        lab.load("node-1", ruleset4, ruleset6, Backend.NFT)
        assert lab.probe(Probe("x/a", "x/c", Protocol.TCP, 80))

A lab of two nodes and eight pods stands within a quarter of a second. Nothing of it is visible in, or
changes, the namespace the tests run in. A process of a node, or a hostNetwork pod, is a probe whose source is
the node. One process does it all: sockets of every place belong to one event loop.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from controller.dataplane.ruleset import Ruleset
from controller.dataplane.tools import Backend
from controller.lab.namespaces import Command, run_all
from controller.lab.probing import Outcome, allow_open_files
from controller.lab.wiring import BRIDGE_SYSCTLS, SYSCTLS, impatience
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import Protocol
from tests.kernel.ends import End
from tests.kernel.flows import Flow, Talk
from tests.kernel.loop import LoopThread
from tests.kernel.namespaces import Namespaces
from tests.kernel.probing import PATIENCE, Probe, Prober, Shot
from tests.kernel.rules import RuleLoader, Service
from tests.kernel.wiring import (
    NODE_SYSCTLS,
    OUTSIDE,
    OUTSIDE_BLOCKS,
    Plan,
    Topology,
    inside_lines,
    node_lines,
    outside_lines,
    plan,
)

_LINKS_UP = 5.0


class Lab:
    """The places of one lab. Nothing exists before it is entered, nor after it is left."""

    def __init__(
        self, pods: Mapping[str, Sequence[str]], topology: Topology, families: Sequence[int] = (4, 6)
    ) -> None:
        self.plan = plan(pods, topology, families)
        self._namespaces = Namespaces(self.plan.places)
        self._leaving = contextlib.ExitStack()
        self._services: dict[tuple[str, int], Service] = {}
        self._places = _places(self.plan)
        self._blocks = [parse_cidr(block) for block in OUTSIDE_BLOCKS]

    def __enter__(self) -> Self:
        allow_open_files()
        with self._leaving:
            folder = Path(self._leaving.enter_context(tempfile.TemporaryDirectory(prefix="pglab-")))
            self._leaving.enter_context(self._namespaces)
            self._loop = self._leaving.enter_context(LoopThread())
            self._prober = Prober(self._namespaces)
            self._leaving.callback(lambda: self._loop.run(self._prober.close()))
            nodes = {node.name: self._namespaces[node.name] for node in self.plan.nodes}
            self._rules = RuleLoader(nodes, folder)
            self._wire()
            self._await_links()
            self._leaving = self._leaving.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    def address(self, place: str, family: int = 4) -> str:
        """The address of a pod or a node. Raises KeyError for a place or family that is not in the lab."""
        return self._places[place][family]

    def namespace(self, place: str) -> str:
        """The name of a place's network namespace, for `ip netns exec`."""
        return self._namespaces[place].name

    def run(self, place: str, command: Sequence[str], text: str = "") -> str:
        """The output of a command that is run in a place and reads `text`. Raises CommandError."""
        return self._namespaces[place].run(command, text)

    # Rules

    def load(self, node: str, ruleset4: Ruleset, ruleset6: Ruleset, backend: Backend) -> None:
        """Put rules on one node, in place of those before. Raises CommandError."""
        self._rules.load({node: (ruleset4, ruleset6)}, backend)

    def load_all(self, rulesets: Mapping[str, Iterable[Ruleset]], backend: Backend) -> None:
        """Put rules on nodes, all at the same time. Raises CommandError."""
        self._rules.load(rulesets, backend)

    def clear(self) -> None:
        """Remove the rules, sets and Services that were loaded."""
        self._rules.clear()
        self._rules.stop_serving()
        self._services = {}

    def serve(self, services: Iterable[Service], backend: Backend) -> None:
        """Put Services on every node, in place of those before. Raises CommandError."""
        found = tuple(services)
        self._rules.serve(found, backend)
        self._services = {(service.address, service.port): service for service in found}

    # Packets

    def probe(self, probe: Probe, patience: float = PATIENCE) -> bool:
        """Whether a probe is answered."""
        return self.probe_many([probe], patience)[0]

    def probe_many(self, probes: Sequence[Probe], patience: float = PATIENCE) -> list[bool]:
        """Whether each of many probes is answered; they are fired together."""
        return [outcome is Outcome.ANSWERED for outcome in self.outcomes(probes, patience)]

    def outcomes(self, probes: Sequence[Probe], patience: float = PATIENCE) -> list[Outcome]:
        """What comes back for each of many probes. Raises OSError for one that cannot even be sent."""
        shots = [self.resolve(probe) for probe in probes]
        return self._loop.run(self._prober.fire(shots, patience))

    def flow(
        self, source: str, destination: str, port: int, talk: Talk = Talk.UPLOAD, family: int = 4
    ) -> Flow:
        """A connection that stays: TCP for UPLOAD and DOWNLOAD. Enter it to open it, leave it to close it."""
        shot = self.resolve(Probe(source, destination, Protocol.TCP, port, family))
        return Flow(self._loop, self._namespaces, shot, talk)

    def udp_flow(
        self, source: str, destination: str, port: int, talk: Talk = Talk.ECHO, family: int = 4
    ) -> Flow:
        """A UDP flow that stays: ECHO, or DOWNLOAD after one datagram of the client."""
        shot = self.resolve(Probe(source, destination, Protocol.UDP, port, family))
        return Flow(self._loop, self._namespaces, shot, talk)

    def families_of(self, probe: Probe) -> tuple[int, ...]:
        """The families a probe can go by: its own, that of an address in it, or between names all."""
        for text in (probe.source, probe.destination):
            if probe.family is None and text not in self._places:
                return (6,) if ":" in text else (4,)
        return self.plan.families if probe.family is None else (probe.family,)

    def resolve(self, probe: Probe) -> Shot:
        """A probe with addresses for names. Raises ValueError for a source that is no place of the lab."""
        family = self.families_of(probe)[0]
        source = self._end(probe.source, family)
        if source is None:
            raise ValueError(f"{probe.source} is not in this lab")
        address = self._places.get(probe.destination, {}).get(family, probe.destination)
        service = self._services.get((address, probe.port))
        arrival, arrival_port = self._end(probe.destination, family), probe.port
        if service is not None:
            arrival, arrival_port = service.backend, service.backend_port
        return Shot(source, address, probe.port, probe.protocol, arrival, arrival_port, probe.listening)

    def _end(self, text: str, family: int) -> End | None:
        """Where a name or an address is; None for an address nobody has."""
        if text in self._places:
            return End(text, self._places[text][family])
        for place, addresses in self._places.items():
            if text in addresses.values():
                return End(place, text)
        block = parse_cidr(f"{text}/{32 if family == 4 else 128}")
        return End(OUTSIDE, text) if any(outside.contains(block) for outside in self._blocks) else None

    def _wire(self) -> None:
        for namespace in self._namespaces:
            namespace.set_sysctls(SYSCTLS)
        for node in self.plan.nodes:
            self._namespaces[node.name].set_sysctls(NODE_SYSCTLS)
            if self.plan.topology is Topology.BRIDGE:
                self._namespaces[node.name].set_sysctls(BRIDGE_SYSCTLS)
        # Links are made from the outside in, as each end of a veth comes with the other.
        self._configure({OUTSIDE: outside_lines(self.plan, self.namespace)})
        nodes = self.plan.nodes
        self._configure({node.name: node_lines(node, self.plan, self.namespace) for node in nodes})
        self._configure({pod.name: inside_lines(pod, node, self.plan) for node in nodes for pod in node.pods})
        for namespace in self._namespaces:
            namespace.set_sysctls(impatience("*"))

    def _await_links(self) -> None:
        """Bridges forward some milliseconds after their ports are up. Raises TimeoutError."""
        beyond = {4: OUTSIDE_BLOCKS[0], 6: OUTSIDE_BLOCKS[-1]}
        nodes = [node.name for node in self.plan.nodes]
        waiting = [
            Probe(place, destination, None, family=family)
            for family in self.plan.families
            for place in self._places
            for destination in (*nodes, str(ip_network(beyond[family])[1]))
            if place != destination
        ]
        deadline = time.monotonic() + _LINKS_UP
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no way {waiting[0]}")
            answered = self.probe_many(waiting, patience=0.1)
            waiting = [probe for probe, found in zip(waiting, answered, strict=True) if not found]

    def _configure(self, lines: Mapping[str, Iterable[str]]) -> None:
        run_all(
            Command(self._namespaces[place], ["ip", "-batch", "-"], "".join(f"{line}\n" for line in found))
            for place, found in lines.items()
        )


def _places(lab: Plan) -> dict[str, Mapping[int, str]]:
    nodes = {node.name: node.addresses for node in lab.nodes}
    return nodes | {pod.name: pod.addresses for pod in lab.pods}
