"""What every implementation must do, stated in scenarios/*.yaml."""

from collections import Counter

import pytest

from tests.conformance.cases import cases
from tests.conformance.conftest import Conforms
from tests.conformance.scenario import Scenario
from tests.conformance.suites import e2e, own

SUITE = own.suite()

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("scenario", cases(SUITE))
def test_own_scenario(scenario: Scenario, conforms: Conforms) -> None:
    conforms(SUITE, scenario)


def test_every_upstream_test_of_every_context_is_restated_once() -> None:
    contexts = Counter(scenario.context for scenario in own.stated())
    assert contexts == {"TCP": 42, "UDP": 3, "SCTP": 3}
    assert len({(scenario.context, scenario.upstream) for scenario in own.stated()}) == 48


@pytest.mark.skipif(bool(e2e.suite().absent), reason=f"own scenarios against upstream titles: skipped, {e2e.suite().absent}")
def test_the_restated_tests_are_those_of_upstream() -> None:
    assert {(scenario.context, scenario.upstream) for scenario in own.stated()} == set(e2e.titles())
