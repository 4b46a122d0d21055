"""The conformance suites with real packets: the kernel alone is asked, and must say what the suite says.

Rules get into the nodes as they do on a real one: the state of a scenario is followed change by change, and
`NodeEnforcement` plans and takes the steps, from whatever the scenario before has left there. Topologies take
turns, so that each scenario meets one of them on the one backend and the other on the other.
"""

import contextlib
from collections.abc import Iterator, Sequence

import pytest
from msgspec import Struct

from controller.dataplane.tools import Backend
from controller.engine.resolve import Resolver
from controller.lab.probing import Outcome
from controller.objects.kinds import Cluster
from tests.conformance.cases import each_scenario_of
from tests.conformance.manifests import Store
from tests.conformance.reading import read_cluster
from tests.conformance.scenario import Pair, Scenario, Step, Suite
from tests.conformance.scenario import Probe as Question
from tests.conformance.stepping import follow
from tests.conformance.suites import cyclonus, e2e, own
from tests.conformance.suites.upstream import FOLDER, load
from tests.kernel import counts
from tests.kernel.agents import Agents
from tests.kernel.probing import Probe
from tests.kernel.requirements import missing
from tests.kernel.stage import NODES, Stage
from tests.kernel.wiring import Topology

pytestmark = pytest.mark.kernel

CHOSEN = 60
"""How many cases of cyclonus are played; all 230 would take four times as long and say little more."""

_PATIENCE = 0.05
"""Seconds; hundreds of silences are waited for. Answers in this lab are fifty times faster."""
_SECOND_PATIENCE = 1.0
_SHOWN_FAULTS = 20


def covering(tags: Sequence[frozenset[str]], number: int) -> list[int]:
    """`number` positions whose tags are all tags there are: those that add most first, then in order."""
    chosen: list[int] = []
    open_tags = frozenset().union(*tags)
    while open_tags:
        best = max(range(len(tags)), key=lambda place: (len(tags[place] & open_tags), -place))
        chosen.append(best)
        open_tags -= tags[best]
    assert len(chosen) <= number, f"{len(chosen)} cases are needed to cover every tag"
    others = (place for place in range(len(tags)) if place not in chosen)
    return sorted([*chosen, *others][:number])


def chosen_of_cyclonus() -> Suite:
    """Cases of cyclonus that cover each of its tags."""
    whole = cyclonus.suite()
    if whole.absent:
        return whole
    cases = load(FOLDER / cyclonus.NAME / "generated-cases.yaml")["cases"]
    places = covering([frozenset(case["tags"]) for case in cases], CHOSEN)
    return Suite(f"{whole.name}, {CHOSEN} chosen", tuple(whole.scenarios[place] for place in places))


OWN, BEYOND, UPSTREAM, CYCLONUS = own.suite(), own.beyond(), e2e.suite(), chosen_of_cyclonus()
SUITES = (OWN, BEYOND, UPSTREAM, CYCLONUS)


class Fault(Struct, frozen=True):
    """A probe about which the kernel does not say what the suite says."""

    step: int
    pair: Pair
    probe: Probe
    outcome: Outcome
    expected: bool

    def __str__(self) -> str:
        source, destination = self.pair
        word = "allowed" if self.expected else "denied"
        place = f"step {self.step}: {source} -> {destination} ({self.probe})"
        return f"{place} is {word}, the kernel says {self.outcome}"


class Theatre:
    """The stages of both topologies, with agents of one backend on their nodes; they open when needed."""

    def __init__(self, backend: Backend, stages: "Stages", leaving: contextlib.ExitStack) -> None:
        self.backend = backend
        self._stages = stages
        self._leaving = leaving
        self._agents: dict[Topology, Agents] = {}

    def at(self, topology: Topology) -> tuple[Stage, Agents]:
        """A stage and its agents."""
        stage = self._stages.at(topology)
        if topology not in self._agents:
            self._agents[topology] = self._leaving.enter_context(Agents(stage, self.backend))
        return stage, self._agents[topology]


class Stages:
    """The stages of both topologies; each opens when it is needed."""

    def __init__(self, leaving: contextlib.ExitStack) -> None:
        self._leaving = leaving
        self._open: dict[Topology, Stage] = {}

    def at(self, topology: Topology) -> Stage:
        """A stage with every address that any scenario uses."""
        if topology not in self._open:
            steps = (step for suite in SUITES for scenario in suite.scenarios for step in scenario.steps)
            pods = (each for step in steps for each in step.apply if each["kind"] == "Pod")
            stage = Stage({pod["status"]["podIP"] for pod in pods}, topology)
            self._open[topology] = self._leaving.enter_context(stage)
        return self._open[topology]


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    with contextlib.ExitStack() as leaving:
        yield Stages(leaving)


