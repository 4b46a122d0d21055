"""podgate's own manifests under a real kubelet, containerd and runc (`make test-node`), to the uninstall.

One node that `hack/kubernetes/node.sh up` has made. What is asked: do the pods start, become ready and work
as the manifests have them; are policies enforced between pods of a real runtime; does nothing open or break
while agents and operator are replaced; is nothing left in the end.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from controller.objects.mode import ANNOTATION
from tests.e2e.operator.world import admits, namespace, policy

ROOT = Path(__file__).parents[3]
NODE = ROOT / "hack" / "kubernetes" / "node.sh"
SYSTEM = "podgate-system"
PYTHON = "/opt/podgate/bin/python3"
PORT = 8080

KNOCK = """
import socket, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
end, opened, shut, slowest = time.monotonic() + seconds, 0, 0, 0.0
while not opened + shut or time.monotonic() < end:
    began = time.monotonic()
    try:
        socket.create_connection((address, 8080), timeout=0.5).close()
        opened += 1
        slowest = max(slowest, time.monotonic() - began)
    except OSError:
        shut += 1
    time.sleep(0.02)
print(opened, shut, round(slowest, 3))
"""

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        "PODGATE_NODE" not in os.environ, reason="no node with a kubelet: make test-node makes one"
    ),
]


def inside(*command: str, text: str = "") -> str:
    """The output of a command beside the node, which must succeed."""
    argv = [str(NODE), "in", *command]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
    return done.stdout


def kubectl(*arguments: str, text: str = "") -> str:
    return inside("kubectl", *arguments, text=text)


def rolled_out(*names: str) -> None:
    for name in names:
        kubectl("-n", SYSTEM, "rollout", "status", name, "--timeout=120s")


def image() -> str:
    """As the manifests name it, with its version."""
    (container,) = json.loads(kubectl("-n", SYSTEM, "get", "daemonset", "podgate-agent", "-o", "json"))[
        "spec"
    ]["template"]["spec"]["containers"]
    return str(container["image"])


@pytest.fixture(scope="module")
def podgate() -> Iterator[None]:
    """podgate as the overlay for kind has it; its images are there already."""
    kubectl("apply", "-k", str(ROOT / "manifests" / "overlays" / "kind"))
    rolled_out("deployment/podgate-operator", "daemonset/podgate-agent")
    yield
    kubectl("delete", "-k", str(ROOT / "manifests" / "overlays" / "kind"), "--ignore-not-found")


@pytest.fixture(scope="module")
def blog(podgate: None) -> Iterator[str]:  # noqa: ARG001 - it has to be there first
    """A namespace in which `db` listens, and `web` alone may ask it; the address of `db`."""
    serve = [PYTHON, "-m", "http.server", str(PORT), "--directory", "/opt/podgate/bin"]
    wait = [PYTHON, "-c", "import signal; signal.pause()"]
    pods = [workload(name, serve if name == "db" else wait) for name in ("db", "web", "worker")]
    allowed = policy("blog/db", admits("db", "web"))
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all([namespace("blog"), *pods, allowed]))
    kubectl("-n", "blog", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s")
    enforced()
    yield kubectl("-n", "blog", "get", "pod", "db", "-o", "jsonpath={.status.podIP}")
    kubectl("delete", "namespace", "blog")


def workload(name: str, command: list[str]) -> dict[str, object]:
    container = {"name": "main", "image": image(), "imagePullPolicy": "Never", "command": command}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "blog", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def enforced() -> None:
    inside("podgate", "wait", "--for=enforced", "--all", "-n", "blog", "--timeout", "60s")


def knock(source: str, address: str, seconds: float = 0.0) -> tuple[int, int, float]:
    """How many connections of a pod were let through, how many not, and how long the slowest took."""
    found = kubectl("-n", "blog", "exec", source, "--", PYTHON, "-c", KNOCK, address, str(seconds)).split()
    return int(found[0]), int(found[1]), float(found[2])


def rules() -> str:
    return inside("iptables-nft-save", "-t", "mangle") + inside("ipset", "list", "-n")


def agent() -> str:
    return kubectl(
        "-n", SYSTEM, "get", "pod", "-l", "app.kubernetes.io/component=agent", "-o", "name"
    ).strip()


def test_policies_are_enforced_between_pods_of_a_container_runtime(blog: str) -> None:
    assert knock("web", blog)[:2] == (1, 0)
    assert knock("worker", blog)[:2] == (0, 1)


def test_every_link_holds_what_it_should(blog: str) -> None:  # noqa: ARG001 - something to hold
    assert "as it should be: 1 agent" in inside("podgate", "verify")
    assert "as it should be" in kubectl("-n", SYSTEM, "exec", agent(), "--", "podgate", "verify", "--kernel")


def test_a_trial_opens_and_its_end_closes(blog: str) -> None:
    kubectl("annotate", "namespace", "blog", f"{ANNOTATION}=audit")
    enforced()
    on_trial = knock("worker", blog)[:2]
    kubectl("annotate", "namespace", "blog", f"{ANNOTATION}-")
    enforced()

    assert on_trial == (1, 0)
    assert knock("worker", blog)[:2] == (0, 1)


def test_denied_packets_are_read_from_the_logs_of_agents(blog: str) -> None:
    kubectl("-n", SYSTEM, "set", "env", "daemonset/podgate-agent", "PODGATE_LOG_DROPS=10/s")
    rolled_out("daemonset/podgate-agent")

    knock("worker", blog)

    found = [json.loads(line) for line in inside("podgate", "drops", "-o", "json").splitlines()]
    assert {(each["pod"], each["peer_pod"]) for each in found} >= {("db", "blog/worker")}


def test_nothing_opens_and_nothing_breaks_while_agents_and_operator_are_replaced(blog: str) -> None:
    argv = [str(NODE), "in", "kubectl", "-n", "blog", "exec"]
    knocking = {
        source: subprocess.Popen(  # noqa: S603 - our own commands
            [*argv, source, "--", PYTHON, "-c", KNOCK, blog, "20"], stdout=subprocess.PIPE, text=True
        )
        for source in ("web", "worker")
    }
    kubectl("-n", SYSTEM, "rollout", "restart", "daemonset/podgate-agent", "deployment/podgate-operator")
    rolled_out("daemonset/podgate-agent", "deployment/podgate-operator")
    kubectl("-n", SYSTEM, "delete", "pod", "--all", "--grace-period=0", "--force")
    rolled_out("daemonset/podgate-agent", "deployment/podgate-operator")

    opened, shut, slowest = knocking["web"].communicate(timeout=60)[0].split()
    never, denied, _ = knocking["worker"].communicate(timeout=60)[0].split()

    assert (int(shut), int(never)) == (0, 0)
    assert int(opened) > 200
    assert int(denied) > 20
    assert float(slowest) < 0.5


def test_the_uninstall_leaves_nothing(blog: str) -> None:
    assert "PODGATE" in rules()

    kubectl("-n", SYSTEM, "delete", "daemonset", "podgate-agent")
    kubectl(
        *("-n", SYSTEM, "wait", "--for=delete", "pod"),
        *("-l", "app.kubernetes.io/component=agent", "--timeout=60s"),
    )
    kubectl("apply", "-k", str(ROOT / "manifests" / "cleanup"))
    rolled_out("daemonset/podgate-cleanup")

    assert "PODGATE" not in rules()
    assert "pg4" not in rules()
    assert inside("find", "/var/lib/podgate", "-type", "f") == ""
    assert knock("worker", blog)[:2] == (1, 0)
