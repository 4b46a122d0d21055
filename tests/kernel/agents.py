"""Podgate on every node of a lab: a process for each, in the node's network namespace, that applies views.

A process and not a thread, as on a real node: /proc/net, the tools and the netlink sockets of the product
follow the process, nodes work at the same time, and traffic in the test's own process goes on meanwhile.
"""

import contextlib
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, Self

from controller.agent.enforcer import Applied
from controller.agent.netns import enter_network_namespace
from controller.agent.node import Drift, FamilyFailure, NodeEnforcement, cleanup
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.rulesets import NodeView
from tests.kernel.netlab import Lab

_PATIENCE = 60.0
"""Seconds for an answer of an agent."""


class NodeProcess:
    """Podgate's kernel work on one node, in a process that lives in its network namespace.

    `lock` is the file that serialises writers of legacy iptables there: the usual one is the machine's.
    """

    def __init__(
        self,
        node: str,
        namespace: str,
        backend: Backend,
        lock: str,
        *,
        keep_established: bool = False,
        settings: Settings = DEFAULTS,
    ) -> None:
        self.node = node
        processes = multiprocessing.get_context("spawn")
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(
            target=_serve, args=(theirs, namespace, backend, lock, keep_established, settings), daemon=True
        )
        self._process.start()
        theirs.close()

    def send(self, verb: str, view: NodeView | None) -> None:
        """Begin `apply`, `verify` or `cleanup`; `answer` has to follow."""
        self._pipe.send((verb, view))

    def answer(self) -> Any:  # noqa: ANN401  each verb has its own
        """What came of it."""
        assert self._pipe.poll(_PATIENCE), f"the agent of {self.node} does not answer"
        failed, answer = self._pipe.recv()
        assert not failed, f"the agent of {self.node}: {answer}"
        return answer

    def close(self) -> None:
        """End it; rules stay. It ends when nobody can ask any more."""
        self._pipe.close()
        self._process.join()


class Agents:
    """The agents of a lab, through one backend. Leaving removes all they did from the nodes."""

    def __init__(self, lab: Lab, backend: Backend, *, keep_established: bool = False) -> None:
        self._lab = lab
        self._backend = backend
        self._keep_established = keep_established
        self._nodes: dict[str, NodeProcess] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as leaving:
            folder = leaving.enter_context(tempfile.TemporaryDirectory(prefix="pgagents-"))
            for node in self._lab.plan.nodes:
                found = NodeProcess(
                    node.name,
                    self._lab.namespace(node.name),
                    self._backend,
                    f"{folder}/{node.name}.lock",
                    keep_established=self._keep_established,
                )
                leaving.callback(found.close)
                self._nodes[node.name] = found
            leaving.callback(self._stop)
            self._leaving = leaving.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    def apply(self, views: Mapping[str, NodeView]) -> dict[str, list[Applied]]:
        """Have every node enforce its view, all at the same time. No family of any node may fail."""
        answers = self._ask("apply", views)
        failures = {
            node: found
            for node, results in answers.items()
            if (found := [each for each in results if isinstance(each, FamilyFailure)])
        }
        assert not failures, failures
        return answers

    def verify(self, views: Mapping[str, NodeView]) -> dict[str, list[Drift]]:
        """How the kernel of each node differs from its view; nodes that do not are left out."""
        return {node: found for node, found in self._ask("verify", views).items() if found}

    def _ask(self, verb: str, views: Mapping[str, NodeView]) -> dict[str, Any]:
        for node, view in views.items():
            self._nodes[node].send(verb, view)
        return {node: self._nodes[node].answer() for node in views}

    def _stop(self) -> None:
        for node in self._nodes.values():
            node.send("cleanup", None)
        failures = {name: node.answer() for name, node in self._nodes.items()}
        for name in self._nodes:
            # Who comes next shall not meet the connections, and the marks, of the tests before.
            self._lab.run(name, ["conntrack", "--flush"])
        assert not any(failures.values()), failures


def _serve(
    pipe: Connection,
    namespace: str,
    backend: Backend,
    lock: str,
    keep_established: bool,
    settings: Settings,
) -> None:
    os.environ["XTABLES_LOCKFILE"] = lock
    enter_network_namespace(namespace)
    runner = LocalRunner()
    node = NodeEnforcement(backend, runner, settings, keep_established=keep_established, keep_open=True)
    while True:
        try:
            verb, view = pipe.recv()
        except EOFError:
            node.close()
            return
        try:
            pipe.send((False, cleanup(runner) if verb == "cleanup" else getattr(node, verb)(view)))
        except Exception:  # noqa: BLE001  the test has to hear of any
            pipe.send((True, traceback.format_exc()))
