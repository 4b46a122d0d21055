"""Probes: one attempt each to reach somebody with a real packet, hundreds at a time.

A probe counts as answered when the answer is back at its source, so replies are tested with it. Nothing
that drops a packet says so: a probe that is denied only stays silent. Packets of a lab are handled in the
system call that sends them, or a softirq later, so silence is an answer once no probe of the batch has been
answered for a good while.
"""

import asyncio
import errno
import resource
import secrets
import socket
import struct
from collections.abc import Coroutine, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from controller.lab.addressing import family_of
from controller.lab.namespaces import Namespace
from controller.lab.sockets import open_socket
from controller.objects.kinds import Protocol

PATIENCE = 0.5
"""Seconds without any answer after which all that is open counts as silent."""

_BATCH = 2000
_OPEN_FILES = 16384
_ICMP = {4: (socket.IPPROTO_ICMP, 8), 6: (socket.IPPROTO_ICMPV6, 128)}
"""Protocol number, and type of an echo request."""
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
"""A rule that rejects, in the source itself."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Outcome(StrEnum):
    """What came back: what was asked for, an ICMP error or a reset that says nobody is there, or nothing."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Shot(Struct, frozen=True):
    """A packet to be sent: from which network namespace and address, and where to.

    Protocol None is an ICMP echo, and then the port means nothing.
    """

    namespace: str
    source: str
    address: str
    port: int
    protocol: Protocol | None = Protocol.TCP


async def fire(
    shots: Sequence[Shot], namespaces: Mapping[str, Namespace], patience: float = PATIENCE
) -> list[Outcome]:
    """The outcome of each shot, in order. Raises OSError for one that cannot even be sent."""
    allow_open_files()
    outcomes: list[Outcome] = []
    for start in range(0, len(shots), _BATCH):
        batch = [_attempt(shot, namespaces[shot.namespace]) for shot in shots[start : start + _BATCH]]
        outcomes += await fire_together(batch, patience)
    return outcomes


def allow_open_files() -> None:
    """Raise this process' limit of open files: each probe in flight takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def fire_together(attempts: Sequence[Coroutine[Any, Any, None]], patience: float) -> list[Outcome]:
    """The outcomes of attempts that end when answered, or raise ConnectionError or so when refused."""
    tasks = [asyncio.create_task(_judged(attempt)) for attempt in attempts]
    await asyncio.sleep(0)  # each attempt has run up to its first wait: everything is sent
    await until_silence(tasks, patience)
    silent = {task for task in tasks if task.cancel()}
    await asyncio.gather(*silent, return_exceptions=True)
    return [Outcome.SILENT if task in silent else task.result() for task in tasks]


async def connect(client: socket.socket, address: str, port: int) -> None:
    """Open a TCP connection; closing it leaves nothing behind, no TIME_WAIT either."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    await asyncio.get_running_loop().sock_connect(client, (address, port))


async def exchange(client: socket.socket, address: str, port: int, header: bytes = b"") -> None:
    """Send a datagram, and return when it has come back, with whatever before it."""
    nonce = secrets.token_bytes(8)
    client.connect((address, port))
    client.send(header + nonce)
    while not (await asyncio.get_running_loop().sock_recv(client, 2048)).endswith(nonce):
        pass


def icmp_echo(family: int) -> tuple[int, bytes]:
    """The protocol of an ICMP echo, and its header; the kernel fills in the identifier and the checksum."""
    protocol, request = _ICMP[family]
    return protocol, struct.pack("!BBHHH", request, 0, 0, 0, 1)


async def until_silence(attempts: Sequence["asyncio.Task[Outcome]"], patience: float) -> None:
    """Until all have ended, or for `patience` seconds none has."""
    if not attempts:
        return
    loop = asyncio.get_running_loop()
    last = loop.time()

    def note(_: object) -> None:
        nonlocal last
        last = loop.time()

    for attempt in attempts:
        attempt.add_done_callback(note)
    while not all(attempt.done() for attempt in attempts):
        left = last + patience - loop.time()
        if left > 0:
            await asyncio.wait(attempts, timeout=left)
            continue
        before = last
        await asyncio.sleep(0.005)  # if it was this process that slept, answers are waiting to be taken
        if last == before:
            return


async def _judged(attempt: Coroutine[Any, Any, None]) -> Outcome:
    try:
        await attempt
    except (ConnectionRefusedError, ConnectionResetError):
        return Outcome.REFUSED
    except OSError as error:
        # A node on the way may say that it knows no way; whether it does is a matter of its settings.
        if error.errno in _NO_WAY:
            return Outcome.SILENT
        if error.errno in _FORBIDDEN:
            return Outcome.REFUSED
        raise
    return Outcome.ANSWERED


async def _attempt(shot: Shot, namespace: Namespace) -> None:
    match shot.protocol:
        case Protocol.TCP:
            with open_socket(namespace, shot.source, socket.SOCK_STREAM) as client:
                await connect(client, shot.address, shot.port)
        case Protocol.UDP:
            with open_socket(namespace, shot.source, socket.SOCK_DGRAM) as client:
                await exchange(client, shot.address, shot.port)
        case Protocol.SCTP:
            raise ValueError("a lab sends no SCTP")
        case None:
            protocol, header = icmp_echo(family_of(shot.address))
            with open_socket(namespace, shot.source, socket.SOCK_DGRAM, protocol) as client:
                await exchange(client, shot.address, 0, header)
