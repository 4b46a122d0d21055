"""A connection's first packet on its way through the cluster: which hooks it meets, what the rules there do.

`Network` compiles what every node would hold and lets packets walk through it. It is the second, independent
path to a verdict (the first is `engine.evaluate`), and it is what `explain --rules` shows.
"""

from collections.abc import Iterator

from msgspec import Struct

from controller.dataplane.compile import FAMILIES, compile_family
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.simulate import Hook, Outcome, Packet, Simulator, Verdict
from controller.engine.endpoints import Endpoint
from controller.engine.resolve import Resolver


class Passage(Struct, frozen=True):
    """One node that a packet crosses, the hook it meets there, and what came of it."""

    node: str
    hook: Hook
    outcome: Outcome


class Walk(Struct, frozen=True):
    """Every passage up to the one that dropped the packet, if any."""

    passages: tuple[Passage, ...]

    @property
    def allowed(self) -> bool:
        """Whether the packet arrives."""
        return all(passage.outcome.verdict is Verdict.ACCEPT for passage in self.passages)


class Network:
    """The rules of every node of a cluster. A node is compiled when a packet first crosses it."""

    def __init__(self, resolver: Resolver, settings: Settings = DEFAULTS) -> None:
        self._resolver = resolver
        self._settings = settings
        self._simulators: dict[tuple[str, int], Simulator] = {}

    def walk(self, source: Endpoint, destination: Endpoint, protocol: int, port: int | None) -> Walk:
        """Send the first packet of a connection. Raises ValueError for addresses of two families."""
        if source.family != destination.family:
            raise ValueError(f"no packet goes from {source.address} to {destination.address}")
        passages: list[Passage] = []
        for node, hook in crossings(source, destination):
            packet = Packet(hook, source.family, source.value, destination.value, protocol, port)
            passages.append(Passage(node, hook, self._simulator(node, source.family).run(packet)))
            if passages[-1].outcome.verdict is Verdict.DROP:
                break
        return Walk(tuple(passages))

    def _simulator(self, node: str, family: int) -> Simulator:
        if (node, family) not in self._simulators:
            view = self._resolver.view(node)
            for each in FAMILIES:
                self._simulators[node, each] = Simulator(compile_family(view, each, self._settings))
        return self._simulators[node, family]


def crossings(source: Endpoint, destination: Endpoint) -> Iterator[tuple[str, Hook]]:
    """The nodes whose agents can judge the packet, and where (docs/dataplane.md, hooks).

    Pods are reached through FORWARD of their node, once where both ends live on one node; a pod's packet to
    its own node meets INPUT, the node's own packet to its pod OUTPUT (rules 2.40, 2.41). Other nodes only
    route.
    """
    origin = source.subjects[0].node if source.subjects else None
    target = destination.subjects[0].node if destination.subjects else None
    if origin is not None:
        to_own_node = bool(destination.node) and destination.node == origin
        yield origin, Hook.INPUT if to_own_node else Hook.FORWARD
    if target is not None and target != origin:
        from_own_node = bool(source.node) and source.node == target
        yield target, Hook.OUTPUT if from_own_node else Hook.FORWARD
