"""The scenarios of a suite as the parameters of a test; a suite without data becomes one skipped test that says why."""

import pytest
from _pytest.mark import ParameterSet

from tests.conformance.scenario import Suite


def cases(suite: Suite) -> list[ParameterSet]:
    """One parameter for each scenario."""
    if suite.absent:
        reason = f"{suite.name}: skipped, {suite.absent}"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="no-data")]
    return [pytest.param(scenario, id=scenario.name) for scenario in suite.scenarios]
