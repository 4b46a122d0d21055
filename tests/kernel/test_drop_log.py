"""Denied packets as the kernel logs and counts them, on both backends and in both families."""

import select
import time
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from controller.agent.denial import Denial, Denials, Reason
from controller.agent.packet import decode
from controller.agent.packet_log import Logged, PacketLog, PacketLogError
from controller.dataplane import names
from controller.dataplane.counters import last_count
from controller.dataplane.kernel import Kernel
from controller.dataplane.settings import DEFAULTS, DropLog
from controller.dataplane.tools import Result, count_command
from controller.engine.resolve import Resolver
from controller.lab.namespaces import CommandError, Namespace
from controller.objects.kinds import Direction
from tests.kernel.mirror import mirror
from tests.kernel.probing import Probe
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology
from tests.kernel.wording import BOTH, TCP, ingress, pods, ports

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.parametrize("lab", [Topology.BRIDGE], indirect=True, scope="session"),
]

GROUP = 9441
LOGGED = replace(DEFAULTS, drop_log=DropLog(100, GROUP))
POLICY = pods(pod="b") | ingress(ports=ports(80)) | BOTH | {"policyTypes": ["Ingress"]}


def listen(trial: Trial, node: str) -> PacketLog:
    with Namespace(trial.lab.namespace(node)) as namespace, namespace.entered():
        return PacketLog(GROUP)


def heard(log: PacketLog, patience: float = 5.0) -> list[Logged]:
    """What arrives, until something has and nothing more comes."""
    found: list[Logged] = []
    end = time.monotonic() + patience
    while time.monotonic() < end and select.select([log], [], [], 0.5 if found else patience)[0]:
        log.read(found.append)
    return found


def count(trial: Trial, node: str, family: int) -> int:
    return last_count(trial.lab.run(node, count_command(trial.backend, family, names.DENY)))


@pytest.mark.parametrize("family", [4, 6])
def test_a_denied_packet_says_which_pod_denied_it_and_by_which_policy(trial: Trial, family: int) -> None:
    cluster = mirror(trial.lab).policy("x/b-only-80", POLICY).build()
    trial.enforce(cluster, LOGGED)
    log = listen(trial, "node-1")
    try:
        trial.lab.outcomes([Probe("x/a", "x/b", TCP, 81, family=family)])
        packets = heard(log)
    finally:
        log.close()

    denials = Denials(Resolver.of(cluster).view("node-1"))
    found = {denials.of(packet) for each in packets if (packet := decode(each.octets))}
    assert {each.prefix for each in packets} == {"podgate-drop"}
    source = trial.lab.address("x/a", family)
    assert {replace(each, peer_pod="") for each in found} == {
        Denial("x/b", Direction.INGRESS, source, "", ("x/b-only-80",), Reason.PORT_MISMATCH)
    }


@pytest.mark.parametrize("family", [4, 6])
def test_denied_packets_are_counted_where_they_are_denied(trial: Trial, family: int) -> None:
    cluster = mirror(trial.lab).policy("x/b-only-80", POLICY).build()
    trial.enforce(cluster)
    trial.lab.outcomes([Probe("x/a", "x/b", TCP, 81, family=family)])

    assert count(trial, "node-1", family) > 0
    assert count(trial, "node-2", family) == 0


def test_a_group_has_one_listener(trial: Trial) -> None:
    log = listen(trial, "node-1")
    try:
        with pytest.raises(PacketLogError, match="another program listens"):
            listen(trial, "node-1")
    finally:
        log.close()


class Inside:
    """Runs tools in a node."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def run(self, command: Sequence[str], text: str = "") -> Result:
        try:
            return Result(0, self._trial.lab.run("node-1", command, text), "")
        except CommandError as error:
            return Result(1, "", str(error))


class WithoutLog(Inside):
    """A node whose kernel has no NFLOG."""

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if " -j NFLOG" in text:
            return Result(2, "", "Extension NFLOG revision 0 not supported, missing kernel module?")
        return super().run(command, text)


@pytest.mark.parametrize("runner", [Inside, WithoutLog])
def test_whether_the_log_can_be_had_is_asked_without_a_trace(trial: Trial, runner: type[Inside]) -> None:
    kernel = Kernel(4, trial.backend, runner(trial))

    refusal = kernel.log_refusal(DropLog(10, GROUP))

    assert ("not supported" in refusal) is (runner is WithoutLog)
    assert "PODGATE-PROBE" not in trial.lab.run("node-1", [f"iptables-{trial.backend}-save", "-t", "mangle"])
