"""The whole of podgate in a lab: what the policies say is what happens to packets, whatever else happens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from controller.dataplane.tools import Backend
from controller.lab.lab import Lab
from controller.lab.podspec import PROBE_PERIOD_ANNOTATION
from controller.lab.probing import Outcome
from controller.lab.rundir import RunDir
from controller.lab.wiring import Cni
from tests.conformance.scenario import Scenario
from tests.conformance.suites import recipes
from tests.lab.conftest import started
from tests.lab.world import World, eventually, pod, service, workload

pytestmark = pytest.mark.kernel

SHOP = Path(__file__).parents[2] / "examples" / "shop"
RECIPES = recipes.suite()

_numbers = count(1)


@pytest.fixture(scope="module", params=product(Cni, Backend), ids="-".join)
def guarded(request: pytest.FixtureRequest) -> Iterator[RunDir]:
    """A lab of three nodes, dual stack, with an operator and agents."""
    with started(*request.param, with_podgate=True) as found:
        yield found


@pytest.fixture
async def world(guarded: RunDir) -> AsyncIterator[World]:
    """A namespace of that lab, for one test."""
    async with Lab.attached(guarded) as lab:
        world = World(lab, f"e{next(_numbers)}")
        await world.open()
        yield world
        await world.close()


def policy(name: str, **spec: object) -> dict[str, Any]:
    body = {"podSelector": {}, **spec}
    metadata = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": body}


DENY = policy("deny", policyTypes=["Ingress", "Egress"])


def from_app(name: str, app: str, to: str) -> dict[str, Any]:
    """Ingress from one app to another."""
    peer = {"podSelector": {"matchLabels": {"app": app}}}
    return policy(name, podSelector={"matchLabels": {"app": to}}, ingress=[{"from": [peer]}])


async def test_the_shop_is_what_its_policies_say(world: World) -> None:
    await world.lab.apply(SHOP)
    try:
        await world.lab.wait_ready()
        await world.lab.wait_agreed()
        prometheus = await world.lab.probe("platform/prometheus-0", "data/redis-0", 9121)
        redis = await world.lab.probe("data/redis-0", "platform/prometheus-0", 9090)
    finally:
        await world.lab.delete(SHOP)

    assert (prometheus, redis) == (Outcome.ANSWERED, Outcome.SILENT)


@pytest.mark.skipif(bool(RECIPES.absent), reason=RECIPES.absent or "there")
async def test_the_recipes_do_what_they_say(world: World) -> None:
    for scenario in RECIPES.scenarios:
        await check(world, scenario)


async def test_a_policy_is_in_force_for_pods_that_come_later(world: World) -> None:
    await world.apply(DENY, from_app("web", "client", "web"), policy("out", egress=[{}]))

    await world.ready(pod("client"), pod("other"), pod("web", 80))

    await world.lab.wait_agreed()
    assert await world.reaches("client", "web", 80) is Outcome.ANSWERED
    assert await world.reaches("other", "web", 80) is Outcome.SILENT


async def test_a_policy_that_goes_lets_everybody_in_again(world: World) -> None:
    await world.apply(DENY)
    await world.ready(pod("client"), pod("web", 80))
    await world.lab.wait_agreed()

    await world.delete(DENY)

    async def reach() -> Outcome:
        return await world.reaches("client", "web", 80)

    assert await eventually(reach, lambda found: found is Outcome.ANSWERED) is Outcome.ANSWERED


async def test_a_namespace_that_is_relabelled_gains_and_loses_access(world: World) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": world.namespace}}}
    await world.apply(policy("team", ingress=[{"from": [peer]}]))
    await world.ready(pod("client"), pod("web", 80))

    async def reach() -> Outcome:
        return await world.reaches("client", "web", 80)

    await eventually(reach, lambda found: found is Outcome.SILENT)
    await world.label(team=world.namespace)
    await eventually(reach, lambda found: found is Outcome.ANSWERED)
    await world.label(team="other")
    assert await eventually(reach, lambda found: found is Outcome.SILENT) is Outcome.SILENT


async def test_a_rolling_update_under_default_deny_never_cuts_the_clients(world: World) -> None:
    web = workload("Deployment", "web", 3, 8080)
    await world.apply(DENY, from_app("web", "client", "web"), policy("out", egress=[{}]))
    await world.ready(web, service("web", 80, 8080), pod("client"))
    await world.lab.wait_agreed()
    address = await world.lab.service_address(world.namespace, "web")
    before = {each.metadata.uid for each in await world.pods()}
    outcomes: list[Outcome] = []

    web["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
    await world.apply(web)

    async def look() -> bool:
        outcomes.append(await world.reaches("client", address, 80))
        pods = [each for each in await world.pods() if each.metadata.name != "client"]
        return len(pods) == 3 and not before & {each.metadata.uid for each in pods}

    await eventually(look, bool, within=20)
    await world.lab.wait_ready()
    await world.lab.wait_agreed()
    assert set(outcomes) == {Outcome.ANSWERED}


async def test_a_node_that_comes_enforces_and_its_pods_are_peers(world: World) -> None:
    await world.apply(DENY, from_app("web", "client", "web"), policy("out", egress=[{}]))
    place = await world.lab.add_node()
    try:
        pods = (pod("client"), pod("other"), pod("web", 80))
        for each in pods:
            each["spec"]["nodeName"] = place.name
        await world.ready(*pods, workload("Deployment", "far", 2, 80))
        await world.lab.wait_agreed()
        outcomes = [await world.reaches(each, "web", 80) for each in ("client", "other")]
    finally:
        await world.lab.remove_node(place.name)

    assert outcomes == [Outcome.ANSWERED, Outcome.SILENT]


async def test_policies_that_change_while_an_agent_is_away_are_in_force_once_it_is_back(world: World) -> None:
    await world.ready(*(pod(f"p{number}", 80) for number in range(4)))
    await world.lab.wait_agreed()
    for node in ("node-1", "node-2", "node-3"):
        await world.lab.kill_agent(node)

    await world.apply(DENY, from_app("web", "p0", "p1"), policy("out", egress=[{}]))
    for node in ("node-1", "node-2", "node-3"):
        await world.lab.restart_agent(node)

    await world.lab.wait_agreed()
    assert await world.reaches("p0", "p1", 80) is Outcome.ANSWERED
    assert await world.reaches("p2", "p1", 80) is Outcome.SILENT


async def test_policies_that_change_while_the_operator_is_away_are_in_force_once_it_is_back(
    world: World,
) -> None:
    if (world.lab.settings.cni, world.lab.settings.backend) != (Cni.PTP, Backend.NFT):
        pytest.skip("takes as long as a lease lasts, and is the same everywhere")
    await world.ready(*(pod(f"p{number}", 80) for number in range(4)))
    await world.lab.wait_agreed()
    await world.lab.kill_operator()

    await world.apply(DENY)
    await world.lab.restart_operator()

    # The lease of the one that was killed has to run out first.
    await world.lab.wait_agreed(within=40)
    assert await world.reaches("p0", "p1", 80) is Outcome.SILENT


async def test_rules_stay_while_nobody_is_there_to_look_after_them(world: World) -> None:
    await world.apply(DENY)
    await world.ready(pod("a", 80), pod("b", 80))
    await world.lab.wait_agreed()

    world.lab.pause("apiserver")
    try:
        for node in ("node-1", "node-2", "node-3"):
            await world.lab.kill_agent(node)
        # The API server does not answer, so that the packet's addresses are those from before.
        outcome = await world.lab.fire([world.shot("a", "b", 80)])
    finally:
        world.lab.resume("apiserver")
        for node in ("node-1", "node-2", "node-3"):
            await world.lab.restart_agent(node)

    assert outcome == [Outcome.SILENT]
    await world.lab.wait_agreed()


async def test_readiness_probes_never_fail_while_policies_come_and_go(world: World) -> None:
    probe = {"httpGet": {"port": 80}, "timeoutSeconds": 1}
    pods = [pod(f"p{number}", 80, readiness=probe) for number in range(10)]
    for each in pods:
        each["metadata"]["annotations"] = {PROBE_PERIOD_ANNOTATION: "0.05"}
    await world.ready(*pods)

    async def probes() -> int:
        await world.apply(DENY)
        await asyncio.sleep(0.1)  # the agents are not waited for: some probes meet a change half made
        await world.delete(DENY)
        mine = [
            each for key, each in world.lab.probe_counts().items() if key.startswith(f"{world.namespace}/")
        ]
        assert not sum(each.failures for each in mine), mine
        return sum(each.probes for each in mine)

    assert await eventually(probes, lambda found: found >= 1000, within=60) >= 1000


async def check(world: World, scenario: Scenario) -> None:
    """Apply the objects of a recipe, and probe as it says."""
    (step,) = scenario.steps
    ports = sorted({(probe.port, probe.protocol.name) for probe in step.probes})
    objects = [listening(each, ports) if each["kind"] == "Pod" else each for each in step.apply]
    await world.lab.apply(objects)
    try:
        await world.lab.wait_ready()
        await world.lab.wait_agreed()
        for probe in step.probes:
            for (source, destination), allowed in probe.expected.items():
                outcome = await world.lab.probe(source, destination, probe.port, probe.protocol)
                assert (outcome is Outcome.ANSWERED) is allowed, (scenario.name, source, destination, outcome)
    finally:
        kept = {"default", "kube-system"}
        await world.lab.delete(
            [each for each in objects if each["kind"] != "Namespace" or each["metadata"]["name"] not in kept]
        )
        await eventually(world.lab.pods, lambda found: not found)


def listening(manifest: dict[str, Any], ports: list[tuple[int, str]]) -> dict[str, Any]:
    """A pod without an address of its own, that listens where it is asked."""
    listed = [{"containerPort": port, "protocol": protocol} for port, protocol in ports]
    container = {**manifest["spec"]["containers"][0], "ports": listed}
    found = {key: value for key, value in manifest.items() if key != "status"}
    return {**found, "spec": {**manifest["spec"], "containers": [container]}}
