"""Ends of probes by name."""

import pytest

from controller.lab.addressing import plan_node
from controller.lab.network import Names
from controller.lab.podspec import Pod
from controller.lab.targets import Ends, TargetError, named_by
from tests.unit.lab.cluster import pod, workload

NODES = [plan_node("n1", 1, (4, 6))]
WEB = workload("Deployment")


def pods() -> list[Pod]:
    return [
        pod("web-1", owner=WEB, ips=("10.244.1.2", "fd00:244:1::2")),
        pod("web-2", owner=WEB, ips=("10.244.1.3",)),
        pod("host", ips=("172.30.0.11",), spec={"hostNetwork": True}),
        pod("done", ips=("10.244.1.9",), phase="Succeeded"),
    ]


def ends() -> Ends:
    return Ends(Names("lab"), pods(), NODES)


def test_a_probe_goes_by_the_first_family_that_both_ends_have() -> None:
    shot = ends().shot("x/web-1", "x/web-2", 80, None)

    assert (shot.namespace, shot.source, shot.address) == ("pg-lab-x:web-1", "10.244.1.2", "10.244.1.3")


def test_a_probe_to_an_address_goes_by_its_family() -> None:
    assert ends().shot("x/web-1", "2001:db8::1", 80, None).source == "fd00:244:1::2"


def test_a_pod_on_the_host_network_is_its_node() -> None:
    assert ends().find("x/host").namespace == "pg-lab-n1"


def test_a_probe_may_come_from_any_address_outside() -> None:
    shot = ends().shot("198.51.100.7", "x/web-1", 80, None)

    assert (shot.namespace, shot.source) == ("pg-lab-fabric", "198.51.100.7")


@pytest.mark.parametrize(
    ("source", "destination", "family"),
    [
        ("x/nobody", "x/web-1", 0),
        ("x/web-1", "x/done", 0),
        ("x/web-1", "x/web-2", 6),
        ("x/web-2", "fd00::1", 0),
    ],
)
def test_ends_that_cannot_talk_are_named(source: str, destination: str, family: int) -> None:
    with pytest.raises(TargetError, match="x/"):
        ends().shot(source, destination, 80, None, family)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x/web-1", ["x/web-1"]),
        ("x/web", ["x/web-1", "x/web-2"]),
        ("x/deploy/web", ["x/web-1", "x/web-2"]),
        ("x", ["x/host", "x/web-1", "x/web-2"]),
        ("n1", ["n1"]),
        ("outside", ["outside"]),
        ("198.51.100.7", ["198.51.100.7"]),
    ],
)
def test_a_text_means_pods_a_workload_a_namespace_a_node_or_an_address(
    text: str, expected: list[str]
) -> None:
    assert named_by(text, pods(), ["n1"]) == expected


@pytest.mark.parametrize("text", ["x/nobody", "y", "x/done"])
def test_a_text_that_means_nobody_is_named(text: str) -> None:
    with pytest.raises(TargetError, match=text):
        named_by(text, pods(), ["n1"])
