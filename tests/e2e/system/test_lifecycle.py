"""Pods, namespaces and nodes come and go, and their names and addresses are used again."""

import asyncio
import time
from typing import Any

import pytest

from controller.lab.bringup import agent_role
from controller.lab.namespaces import named
from controller.lab.podspec import SUCCEED_ANNOTATION, Pod
from controller.lab.probing import Outcome
from controller.objects.kinds import Protocol
from tests.conformance.layouts import in_family
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, namespace, pod, policy, selected
from tests.e2e.system.vigil import Vigil, Way

pytestmark = pytest.mark.kernel

SHARED = "10.244.2.77"
"""An address that two pods have, one after the other."""
WISH = ",".join(in_family(SHARED, family) for family in FAMILIES)
PROBES = 1000
SWEPT = 4
"""How many addresses after the last one on a node are watched for new pods."""


def asks(source: str, destination: str, *, allowed: bool) -> list[Question]:
    """By TCP and UDP, in both families."""
    return [
        Question(source, destination, protocol, 80, allowed, family)
        for protocol in (Protocol.TCP, Protocol.UDP)
        for family in FAMILIES
    ]


async def until_addressed(system: System, key: str) -> Pod:
    """A pod, as soon as it can send."""
    deadline = time.monotonic() + 10
    while True:
        found = next((each for each in await system.lab.pods() if each.key == key), None)
        if found is not None and found.addresses:
            return found
        assert time.monotonic() < deadline, f"{key} has no address"
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("ends", ["deleted", "succeeded"])
async def test_an_address_that_is_used_again_brings_no_rights_along(
    system: System, shop: Shop, ends: str
) -> None:
    """Rules 2.54 and 2.56: also where the pod that had it is still listed with it."""
    first, second = f"{shop.name}/first", f"{shop.name}/second"
    client = pod(first, {"role": "client"}, node="node-2", address=WISH)
    if ends == "succeeded":
        client["metadata"]["annotations"][SUCCEED_ANNOTATION] = "0.5"
    await system.apply(client)
    await until_addressed(system, first)
    if ends == "deleted":
        await system.settled()
        assert await system.wrong(asks(first, f"{shop.name}/server", allowed=True)) == []
        await system.delete(client)
    else:
        await until_ended(system, first)

    await system.apply(pod(second, {"role": "other"}, node="node-2", address=WISH))
    taken = await until_addressed(system, second)
    ways = [Way(second, f"{shop.name}/server", family) for family in FAMILIES]
    async with Vigil(system.lab, closed=ways) as vigil:
        await system.settled()
        await asyncio.sleep(0.2)  # for packets

    vigil.verdict(least=20)
    assert taken.addresses[0] == SHARED


async def until_ended(system: System, key: str) -> None:
    """Wait until a pod has exited and its network is gone."""
    deadline = time.monotonic() + 10
    place = system.lab.names.pod(*key.split("/"))
    while named(place) or not any(each.key == key and each.has_ended for each in await system.lab.pods()):
        assert time.monotonic() < deadline, f"{key} has not ended"
        await asyncio.sleep(0.01)


async def test_a_pod_that_gets_the_address_of_an_isolated_one_is_free(system: System, shop: Shop) -> None:
    server = f"{shop.name}/second-server"
    isolated = pod(server, {"role": "server"}, node="node-2", address=WISH)
    await system.apply(isolated)
    await system.settled()
    denied = await system.wrong(asks(f"{shop.name}/intruder", server, allowed=False))
    await system.delete(isolated)

    free = f"{shop.name}/free"
    await system.apply(pod(free, {"role": "other"}, node="node-2", address=WISH))
    await system.settled()

    assert denied == []
    assert await system.wrong(asks(f"{shop.name}/intruder", free, allowed=True)) == []


