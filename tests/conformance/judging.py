"""Judges a scenario by both ways to a verdict, in every layout, and compares with what the suite says.

`evaluate` reads the policies; `simulate` compiles every node and sends the packet through the hooks it meets. Beside
the verdicts, the state that was brought from step to step change by change must equal the state made from scratch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from controller.dataplane.walk import Network
from controller.engine.endpoints import Addresses, Endpoint
from controller.engine.evaluate import Evaluator
from controller.engine.resolve import Resolver
from controller.engine.rulesets import PodGroup
from controller.objects.kinds import Cluster, Protocol
from tests.conformance.layouts import LAYOUTS, Layout, in_family
from tests.conformance.manifests import Store
from tests.conformance.reading import read_cluster
from tests.conformance.scenario import Pair, Probe, Scenario

Judge = Callable[[Endpoint, Endpoint, Protocol, int], bool]

Verdict = tuple[int, int, Pair]
"""Which verdict of a scenario: step, probe of the step, pair."""


class Score(Struct, frozen=True):
    """How many of a scenario's verdicts each way got right in all layouts, and everything that was wrong, as text."""

    pairs: int
    evaluate: int
    simulate: int
    faults: tuple[str, ...] = ()


def judge(scenario: Scenario, layouts: Sequence[Layout] = LAYOUTS) -> Score:
    """Play a scenario in each layout."""
    wrong: dict[str, set[Verdict]] = {"evaluate": set(), "simulate": set()}
    faults: list[str] = []
    for layout in layouts:
        for fault in _play(scenario, layout):
            faults.append(f"{layout.name}: {fault}")
            if isinstance(fault, _WrongVerdict):
                wrong[fault.judge].add(fault.verdict)
    right = {name: scenario.pairs - len(verdicts) for name, verdicts in wrong.items()}
    return Score(scenario.pairs, right["evaluate"], right["simulate"], tuple(faults))


class _WrongVerdict(Struct, frozen=True):
    judge: str
    verdict: Verdict
    probe: Probe
    family: int

    def __str__(self) -> str:
        step, _, pair = self.verdict
        said = {True: "allowed", False: "denied"}
        expected = self.probe.expected[pair]
        return (
            f"step {step}: {pair[0]} -> {pair[1]} {self.probe.port}/{self.probe.protocol.name} over IPv{self.family}"
            f" is {said[expected]}, {self.judge} says {said[not expected]}"
        )


def _play(scenario: Scenario, layout: Layout) -> Iterator[_WrongVerdict | str]:
    store, resolver, cluster = Store(), Resolver(), Cluster()
    for number, step in enumerate(scenario.steps, 1):
        before, cluster = cluster, read_cluster(layout.lay_out(store.take(step)))
        follow(resolver, before, cluster)
        if state(resolver) != state(Resolver.of(cluster)):
            yield f"step {number}: the state kept change by change is not the state made from scratch"
        judges = {"evaluate": _evaluate(cluster), "simulate": _simulate(resolver)}
        for index, probe in enumerate(step.probes):
            for family in layout.families:
                ends = _ends(cluster, probe.expected, family)
                for pair, expected in probe.expected.items():
                    source, destination = ends[pair[0]], ends[pair[1]]
                    for name, allows in judges.items():
                        if allows(source, destination, probe.protocol, probe.port) is not expected:
                            yield _WrongVerdict(name, (number, index, pair), probe, family)


def _evaluate(cluster: Cluster) -> Judge:
    evaluator = Evaluator(cluster)
    return lambda source, destination, protocol, port: (
        evaluator.evaluate(source, destination, protocol, port).allowed
    )


def _simulate(resolver: Resolver) -> Judge:
    network = Network(resolver)
    return lambda source, destination, protocol, port: (
        network.walk(source, destination, protocol, port).allowed
    )


def _ends(cluster: Cluster, pairs: Iterable[Pair], family: int) -> dict[str, Endpoint]:
    """The ends that pairs name, at their address of one family."""
    addresses = Addresses(cluster)
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in cluster.pods}
    ends: dict[str, Endpoint] = {}
    for name in {name for pair in pairs for name in pair}:
        found = (
            addresses.of_pod(pods[name]) if "/" in name else (addresses.at(in_family(name, family)),)
        )
        (ends[name],) = (end for end in found if end.family == family)
    return ends


def follow(resolver: Resolver, before: Cluster, after: Cluster) -> None:
    """Bring a resolver from one state of the cluster to the next, with the changes a watch would report."""
    for old_pod in before.pods:
        if old_pod.key not in {pod.key for pod in after.pods}:
            resolver.remove_pod(old_pod.key)
    for old_policy in before.policies:
        if old_policy.key not in {policy.key for policy in after.policies}:
            resolver.remove_policy(old_policy.key)
    for gone in {each.name for each in before.namespaces} - {each.name for each in after.namespaces}:
        resolver.remove_namespace(gone)
    for gone in {each.name for each in before.nodes} - {each.name for each in after.nodes}:
        resolver.remove_node(gone)
    for put, old, new in (
        (resolver.put_policy, before.policies, after.policies),
        (resolver.put_pod, before.pods, after.pods),
        (resolver.put_namespace, before.namespaces, after.namespaces),
        (resolver.put_node, before.nodes, after.nodes),
    ):
        _put_changed(put, old, new)


def _put_changed(put: Callable[[Any], None], old: Sequence[Any], new: Sequence[Any]) -> None:
    for each in new:
        if each not in old:
            put(each)


def state(resolver: Resolver) -> object:
    """Everything a resolver answers: what each node enforces, and who is in each group."""
    views = {node: resolver.view(node) for node in resolver.nodes()}
    members = {
        group: resolver.members(group) if isinstance(group, PodGroup) else resolver.endpoints(group)
        for group in resolver.groups()
    }
    return views, members
