"""A node and an API server for one agent: a network namespace, real HTTP on its loopback, a real process.

The API server lives in this process, in an event loop in a thread of its own, and listens in the namespace;
so it can be stopped, and started again with all it held, while the agent is left alone.
"""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from controller.agent.node import Drift, NodeEnforcement, cleanup
from controller.cli.node_options import settings_of
from controller.dataplane.ruleset import TABLE
from controller.dataplane.settings import Settings as RuleSettings
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.rulesets import NodeView
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.resource import NODE_POLICIES
from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.namespaces import Namespace
from tests.e2e.agent.publisher import DEFINITIONS, Publisher
from tests.kernel.loop import LoopThread
from tests.unit.builder import NODE, ClusterBuilder

T = TypeVar("T")

PORT = 6443
HEALTH = 9441
PATIENCE = 20.0
"""Seconds for what should take milliseconds: the machine may be busy."""
_PAUSE = 0.02
_AGENT_USER = "system:serviceaccount:podgate:podgate-agent"
_COMMAND = "from controller.cli.main import main; main()"

_ROLE: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "podgate-agent"},
        "rules": [
            {
                "apiGroups": ["podgate.dev"],
                "resources": ["nodepolicies", "peergroupslices"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": ["podgate.dev"], "resources": ["nodepolicies/status"], "verbs": ["patch"]},
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "podgate-agent"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "podgate-agent"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "podgate", "name": "podgate-agent"}],
    },
)


class Agent:
    """One `podgate agent`, with its log."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-c", _COMMAND, "agent", *argv], stdout=output, stderr=output
            )

    def log(self) -> str:
        """All that it and its predecessors wrote."""
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def kill(self) -> None:
        """As the kernel kills: at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE), time.monotonic() - began


class Stage:
    """The node, its API server and what an operator would publish. Of one test."""

    def __init__(self, namespace: Namespace, backend: Backend, folder: Path) -> None:
        self.namespace = namespace
        self.backend = backend
        self.folder = folder
        self.state_dir = folder / "state"
        self.agents: list[Agent] = []
        self._loop = LoopThread()
        self._leaving = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._leaving.enter_context(self._loop)
        self._loop.run(self._open())
        self._leaving.callback(lambda: self._loop.run(self._close()))
        self._leaving.callback(self._kill_agents)
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    # The API server

    async def _open(self) -> None:
        users = {"agent": User(_AGENT_USER), "admin": User("admin", ("system:masters",))}
        self.server = ApiServer(Settings(tokens=users, rbac=True))
        for each in (*DEFINITIONS, *_ROLE):
            self.server.create(each)
        await self._serve(to_node=True)

    async def _serve(self, *, to_node: bool) -> None:
        own = listening(0)
        sockets = [own]
        if to_node:
            with self.namespace.entered():
                sockets.append(listening(PORT))
        await self.server.start(sockets=sockets)
        address = f"http://127.0.0.1:{own.getsockname()[1]}"
        self.client = ApiClient(Connection(server=address, token="admin"))  # noqa: S106 - of this test
        await self.client.__aenter__()
        if not hasattr(self, "publisher"):
            self.publisher = Publisher(self.client)
        self.publisher.client = self.client

    async def _close(self) -> None:
        await self.client.__aexit__(None, None, None)
        await self.server.stop()

    def take_api_away(self) -> None:
        """The node cannot reach the API server any more; what it holds stays, and can be written."""

        async def away() -> None:
            await self._close()
            await self._serve(to_node=False)

        self._loop.run(away())

    def bring_api_back(self) -> None:
        """The node can reach it again."""

        async def back() -> None:
            await self._close()
            await self._serve(to_node=True)

        self._loop.run(back())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the API server runs."""
        return self._loop.run(work)

    def publish(self, built: ClusterBuilder, *, trigger: str = "", hold_back: Iterable[str] = ()) -> NodeView:
        """Have the API server hold what a cluster means; returns what the node must enforce then."""
        self.do(self.publisher.publish(built.build(), trigger=trigger, hold_back=hold_back))
        return built.view()

    async def node_policy(self) -> dict[str, Any]:
        """The node's NodePolicy."""
        return await self.client.get(NODE_POLICIES, NODE, dict)

    def status(self) -> dict[str, Any]:
        """The status of the node's NodePolicy."""
        return self.do(self.node_policy()).get("status") or {}

    def condition(self, kind: str) -> dict[str, str]:
        """One condition of it; empty where there is none."""
        conditions = self.status().get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), {})

    # The agent

    def start_agent(self, *options: str) -> Agent:
        """Start one, with the token of its service account."""
        token = self.folder / "token"
        token.write_text("agent")
        argv = [
            *("--node-name", NODE),
            *("--netns", self.namespace.name),
            *("--backend", self.backend.value),
            *("--server", f"http://127.0.0.1:{PORT}"),
            *("--token-file", str(token)),
            *("--state-dir", str(self.state_dir)),
            *("--log-format", "json"),
            *options,
        ]
        self.agents.append(Agent(argv, self.folder / "agent.log"))
        return self.agents[-1]

    def ask(self, path: str) -> tuple[int, str]:
        """What the agent serves on its health address; code 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", HEALTH, timeout=PATIENCE)
        try:
            with self.namespace.entered():
                connection.connect()
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The value of one sample of the agent's metrics; nan where it is not there."""
        _, text = self.ask("/metrics")
        found = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return next((float(value) for key, _, value in found if key == name), float("nan"))

    def _kill_agents(self) -> None:
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()

    # The kernel

    def drift(self, view: NodeView) -> list[Drift]:
        """How the node's kernel differs from a view; everything that it lacks and that it has too much."""
        with self.namespace.entered(), contextlib.closing(self._enforcement()) as enforcement:
            return enforcement.verify(view)

    def has_rules(self) -> bool:
        """Whether packets come to rules of podgate's, in both families."""
        with self.namespace.entered(), contextlib.closing(self._enforcement()) as enforcement:
            return enforcement.is_alive()

    @property
    def settings(self) -> RuleSettings:
        """How the agent makes rules without options."""
        return settings_of(
            unknown_pods="allow", allow_own_node_egress=False, mark_mask="0x1fff0000", backend=self.backend
        )

    def _enforcement(self) -> NodeEnforcement:
        return NodeEnforcement(self.backend, LocalRunner(), self.settings)

    def run(self, *command: str) -> str:
        """A command in the node."""
        return self.namespace.run(command)

    def flush(self) -> None:
        """What somebody does who knows nothing of podgate: no IPv4 packet comes to its rules any more."""
        self.run(f"iptables-{self.backend}", "--wait", "5", "-t", TABLE, "-F", "FORWARD")

    def clean(self) -> None:
        """Remove every rule and set of podgate's from the node."""
        self._kill_agents()
        with self.namespace.entered():
            failures = cleanup(LocalRunner())
        assert not failures, failures

    # Waiting

    def wait_for_view(self, view: NodeView) -> None:
        """Until the kernel holds a view, no more and no less."""
        self.wait_until(lambda: not self.drift(view), lambda: "\n".join(map(str, self.drift(view)[:20])))

    def wait_until(self, holds: Callable[[], bool], why: Callable[[], str] = str) -> None:
        """Until something holds; fails with the agent's log after a long time."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                log = self.agents[-1].log() if self.agents else ""
                pytest.fail(f"it does not come to hold: {why()}\n{log}")
            time.sleep(_PAUSE)


def listening(port: int) -> socket.socket:
    """A socket at the loopback of the network namespace that this thread is in; port 0 takes a free one."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.listen(64)
    return found
