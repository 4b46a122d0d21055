"""The network policy recipes."""

import pytest

from tests.conformance.cases import cases
from tests.conformance.conftest import Conforms
from tests.conformance.scenario import Scenario
from tests.conformance.suites import recipes

SUITE = recipes.suite()

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("scenario", cases(SUITE))
def test_recipe(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


def test_the_data_is_complete() -> None:
    if SUITE.absent:
        pytest.skip(SUITE.absent)
    assert (len(SUITE.scenarios), sum(scenario.pairs for scenario in SUITE.scenarios)) == (15, 37)