@pytest.fixture(scope="module", params=list(Backend))
def theatre(request: pytest.FixtureRequest, stages: Stages) -> Iterator[Theatre]:
    # Both backends are consulted where both have rules, so one is left before the other is entered.
    with contextlib.ExitStack() as leaving:
        yield Theatre(request.param, stages, leaving)


class Play:
    """One scenario on a stage."""

    def __init__(self, stage: Stage, agents: Agents, score: counts.Score) -> None:
        self._stage = stage
        self._agents = agents
        self._score = score
        self._store, self._resolver, self._cluster = Store(), Resolver(), Cluster()

    def faults(self, scenario: Scenario) -> list[Fault]:
        """Play all steps; what was wrong."""
        return [fault for number, step in enumerate(scenario.steps) for fault in self._faults(number, step)]

    def _faults(self, number: int, step: Step) -> Iterator[Fault]:
        before, self._cluster = self._cluster, read_cluster(self._stage.lay_out(self._store.take(step)))
        follow(self._resolver, before, self._cluster)
        self._agents.apply({node: self._resolver.view(node) for node in NODES})
        asked = [each for question in step.probes for each in self._asked(question)]
        outcomes = self._outcomes([probe for _, probe, _ in asked], [expected for *_, expected in asked])
        self._score.probes += len(asked)
        for (pair, probe, expected), outcome in zip(asked, outcomes, strict=True):
            if outcome is _wanted(expected=expected):
                self._score.right += 1
            else:
                yield Fault(number, pair, probe, outcome, expected)

    def _asked(self, question: Question) -> Iterator[tuple[Pair, Probe, bool]]:
        addresses = {"/".join(pod.key): pod.ips for pod in self._cluster.pods}
        for pair, expected in question.expected.items():
            # Both lists are in the order of the stage's families.
            for source, destination in zip(*(addresses[name] for name in pair), strict=True):
                yield pair, Probe(source, destination, question.protocol, question.port), expected

    def _outcomes(self, probes: Sequence[Probe], expected: Sequence[bool]) -> list[Outcome]:
        """What comes back; the kernel gets a second chance to answer, never one to be silent."""
        outcomes = self._stage.outcomes(probes, _PATIENCE)
        again = [
            place for place, outcome in enumerate(outcomes) if expected[place] and outcome is Outcome.SILENT
        ]
        for place, outcome in zip(
            again, self._stage.outcomes([probes[place] for place in again], _SECOND_PATIENCE), strict=True
        ):
            self._score.late += outcome is Outcome.ANSWERED
            outcomes[place] = outcome
        return outcomes


def _wanted(*, expected: bool) -> Outcome:
    return Outcome.ANSWERED if expected else Outcome.SILENT


def conforms(suite: Suite, scenario: Scenario, theatre: Theatre, record_property: counts.Record) -> None:
    """Play a scenario, record the counts, and fail with what was wrong."""
    place = [each.name for each in suite.scenarios].index(scenario.name)
    topology = [*Topology][(place + [*Backend].index(theatre.backend)) % len(Topology)]
    lacking = missing(theatre.backend, topology)
    if lacking:
        pytest.skip(f"{suite.name}: skipped, {lacking}")
    score = counts.Score(suite.name, len(suite.scenarios), "probes", scenario.name, theatre.backend)
    try:
        faults = Play(*theatre.at(topology), score).faults(scenario)
    finally:
        counts.record(score, record_property)
    first = "\n".join(map(str, faults[:_SHOWN_FAULTS]))
    assert not faults, (
        f"{topology}: {len(faults)} of {score.probes} probes went wrong, the first being:\n{first}"
    )


@each_scenario_of(OWN)
def test_the_kernel_does_what_a_scenario_states(
    scenario: Scenario, theatre: Theatre, record_property: counts.Record
) -> None:
    conforms(OWN, scenario, theatre, record_property)


@each_scenario_of(BEYOND)
def test_the_kernel_does_what_a_scenario_beyond_upstream_states(
    scenario: Scenario, theatre: Theatre, record_property: counts.Record
) -> None:
    conforms(BEYOND, scenario, theatre, record_property)


@each_scenario_of(UPSTREAM)
def test_the_kernel_does_what_an_upstream_test_says(
    scenario: Scenario, theatre: Theatre, record_property: counts.Record
) -> None:
    conforms(UPSTREAM, scenario, theatre, record_property)


@each_scenario_of(CYCLONUS)
def test_the_kernel_does_what_a_generated_case_says(
    scenario: Scenario, theatre: Theatre, record_property: counts.Record
) -> None:
    conforms(CYCLONUS, scenario, theatre, record_property)


def test_a_choice_that_covers_every_tag_begins_with_the_richest() -> None:
    tags = [frozenset("a"), frozenset("ab"), frozenset("b"), frozenset("c"), frozenset("a")]

    assert covering(tags, 2) == [1, 3]
    assert covering(tags, 4) == [0, 1, 2, 3]
