"""The scenarios of a suite as the parameters of a test.

A suite without data becomes one skipped test that says why.
"""

from collections.abc import Callable

import pytest

from tests.conformance.scenario import Scenario, Suite

Conforms = Callable[[Suite, Scenario], None]
"""The fixture `conforms`: judges a scenario of a suite."""


def each_scenario_of(suite: Suite) -> pytest.MarkDecorator:
    """Run a test with each `scenario`."""
    if suite.absent:
        missing = pytest.param(None, marks=pytest.mark.skip(reason=suite.absent), id="no-data")
        return pytest.mark.parametrize("scenario", [missing])
    return pytest.mark.parametrize("scenario", suite.scenarios, ids=[each.name for each in suite.scenarios])


def needs_data_of(suite: Suite) -> pytest.MarkDecorator:
    """Skip a test where the data is not there."""
    return pytest.mark.skipif(bool(suite.absent), reason=suite.absent)
