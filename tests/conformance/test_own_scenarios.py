"""What every implementation must do, as scenarios/*.yaml states it."""

from collections import Counter

import pytest

from tests.conformance.cases import Conforms, each_scenario_of, needs_data_of
from tests.conformance.scenario import Scenario
from tests.conformance.suites import e2e, own

SUITE = own.suite()
BEYOND = own.beyond()

pytestmark = pytest.mark.conformance


@each_scenario_of(SUITE)
def test_every_verdict_is_as_stated(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


@each_scenario_of(BEYOND)
def test_every_verdict_beyond_upstream_is_as_stated(scenario: Scenario, conforms: Conforms) -> None:
    conforms(BEYOND, scenario)


def restated() -> Counter[tuple[str, str]]:
    return Counter((scenario.context, scenario.upstream) for scenario in own.stated() if scenario.upstream)


def test_48_different_upstream_tests_are_restated() -> None:
    assert Counter(context for context, _ in restated()) == {"TCP": 42, "UDP": 3, "SCTP": 3}


@needs_data_of(e2e.suite())
def test_no_upstream_test_is_left_out() -> None:
    assert restated() == Counter(e2e.titles())
