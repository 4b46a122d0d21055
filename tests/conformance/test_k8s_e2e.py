"""The end-to-end tests of Kubernetes."""

import pytest

from tests.conformance.cases import cases
from tests.conformance.conftest import Conforms
from tests.conformance.scenario import Scenario
from tests.conformance.suites import e2e

SUITE = e2e.suite()

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("scenario", cases(SUITE))
def test_end_to_end_test(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


def test_the_data_is_complete() -> None:
    if SUITE.absent:
        pytest.skip(SUITE.absent)
    assert (len(SUITE.scenarios), sum(scenario.pairs for scenario in SUITE.scenarios)) == (48, 506)
