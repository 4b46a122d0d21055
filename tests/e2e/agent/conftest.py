"""One stage for each test and backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from tests.e2e.agent.stage import Stage
from tests.kernel.namespaces import Namespaces
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology


@pytest.fixture(scope="session")
def node() -> Iterator[Namespaces]:
    """The network namespace of the node, for all tests: each begins without rules."""
    with Namespaces(["node"]) as namespaces:
        namespaces["node"].run(["ip", "link", "set", "lo", "up"])
        yield namespaces


@pytest.fixture(params=list(Backend))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Both, one after the other."""
    found: Backend = request.param
    return found


@pytest.fixture
def stage(
    backend: Backend, node: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A node without rules, and an API server without policies."""
    lacking = missing(backend, Topology.PTP)
    if lacking:
        pytest.skip(lacking)
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    with Stage(node["node"], backend, tmp_path) as found:
        yield found
        found.clean()
