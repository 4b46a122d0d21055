"""What nobody should write, and somebody will: it is enforced, or fails closed, and disturbs nobody else."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from controller.kube.resource import PODS
from controller.objects.kinds import Protocol
from tests.conformance.layouts import in_family
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System, namespace, pod, policy, selected

pytestmark = pytest.mark.kernel

MANY = 300


def asks(shop: Shop, source: str, destination: str, *, allowed: bool, family: int = 4) -> list[Question]:
    """Between two pods of a shop, by TCP and UDP."""
    ends = (f"{shop.name}/{source}", f"{shop.name}/{destination}")
    return [Question(*ends, protocol, 80, allowed, family) for protocol in (Protocol.TCP, Protocol.UDP)]


async def test_three_hundred_policies_at_once(system: System, shop: Shop) -> None:
    peers = [[{"podSelector": selected(role="client", number=str(number))}] for number in range(MANY)]
    policies = [
        policy(
            f"{shop.name}/many-{number}",
            podSelector=selected(role="server"),
            ingress=[{"from": each, "ports": [{"port": 1000 + number}]}],
        )
        for number, each in enumerate(peers)
    ]
    began = time.monotonic()
    async with shop.vigil() as vigil:
        await system.apply(*policies)
        await system.in_step(within=60)
        came = time.monotonic() - began
        await system.delete(*policies)
        await system.in_step(within=60)

    vigil.verdict()
    assert came < 60


async def test_a_policy_that_selects_nothing_is_enforced_nowhere_and_everywhere(
    system: System, shop: Shop
) -> None:
    await system.apply(policy(f"{shop.name}/nobody", podSelector=selected(role="nobody")))

    await system.in_step()

    assert await system.wrong(asks(shop, "client", "intruder", allowed=True)) == []


INVALID: Mapping[str, Mapping[str, Any]] = {
    "a port beyond the last": {"ingress": [{"ports": [{"port": 70000}]}]},
    "a protocol that is none": {"ingress": [{"ports": [{"protocol": "ICMP", "port": 80}]}]},
    "an empty peer": {"ingress": [{"from": [{}]}]},
    "a block that is none": {"ingress": [{"from": [{"ipBlock": {"cidr": "everywhere"}}]}]},
    "an operator that is none": {
        "ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "role", "operator": "Like"}]}}]}]
    },
    "a port range backwards": {"ingress": [{"ports": [{"port": 90, "endPort": 70}]}]},
    "rules that are no list": {"ingress": {"from": "anybody"}},
    "a selector that is no object": {"podSelector": "all"},
    "types that are none": {"policyTypes": ["Sideways"]},
    "no spec that could be read": {"podSelector": {"matchLabels": {"role": 7}}, "ingress": [{}]},
}


@pytest.mark.usefixtures("debug")
@pytest.mark.parametrize("what", INVALID)
async def test_a_stored_policy_that_validation_would_refuse_opens_nothing(
    system: System, shop: Shop, what: str
) -> None:
    """Rule 2.70: its bad part matches nothing, and those it selects stay isolated."""
    bad = policy(f"{shop.name}/bad", **{"podSelector": selected(role="intruder"), **INVALID[what]})
    async with shop.vigil() as vigil:
        await system.debug.load([bad])
        await system.in_step()

    vigil.verdict(least=10)
    assert await system.wrong(asks(shop, "client", "intruder", allowed=False)) == []


UNREADABLE: Mapping[str, Mapping[str, Any]] = {
    "an address that is none": {"status": {"phase": "Running", "podIP": "10.0.0.999"}},
    "an address with a zone": {"status": {"phase": "Running", "podIPs": [{"ip": "fe80::1%eth0"}]}},
    "labels that are too long": {"labels": {"role": "client" * 100}},
    "a label that is none": {"labels": {"role": "client!"}},
    "a port that is none": {"ports": [{"name": "UPPER", "containerPort": 99999}]},
    "a protocol that is none": {"ports": [{"containerPort": 80, "protocol": "ICMP"}]},
    "a phase that is none": {"status": {"phase": "Odd", "podIP": "10.244.1.251"}},
}


@pytest.mark.usefixtures("debug")
async def test_stored_pods_that_validation_would_refuse_disturb_nobody(system: System, shop: Shop) -> None:
    bad = []
    for number, parts in enumerate(UNREADABLE.values()):
        labels, ports = parts.get("labels", {"role": "client"}), parts.get("ports", ())
        found = nowhere(f"{shop.name}/bad-{number}", labels, ports=ports)
        bad.append({**found, **({"status": parts["status"]} if "status" in parts else {})})
    async with shop.vigil() as vigil:
        await system.debug.load(bad)
        await system.apply(policy(f"{shop.name}/after", podSelector=selected(role="intruder")))
        await system.in_step()

    vigil.verdict(least=10)
    assert await system.wrong(asks(shop, "client", "intruder", allowed=False)) == []


def nowhere(key: str, labels: Mapping[str, str], **parts: Any) -> dict[str, Any]:  # noqa: ANN401
    """A pod that no node takes."""
    return pod(key, labels, nodeSelector={"there-is": "no-such-node"}, **parts)


async def test_a_pod_without_an_address_is_no_peer_and_stops_nobody(system: System, shop: Shop) -> None:
    """Rule 2.53."""
    await system.apply(nowhere(f"{shop.name}/waiting", {"role": "client"}))

    expectation = await system.in_step()

    (group,) = expectation.resolver.share("node-1").groups
    assert len(expectation.resolver.members(group)) == len(FAMILIES)  # the client's
    assert await system.wrong(asks(shop, "client", "server", allowed=True)) == []


@pytest.mark.usefixtures("debug")
async def test_a_pod_with_an_ipv6_address_alone_is_a_peer_by_it(system: System, shop: Shop) -> None:
    """Rule 2.57. The lab gives pods both; what the API server says of this one is that it has one."""
    single = pod(f"{shop.name}/single", {"role": "client"}, node="node-2")
    await system.apply(single)
    await system.settled()
    (found,) = [each for each in await system.lab.pods() if each.key == f"{shop.name}/single"]
    own = found.addresses[1]
    status = {"status": {"podIP": own, "podIPs": [{"ip": own}]}}
    await system.client.patch(PODS, "single", status, dict, namespace=shop.name, subresource="status")

    expectation = await system.in_step()

    (group,) = expectation.resolver.share("node-1").groups
    assert own in expectation.resolver.members(group)
    assert found.addresses[0] not in expectation.resolver.members(group)
    assert await system.wrong(asks(shop, "single", "server", allowed=True, family=6)) == []


async def test_the_longest_names_and_labels_there_may_be(system: System) -> None:
    home, value = "n" * 63, "v" * 63
    key = f"{'p' * 243}.example/{'k' * 63}"[-317:]
    server, client = f"{home}/{'s' * 253}", f"{home}/{'c' * 253}"
    await system.apply(
        namespace(home, team=value),
        policy(
            f"{home}/{'l' * 253}",
            podSelector={"matchLabels": {key: value}},
            ingress=[{"from": [{"podSelector": selected(role=value)}]}],
        ),
        pod(server, {key: value}, node="node-1"),
        pod(client, {"role": value}, node="node-2"),
        pod(f"{home}/other", {}, node="node-2"),
    )
    await system.settled()

    wrong = await system.wrong(
        [
            Question(client, server, Protocol.TCP, 80, allowed=True),
            Question(f"{home}/other", server, Protocol.TCP, 80, allowed=False),
        ]
    )

    await system.clear([home])
    assert wrong == []


async def test_names_that_look_alike_when_written_together_are_told_apart(system: System) -> None:
    """Policy `b-c` of `a`, and `c` of `a-b`: whoever hashes `a-b-c` has one for both."""
    homes = ("a", "a-b", "a-b-c", "a-x")
    await system.apply(
        *(namespace(home) for home in homes),
        policy("a/b-c", ingress=[{"from": [{"podSelector": {}}]}]),
        policy("a-b/c", ingress=[{"from": [{"namespaceSelector": selected(**_name("a-x"))}]}]),
        *(pod(f"{home}/pod", {}, node=f"node-{place % 3 + 1}") for place, home in enumerate(homes)),
        pod("a/second", {}, node="node-2"),
    )
    await system.settled()

    expected = {
        ("a/second", "a/pod"): True,
        ("a-x/pod", "a/pod"): False,
        ("a-b/pod", "a/pod"): False,
        ("a-x/pod", "a-b/pod"): True,
        ("a/pod", "a-b/pod"): False,
        ("a/pod", "a-b-c/pod"): True,
    }
    wrong = await system.wrong(
        [
            Question(*ends, Protocol.TCP, 80, allowed, family)
            for ends, allowed in expected.items()
            for family in FAMILIES
        ]
    )
    await system.clear(homes)
    assert wrong == []


def _name(name: str) -> dict[str, str]:
    return {"kubernetes.io/metadata.name": name}


async def test_two_live_pods_with_one_address_both_count(system: System, shop: Shop) -> None:
    """Rule 2.56: the second has it for good, and the end of the first takes nothing from it."""
    address = ",".join(in_family("10.244.2.88", family) for family in FAMILIES)
    first = pod(f"{shop.name}/twin", {"role": "client"}, node="node-2", address=address)
    await system.apply(first)
    await system.settled()
    twin = nowhere(f"{shop.name}/second", {"role": "client"})
    ips = [{"ip": each} for each in address.split(",")]
    await system.apply(twin)
    status = {"status": {"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips}}
    await system.client.patch(PODS, "second", status, dict, namespace=shop.name, subresource="status")
    await system.in_step()

    await system.client.delete(PODS, "second", namespace=shop.name, grace_seconds=0)
    await system.in_step()

    assert await system.wrong(asks(shop, "twin", "server", allowed=True)) == []
