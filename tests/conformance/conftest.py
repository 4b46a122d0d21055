"""The fixture that judges a scenario."""

from collections.abc import Callable

import pytest

from tests.conformance.cases import Conforms
from tests.conformance.judging import judge
from tests.conformance.layouts import FEW_LAYOUTS, LAYOUTS
from tests.conformance.scenario import Scenario, Suite
from tests.conformance.tallies import PROPERTY

SHOWN_FAULTS = 20
MANY_PAIRS = 200
"""A scenario with more pairs than this is judged in fewer layouts, so that the run stays short."""


@pytest.fixture
def conforms(record_property: Callable[[str, object], None]) -> Conforms:
    """Judge a scenario of a suite: record the counts, and fail with what was wrong."""

    def check(suite: Suite, scenario: Scenario) -> None:
        counts = {"pairs": scenario.pairs, "evaluate": 0, "simulate": 0}
        record_property(PROPERTY, (suite.name, len(suite.scenarios), suite.unit, counts))
        score = judge(scenario, FEW_LAYOUTS if scenario.pairs > MANY_PAIRS else LAYOUTS)
        counts |= {"evaluate": score.evaluate, "simulate": score.simulate}
        first = "\n".join(score.faults[:SHOWN_FAULTS])
        assert not score.faults, f"{len(score.faults)} faults, the first being:\n{first}"

    return check
