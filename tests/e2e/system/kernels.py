"""What the kernels of a lab's nodes hold, read by processes of our own and not by the agents."""

import asyncio
from collections.abc import Mapping

from controller.agent.node import Drift
from controller.cli.node_options import settings_of
from controller.engine.rulesets import NodeView
from controller.lab.network import Names
from controller.lab.proxy import lock_file
from controller.lab.rundir import RunDir
from tests.kernel.agents import NodeProcess


class Kernels:
    """One reader for each node, started when it is first asked. Of one lab and all its tests."""

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir = run_dir
        self._readers: dict[tuple[str, bool], NodeProcess] = {}

    async def differences(self, views: Mapping[str, NodeView], *, unknown_denied: bool) -> list[str]:
        """How each node's kernel differs from the view it should hold."""
        drifts = await asyncio.to_thread(self._verify, views, unknown_denied)
        return [f"{node}: {drift}" for node, found in drifts.items() for drift in found]

    def forget(self, node: str) -> None:
        """Let go of a node, whose namespace lives as long as a process is in it."""
        for key in [key for key in self._readers if key[0] == node]:
            self._readers.pop(key).close()

    def close(self) -> None:
        """End every reader."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _verify(self, views: Mapping[str, NodeView], unknown_denied: bool) -> dict[str, list[Drift]]:
        readers = {node: self._reader(node, unknown_denied) for node in views}
        for node, view in views.items():
            readers[node].send("verify", view)
        return {node: reader.answer() for node, reader in readers.items()}

    def _reader(self, node: str, unknown_denied: bool) -> NodeProcess:
        key = (node, unknown_denied)
        if key not in self._readers:
            lab = self.run_dir.settings()
            settings = settings_of(
                unknown_pods="deny" if unknown_denied else "allow",
                allow_own_node_egress=False,
                mark_mask="0x1fff0000",
                backend=lab.backend,
            )
            self._readers[key] = NodeProcess(
                node,
                Names(lab.name).node(node),
                lab.backend,
                lock_file(self.run_dir.locks, node),
                settings=settings,
            )
        return self._readers[key]
