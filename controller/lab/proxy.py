"""Keeps the Services' NAT rules of every node up to date, as kube-proxy would."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from controller.dataplane.tools import Backend, restore_command
from controller.lab.controllers import Trigger
from controller.lab.namespaces import Command, CommandError, Namespace, run_all
from controller.lab.network import Names
from controller.lab.podspec import Pod, Service
from controller.lab.services import hook_text, nat_text, virtual_ports

_log = logging.getLogger(__name__)

LOCK_VARIABLE = "XTABLES_LOCKFILE"
"""Each node has a lock of its own; the usual one is the machine's."""

_RETRY = 1.0


def lock_file(folder: Path, node: str) -> str:
    """Where the lock of a node's iptables is."""
    return str(folder / f"{node}.xtables.lock")


class ServiceProxy:
    """One for all nodes. `services` and `pods` are called whenever the trigger was pulled."""

    def __init__(
        self,
        names: Names,
        backend: Backend,
        locks: Path,
        services: Callable[[], Iterable[Service]],
        pods: Callable[[], Iterable[Pod]],
    ) -> None:
        self._names = names
        self._backend = backend
        self._locks = locks
        self._services = services
        self._pods = pods
        self._nodes: dict[str, tuple[int, ...]] = {}
        self._written: dict[tuple[str, int], str] = {}
        self.trigger = Trigger()

    def node_is(self, name: str, families: Iterable[int]) -> None:
        """A node to programme."""
        self._nodes[name] = tuple(families)
        self.trigger.pull()

    def node_is_gone(self, name: str) -> None:
        """No longer."""
        self._nodes.pop(name, None)
        self._written = {key: text for key, text in self._written.items() if key[0] != name}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.trigger.wait()
            pods: Mapping[str, list[Pod]] = defaultdict(list)
            for pod in self._pods():
                pods[pod.metadata.namespace].append(pod)
            ports = virtual_ports(self._services(), pods)
            texts = {family: nat_text(ports, family) for family in (4, 6)}
            wanted = {
                (node, family): texts[family] for node, families in self._nodes.items() for family in families
            }
            changed = {key: text for key, text in wanted.items() if self._written.get(key) != text}
            try:
                await asyncio.to_thread(self._write, changed)
            except (CommandError, OSError) as error:
                if all(node in self._nodes for node, _ in changed):
                    _log.warning("Services cannot be programmed, trying again: %s", error)
                self.trigger.pull_later(_RETRY)
            else:
                self._written |= changed

    def _write(self, texts: Mapping[tuple[str, int], str]) -> None:
        with ExitStack() as stack:
            namespaces = {
                node: stack.enter_context(Namespace(self._names.node(node))) for node, _ in sorted(texts)
            }
            run_all(
                Command(
                    namespaces[node],
                    restore_command(self._backend, family),
                    text if (node, family) in self._written else f"{hook_text()}{text}",
                    {LOCK_VARIABLE: lock_file(self._locks, node)},
                )
                for (node, family), text in texts.items()
            )
