"""The logs of the agents, read through the API server: once, or followed across nodes and restarts."""

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from controller.cli.failure import CommandError
from controller.engine.reports import AGENT_LABELS
from controller.kube.client import ApiClient, ObjectMeta
from controller.kube.errors import ApiError, Forbidden, NotFound
from controller.kube.resource import PODS, Selection

_AGENTS = ",".join(f"{key}={value}" for key, value in AGENT_LABELS.items())
HOW_TO_LOG = "kubectl -n {namespace} set env daemonset/podgate-agent PODGATE_LOG_DROPS=10/s"

_LOOK_AGAIN = 10.0
"""Seconds between two looks for agents that are new."""
_RECONNECT = 1.0
_READ_SECONDS = 60.0
_FOLLOW_SECONDS = 4 * 3600.0
_STREAMS_AT_ONCE = 16


class _Env(Struct):
    name: str = ""
    value: str = ""


class _Container(Struct):
    name: str = ""
    args: list[str] | None = None
    env: list[_Env] | None = None


class _Spec(Struct):
    node_name: str = field(default="", name="nodeName")
    containers: list[_Container] | None = None
    is_host_network: bool = field(default=False, name="hostNetwork")


class _Address(Struct):
    ip: str = ""


class _Status(Struct):
    pod_ips: list[_Address] | None = field(default=None, name="podIPs")


class _Pod(Struct):
    metadata: ObjectMeta
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)


class Agent(Struct, frozen=True):
    """The pod of an agent, its node, and whether it logs denied packets."""

    pod: str
    node: str
    logs_drops: bool


async def agents(client: ApiClient, namespace: str, node: str = "") -> list[Agent]:
    """The agents of a cluster, or of one node, by name. Raises CommandError where there are none."""
    try:
        found = await client.list_all(PODS, _Pod, Selection(namespace, _AGENTS))
    except Forbidden as error:
        raise CommandError(
            f"the agents may not be listed: this needs list on pods in namespace {namespace} ({error})"
        ) from error
    every = [Agent(each.metadata.name, each.spec.node_name, _logs_drops(each)) for each in found.items]
    chosen = sorted((each for each in every if not node or each.node == node), key=lambda each: each.pod)
    if not chosen:
        where = f" on node {node}" if node else ""
        raise CommandError(
            f"no agent{where} in namespace {namespace}: is podgate installed elsewhere (--agents-namespace)?"
        )
    return chosen


async def pod_names(client: ApiClient) -> dict[str, str]:
    """`namespace/name` by address; empty where pods may not be listed, as they only explain addresses."""
    try:
        found = await client.list_all(PODS, _Pod)
    except Forbidden:
        return {}
    return {
        address.ip: f"{each.metadata.namespace}/{each.metadata.name}"
        for each in found.items
        if not each.spec.is_host_network
        for address in each.status.pod_ips or ()
    }


async def read_logs(
    client: ApiClient, namespace: str, chosen: list[Agent], since: float, take: Callable[[Agent, bytes], None]
) -> None:
    """Hand over every line of some agents' logs. Raises CommandError where a log may not be read."""
    room = asyncio.Semaphore(_STREAMS_AT_ONCE)

    async def read(agent: Agent) -> None:
        async with room:
            try:
                await _stream(client, namespace, agent, _since(since), take, _READ_SECONDS)
            except NotFound:
                return  # it was replaced meanwhile

    await asyncio.gather(*map(read, chosen))


async def follow_logs(
    client: ApiClient,
    namespace: str,
    node: str,
    since: float,
    take: Callable[[Agent, bytes], None],
) -> None:
    """Hand over lines as they come, of agents that are new too, for ever. Raises as `read_logs` does."""
    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            for agent in await agents(client, namespace, node):
                if agent.pod not in tasks:
                    tasks[agent.pod] = asyncio.create_task(_follow(client, namespace, agent, since, take))
            done, _ = await asyncio.wait(
                tasks.values(), timeout=_LOOK_AGAIN, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            tasks = {pod: task for pod, task in tasks.items() if not task.done()}
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _follow(
    client: ApiClient, namespace: str, agent: Agent, since: float, take: Callable[[Agent, bytes], None]
) -> None:
    """One agent's log until its pod is gone; after a break from where it was, a line twice at no time."""
    last = b""

    def take_new(of: Agent, line: bytes) -> None:
        nonlocal last
        written, _, text = line.partition(b" ")
        if written > last:
            last = written
            take(of, text)

    while True:
        start = {"sinceTime": last.decode()} if last else _since(since)
        params = {**start, "follow": "true", "timestamps": "true"}
        try:
            await _stream(client, namespace, agent, params, take_new, _FOLLOW_SECONDS)
        except NotFound:
            return
        except ApiError:
            pass  # cut off, or an API server that restarts
        await asyncio.sleep(_RECONNECT)


async def _stream(
    client: ApiClient,
    namespace: str,
    agent: Agent,
    params: Mapping[str, str],
    take: Callable[[Agent, bytes], None],
    seconds: float,
) -> None:
    wanted = {**params, "container": "agent"}
    try:
        async with client.log(
            agent.pod, namespace=namespace, params=wanted, silence=seconds, seconds=seconds
        ) as batches:
            async for lines in batches:
                for line in lines:
                    take(agent, line)
    except Forbidden as error:
        raise CommandError(
            f"the log of pod {agent.pod} may not be read: this needs the verb get on pods/log in namespace "
            f"{namespace} ({error})"
        ) from error


def _since(seconds: float) -> dict[str, str]:
    return {"sinceSeconds": str(max(1, round(seconds)))}


def _logs_drops(pod: _Pod) -> bool:
    for container in pod.spec.containers or ():
        if any(each.name == "PODGATE_LOG_DROPS" and each.value != "off" for each in container.env or ()):
            return True
        if any(each.startswith("--log-drops") and each != "--log-drops=off" for each in container.args or ()):
            return True
    return False
