"""What people apply: the well-known recipes, file by file, and the example shop, with kubectl and packets."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controller.lab.manifests import read_manifests
from tests.conformance.cases import each_scenario_of
from tests.conformance.scenario import Manifest, Scenario
from tests.conformance.suites import recipes
from tests.conformance.suites.upstream import FOLDER
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.kubectl import kubectl, needs_kubectl
from tests.e2e.system.packets import Question
from tests.e2e.system.system import System

pytestmark = [pytest.mark.kernel, needs_kubectl]

SUITE = recipes.suite()
FILES = FOLDER / recipes.NAME / "policies"
SHOP = Path(__file__).parents[3] / "examples/shop"
OUTSIDE = "203.0.113.7"
ITS_OWN = ("default", "kube-system")
"""Namespaces that every cluster has."""


@pytest.fixture
async def guests(system: System, scenario: Scenario) -> AsyncIterator[list[str]]:
    """The namespaces and pods that a recipe is tried with; gone afterwards, with every policy there is."""
    objects = [*_guests(scenario)]
    await system.apply(*objects)
    yield [each["metadata"]["name"] for each in objects]
    await kubectl(system, "delete", "networkpolicies", "--all", "--all-namespaces")
    await system.delete(*(each for each in objects if each["metadata"]["name"] not in ITS_OWN))


def _guests(scenario: Scenario) -> Iterator[Manifest]:
    for manifest in scenario.steps[0].apply:
        if manifest["kind"] == "Pod":
            ports = [
                {"containerPort": probe.port, "protocol": probe.protocol.name}
                for step in scenario.steps
                for probe in step.probes
            ]
            unique = [each for place, each in enumerate(ports) if each not in ports[:place]]
            spec = {"containers": [{"name": "main", "image": "x", "ports": unique}]}
            yield {**{key: value for key, value in manifest.items() if key != "status"}, "spec": spec}
        elif manifest["kind"] == "Namespace":
            yield manifest


@pytest.mark.usefixtures("guests")
@each_scenario_of(SUITE)
async def test_a_recipe_does_what_it_says(system: System, scenario: Scenario) -> None:
    for name in scenario.name.split("+"):
        await kubectl(system, "apply", "-f", FILES / f"{name}.yaml")
    await system.settled()

    questions = [
        Question("outside" if source == OUTSIDE else source, destination, probe.protocol, probe.port, allowed)
        for probe in scenario.steps[0].probes
        for (source, destination), allowed in probe.expected.items()
    ]
    assert await system.wrong(questions) == []


@pytest.fixture
async def shop_files(system: System) -> AsyncIterator[list[Path]]:
    """What of the shop is for a cluster that has nodes; gone afterwards."""
    files = [path for path in sorted(SHOP.glob("*.yaml")) if path.name != "nodes.yaml"]
    yield files
    kinds = "deployments,statefulsets,daemonsets,cronjobs,services,networkpolicies"
    await kubectl(system, "delete", kinds, "--all", "--all-namespaces", "--wait=false")
    found = {each["metadata"]["name"] for each in read_manifests(SHOP) if each["kind"] == "Namespace"}
    await system.clear(found - {*ITS_OWN})
    homes = (f"{home}/" for home in (*found, *ITS_OWN))
    await system.until_gone(
        {pod.key for home in homes for pod in await system.lab.pods() if pod.key.startswith(home)}
    )
    await system.in_step()


async def test_the_shop_is_enforced_as_its_policies_say(system: System, shop_files: list[Path]) -> None:
    await kubectl(system, "apply", *(word for path in shop_files for word in ("-f", path)))
    await system.settled(within=60)

    wrong = [each for family in FAMILIES for each in await system.lab.disagreements(family, patience=0.15)]

    assert wrong == [], "\n".join(map(str, wrong[:20]))
