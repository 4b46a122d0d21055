"""What the tests on a real kube-apiserver share: its kubectl and tokens, and something to enforce."""

import os
import re
import subprocess
from itertools import count

import pytest

from controller.kube.client import ApiClient
from controller.lab.kubernetes import VARIABLE, assets_of
from controller.lab.standalone import Standalone
from tests.e2e.operator.world import Cluster, admits, namespace, pod, policy

ASSETS = assets_of(os.environ)
SYSTEM = "podgate-system"

needs_kubernetes = pytest.mark.skipif(
    ASSETS is None,
    reason=f"no etcd and kube-apiserver: {VARIABLE} names none (make test-kubernetes builds them)",
)

numbers = count(1)
"""For names and addresses that nobody else has."""


def kubectl(server: Standalone, *arguments: str) -> str:
    """The output of a command, which must succeed."""
    assert ASSETS is not None
    command = [str(ASSETS / "kubectl"), f"--kubeconfig={server.kubeconfig}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout


def token_of(server: Standalone, account: str, *bound: str) -> str:
    """A token as the kubelet asks for it, bound to a pod where one is named."""
    options = [f"--bound-object-{key}={value}" for key, value in zip(("kind", "name"), bound, strict=False)]
    return kubectl(server, "create", "token", account, f"--namespace={SYSTEM}", *options).strip()


async def agent_token(server: Standalone, cluster: Cluster, at: str) -> str:
    """That of the pod of an agent, on a node."""
    name = f"agent-{next(numbers)}"
    found = pod(f"{SYSTEM}/{name}", "", at)
    found["spec"]["serviceAccountName"] = "podgate-agent"
    await cluster.put(found)
    return token_of(server, "podgate-agent", "Pod", name)


async def refusals(client: ApiClient) -> int:
    """How often the server has answered 400 or 403."""
    text = (await client.raw("/metrics")).decode()
    lines = re.findall(r'^apiserver_request_total\{code="40[03]".*\} (\d+)$', text, re.MULTILINE)
    return sum(map(int, lines))


async def opened(cluster: Cluster) -> str:
    """A namespace of its own with two pods and a policy; its name."""
    home = f"shop-{next(numbers)}"
    number = next(numbers)
    await cluster.put(namespace(home))
    await cluster.put(
        pod(f"{home}/web", f"10.0.1.{number}", app="web"),
        pod(f"{home}/client", f"10.0.2.{number}", "node-2", app="client"),
        policy(f"{home}/web", admits("web", "client")),
    )
    return home
