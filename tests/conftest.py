"""Hypothesis profiles, shared by every test, and the counts that a run ends with.

`default` is for a person who waits: few examples, and a failure prints how to reproduce it. `ci` looks
further and starts somewhere else each time, so that the property tests go on exploring;
`HYPOTHESIS_PROFILE=ci` selects it.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.conformance import tallies
from tests.kernel import counts

settings.register_profile("default", deadline=None, max_examples=50, print_blob=True)
settings.register_profile(
    "ci",
    deadline=None,  # a shared machine stalls at times: pytest-timeout bounds the whole test instead
    derandomize=False,
    max_examples=150,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Have the run end with the counts of the suites, also where tests run in processes of their own."""
    config.pluginmanager.register(tallies, "conformance tallies")
    config.pluginmanager.register(counts, "kernel counts")
