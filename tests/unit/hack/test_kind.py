"""The scripts for kind, with stand-ins for kind, docker and kubectl: there is no cluster here to make."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from controller import __version__
from tests.unit.manifests.strict import check

ROOT = Path(__file__).parents[3]
KIND = ROOT / "hack" / "kind"
SCRIPTS = ["up.sh", "e2e.sh", "down.sh"]

NODES = """{"items": [
  {"metadata": {"name": "podgate-control-plane"}, "spec": {"podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"]},
   "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"},
                            {"type": "InternalIP", "address": "fc00::2"}]}},
  {"metadata": {"name": "podgate-worker"}, "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
   "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.3"},
                            {"type": "InternalIP", "address": "fc00::3"}]}}]}"""

STAND_IN = r"""#!/bin/bash
# Notes the call; answers what the scripts ask, as a cluster with podgate would.
answer() {
    local last
    last=$(grep -E '(apply|delete) --filename' "$CALLS" | tail -n 1)
    if [[ $1 == *" exec stranger "* && $last == *" apply "* ]]; then echo closed; else echo open; fi
}
tool=${0##*/}
line="$tool $*"
printf '%s\n' "$line" >> "$CALLS"
if [[ -n $FAILING && $line == *"$FAILING"* ]]; then exit 3; fi
case $line in
    *"get nodes --output json") printf '%s' "$NODES" ;;
    *"get pod "*) printf '%s' "$ADDRESSES" ;;
    *" exec "*create_connection*) answer "$line" ;;
    *"exec --interactive"*) cat > /dev/null; printf '%s' "$LEFT" ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment in which the stand-ins are found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("kind", "docker", "kubectl"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "FAILING": "",
        "NODES": NODES,
        "ADDRESSES": "10.244.1.5 fd00:10:244:1::5",
        "LEFT": "",
    }


def run(tools: dict[str, str], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [KIND / script, *arguments], env=tools, capture_output=True, text=True, check=False, timeout=60
    )


def calls(tools: dict[str, str]) -> str:
    path = Path(tools["CALLS"])
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_calls_nothing(tools: dict[str, str], script: str) -> None:
    done = run(tools, script, "--dry-run")

    assert (done.returncode, done.stderr, calls(tools)) == (0, "", "")


@pytest.mark.parametrize(("family", "backend"), [("ipv6", "nft"), ("dual", "legacy")])
def test_a_dry_run_shows_what_a_run_calls(tools: dict[str, str], family: str, backend: str) -> None:
    options = ("--family", family, "--backend", backend, "--workers", "1")
    shown = run(tools, "up.sh", "--dry-run", *options).stdout

    done = run(tools, "up.sh", *options)

    assert (done.returncode, done.stdout) == (0, shown), done.stderr
    missing = [call for call in calls(tools).splitlines() if call not in shown.replace("'", "")]
    assert missing == []


def test_the_cluster_has_no_network_of_kinds_own(tools: dict[str, str]) -> None:
    shown = run(tools, "up.sh", "--dry-run", "--family", "dual", "--workers", "2").stdout

    config = yaml.safe_load(shown.partition("<<'CONFIG'\n")[2].partition("CONFIG\n")[0])
    assert config["networking"] == {
        "ipFamily": "dual",
        "disableDefaultCNI": True,
        "kubeProxyMode": "iptables",
    }
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]


@pytest.mark.parametrize("failing", ["create cluster", "exec --interactive", "apply"])
def test_the_first_step_that_fails_is_the_last(tools: dict[str, str], failing: str) -> None:
    done = run({**tools, "FAILING": failing}, "up.sh", "--workers", "1")

    assert done.returncode != 0
    # Both ends of a pipe start together.
    assert any(failing in call for call in calls(tools).splitlines()[-2:])


def test_the_whole_way_is_walked_where_policies_are_enforced(tools: dict[str, str]) -> None:
    done = run(tools, "e2e.sh", "--workers", "1")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("# All as it should be\n")


def test_nothing_may_be_left_after_uninstalling(tools: dict[str, str]) -> None:
    done = run({**tools, "LEFT": ":PODGATE - [0:0]"}, "e2e.sh", "--workers", "1")

    assert done.returncode != 0
    assert "# Uninstalled" in done.stdout
    assert "# All as it should be" not in done.stdout


@pytest.mark.parametrize(
    "options", [["--family", "ipv5"], ["--workers"], ["--workers", "0"], ["up"]], ids=str
)
def test_what_makes_no_sense_is_refused(tools: dict[str, str], options: list[str]) -> None:
    done = run(tools, "up.sh", "--dry-run", *options)

    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


def test_a_probe_asks_on_each_address(tools: dict[str, str]) -> None:
    done = run(tools, "probe.sh", "kind-podgate", "podgate-e2e", "friend", "web", "8080", "open")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "friend to web (10.244.1.5) 8080: open",
        "friend to web (fd00:10:244:1::5) 8080: open",
    ]


def test_a_probe_that_gets_another_answer_fails(tools: dict[str, str]) -> None:
    patience = {**tools, "PATIENCE": "0"}

    done = run(patience, "probe.sh", "kind-podgate", "podgate-e2e", "stranger", "web", "8080", "closed")

    assert done.returncode == 1
    assert "stranger to web (10.244.1.5) 8080 is open after 0 s, not closed" in done.stderr


@pytest.mark.parametrize("path", [KIND / "e2e" / "pods.yaml", KIND / "e2e" / "policy.yaml"], ids=str)
def test_what_is_tried_is_what_kubernetes_knows(path: Path) -> None:
    for found in yaml.safe_load_all(path.read_text()):
        check(found)


def test_the_pods_run_the_image_that_is_built(tools: dict[str, str]) -> None:
    (image,) = yaml.safe_load((KIND / "e2e" / "kustomization.yaml").read_text())["images"]

    assert f"{image['newName']}:{image['newTag']}" == f"localhost/podgate:{__version__}"
    assert f"docker build --tag localhost/podgate:{__version__} ." in run(tools, "up.sh", "--dry-run").stdout


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_every_node_is_given_its_backend_and_has_a_range_before_it_is_wired(
    tools: dict[str, str], backend: str
) -> None:
    run(tools, "up.sh", "--backend", backend, "--workers", "1")

    made = calls(tools)
    for node in ("podgate-control-plane", "podgate-worker"):
        chosen = made.index(f"docker exec --interactive {node} sh -s {backend}\n")
        ranged = made.index(
            f"kubectl --context kind-podgate wait --for=jsonpath={{.spec.podCIDR}} node/{node} "
        )
        wired = made.index(f"docker exec --interactive {node} sh\n")
        assert chosen < ranged < wired
