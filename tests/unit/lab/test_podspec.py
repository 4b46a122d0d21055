"""Pods as a lab reads them."""

from typing import Any

import msgspec
import pytest

from controller.lab.podspec import Pod, listening, port_number, readiness_checks
from controller.objects.kinds import Protocol
from tests.unit.lab.cluster import pod


def with_probe(probe: dict[str, Any]) -> Pod:
    ports = [{"name": "web", "containerPort": 80}]
    return pod("a", spec={"containers": [{"name": "main", "ports": ports, "readinessProbe": probe}]})


def test_a_pod_listens_at_the_ports_of_its_containers_and_sidecars() -> None:
    found = pod(
        "a",
        spec={
            "containers": [
                {"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]},
                {"ports": [{"containerPort": 80}, {"containerPort": 7, "protocol": "SCTP"}]},
            ],
            "initContainers": [
                {"ports": [{"containerPort": 81}], "restartPolicy": "Always"},
                {"ports": [{"containerPort": 82}]},
            ],
        },
    )

    assert listening(found) == ((Protocol.TCP, 80), (Protocol.TCP, 81), (Protocol.UDP, 53))


def test_fields_that_are_null_are_none() -> None:
    spec, status = {"containers": None}, {"podIPs": None}

    found = msgspec.convert({"metadata": {"labels": None}, "spec": spec, "status": status}, Pod)

    assert (found.labels, listening(found), found.addresses, found.is_ready) == ({}, (), (), False)


def test_a_pod_that_is_going_is_not_ready() -> None:
    assert not pod("a", terminating=True).is_ready


@pytest.mark.parametrize(("port", "expected"), [(8080, 8080), ("9090", 9090), ("web", 80), ("nobody", None)])
def test_a_port_is_a_number_or_a_name(port: int | str, expected: int | None) -> None:
    assert port_number(with_probe({}), port) == expected


def test_a_name_of_another_protocol_is_no_port() -> None:
    assert port_number(with_probe({}), "web", Protocol.UDP) is None


@pytest.mark.parametrize("action", ["httpGet", "tcpSocket", "grpc"])
def test_every_probe_at_a_port_is_a_connection(action: str) -> None:
    (check,) = readiness_checks(with_probe({action: {"port": 80}, "periodSeconds": 2}))

    assert (check.port, check.period, check.timeout, check.failures) == (80, 2, 1, 3)


def test_a_probe_by_command_always_succeeds() -> None:
    assert readiness_checks(with_probe({"exec": {"command": ["true"]}})) == ()


def test_a_probe_at_a_name_that_the_pod_lacks_asks_where_nobody_is() -> None:
    (check,) = readiness_checks(with_probe({"httpGet": {"port": "nobody"}}))

    assert check.port == 0
