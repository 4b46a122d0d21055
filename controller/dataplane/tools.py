"""Running the host's tools: iptables-*-restore, iptables-*-save, ipset, conntrack.

This and `conversation`, for tools that stay, are the places that start processes.

Arguments are ours and constant; what comes from objects travels on standard input, rendered and escaped.
Every call has a time limit, and the tools' own messages are kept, as they are what an operator has to read.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from controller.dataplane.ruleset import TABLE

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCK_SECONDS = 5
"""How long an iptables call waits for the xtables lock before it gives up with exit code 4."""
TIME_LIMIT = 60.0


class Backend(StrEnum):
    """Which kernel interface iptables speaks; kubelet, kube-proxy and podgate must agree on a node."""

    NFT = "nft"
    LEGACY = "legacy"


class Result(Struct, frozen=True):
    """What a tool printed and how it ended."""

    code: int
    output: str
    errors: str


class ToolError(Exception):
    """A tool is missing, took too long or failed. The message names the call and what the tool said."""

    def __init__(self, command: Sequence[str], reason: str) -> None:
        super().__init__(f"{' '.join(command)}: {reason}")
        self.command = tuple(command)
        self.reason = reason


class ToolMissingError(ToolError):
    """The tool is not installed."""


class Runner(Protocol):
    """Starts a tool. The real one is `LocalRunner`; tests wrap it to make calls fail."""

    def run(self, command: Sequence[str], text: str = "") -> Result:
        """Run to the end with `text` on standard input. Raises ToolError where it cannot be run at all."""
        ...


class LocalRunner:
    """Runs tools on this machine, in this process' network namespace, with an environment of its own."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self._time_limit = time_limit
        self._environment = environment()

    def run(self, command: Sequence[str], text: str = "") -> Result:
        """Run a tool to its end. Raises ToolError where it is missing or exceeds the time limit."""
        path = tool_path(command)
        try:
            done = subprocess.run(  # noqa: S603 - constant arguments, no shell
                [path, *command[1:]],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                env=self._environment,
                timeout=self._time_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolError(command, f"no answer within {self._time_limit:g} s") from None
        except OSError as error:
            raise ToolError(command, str(error)) from error
        return Result(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """What a tool finds around it: English, and the lock that everybody on this machine takes."""
    found = {"PATH": _PATH, "LC_ALL": "C"}
    lock = os.environ.get("XTABLES_LOCKFILE")
    return {**found, "XTABLES_LOCKFILE": lock} if lock else found


def tool_path(command: Sequence[str]) -> str:
    """Where the tool of a command is. Raises ToolMissingError."""
    path = shutil.which(command[0], path=_PATH)
    if path is None:
        raise ToolMissingError(command, f"{command[0]} is not installed")
    return path


def require(result: Result, command: Sequence[str]) -> Result:
    """The result if the call succeeded; else raises ToolError with the tool's own words."""
    if result.code:
        raise ToolError(command, f"exit code {result.code}: {result.errors.strip()[:500] or 'no message'}")
    return result


def restore_command(backend: Backend, family: int) -> tuple[str, ...]:
    """Reads a transaction on standard input, leaves every chain it does not name alone."""
    name = "iptables" if family == 4 else "ip6tables"
    return (f"{name}-{backend}-restore", "--noflush", "--wait", str(LOCK_SECONDS))


def list_command(backend: Backend, family: int, chain: str) -> tuple[str, ...]:
    """Prints one chain of our table; fails where it does not exist."""
    name = "iptables" if family == 4 else "ip6tables"
    return (f"{name}-{backend}", "--wait", str(LOCK_SECONDS), "-t", TABLE, "-S", chain)


def count_command(backend: Backend, family: int, chain: str) -> tuple[str, ...]:
    """As `list_command`, with the packets that met each rule."""
    return (*list_command(backend, family, chain)[:-2], "-v", "-S", chain)


def save_command(backend: Backend, family: int, table: str = "") -> tuple[str, ...]:
    """Prints one table, or all that exist."""
    name = "iptables" if family == 4 else "ip6tables"
    return (f"{name}-{backend}-save", *(("-t", table) if table else ()))
