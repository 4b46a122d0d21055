"""Readiness probes as kubelet makes them: from the pod's node, with real connections, and counted.

A probe that fails because of a policy is a bug that users feel as restarts and lost endpoints, so every
failure is kept. Until a pod was ready once, it is asked more often than its spec says: nobody waits for a
lab.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence

from msgspec import Struct

from controller.lab.addressing import family_of
from controller.lab.namespaces import Namespace
from controller.lab.podspec import ReadinessCheck
from controller.lab.probing import connect
from controller.lab.sockets import open_socket

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - the source of a connection, which the route decides
_IMPATIENT = 0.1
"""Seconds between two probes of a pod that has not been ready yet."""
_LINK_UP = 2.0


class Counts(Struct):
    """How many probes there were, and how many of them failed."""

    probes: int = 0
    failures: int = 0
    last_failure: str = ""


class Verdict:
    """What the last probes of one check mean: ready or not."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check
        self._row = 0
        self.is_ready = False
        self.was_ready = False

    def note(self, succeeded: bool) -> bool:
        """Take the outcome of one more probe; whether the pod is ready as far as this check goes."""
        if succeeded == self.is_ready:
            self._row = 0
            return self.is_ready
        self._row += 1
        if self._row >= (self._check.successes if succeeded else self._check.failures):
            self._row = 0
            self.is_ready = succeeded
            self.was_ready |= succeeded
        return self.is_ready


async def watch_readiness(
    node: Namespace,
    address: str,
    checks: Sequence[ReadinessCheck],
    counts: Counts,
    tell: Callable[[bool], None],
) -> None:
    """Probe a pod until cancelled, and `tell` whenever it becomes ready or ceases to be."""
    if not checks:
        await until_reached(node, address)
        tell(True)  # noqa: FBT003 - its only argument
        return
    verdicts = [Verdict(check) for check in checks]

    async def follow(check: ReadinessCheck, verdict: Verdict) -> None:
        await asyncio.sleep(check.delay)
        while True:
            before = all(each.is_ready for each in verdicts)
            verdict.note(await _probe(node, address, check, counts))
            after = all(each.is_ready for each in verdicts)
            if after != before:
                tell(after)
            await asyncio.sleep(check.period if verdict.was_ready else min(_IMPATIENT, check.period))

    async with asyncio.TaskGroup() as group:
        for check, verdict in zip(checks, verdicts, strict=True):
            group.create_task(follow(check, verdict))


async def until_reached(node: Namespace, address: str) -> None:
    """Until the pod's link carries packets: a bridge forwards some milliseconds after a port is up."""
    deadline = asyncio.get_running_loop().time() + _LINK_UP
    while asyncio.get_running_loop().time() < deadline:
        try:
            await asyncio.wait_for(_connect(node, address, 1), _IMPATIENT)
        except ConnectionRefusedError:
            return
        except (TimeoutError, OSError):
            await asyncio.sleep(0.005)
        else:
            return


async def _probe(node: Namespace, address: str, check: ReadinessCheck, counts: Counts) -> bool:
    counts.probes += 1
    try:
        await asyncio.wait_for(_connect(node, address, check.port), check.timeout)
    except OSError as error:  # TimeoutError too
        counts.failures += 1
        counts.last_failure = f"{address} port {check.port}: {str(error) or type(error).__name__}"
        return False
    return True


async def _connect(node: Namespace, address: str, port: int) -> None:
    with open_socket(node, _ANY[family_of(address)], socket.SOCK_STREAM) as client:
        await connect(client, address, port)
