"""Workloads of a lab: Deployments and their kin become pods, are scaled and rolled."""

import copy
import subprocess
from typing import Any

import pytest

from controller.lab.probing import Outcome
from tests.lab.conftest import needs_kubectl
from tests.lab.world import World, eventually, pod, service, workload

pytestmark = pytest.mark.kernel


def with_image(manifest: dict[str, Any], image: str) -> dict[str, Any]:
    found = copy.deepcopy(manifest)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return found


def kubectl(world: World, *arguments: str) -> str:
    command = [
        "kubectl",
        "--kubeconfig",
        str(world.lab.run_dir.kubeconfig),
        "-n",
        world.namespace,
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_deployment_is_scaled(world: World) -> None:
    await world.ready(workload("Deployment", "web", 2, 80))

    up = await world.ready(workload("Deployment", "web", 5, 80))
    down = await world.ready(workload("Deployment", "web", 1, 80))

    assert (len(up), len(down)) == (5, 1)


async def test_a_rolling_update_replaces_every_pod_and_never_lacks_one(world: World) -> None:
    web = workload("Deployment", "web", 3, 80)
    before = {each.metadata.uid for each in await world.ready(web)}
    lowest = len(before)

    await world.apply(with_image(web, "y"))

    async def look() -> tuple[int, bool]:
        pods = await world.pods()
        done = len(pods) == 3 and all(each.is_ready for each in pods)
        return sum(each.is_ready for each in pods), done and not before & {each.metadata.uid for each in pods}

    def note(found: tuple[int, bool]) -> bool:
        nonlocal lowest
        lowest = min(lowest, found[0])
        return found[1]

    await eventually(look, note)
    assert lowest >= 3


async def test_a_statefulset_has_pods_with_lasting_names(world: World) -> None:
    db = workload("StatefulSet", "db", 2, 5432)
    before = await world.ready(db)
    after = await world.ready(with_image(db, "y"))

    assert [each.metadata.name for each in after] == ["db-0", "db-1"]
    assert not {each.metadata.uid for each in before} & {each.metadata.uid for each in after}


async def test_a_daemonset_has_a_pod_on_each_node_also_on_a_new_one(world: World) -> None:
    await world.ready(workload("DaemonSet", "log", 1, 80))

    place = await world.lab.add_node()
    try:
        await eventually(world.pods, lambda found: len(found) == 4)
        await world.lab.wait_ready()
        nodes = sorted(each.node for each in await world.pods())
    finally:
        await world.lab.remove_node(place.name)

    assert nodes == ["node-1", "node-2", "node-3", "node-4"]


async def test_the_pods_of_a_node_that_goes_come_back_elsewhere(world: World) -> None:
    place = await world.lab.add_node()
    await world.ready(workload("Deployment", "web", 4, 80))

    await world.lab.remove_node(place.name)
    await world.lab.wait_ready()

    pods = await world.pods()
    assert len(pods) == 4
    assert place.name not in {each.node for each in pods}


async def test_pods_of_a_deleted_workload_go(world: World) -> None:
    web = workload("Deployment", "web", 2, 80)
    await world.ready(web)

    await world.lab.delete([{**web, "metadata": {"name": "web", "namespace": world.namespace}}])

    assert await eventually(world.pods, lambda found: not found) == []


@pytest.mark.parametrize("family", [4, 6])
async def test_a_service_leads_to_every_ready_pod(world: World, family: int) -> None:
    families = ["IPv4"] if family == 4 else ["IPv6"]
    web = workload("Deployment", "web", 2, 8080)
    await world.ready(web, service("web", 80, 8080, ipFamilies=families), pod("client"))
    names = {each.key for each in await world.pods()} - {f"{world.namespace}/client"}
    address = await world.lab.service_address(world.namespace, "web")
    url = f"http://{f'[{address}]' if family == 6 else address}/"

    async def ask() -> set[str]:
        text = await world.lab.run(f"{world.namespace}/client", ["curl", "-sm2", *[url] * 20])
        return set(text.split())

    assert await eventually(ask, lambda found: found == names) == names


async def test_a_service_leads_nowhere_else(world: World) -> None:
    await world.ready(workload("Deployment", "web", 0, 80), service("web", 80, 80), pod("client"))
    address = await world.lab.service_address(world.namespace, "web")

    assert await world.reaches("client", address, 80) is Outcome.REFUSED


async def test_a_pod_reaches_itself_through_its_service(world: World) -> None:
    await world.ready(pod("web", 8080), service("web", 80, 8080))
    address = await world.lab.service_address(world.namespace, "web")

    async def reach() -> Outcome:
        return await world.reaches("web", address, 80)

    assert await eventually(reach, lambda found: found is Outcome.ANSWERED) is Outcome.ANSWERED


@needs_kubectl
async def test_kubectl_rolls_a_deployment(world: World) -> None:
    await world.ready(workload("Deployment", "web", 2, 80))

    kubectl(world, "rollout", "restart", "deployment/web")

    assert "successfully rolled out" in kubectl(world, "rollout", "status", "deployment/web", "--timeout=20s")


@needs_kubectl
async def test_kubectl_waits_for_a_pod(world: World) -> None:
    await world.apply(pod("a", 80))

    assert "condition met" in kubectl(world, "wait", "--for=condition=Ready", "pod/a", "--timeout=20s")
