"""Network namespaces: made and removed in batches, and entered by a thread for a moment.

A socket belongs to the namespace it was made in for good, and a child process to that of the thread which
starts it. So one process that enters a namespace just long enough to make a socket, or to start a command,
can act in any number of places at once; nothing else has to run inside any of them.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from msgspec import Struct

FOLDER = Path("/run/netns")
"""Where `ip netns` keeps its names."""

_SYSCTLS = Path("/proc/sys/net")
_INTERFACES = Path("/proc/thread-self/net/if_inet6")
_LINK_LOCAL = "20"
_TENTATIVE = 0x40
"""Of include/net/ipv6.h and include/uapi/linux/if_addr.h, as `_INTERFACES` writes them."""
_LINKS_UP = 10.0
"""Seconds for devices to come up: it takes milliseconds, and while others hold the kernel's network lock."""
_LINKS_POLL = 0.002
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CommandError(RuntimeError):
    """A command failed; the message holds its output and the text it was fed."""


class Namespace:
    """One network namespace, by name for `ip netns exec`, by descriptor for this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._descriptor = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets and children that this thread makes meanwhile belong to the namespace. 3 us."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(self._descriptor)
            try:
                yield
            finally:
                _set_namespace(home)
        finally:
            os.close(home)

    def run(self, command: Sequence[str], text: str = "") -> str:
        """The output of a command that is run in here and reads `text`. Raises CommandError."""
        return run_all([Command(self, command, text)])[0]

    def set_sysctls(self, values: Mapping[str, object]) -> None:
        """Write values under /proc/sys/net, where a thread sees those of its namespace; `*` is any device."""
        with self.entered():
            for pattern, value in values.items():
                for path in _SYSCTLS.glob(pattern) if "*" in pattern else [_SYSCTLS / pattern]:
                    path.write_text(f"{value}\n")

    def await_links(self, devices: Iterable[str], limit: float = _LINKS_UP) -> None:
        """Wait until devices carry packets of both families. Blocking.

        Raises CommandError after `limit` seconds.

        A device that is set up is not up: a worker of the kernel sees that its link works, and until then
        drops what is sent; another gives it its link-local address (addrconf_link_ready in
        net/ipv6/addrconf.c), and until then a router cannot ask for the neighbour behind it. So the address
        tells that both have been there.
        """
        wanted = frozenset(devices)
        deadline = time.monotonic() + limit
        while missing := wanted - self._linked():
            if time.monotonic() > deadline:
                raise CommandError(f"{', '.join(sorted(missing))} in {self.name}: not up after {limit:g} s")
            time.sleep(_LINKS_POLL)

    def _linked(self) -> frozenset[str]:
        with self.entered():
            lines = _INTERFACES.read_text().splitlines()
        fields = (line.split() for line in lines)
        return frozenset(
            device
            for _address, _index, _length, scope, flags, device in fields
            if scope == _LINK_LOCAL and not int(flags, 16) & _TENTATIVE
        )

    def close(self) -> None:
        """Let go of the namespace; its name stays until it is deleted."""
        os.close(self._descriptor)


class Command(Struct, frozen=True):
    """A command to run in a namespace: its arguments, what it reads, and what its environment has besides."""

    namespace: Namespace
    arguments: Sequence[str]
    text: str = ""
    environment: Mapping[str, str] = {}


def run_all(commands: Iterable[Command]) -> list[str]:
    """The outputs of commands that run at the same time.

    Raises CommandError for the first that failed, when all have ended.
    """
    commands = list(commands)  # made to the end before any is started
    with ExitStack() as processes:
        started = [processes.enter_context(_start(command)) for command in commands]
        outputs = [process.communicate()[0] for process in started]
    for command, process, output in zip(commands, started, outputs, strict=True):
        if process.returncode:
            words = " ".join(command.arguments)
            raise CommandError(f"{words}: exit {process.returncode}\n{output}\n{command.text}")
    return outputs


def _start(command: Command) -> "subprocess.Popen[str]":
    # Read from a file, as a pipe would have to be fed while the command runs.
    with os.fdopen(os.memfd_create("input"), "w+") as file, command.namespace.entered():
        file.write(command.text)
        file.seek(0)
        return subprocess.Popen(
            command.arguments,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | command.environment,
        )


def add_namespaces(names: Iterable[str]) -> None:
    """Make namespaces, in one batch of `ip netns add`. Raises CommandError where one exists already."""
    _netns("add", names)


def delete_namespaces(names: Iterable[str]) -> None:
    """Remove namespaces, in one batch. What is gone already is no error: several may clean up at once."""
    _netns("del", names)


def named(prefix: str) -> list[str]:
    """The names of the namespaces that begin with `prefix`, sorted."""
    return sorted(path.name for path in FOLDER.glob(f"{prefix}*"))


def _netns(verb: str, names: Iterable[str]) -> None:
    lines = "".join(f"netns {verb} {name}\n" for name in names)
    if not lines:
        return
    force = ["-force"] if verb == "del" else []
    done = subprocess.run(
        ["ip", *force, "-batch", "-"], input=lines, text=True, capture_output=True, check=False
    )
    if done.returncode and not force:
        raise CommandError(f"ip -batch: {done.stderr}\n{lines}")


def _set_namespace(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, os.CLONE_NEWNET)
    elif _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
