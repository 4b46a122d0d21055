"""The agent as a process: real HTTP to an API server, real rules in the kernel."""

import pytest

from tests.e2e.agent.stage import Stage
from tests.unit.builder import cluster, labels, pods

pytestmark = pytest.mark.kernel

SHOP = (
    cluster()
    .pod("shop/web", ip=("10.0.9.1", "fd00:9::1"), labels={"app": "web"}, node="elsewhere")
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)


def test_what_was_published_is_enforced(stage: Stage) -> None:
    view = stage.publish(SHOP)

    stage.start_agent()

    stage.wait_for_view(view)
