"""One cluster enforced in a lab, and three judges: the policies, the simulated rules, the kernel.

What the third says is beyond dispute: a packet came through or it did not. The other two must say the same.
"""

import itertools
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from controller.dataplane.compile import compile_node
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend
from controller.dataplane.walk import Network
from controller.engine.evaluate import Evaluator
from controller.engine.resolve import Resolver
from controller.lab.probing import Outcome
from controller.objects.kinds import Cluster
from tests.kernel.netlab import Lab
from tests.kernel.probing import PATIENCE, Probe
from tests.kernel.rules import Service

_ICMP = {4: 1, 6: 58}
_generations = itertools.count()
"""Never the same twice in a row, so that no connection of an earlier test is taken for one already judged."""


class Judgement(Struct, frozen=True):
    """What the three judges say of a probe."""

    probe: Probe
    evaluate: bool
    simulate: bool
    kernel: Outcome

    @property
    def agrees(self) -> bool:
        """Whether all say the same."""
        return self.is_unanimous(allowed=self.evaluate)

    def is_unanimous(self, *, allowed: bool) -> bool:
        """Whether all say this."""
        outcome = Outcome.ANSWERED if allowed else Outcome.SILENT
        return (self.evaluate, self.simulate, self.kernel) == (allowed, allowed, outcome)

    def __str__(self) -> str:
        words = {True: "allowed", False: "denied"}
        return (
            f"{self.probe}: the policies say {words[self.evaluate]}, the simulated rules"
            f" {words[self.simulate]}, the kernel {self.kernel}"
        )


class Trial:
    """A lab and the backend its rules are loaded by; then a cluster, once it is enforced."""

    def __init__(self, lab: Lab, backend: Backend) -> None:
        self.lab = lab
        self.backend = backend

    def enforce(self, cluster: Cluster, settings: Settings = DEFAULTS) -> None:
        """Put the rules of a cluster on every node, in a new generation."""
        rulesets = self.compile(cluster, settings)
        self.lab.load_all(rulesets, self.backend)

    def compile(self, cluster: Cluster, settings: Settings = DEFAULTS) -> dict[str, tuple[Ruleset, Ruleset]]:
        """What `enforce` loads on each node; judges speak of this cluster from now on."""
        generation = next(_generations) % settings.marks.generations + 1
        settings = msgspec.structs.replace(settings, generation=generation)
        resolver = Resolver.of(cluster)
        self._evaluator = Evaluator(cluster)
        self._network = Network(resolver, settings)
        return {node.name: compile_node(resolver.view(node.name), settings) for node in self.lab.plan.nodes}

    def serve(self, *services: Service) -> None:
        """Put these Services on every node, and no other."""
        self.lab.serve(services, self.backend)

    def expect(self, *, allowed: Iterable[Probe] = (), denied: Iterable[Probe] = ()) -> None:
        """All three judges must allow the ones and deny the others, in every family that names leave open."""
        passing, dropped = self.in_families(allowed), self.in_families(denied)
        judgements = self.judge([*passing, *dropped])
        wrong = [
            judgement
            for place, judgement in enumerate(judgements)
            if not judgement.is_unanimous(allowed=place < len(passing))
        ]
        assert not wrong, "\n".join(map(str, wrong))

    def judge(self, probes: Sequence[Probe], patience: float = PATIENCE) -> list[Judgement]:
        """What each judge says of each probe."""
        outcomes = self.lab.outcomes(probes, patience)
        return [
            Judgement(probe, *self._foretell(probe), outcome)
            for probe, outcome in zip(probes, outcomes, strict=True)
        ]

    def in_families(self, probes: Iterable[Probe]) -> list[Probe]:
        """Probes between names once for each family of the lab, others as they are."""
        return [
            msgspec.structs.replace(probe, family=family)
            for probe in probes
            for family in self.lab.families_of(probe)
        ]

    def _foretell(self, probe: Probe) -> tuple[bool, bool]:
        """The verdicts of `evaluate` and `simulate`, on what the packet is behind a Service (rule 2.48)."""
        shot = self.lab.resolve(probe)
        source = self._evaluator.addresses.at(shot.source.address)
        destination = self._evaluator.addresses.at(shot.arrival.address if shot.arrival else shot.address)
        port = None if probe.protocol is None else shot.arrival_port
        number = _ICMP[source.family] if probe.protocol is None else int(probe.protocol)
        verdict = self._evaluator.evaluate(source, destination, probe.protocol, port)
        return verdict.allowed, self._network.walk(source, destination, number, port).allowed
