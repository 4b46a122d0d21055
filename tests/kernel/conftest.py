"""The labs of the kernel tests: one for each topology, with the rules of one test at a time."""

from collections.abc import Iterator

import pytest

from controller.dataplane.tools import Backend
from tests.kernel.netlab import Lab
from tests.kernel.requirements import missing
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology

PODS = {"node-1": ["x/a", "x/b", "y/a", "y/b"], "node-2": ["x/c", "x/d", "y/c", "y/d"]}
"""Two namespaces, each on both nodes."""


@pytest.fixture(params=list(Topology), scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two nodes with four pods each, dual stack."""
    topology: Topology = request.param
    lacking = missing(Backend.NFT, topology)
    if lacking and missing(Backend.LEGACY, topology):
        pytest.skip(lacking)
    with Lab(PODS, topology) as found:
        yield found


@pytest.fixture(params=list(Backend))
def trial(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Trial]:
    """The lab, with rules loaded by either backend, and empty again afterwards."""
    lacking = missing(request.param, lab.plan.topology)
    if lacking:
        pytest.skip(lacking)
    yield Trial(lab, request.param)
    lab.clear()
