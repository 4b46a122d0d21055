"""The lab itself: what it builds is there, behaves like a network, and is gone afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.namespaces import FOLDER, CommandError
from controller.lab.probing import Outcome
from controller.objects.kinds import Protocol
from tests.kernel.ends import End
from tests.kernel.flows import Talk
from tests.kernel.namespaces import PREFIX, sweep
from tests.kernel.netlab import Lab
from tests.kernel.probing import Probe
from tests.kernel.requirements import missing
from tests.kernel.rules import Service
from tests.kernel.sctp import crc32c
from tests.kernel.wiring import Topology

pytestmark = pytest.mark.kernel

SMALL = {"node-1": ["x/a", "x/b"], "node-2": ["x/c"]}
DIE_IN_A_LAB = """
import os, signal
from tests.kernel.namespaces import Namespaces
with Namespaces(["x"]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
SERVICES = [*((protocol, 80) for protocol in Protocol), (None, 0)]


@pytest.fixture(autouse=True)
def _possible() -> None:
    lacking = missing(Backend.LEGACY, Topology.BRIDGE)
    if lacking:
        pytest.skip(lacking)


@pytest.fixture(params=list(Topology))
def small(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(SMALL, request.param) as found:
        yield found


def namespaces() -> list[str]:
    return sorted(path.name for path in FOLDER.glob(f"{PREFIX}-*")) if FOLDER.exists() else []


def devices() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


# Coming and going


def test_a_lab_of_eight_pods_stands_within_a_second() -> None:
    start = time.monotonic()

    with Lab({"node-1": ["x/a", "x/b", "x/c", "x/d"], "node-2": ["y/a", "y/b", "y/c", "y/d"]}, Topology.PTP):
        assert time.monotonic() - start < 1


def test_nothing_is_left_of_a_lab() -> None:
    before = namespaces(), devices()
    with Lab(SMALL, Topology.BRIDGE) as lab:
        lab.probe(Probe("x/a", "x/c", port=80))

    assert (namespaces(), devices()) == before


def test_nothing_is_left_of_a_lab_that_a_test_failed_in() -> None:
    before = namespaces()

    with pytest.raises(ZeroDivisionError), Lab(SMALL, Topology.PTP):
        raise ZeroDivisionError

    assert namespaces() == before


def test_nothing_is_left_of_a_lab_that_cannot_be_built() -> None:
    before = namespaces()

    with pytest.raises(CommandError), Lab({"node-1": ["x/a", "x/a"]}, Topology.PTP):
        pass

    assert namespaces() == before


def test_labs_stand_side_by_side() -> None:
    with Lab(SMALL, Topology.PTP) as one, Lab(SMALL, Topology.PTP) as other:
        other.run("node-1", ["iptables-legacy", "-A", "FORWARD", "-j", "DROP"])

        probe = Probe("x/a", "x/b", port=80)
        assert (one.probe(probe), other.probe(probe)) == (True, False)


def test_the_labs_of_killed_processes_are_swept_away() -> None:
    killed = subprocess.Popen([sys.executable, "-c", DIE_IN_A_LAB])
    assert killed.wait() == -signal.SIGKILL
    left = [name for name in namespaces() if name.startswith(f"{PREFIX}-{killed.pid}-")]

    assert left
    assert set(left) <= set(sweep())
    assert not set(left) & set(namespaces())


def test_the_labs_of_living_processes_are_not() -> None:
    with Lab(SMALL, Topology.PTP) as lab:
        sweep()

        assert lab.namespace("x/a") in namespaces()
        assert lab.namespace("x/a").startswith(f"{PREFIX}-{os.getpid()}-")


# Packets


@pytest.mark.parametrize(("family", "outside"), [(4, "192.0.2.200"), (6, "2001:db8::ffff")])
def test_everybody_reaches_everybody(small: Lab, family: int, outside: str) -> None:
    places = [place for node, pods in SMALL.items() for place in (node, *pods)]
    probes = [
        Probe(source, destination, protocol, port, family)
        for source in places
        for destination in (*places, outside)
        for protocol, port in SERVICES
    ]

    assert small.outcomes(probes) == [Outcome.ANSWERED] * len(probes)


@pytest.mark.parametrize("family", [4, 6])
def test_a_lab_can_have_one_family_only(family: int) -> None:
    with Lab(SMALL, Topology.BRIDGE, families=[family]) as lab:
        assert lab.probe(Probe("x/a", "x/c", port=80))
        assert lab.plan.families == (family,)


def test_a_packet_that_is_dropped_stays_unanswered(small: Lab) -> None:
    for tool in ("iptables", "ip6tables"):
        small.run("node-1", [f"{tool}-legacy", "-A", "FORWARD", "-j", "DROP"])
    probes = [
        Probe("x/a", destination, protocol, port, family)
        for destination in ("x/b", "x/c", "node-2")
        for protocol, port in SERVICES
        for family in (4, 6)
    ]

    assert small.outcomes(probes) == [Outcome.SILENT] * len(probes)


def test_an_address_where_nobody_listens_refuses(small: Lab) -> None:
    probes = [
        Probe("x/a", "x/c", protocol, 81, family, listening=False)
        for protocol in (Protocol.TCP, Protocol.UDP)
        for family in (4, 6)
    ]

    assert small.outcomes(probes) == [Outcome.REFUSED] * 4


@pytest.mark.parametrize("backend", list(Backend))
def test_a_service_leads_to_its_pod(small: Lab, backend: Backend) -> None:
    small.serve(
        [
            Service("10.96.0.1", 80, End("x/b", small.address("x/b")), 8080, masquerade=True),
            Service("fd00:10:96::1", 80, End("x/b", small.address("x/b", 6)), 8080),
        ],
        backend,
    )
    probes = [
        Probe(source, address, port=80)
        for source in ("x/a", "x/b", "x/c", "node-1", "node-2")
        for address in ("10.96.0.1", "fd00:10:96::1")
    ]

    assert all(small.probe_many(probes))


def test_a_service_that_is_gone_leads_nowhere(small: Lab) -> None:
    small.serve([Service("10.96.0.1", 80, End("x/b", small.address("x/b")), 8080)], Backend.NFT)
    small.clear()

    assert not small.probe(Probe("x/a", "10.96.0.1", port=80))


@pytest.mark.parametrize("talk", [Talk.UPLOAD, Talk.DOWNLOAD])
def test_a_flow_counts_what_arrives(small: Lab, talk: Talk) -> None:
    with small.flow("x/a", "x/c", 5000, talk, family=6) as flow:
        assert flow.goes_on()
        assert flow.goes_on()
    assert flow.ended == ""


@pytest.mark.parametrize("talk", [Talk.ECHO, Talk.DOWNLOAD])
def test_a_udp_flow_counts_what_arrives(small: Lab, talk: Talk) -> None:
    with small.udp_flow("x/a", "x/b", 5000, talk) as flow:
        assert flow.goes_on()
        assert flow.goes_on()


def test_a_flow_notices_a_reset(small: Lab) -> None:
    with small.flow("x/a", "x/c", 5000) as flow:
        reject = ["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]
        small.run("node-1", ["iptables-legacy", "-A", "FORWARD", *reject])
        deadline = time.monotonic() + 2
        while not flow.ended and time.monotonic() < deadline:
            time.sleep(0.01)

        assert flow.ended == "ConnectionResetError"


def test_a_flow_notices_silence(small: Lab) -> None:
    with small.flow("x/a", "x/b", 5000) as flow:
        small.run("node-1", ["iptables-legacy", "-A", "FORWARD", "-j", "DROP"])
        time.sleep(0.05)

        assert not flow.goes_on(within=0.2)
        assert flow.ended == ""


def test_the_checksum_of_sctp_is_castagnolis() -> None:
    """The check value of the catalogue of CRCs."""
    assert crc32c(b"123456789") == 0xE3069283