async def test_a_namespace_that_comes_back_has_none_of_its_policies(system: System, shop: Shop) -> None:
    home = f"{shop.name}-home"
    server = pod(f"{home}/server", {"role": "server"}, node="node-2")
    await system.apply(namespace(home), policy(f"{home}/deny"), server)
    await system.settled()
    before = await system.wrong(asks(f"{shop.name}/client", f"{home}/server", allowed=False))

    await system.clear([home])
    await system.apply(namespace(home), server)
    await system.settled()

    assert before == []
    assert await system.wrong(asks(f"{shop.name}/client", f"{home}/server", allowed=True)) == []
    await system.clear([home])


async def test_a_namespace_that_comes_back_has_none_of_its_labels(system: System, shop: Shop) -> None:
    home = f"{shop.name}-home"
    friends = [{"namespaceSelector": selected(team="red")}]
    guest = pod(f"{home}/guest", {}, node="node-2")
    await system.apply(
        namespace(home, team="red"),
        guest,
        policy(f"{shop.name}/friends", podSelector=selected(role="server"), ingress=[{"from": friends}]),
    )
    await system.settled()
    before = await system.wrong(asks(f"{home}/guest", f"{shop.name}/server", allowed=True))

    await system.clear([home])
    await system.apply(namespace(home), guest)
    await until_addressed(system, f"{home}/guest")
    async with Vigil(system.lab, closed=[Way(f"{home}/guest", f"{shop.name}/server")]) as vigil:
        await system.settled()

    assert before == []
    vigil.verdict(least=1)
    assert await system.wrong(asks(f"{home}/guest", f"{shop.name}/server", allowed=False)) == []
    await system.clear([home])


async def test_a_namespace_is_relabelled_to_and_fro(system: System, shop: Shop) -> None:
    home = f"{shop.name}-home"
    friends = [{"namespaceSelector": selected(team="red")}]
    await system.apply(
        namespace(home, team="blue"),
        pod(f"{home}/guest", {}, node="node-2"),
        policy(f"{shop.name}/friends", podSelector=selected(role="server"), ingress=[{"from": friends}]),
    )
    await system.settled()

    wrong = []
    async with shop.vigil() as vigil:
        for team in ("blue", "red", "blue", "red", "blue"):
            await system.apply(namespace(home, team=team))
            await system.in_step()
            questions = asks(f"{home}/guest", f"{shop.name}/server", allowed=team == "red")
            wrong += await system.wrong(questions)

    vigil.verdict(least=50)
    assert wrong == []
    await system.clear([home])


async def test_a_node_comes_and_goes(system: System, shop: Shop) -> None:
    async with shop.vigil() as vigil:
        place = await system.lab.add_node()
        await system.apply(
            pod(f"{shop.name}/far", {"role": "server"}, node=place.name),
            pod(f"{shop.name}/farther", {"role": "client"}, node=place.name),
        )
        await system.settled()
        wrong = await system.wrong(
            [
                *asks(f"{shop.name}/intruder", f"{shop.name}/far", allowed=False),
                *asks(f"{shop.name}/client", f"{shop.name}/far", allowed=True),
                *asks(f"{shop.name}/farther", f"{shop.name}/server", allowed=True),
                *asks(f"{shop.name}/farther", f"{shop.name}/far", allowed=True),
            ]
        )
        system.kernels.forget(place.name)
        await system.lab.remove_node(place.name)
        await system.in_step()

    vigil.verdict()
    assert wrong == []


async def test_a_rolling_update_under_default_deny_opens_no_pod(system: System, shop: Shop) -> None:
    """New pods are isolated from their first packet on, where agents deny to pods they do not know."""
    nodes = [place.name for place in await system.lab.nodes()]
    await restart_agents(system, nodes, "--unknown-pods", "deny")
    system.unknown_denied = True
    try:
        web = deployment(shop, "one")
        await system.apply(web)
        await system.settled()
        before = await addresses_of(system, shop, "web-")
        swept = following(before)
        ways = [*shop.closed, *(Way(f"{shop.name}/intruder", address) for address in (*before, *swept))]
        async with Vigil(system.lab, closed=ways, opened=shop.opened) as vigil:
            await system.apply(deployment(shop, "two"))
            await until_rolled(system, shop, "two")
            await system.settled()
        after = await addresses_of(system, shop, "web-")
    finally:
        await restart_agents(system, nodes)
        system.unknown_denied = False

    vigil.verdict()
    assert {*after} <= {*swept}, "the new pods have addresses that nobody watched"
    assert not {*after} & {*before}
    reached = await system.lab.probe_many(
        [(f"{shop.name}/client", address, 80, Protocol.TCP) for address in after]
    )
    assert reached == [Outcome.ANSWERED] * 3


