"""`podgate apply --follow`: stays, mends what others break, and leaves the rules when it is told to go."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from tests.kernel.host import Host, needs_host

pytestmark = needs_host

MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: node-1, containers: []}
status: {podIP: 10.0.0.3, podIPs: [{ip: 10.0.0.3}, {ip: "fd00::3"}], phase: Running}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
"""


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


@contextmanager
def following(host: Host, folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / "shop.yaml").write_text(MANIFESTS)
    program = "from controller.cli.main import main; main()"
    command = [sys.executable, "-c", program, "apply", "-f", str(folder / "shop.yaml")]
    command += ["--node", "node-1", "--backend", str(host.backend), "--follow"]
    command += ["--canary-interval", "0.1", "--full-interval", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(found: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def children(process: subprocess.Popen[str]) -> list[str]:
    """The names of what it keeps running."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [Path(f"/proc/{each}/comm").read_text().strip() for each in path.read_text().split()]


def test_what_others_break_is_mended_until_it_is_told_to_stop(host: Host, tmp_path: Path) -> None:
    with following(host, tmp_path) as process:
        until(host.kernel(4).is_alive, "the rules of IPv4 come")
        until(host.kernel(6).is_alive, "the rules of IPv6 come")
        until(
            lambda: [name for name in children(process) if name.startswith(("xtables", "ip"))],
            "a restore process is kept open",
        )
        host.iptables("-F")
        assert not host.kernel(4).is_alive()
        until(host.kernel(4).is_alive, "the rules are mended")

        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)

    assert process.returncode == 0, errors
    assert "1 repairs so far" in errors
    assert "(drift," in output
    assert host.kernel(4).is_alive()
    assert host.kernel(6).is_alive()
