"""`podgate lab` from outside: what it starts it also removes, however it ends."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.bringup import sweep, take_down
from controller.lab.namespaces import named
from controller.lab.network import Names
from controller.lab.processes import processes_of, stop
from controller.lab.rundir import RunDir
from controller.lab.wiring import Cni
from tests.kernel.requirements import missing

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(missing(Backend.NFT, Cni.PTP)), reason=missing(Backend.NFT, Cni.PTP)),
]

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: x, ports: [{containerPort: 80}]}]}
"""

_PROGRAM = "from controller.cli.main import main; main()"
_numbers = count(1)


class Command:
    """`podgate lab ... --name NAME --run-dir DIR`."""

    def __init__(self, folder: Path) -> None:
        self.name = f"l{os.getpid()}x{next(_numbers)}"
        self.run_dir = RunDir(folder / "labs" / self.name)

    def __call__(self, *arguments: str, code: int = 0, options: bool = True) -> str:
        argv = self.argv(*arguments, options=options)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def argv(self, *arguments: str, options: bool = True) -> list[str]:
        place = ["--name", self.name, "--run-dir", str(self.run_dir.path)] if options else []
        return [sys.executable, "-c", _PROGRAM, "lab", arguments[0], *place, *arguments[1:]]

    def left(self) -> list[str]:
        """What there is of it: namespaces, processes, mounts, files."""
        prefix = Names(self.name).prefix
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if prefix in line]
        files = [str(path) for path in self.run_dir.path.parent.glob("*")]
        return [*named(prefix), *map(str, processes_of(self.name)), *mounts, *files]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Command]:
    found = Command(tmp_path)
    yield found
    take_down(found.name, found.run_dir)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A lab of two nodes with two pods."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "shop.yaml").write_text(SHOP)
    found = Command(folder)
    found("up", "--without-podgate", "--nodes", "2", "-f", str(folder / "shop.yaml"))
    yield found
    take_down(found.name, found.run_dir)


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return str(path)


def test_down_leaves_nothing(lab: Command, shop: str) -> None:
    lab("up", "--without-podgate", "--nodes", "2", "-f", shop)

    lab("down")

    assert lab.left() == []


def test_up_says_what_to_try(lab: Command, shop: str) -> None:
    assert "kubectl get pods" in lab("up", "--without-podgate", "-f", shop)


def test_up_is_quick(lab: Command) -> None:
    text = lab("up", "--without-podgate")

    seconds = float(text.partition("API server after ")[2].partition(" s")[0])
    assert seconds < 30  # a second here; others may be busy


def test_a_lab_that_runs_is_not_started_again(running: Command) -> None:
    assert "is running: podgate lab down" in running("up", "--without-podgate", code=2)


def test_a_crashed_lab_is_cleaned_by_the_next_up(lab: Command) -> None:
    lab("up", "--without-podgate", "--nodes", "3")
    stop(lab.name, processes_of(lab.name), at_once=True)

    lab("up", "--without-podgate", "--nodes", "1")

    assert named(Names(lab.name).prefix) == [f"pg-{lab.name}-fabric", f"pg-{lab.name}-node-1"]


def test_status_says_that_a_lab_has_crashed(lab: Command) -> None:
    lab("up", "--without-podgate", "--nodes", "1")
    stop(lab.name, processes_of(lab.name), at_once=True)

    assert "has crashed" in lab("status", code=2)


