"""What unit tests share beside `builder`."""

import pytest

from tests.unit.builder import Judge, by_policies, by_rules


@pytest.fixture(params=[by_policies, by_rules], ids=["by policies", "by rules"])
def allowed(request: pytest.FixtureRequest) -> Judge:
    """Whether a connection can be opened, by each of the two independent ways."""
    judge: Judge = request.param
    return judge
