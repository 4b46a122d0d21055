"""The upstream end-to-end tests, end to end: objects through the API, verdicts by packets.

One lab serves all: objects are brought from what the scenario before left to what the next one has, as a
cluster's users would change them. Pods stay, namespaces are relabelled, policies come and go.
"""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from msgspec import Struct

from controller.lab.lab import Lab
from controller.lab.podspec import ADDRESS_ANNOTATION
from tests.conformance.cases import each_scenario_of
from tests.conformance.layouts import in_family, with_both_families
from tests.conformance.manifests import Store, key_of
from tests.conformance.scenario import Manifest, ObjectKey, Scenario, Step, Suite
from tests.conformance.scenario import Probe as Asked
from tests.conformance.suites import e2e
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.packets import Packets, Question
from tests.e2e.system.system import System
from tests.kernel import counts

pytestmark = pytest.mark.kernel

SUITE = e2e.suite()
LEGACY_EVERY = 6
"""On legacy iptables one scenario of so many is played: all are with packets in tests/kernel."""
_NODES = {"x": "node-1", "y": "node-2", "z": "node-3"}
"""Where the pods of a namespace are, as the suite gives them addresses of these nodes' blocks."""
_SHOWN_FAULTS = 20


class Play(Struct):
    """The scenarios on one lab; `there` is what was applied last."""

    system: System
    there: dict[ObjectKey, Manifest] = {}

    async def faults(self, scenario: Scenario, score: counts.Score) -> list[str]:
        """Play a scenario; what was wrong."""
        store = Store()
        found = []
        for number, step in enumerate(scenario.steps):
            await self._bring(store.take(step))
            if step.probes:
                await self.system.settled()
                found += [f"step {number}: {each}" for each in await self._wrong(step, score)]
        return found

    async def _bring(self, objects: Sequence[Manifest]) -> None:
        """Make what is there what should be; pods that the scenario does without may stay."""
        wanted = {key_of(each): _laid_out(each) for each in objects}
        gone = [key for key in self.there if key not in wanted and key[0] == "NetworkPolicy"]
        await self.system.delete(*(self.there.pop(key) for key in gone))
        changed = {key: each for key, each in wanted.items() if self.there.get(key) != each}
        await self.system.apply(*changed.values())
        self.there |= changed

    async def _wrong(self, step: Step, score: counts.Score) -> list[str]:
        questions = [each for probe in step.probes for each in _questions(probe)]
        with await Packets.of(self.system.lab) as packets:
            wrong = await packets.wrong(questions)
        score.probes += len(questions)
        score.right += len(questions) - len(wrong)
        score.late += packets.late
        return [*map(str, wrong)]


def _questions(probe: Asked) -> Iterator[Question]:
    for (source, destination), allowed in probe.expected.items():
        for family in FAMILIES:
            yield Question(source, destination, probe.protocol, probe.port, allowed, family)


def _laid_out(manifest: Manifest) -> Manifest:
    """As it is here: pods on nodes, and everything in both families."""
    if manifest["kind"] == "NetworkPolicy":
        return {**manifest, "spec": with_both_families(manifest["spec"])}
    if manifest["kind"] == "Pod":
        metadata, address = manifest["metadata"], manifest["status"]["podIP"]
        wish = ",".join(in_family(address, family) for family in FAMILIES)
        return {
            **{key: value for key, value in manifest.items() if key != "status"},
            "metadata": {**metadata, "annotations": {ADDRESS_ANNOTATION: wish}},
            "spec": {**manifest["spec"], "nodeName": _NODES[metadata["namespace"]]},
        }
    return manifest


async def conforms(
    suite: Suite, scenario: Scenario, system: System, play: dict[str, Play], record: counts.Record
) -> None:
    """Play a scenario, record the counts, and fail with what was wrong."""
    score = counts.Score(
        f"{suite.name} end to end", len(suite.scenarios), "probes", scenario.name, system.lab.settings.backend
    )
    on = play.setdefault(system.lab.settings.name, Play(system))
    on.system = system
    try:
        faults = await on.faults(scenario, score)
    finally:
        counts.record(score, record)
    first = "\n".join(faults[:_SHOWN_FAULTS])
    assert not faults, f"{len(faults)} of {score.probes} probes went wrong, the first being:\n{first}"


@pytest.fixture(scope="module")
def play() -> Iterator[dict[str, Play]]:
    """What was applied to each lab so far; removed in the end."""
    found: dict[str, Play] = {}
    yield found

    async def remove(on: Play) -> None:
        async with Lab.attached(on.system.lab.run_dir) as lab:
            await System(lab, on.system.kernels).clear(_NODES)

    for each in found.values():
        asyncio.run(remove(each))


@each_scenario_of(SUITE)
async def test_the_system_does_what_an_upstream_test_says(
    scenario: Scenario, system: System, play: dict[str, Play], record_property: counts.Record
) -> None:
    await conforms(SUITE, scenario, system, play, record_property)


SOME = Suite(SUITE.name, SUITE.scenarios[::LEGACY_EVERY], SUITE.unit, SUITE.absent)


@each_scenario_of(SOME)
async def test_the_system_does_so_on_legacy_iptables(
    scenario: Scenario, legacy_system: System, play: dict[str, Play], record_property: counts.Record
) -> None:
    await conforms(SOME, scenario, legacy_system, play, record_property)
