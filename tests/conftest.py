"""Hypothesis profiles, shared by every test.

`default` is for a person who waits: few examples, and a failure prints how to reproduce it. `ci` looks
further and starts somewhere else each time, so that the property tests go on exploring;
`HYPOTHESIS_PROFILE=ci` selects it.
"""

import os

from hypothesis import HealthCheck, settings

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
