"""Judges a scenario by both ways to a verdict, in several layouts, and compares with what the suite says.

`evaluate` reads the policies; `simulate` compiles every node and sends the packet through the hooks it meets.
Beside the verdicts, the state that was brought from step to step change by change must equal the state made
from scratch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from controller.dataplane.walk import Network
from controller.engine.endpoints import Addresses, Endpoint
from controller.engine.evaluate import Evaluator
from controller.engine.resolve import Resolver
from controller.objects.kinds import Cluster, Protocol
from tests.conformance.layouts import Layout, in_family
from tests.conformance.manifests import Store
from tests.conformance.reading import read_cluster
from tests.conformance.scenario import Pair, Probe, Scenario
from tests.conformance.stepping import follow, state

Place = tuple[int, int, Pair]
"""Which verdict of a scenario: step, probe of the step, pair."""

Judge = Callable[[Endpoint, Endpoint, Protocol, int], bool]


class Score(Struct, frozen=True):
    """How many verdicts of a scenario each way got right in all layouts, and all that was wrong, as text."""

    pairs: int
    evaluate: int
    simulate: int
    faults: tuple[str, ...] = ()


class WrongVerdict(Struct, frozen=True):
    """One verdict that is not the suite's."""

    judge: str
    place: Place
    probe: Probe
    family: int

    def __str__(self) -> str:
        words = {True: "allowed", False: "denied"}
        step, _, (source, destination) = self.place
        expected = self.probe.expected[source, destination]
        return (
            f"step {step}: {source} -> {destination} {self.probe.port}/{self.probe.protocol.name}"
            f" over IPv{self.family} is {words[expected]}, {self.judge} says {words[not expected]}"
        )


def judge(scenario: Scenario, layouts: Sequence[Layout]) -> Score:
    """Play a scenario in each layout."""
    wrong: dict[str, set[Place]] = {"evaluate": set(), "simulate": set()}
    faults: list[str] = []
    for layout in layouts:
        for fault in _play(scenario, layout):
            faults.append(f"{layout.name}: {fault}")
            if isinstance(fault, WrongVerdict):
                wrong[fault.judge].add(fault.place)
    right = {name: scenario.pairs - len(places) for name, places in wrong.items()}
    return Score(scenario.pairs, right["evaluate"], right["simulate"], tuple(faults))


def _play(scenario: Scenario, layout: Layout) -> Iterator[WrongVerdict | str]:
    store, resolver, cluster = Store(), Resolver(), Cluster()
    for number, step in enumerate(scenario.steps):
        before, cluster = cluster, read_cluster(layout.lay_out(store.take(step)))
        follow(resolver, before, cluster)
        if state(resolver) != state(Resolver.of(cluster)):
            yield f"step {number}: the state kept change by change is not the state made from scratch"
        judges = {"evaluate": _evaluate(cluster), "simulate": _simulate(resolver)}
        for index, probe in enumerate(step.probes):
            for family in layout.families:
                for name, pair in _wrong(probe, _ends(cluster, probe.expected, family), judges):
                    yield WrongVerdict(name, (number, index, pair), probe, family)


def _wrong(probe: Probe, ends: dict[str, Endpoint], judges: dict[str, Judge]) -> Iterator[tuple[str, Pair]]:
    for pair, expected in probe.expected.items():
        source, destination = (ends[name] for name in pair)
        for name, allows in judges.items():
            if allows(source, destination, probe.protocol, probe.port) is not expected:
                yield name, pair


def _evaluate(cluster: Cluster) -> Judge:
    ask = Evaluator(cluster).evaluate
    return lambda source, destination, protocol, port: ask(source, destination, protocol, port).allowed


def _simulate(resolver: Resolver) -> Judge:
    walk = Network(resolver).walk
    return lambda source, destination, protocol, port: walk(source, destination, protocol, port).allowed


def _ends(cluster: Cluster, pairs: Iterable[Pair], family: int) -> dict[str, Endpoint]:
    """The ends that pairs name, each at its one address of a family."""
    addresses = Addresses(cluster)
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in cluster.pods}
    ends: dict[str, Endpoint] = {}
    for name in {name for pair in pairs for name in pair}:
        found = addresses.of_pod(pods[name]) if "/" in name else [addresses.at(in_family(name, family))]
        (ends[name],) = (end for end in found if end.family == family)
    return ends
