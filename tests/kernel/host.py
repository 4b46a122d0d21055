"""A node of its own for tests that need no packets from elsewhere: this thread, in an empty namespace.

The main thread itself enters the namespace and comes back, since /proc/net, the tools and the netlink sockets
of the product all follow it there. The xtables lock is a file of the test, so that tests do not wait for each
other; where the lock is what a test is about, several parties are given that same file.
"""

import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock

import pytest

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import Applied, Enforcer
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.compile import FAMILIES
from controller.dataplane.kernel import Kernel
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend, LocalRunner, Runner
from tests.kernel.restore import needs_kernel

TOOLS = {4: "iptables", 6: "ip6tables"}
_LOCK_VARIABLE = "XTABLES_LOCKFILE"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

needs_host = [
    *needs_kernel,
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="needs conntrack"),
]


class Host:
    """A network namespace while it is entered, seen through one backend. Not for several threads."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.lock = folder / "xtables.lock"

    def __enter__(self) -> Self:
        assert threading.current_thread() is threading.main_thread(), "/proc/net is the main thread's"
        with contextlib.ExitStack() as leaving:
            home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            leaving.callback(os.close, home)
            _succeed(_libc.unshare(_CLONE_NEWNET))
            leaving.callback(lambda: _succeed(_libc.setns(home, _CLONE_NEWNET)))
            leaving.enter_context(mock.patch.dict(os.environ, {_LOCK_VARIABLE: str(self.lock)}))
            self.runner = LocalRunner()
            self.run("ip", "link", "set", "lo", "up")
            self._leaving = leaving.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.close()

    def node(
        self,
        settings: Settings = DEFAULTS,
        runner: Runner | None = None,
        *,
        keep_established: bool = False,
        keep_open: bool = False,
        families: Iterable[int] = FAMILIES,
    ) -> NodeEnforcement:
        """Podgate, just started here."""
        found = NodeEnforcement(
            self.backend,
            runner or self.runner,
            settings,
            keep_established=keep_established,
            keep_open=keep_open,
            families=families,
        )
        self._leaving.callback(found.close)
        return found

    def enforcer(
        self, settings: Settings = DEFAULTS, kernel: Kernel | None = None, *, keep_established: bool = False
    ) -> Enforcer:
        """One family of it, IPv4 unless the kernel is another's."""
        return Enforcer(
            kernel or self.kernel(), settings, Conntrack(self.runner), keep_established=keep_established
        )

    def kernel(self, family: int = 4, runner: Runner | None = None) -> Kernel:
        """The tables of a family through this backend."""
        return self.closing(Kernel(family, self.backend, runner or self.runner))

    def closing(self, kernel: Kernel) -> Kernel:
        """A kernel whose channels are closed on leaving."""
        self._leaving.callback(kernel.close)
        return kernel

    def run(self, *command: str, text: str = "") -> str:
        """What a command prints that must succeed."""
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}\n{text}"
        return done.stdout

    def iptables(self, line: str, family: int = 4, backend: Backend | None = None) -> str:
        """A call of the backend's iptables, on the mangle table unless the words say otherwise."""
        words = shlex.split(line)
        table = [] if "-t" in words else ["-t", "mangle"]
        return self.run(f"{TOOLS[family]}-{backend or self.backend}", "--wait", "10", *table, *words)

    def restore(self, text: str, family: int = 4, backend: Backend | None = None) -> None:
        """A transaction, or several, as other programs write them."""
        self.run(f"{TOOLS[family]}-{backend or self.backend}-restore", "--noflush", "--wait", "10", text=text)

    def rules(self, table: str = "mangle", family: int = 4) -> list[str]:
        """The saved rules of one table, with their counters as [packets:octets]."""
        saved = self.run(f"{TOOLS[family]}-{self.backend}-save", "-c", "-t", table)
        return [line for line in saved.splitlines() if " -A " in line or line.startswith("-A")]

    def everything(self, backends: Iterable[Backend] = Backend) -> str:
        """All tables of both families, and all sets, as the tools print them; counters and dates left out."""
        saves = [f"{tool}-{backend}-save" for backend in backends for tool in TOOLS.values()]
        texts = [f"{save}:\n{_dateless(self.run(save))}" for save in saves]
        return "".join([*texts, self.run("ipset", "save")])


def applied(results: Sequence[Applied | FamilyFailure]) -> list[Applied]:
    """The results of an application in which no family may have failed."""
    found = [each for each in results if isinstance(each, Applied)]
    assert len(found) == len(results), results
    return found


def kinds(result: Applied) -> list[str]:
    """The kinds of the steps that were taken, in order."""
    return [type(step).__name__ for step in result.steps]


def _dateless(saved: str) -> str:
    """Comment lines hold the date, policies of built-in chains hold counters."""
    lines = (line for line in saved.splitlines() if not line.startswith("#"))
    return "".join(f"{line.partition(' [')[0] if line.startswith(':') else line}\n" for line in lines)


def _succeed(code: int) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
