"""Connections that are open when rules change: who may go on does not notice, who may not falls silent."""

import time

import pytest

from tests.kernel.flows import Talk
from tests.kernel.mirror import mirror
from tests.kernel.trial import Trial
from tests.kernel.wording import BOTH, UDP, egress, ingress, ports

pytestmark = pytest.mark.kernel

OUT = egress() | BOTH
OPEN = ingress(ports=[*ports(5000), *ports(5000, protocol=UDP)]) | OUT
SETTLED = 0.1
"""Seconds after which what was on its way has arrived."""


def test_a_connection_that_is_still_allowed_is_not_disturbed(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/open", OPEN).build())
    with trial.lab.flow("x/a", "x/c", 5000) as far, trial.lab.flow("x/a", "x/b", 5000, family=6) as near:
        for name in ("x/one", "x/two", "x/three"):
            trial.enforce(mirror(trial.lab).policy(name, OPEN | ingress()).build())

            assert far.goes_on()
            assert near.goes_on()
        assert (far.ended, near.ended) == ("", "")


@pytest.mark.parametrize("talk", list(Talk))
@pytest.mark.parametrize("destination", ["x/b", "x/c"], ids=["same-node", "other-node"])
def test_a_connection_that_is_no_longer_allowed_falls_silent(
    trial: Trial, destination: str, talk: Talk
) -> None:
    trial.enforce(mirror(trial.lab).policy("x/web", OPEN).build())
    open_flow = trial.lab.udp_flow if talk is Talk.ECHO else trial.lab.flow
    with open_flow("x/a", destination, 5000, talk) as flow:
        assert flow.goes_on()

        trial.enforce(mirror(trial.lab).policy("x/web", OUT).build())
        time.sleep(SETTLED)

        assert not flow.goes_on(within=0.5)
