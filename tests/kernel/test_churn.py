"""Long transfers through many changes of policy: who may go on is not disturbed, who may not is cut at once.

`PODGATE_SOAK_CHANGES=1000 pytest tests/kernel/test_churn.py` goes on for longer.
"""

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from controller.dataplane.tools import Backend
from controller.objects.kinds import Protocol
from tests.kernel import counts
from tests.kernel.agents import Agents
from tests.kernel.churning import FREE, PODS, TRANSFERS, Churn, Watch
from tests.kernel.netlab import Lab
from tests.kernel.probing import Probe
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology

pytestmark = pytest.mark.kernel

CHANGES = int(os.environ.get("PODGATE_SOAK_CHANGES", "150"))
SEED = 1
SETTLED = 0.1
"""Seconds after which what was on its way has arrived."""

PLACES = {Backend.NFT: Topology.BRIDGE, Backend.LEGACY: Topology.PTP}
"""Each backend in one of the topologies; the tests with single probes have every pair."""


@pytest.fixture(params=list(PLACES))
def backend(request: pytest.FixtureRequest) -> Backend:
    found = Backend(request.param)
    lacking = missing(found, PLACES[found])
    if lacking:
        pytest.skip(lacking)
    return found


@pytest.fixture
def lab(backend: Backend) -> Iterator[Lab]:
    with Lab(PODS, PLACES[backend]) as found:
        yield found


@pytest.mark.timeout(120 + CHANGES)
def test_changes_cut_the_transfers_they_deny_and_disturb_no_other(
    lab: Lab, backend: Backend, record_property: counts.Record
) -> None:
    with Agents(lab, backend) as agents, contextlib.ExitStack() as flows:
        churn = Churn(lab, agents)
        churn.change()
        watches = [Watch(churn, each, flows.enter_context(churn.flow(each))) for each in TRANSFERS]

        for number, choice in enumerate(churn.choices(SEED, CHANGES)):
            begun = time.monotonic()
            change = churn.change(choice)
            for watch in watches:
                fault = watch.fault(begun)
                assert not fault, f"change {number} ({change}): {watch.transfer}: {fault}"

        assert not churn.drift()
    assert churn.cut >= CHANGES // 10
    outcome = f"0 resets, {churn.cut} cut when denied, the slowest within {1000 * churn.slowest_cut:.0f} ms"
    record_property(
        counts.LINE,
        f"churn: {CHANGES} changes ({backend}) under {len(TRANSFERS)} transfers: {outcome},"
        f" {churn.resumed} resumed when allowed again",
    )


def test_the_flag_keeps_established_connections(lab: Lab, backend: Backend) -> None:
    with Agents(lab, backend, keep_established=True) as agents, contextlib.ExitStack() as flows:
        churn = Churn(lab, agents)
        churn.change()
        kept = [flows.enter_context(churn.flow(each)) for each in TRANSFERS[-3:]]
        again = [Probe(each.source, each.destination, Protocol.TCP, FREE) for each in TRANSFERS[-3:]]
        assert lab.probe_many(again) == [True] * 3

        churn.change("x/d is no friend any more", "x serves y no more", "y/d is locked in")
        time.sleep(SETTLED)

        assert not any(churn.allows(each) for each in TRANSFERS[-3:])
        assert all(flow.goes_on() for flow in kept)
        assert lab.probe_many(again) == [False] * 3
