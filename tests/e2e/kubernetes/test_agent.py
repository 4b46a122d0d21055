"""An agent's process at kube-apiserver, with the token of its own pod and the rights of the manifests.

The node is a network namespace; what it reaches at its loopback is the real API server, TLS and all.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from yarl import URL

from controller.dataplane.tools import Backend
from controller.kube.errors import NotFound
from controller.kube.resource import NODE_POLICIES
from controller.lab.namespaces import Namespace
from controller.lab.standalone import Standalone
from controller.objects.resources import NodePolicy
from tests.e2e.agent.stage import PORT, listening
from tests.e2e.kubernetes.real import agent_token, needs_kubernetes, opened, refusals
from tests.e2e.operator.world import Cluster, eventually
from tests.kernel.namespaces import Namespaces
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology

NODE = "node-1"

pytestmark = [needs_kubernetes, pytest.mark.kernel]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Namespace]:
    """The network namespace of the node."""
    if lacking := missing(Backend.NFT, Topology.PTP):
        pytest.skip(lacking)
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    with Namespaces(["node"]) as namespaces:
        namespaces["node"].run(["ip", "link", "set", "lo", "up"])
        yield namespaces["node"]


@asynccontextmanager
async def reachable(server: Standalone, home: Namespace) -> AsyncIterator[str]:
    """The address at which the node reaches kube-apiserver: what is said there goes on as it is."""
    far = URL(server.connection().server)
    with home.entered():
        near = listening(PORT)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):  # whoever ends a connection ends it at both ends
                while octets := await reader.read(1 << 16):
                    writer.write(octets)
                    await writer.drain()
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, questions = await asyncio.open_connection(far.host, far.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, questions), carry(answers, writer))

    relays = await asyncio.start_server(relay, sock=near)
    async with relays:
        yield f"https://127.0.0.1:{PORT}"


@asynccontextmanager
async def agent(server: Standalone, cluster: Cluster, home: Namespace, folder: Path) -> AsyncIterator[Path]:
    """A running agent of the node; its log."""
    token, log = folder / "token", folder / "agent.log"
    token.write_text(await agent_token(server, cluster, NODE))
    async with reachable(server, home) as address:
        options = {
            "node-name": NODE,
            "netns": home.name,
            "backend": "nft",
            "server": address,
            "token-file": str(token),
            "certificate-authority": str(server.connection("x").ca_file),
            "state-dir": str(folder / "state"),
            "health-address": "127.0.0.1:0",
        }
        argv = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-c", "from controller.cli.main import main; main()", "agent", *argv]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            yield log
        finally:
            process.terminate()
            assert await process.wait() == 0, log.read_text()


async def reported(cluster: Cluster) -> NodePolicy | None:
    """The NodePolicy of the node, once its agent says that it enforces the newest."""
    try:
        found = await cluster.client.get(NODE_POLICIES, NODE, NodePolicy)
    except NotFound:
        return None
    status = found.status
    is_ready = status is not None and any(
        each.type == "Ready" and each.status == "True" for each in status.conditions
    )
    return found if is_ready and status is not None and status.observed_digest == found.spec.digest else None


async def enforces(cluster: Cluster, home: Namespace, shop: str) -> bool:
    """Whether the agent says so and the kernel of the node has rules of the policy."""
    if await reported(cluster) is None:
        return False
    rules = await asyncio.to_thread(home.run, ["iptables-nft-save", "-t", "mangle"])
    return f"{shop}/web spec.ingress[0]" in rules


async def test_it_enforces_and_reports_with_the_rights_of_its_pod(
    server: Standalone, cluster: Cluster, home: Namespace, tmp_path: Path
) -> None:
    before = await refusals(cluster.client)
    async with cluster.operator(), agent(server, cluster, home, tmp_path):
        shop = await opened(cluster)

        await eventually(lambda: enforces(cluster, home, shop), 30.0)

        await cluster.delete("NetworkPolicy", f"{shop}/web")
        await eventually(lambda: is_gone(cluster, home, shop), 30.0)
    assert await refusals(cluster.client) == before


async def is_gone(cluster: Cluster, home: Namespace, shop: str) -> bool:
    """Whether the agent says that it enforces what stands, and nothing of the policy is left."""
    return await reported(cluster) is not None and not await enforces(cluster, home, shop)


async def test_rules_outlive_a_restart_of_the_server_and_what_came_meanwhile_is_enforced(
    server: Standalone, cluster: Cluster, home: Namespace, tmp_path: Path
) -> None:
    async with cluster.operator(), agent(server, cluster, home, tmp_path):
        shop = await opened(cluster)
        await eventually(lambda: enforces(cluster, home, shop), 30.0)

        await asyncio.to_thread(server.restart)

        rules = await asyncio.to_thread(home.run, ["iptables-nft-save", "-t", "mangle"])
        assert f"{shop}/web spec.ingress[0]" in rules
        another = await opened(cluster)
        await eventually(lambda: enforces(cluster, home, another), 60.0)