def test_an_up_that_fails_leaves_nothing(lab: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("apiVersion: v1\nkind: Nonsense\nmetadata: {name: a}\n")

    text = lab("up", "--without-podgate", "-f", str(tmp_path / "bad.yaml"), code=2)

    assert "Nonsense a: the API server has no Nonsense in v1" in text
    assert lab.left() == []


def test_an_up_that_is_interrupted_leaves_nothing(lab: Command, tmp_path: Path) -> None:
    # Nobody listens there, so that it waits for ever.
    endless = SHOP.replace(
        "containerPort: 80}]", "containerPort: 80}], readinessProbe: {tcpSocket: {port: 1}}"
    )
    (tmp_path / "endless.yaml").write_text(endless)
    # A shell that started these tests in the background may have told them to ignore it.
    interruptible = ["env", "--default-signal=INT"]
    command = [*interruptible, *lab.argv("up", "--without-podgate", "-f", str(tmp_path / "endless.yaml"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the nodes are there
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert process.returncode == 2
    assert lab.left() == []


def test_pods_that_do_not_get_ready_are_named(lab: Command, tmp_path: Path) -> None:
    endless = SHOP.replace(
        "containerPort: 80}]", "containerPort: 80}], readinessProbe: {tcpSocket: {port: 1}}"
    )
    (tmp_path / "endless.yaml").write_text(endless)

    text = lab("up", "--without-podgate", "--within", "1", "-f", str(tmp_path / "endless.yaml"), code=1)

    assert "Deployment shop/web is not complete" in text


def test_a_lab_goes_with_the_program_that_owns_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODGATE_LAB_DIR", str(tmp_path / "labs"))
    program = """
import asyncio, os, signal
from controller.lab.lab import Lab
async def main():
    async with Lab.up(1) as lab:
        print(lab.settings.name, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    name = done.stdout.strip()
    assert processes_of(name)
    swept = sweep()

    left = [*processes_of(name), *named(Names(name).prefix), *tmp_path.iterdir()]
    assert (swept, left) == ([name], [])


def test_nodes_of_the_manifests_are_used(lab: Command, tmp_path: Path) -> None:
    node = """
apiVersion: v1
kind: Node
metadata: {name: big}
spec: {podCIDR: 10.77.0.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.77.5}]}
"""
    (tmp_path / "all.yaml").write_text(f"{node}---{SHOP}")
    lab("up", "--without-podgate", "-f", str(tmp_path / "all.yaml"))

    text = lab("status")

    assert "big    192.168.77.5   2" in text
    assert "10.77.0.2" in text


def test_commands_run_in_the_network_of_a_pod(running: Command) -> None:
    text = running("exec", "shop/web", "--", "ip", "-4", "-o", "address", "show", "eth0")

    assert "10.244." in text


def test_a_pod_that_is_not_there_is_named(running: Command) -> None:
    text = running("exec", "shop/nobody", "--", "true", code=2)

    assert text == "podgate: shop/nobody: no running pod, workload, namespace or node of this lab\n"


def test_probes_tell_allowed_refused_and_denied_apart(running: Command) -> None:
    drop = ["iptables-nft", "-I", "FORWARD", "-p", "tcp", "--dport", "82", "-j", "DROP"]
    running("exec", "node-1", "--", *drop)

    def verdicts(port: str) -> set[str]:
        text = running("probe", "--to", "shop/web", "--port", port, "-o", "json")
        return {each["verdict"] for each in json.loads(text)["probes"]}

    assert [verdicts("80"), verdicts("81"), verdicts("82")] == [{"allowed"}, {"refused"}, {"denied"}]


@pytest.mark.parametrize(
    ("verb", "arguments"), [("status", []), ("kubeconfig", []), ("probe", []), ("remove-node", ["node-1"])]
)
def test_without_a_lab_a_verb_says_how_to_start_one(lab: Command, verb: str, arguments: list[str]) -> None:
    assert "podgate lab up starts one" in lab(verb, *arguments, code=2)


def test_down_without_a_lab_is_no_error(lab: Command) -> None:
    assert lab("down") == ""


def test_a_name_with_a_dash_is_refused(lab: Command) -> None:
    assert "up to 20 of a-z and 0-9" in lab("up", "--name", "a-b", code=2, options=False)


NOBODY = 65534
_SYSTEM_PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
"""The interpreter of the tests may be where nobody else can read it."""


def as_nobody(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user without rights, who finds the packages of this one."""
    return subprocess.run(
        [_SYSTEM_PYTHON, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": "/nonexistent"},
    )


def nobody_cannot() -> str:
    """Why no lab can be had without root; "" where it can."""
    if not Path(_SYSTEM_PYTHON).exists():
        return f"needs {_SYSTEM_PYTHON}"
    done = as_nobody("from controller.lab.unprivileged import hindrance; print(hindrance())")
    return done.stdout.strip() if done.returncode == 0 else "another user cannot read the packages"


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that everybody can read, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_without_root_a_lab_runs_in_a_user_namespace(lab: Command, readable: Path) -> None:
    reason = nobody_cannot()
    if reason:
        pytest.skip(reason)
    shop = readable / "shop.yaml"
    shop.write_text(SHOP)
    texts = []
    for verb in (["up", "-q", "--nodes", "1", "-f", str(shop)], ["probe", "--check"], ["down"]):
        done = as_nobody(_PROGRAM, "lab", verb[0], "--name", lab.name, *verb[1:])
        texts.append(done.stdout + done.stderr)

    assert "2 pods after" in texts[0]
    assert "2 probes: 2 allowed\nall as the policies say" in texts[1]
    assert (texts[2], processes_of(lab.name)) == ("", [])
