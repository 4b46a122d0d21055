"""The end-to-end tests of Kubernetes."""

import pytest

from tests.conformance.cases import Conforms, each_scenario_of, needs_data_of
from tests.conformance.scenario import Scenario
from tests.conformance.suites import e2e

SUITE = e2e.suite()

pytestmark = pytest.mark.conformance


@each_scenario_of(SUITE)
def test_every_verdict_is_as_upstream_says(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


@needs_data_of(SUITE)
def test_the_data_is_complete() -> None:
    assert len(SUITE.scenarios) == 48
    assert sum(scenario.pairs for scenario in SUITE.scenarios) == 506
