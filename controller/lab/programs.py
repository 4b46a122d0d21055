"""The command lines of the processes that make up a lab."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from controller.lab.gateway import NODE_PORT
from controller.lab.network import Names
from controller.lab.processes import python
from controller.lab.rundir import RunDir, Settings
from controller.objects.crds import node_policy_crd, peer_group_slice_crd

_NAMESPACE = "podgate-system"
"""Where the operator's lease is."""

_COMMAND = "from controller.cli.main import main; main()"
"""`podgate`, by the interpreter and from the place that this one runs in."""


def apiserver_argv(descriptors: Sequence[int]) -> Sequence[str]:
    """The API server, listening at sockets that it inherits."""
    options = [word for number in descriptors for word in ("--fd", str(number))]
    return python("-m", "controller.lab.apiserver", "--graceful-pods", *options)


def controlplane_argv(run_dir: RunDir) -> Sequence[str]:
    """Kubelets, scheduler, workloads and Services."""
    return python("-m", "controller.lab.controlplane", "--run-dir", str(run_dir.path))


def operator_argv(run_dir: RunDir) -> Sequence[str]:
    """The operator. Its health is at a port of its choice: there may be several labs."""
    return [
        *python("-c", _COMMAND, "operator"),
        *("--kubeconfig", str(run_dir.kubeconfig)),
        *("--health-address", "127.0.0.1:0"),
        *("--log-format", "text"),
    ]


def agent_argv(run_dir: RunDir, settings: Settings, node: str) -> Sequence[str]:
    """The agent of a node."""
    place = Names(settings.name).node(node)
    return [
        *python("-c", _COMMAND, "agent"),
        *("--node-name", node),
        *("--netns", place),
        *("--server", f"http://127.0.0.1:{NODE_PORT}"),
        *("--state-dir", str(run_dir.caches / node)),
        *("--log-format", "text"),
    ]


def podgate_objects() -> list[Mapping[str, Any]]:
    """What the API server must hold for them: their namespace and the definitions of their objects."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    return [namespace, node_policy_crd(), peer_group_slice_crd()]


def has_podgate() -> bool:
    """Whether this installation has an operator and an agent to start."""
    return all(importlib.util.find_spec(f"controller.cli.{verb}") for verb in ("operator", "agent"))
