"""The commands of docs/install.md, by the real kubectl, against the lab's API server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.lab.apiserver import ApiServer
from tests.kernel.loop import LoopThread
from tests.unit.manifests.folders import BASE, INSTALL, MANIFESTS, read

KUBECTL = shutil.which("kubectl")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


class Machine:
    """Somebody's machine with kubectl on it."""

    def __init__(self, server: str, home: Path) -> None:
        self._server = server
        self._environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(home / "none")}

    def kubectl(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            [str(KUBECTL), "--server", self._server, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def there(self, file: Path) -> list[str]:
        """Which objects of a file are there."""
        return self.kubectl("get", "-f", str(file), "--ignore-not-found", "-o", "name").split()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with LoopThread() as loop:
        server = ApiServer()
        loop.run(server.start())
        try:
            yield Machine(server.url, tmp_path)
        finally:
            loop.run(server.stop())


def test_the_single_file_installs_and_uninstalls(machine: Machine) -> None:
    machine.kubectl("apply", "-f", str(INSTALL))
    assert len(machine.there(INSTALL)) == len(read(BASE))

    # The namespace takes some of the others with it before kubectl comes to them.
    machine.kubectl("delete", "-f", str(INSTALL), "--ignore-not-found")
    assert machine.there(INSTALL) == []


def test_an_overlay_goes_over_the_base_and_back_again(machine: Machine) -> None:
    machine.kubectl("apply", "-k", str(BASE))
    machine.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "ha"))
    ask = ("get", "deployment", "podgate-operator", "-n", "podgate-system", "-o", "jsonpath={.spec.replicas}")
    assert machine.kubectl(*ask) == "2"

    machine.kubectl("apply", "-k", str(BASE))

    assert machine.kubectl(*ask) == "1"


def test_the_cleanup_is_installed_beside_it(machine: Machine) -> None:
    machine.kubectl("apply", "-k", str(BASE))
    machine.kubectl("apply", "-k", str(MANIFESTS / "cleanup"))

    names = machine.kubectl("get", "daemonsets", "-n", "podgate-system", "-o", "name").split()

    assert names == ["daemonset.apps/podgate-agent", "daemonset.apps/podgate-cleanup"]
