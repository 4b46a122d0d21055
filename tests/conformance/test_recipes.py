"""The network policy recipes."""

import pytest

from tests.conformance.cases import Conforms, each_scenario_of, needs_data_of
from tests.conformance.scenario import Scenario
from tests.conformance.suites import recipes

SUITE = recipes.suite()

pytestmark = pytest.mark.conformance


@each_scenario_of(SUITE)
def test_every_verdict_is_as_upstream_says(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


@needs_data_of(SUITE)
def test_the_data_is_complete() -> None:
    assert len(SUITE.scenarios) == 15
    assert sum(scenario.pairs for scenario in SUITE.scenarios) == 37