def deployment(shop: Shop, image: str) -> dict[str, Any]:
    """Three pods that are servers, ready when their node reaches them."""
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    ports = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
    container = {"name": "web", "image": image, "ports": ports, "readinessProbe": probe}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": shop.name, "name": "web"},
        "spec": {
            "replicas": 3,
            "selector": selected(app="web"),
            "template": {
                "metadata": {"labels": {"app": "web", "role": "server"}},
                "spec": {"containers": [container]},
            },
        },
    }


async def restart_agents(system: System, nodes: list[str], *options: str) -> None:
    """With other options than before."""
    async with system.restarted(*map(agent_role, nodes)):
        await asyncio.gather(*(system.lab.restart_agent(node, options) for node in nodes))


async def until_rolled(system: System, shop: Shop, image: str) -> None:
    """Wait until there are pods of this image only."""
    deadline = time.monotonic() + 20
    while True:
        pods = [each for each in await system.lab.pods() if each.key.startswith(f"{shop.name}/web-")]
        images = [container.image for each in pods for container in each.spec.containers or ()]
        if images == [image] * 3 and all(each.is_ready for each in pods):
            return
        assert time.monotonic() < deadline, f"still rolling: {images}"
        await asyncio.sleep(0.02)


async def addresses_of(system: System, shop: Shop, prefix: str) -> list[str]:
    """The IPv4 addresses of some pods."""
    pods = await system.lab.pods()
    return [each.addresses[0] for each in pods if each.key.startswith(f"{shop.name}/{prefix}")]


def following(addresses: list[str]) -> list[str]:
    """Where pods that come next on the nodes of these will be: addresses are handed out in turn."""
    found = []
    for address in addresses:
        block, _, last = address.rpartition(".")
        found += [f"{block}.{2 + (int(last) - 1 + step) % 253}" for step in range(SWEPT)]
    return found


async def test_kubelets_probes_never_fail(system: System, shop: Shop) -> None:
    """Rule 2.40: whatever policies come and go, whether agents are there or not."""
    keys = [f"{shop.name}/probed-{number}" for number in range(6)]
    await system.apply(policy(f"{shop.name}/deny", policyTypes=["Ingress", "Egress"]))
    await system.apply(*(probed(key, f"node-{place % 3 + 1}") for place, key in enumerate(keys)))
    await system.settled()

    deadline, number = time.monotonic() + 60, 0
    while sum(made(system, keys)) < PROBES:
        assert time.monotonic() < deadline, made(system, keys)
        number += 1
        await system.apply(
            policy(f"{shop.name}/deny-{number % 3}", podSelector=selected(part=str(number % 2)))
        )
        if number % 20 == 10:
            await restart_agents(system, ["node-1"])
        await system.in_step()

    assert sum(each.failures for each in counts(system, keys)) == 0


def probed(key: str, node: str) -> dict[str, Any]:
    """A pod of twenty containers, each asked every second whether it is ready."""
    found = pod(key, {"part": key[-1]}, node=node)
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1, "timeoutSeconds": 5}
    (main,) = found["spec"]["containers"]
    more = [{"name": f"c{number}", "image": "x", "readinessProbe": probe} for number in range(20)]
    found["spec"]["containers"] = [main, *more]
    return found


def counts(system: System, keys: list[str]) -> list[Any]:
    """The readiness probes of some pods."""
    found = system.lab.probe_counts()
    return [found[key] for key in keys if key in found]


def made(system: System, keys: list[str]) -> list[int]:
    """How many each has had."""
    return [each.probes for each in counts(system, keys)]
