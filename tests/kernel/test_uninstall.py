"""What the cleanup of the manifests runs on each node leaves nothing of podgate's there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.agent.last_good import FILE_NAME
from controller.dataplane.tools import Backend
from tests.kernel.host import Host, applied, needs_host
from tests.kernel.neighbours import move_in
from tests.unit.builder import cluster, labels, pods
from tests.unit.manifests.folders import CLEANUP, containers, read

pytestmark = needs_host

SHOP = (
    cluster()
    .pod("shop/web", ip=("10.0.0.1", "fd00::1"), labels={"app": "web"})
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)


@pytest.mark.parametrize("backend", list(Backend))
def test_a_node_is_as_if_podgate_had_never_been_there(backend: Backend, tmp_path: Path) -> None:
    (cleaning,) = (each for each in containers(*read(CLEANUP)) if each["name"] == "cleanup")
    arguments = [each.replace("/var/lib/podgate", str(tmp_path)) for each in cleaning["args"]]
    with Host(backend, tmp_path) as host:
        move_in(host, *Backend)
        before = host.everything()
        applied(host.node().apply(SHOP.view()))
        assert host.everything() != before
        (tmp_path / FILE_NAME).write_text("what was enforced last")

        done = subprocess.run(
            [sys.executable, "-c", "from controller.cli.main import main; main()", *arguments],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert host.everything() == before
    assert not (tmp_path / FILE_NAME).exists()
