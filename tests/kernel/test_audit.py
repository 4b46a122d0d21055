"""Audit mode with real packets, on both backends and in both families: nothing is lost, all is counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.dataplane import names
from controller.dataplane.counters import last_count
from controller.dataplane.kernel import Kernel
from controller.dataplane.tools import Backend, count_command
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from tests.kernel.host import Host, needs_host
from tests.kernel.loopback import UdpFlow, own
from tests.kernel.mirror import mirror
from tests.kernel.probing import Probe
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology
from tests.kernel.wording import BOTH, TCP, UDP, ingress, pods, ports
from tests.unit.builder import cluster, labels

pytestmark = needs_host
one_lab = pytest.mark.parametrize("lab", [Topology.BRIDGE], indirect=True, scope="session")
families = pytest.mark.parametrize("family", [4, 6])

POLICY = pods(pod="b") | ingress(ports=ports(80)) | BOTH | {"policyTypes": ["Ingress"]}
CLIENT = {4: "10.0.0.2", 6: "fd00::2"}
FRIEND = {4: "10.0.0.9", 6: "fd00::9"}


def count(trial: Trial, chain: str, family: int) -> int:
    return last_count(trial.lab.run("node-1", count_command(trial.backend, family, chain)))


@one_lab
@families
def test_what_would_be_denied_arrives_and_is_counted_and_what_is_allowed_is_not(
    trial: Trial, family: int
) -> None:
    built = mirror(trial.lab).policy("x/b-only-80", POLICY).audit(policy="x/b-only-80")
    trial.enforce(built.build())
    allowed = [Probe("x/a", "x/b", TCP, 80, family), Probe("x/c", "x/b", TCP, 80, family)]
    trial.expect(allowed=allowed)
    before = count(trial, names.AUDIT[Direction.INGRESS], family)
    would_be_denied = [Probe("x/a", "x/b", TCP, 81, family), Probe("x/c", "x/b", UDP, 81, family)]

    trial.expect(allowed=would_be_denied)

    assert before == 0
    assert count(trial, names.AUDIT[Direction.INGRESS], family) == len(would_be_denied)
    assert count(trial, names.DENY, family) == 0


@one_lab
@families
def test_an_audited_egress_leaves_an_enforced_ingress_closed(trial: Trial, family: int) -> None:
    egress = pods(pod="a") | BOTH | {"policyTypes": ["Egress"]}
    built = mirror(trial.lab).policy("x/b-only-80", POLICY).policy("x/a", egress).audit(policy="x/a")
    trial.enforce(built.build())

    trial.expect(
        allowed=[Probe("x/a", "x/b", TCP, 80, family), Probe("x/a", "x/c", TCP, 81, family)],
        denied=[Probe("x/a", "x/b", TCP, 81, family)],
    )


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def view(family: int, *, audited: bool) -> NodeView:
    """A local pod that may reach nobody, or of which that is only counted."""
    spec = {"podSelector": labels(app="client"), "policyTypes": ["Egress"]}
    built = cluster().pod("x/client", ip=CLIENT[family], labels={"app": "client"}).policy("x/none", spec)
    return (built.audit(policy="x/none") if audited else built).view()


@families
def test_to_enforce_cuts_what_audit_left_open_and_to_audit_again_lets_it_go_on(
    host: Host, family: int
) -> None:
    own(host, CLIENT[family], FRIEND[family])
    enforcer = host.enforcer(kernel=host.kernel(family))
    generations = [enforcer.apply(view(family, audited=True)).generation]
    with UdpFlow(CLIENT[family], FRIEND[family]) as flow:
        assert flow.asks()

        generations.append(enforcer.apply(view(family, audited=False)).generation)
        assert not flow.asks()

        enforcer.apply(view(family, audited=True))
        assert flow.asks()
    assert generations[1] > generations[0]


@families
def test_the_rules_are_read_back_and_the_chain_goes_with_the_last_pod_that_needs_it(
    host: Host, family: int
) -> None:
    kernel: Kernel = host.kernel(family)
    enforcer = host.enforcer(kernel=kernel)
    wanted = view(family, audited=True)

    enforcer.apply(wanted)
    with_audit = {chain.name for chain in kernel.read().chains}
    drift = host.node(families=[family]).verify(wanted)
    enforcer.apply(replace(wanted, pods=()))

    assert names.AUDIT[Direction.EGRESS] in with_audit
    assert drift == []
    assert with_audit - {chain.name for chain in kernel.read().chains} >= {names.AUDIT[Direction.EGRESS]}
