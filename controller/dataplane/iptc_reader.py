"""Legacy iptables' rules read by python-iptables: a second opinion on what the kernel holds.

It takes the kernel's structures apart through libiptc, and so does not depend on iptables-save, on its text
or on our parser of it. Never more than a reader (docs/dependencies.md), and in a process of its own,
`python -m controller.dataplane.iptc_reader FAMILY`, which prints JSON: the library is known to crash. That
process holds the xtables lock while it reads, which the library does not; opens no table but ours, as opening
one creates it; and never commits.
"""

import fcntl
import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from controller.dataplane.backend import legacy_tables
from controller.dataplane.iptc_dump import (
    DumpedChain,
    DumpedRule,
    Extension,
    Undecoded,
    dump_text,
    read_dump,
)
from controller.dataplane.kernel import Survey
from controller.dataplane.ruleset import TABLE
from controller.dataplane.tools import LOCK_SECONDS, Result, Runner, ToolError, require
from controller.dataplane.validity import ENTRY_CHAINS, is_own_chain
from controller.dataplane.words import UnreadableError

HOW_TO_INSTALL = (
    "python-iptables is not installed: pip install 'podgate[legacy]' (it is compiled: gcc and Python's "
    "headers are needed)"
)

_LOCK_FILE = "/run/xtables.lock"
_LOCK_PAUSE = 0.02


def is_installed() -> bool:
    """Whether python-iptables is there; it is looked for, not imported."""
    return importlib.util.find_spec("iptc") is not None


def reader_command(family: int) -> tuple[str, ...]:
    """The call of the process that reads; isolated, so that it imports nothing from the current folder."""
    return (sys.executable, "-I", "-m", "controller.dataplane.iptc_reader", str(family))


def reread(runner: Runner, survey: Survey) -> Survey:
    """The survey with chains and faults as python-iptables sees them; sets stay, as it cannot read those.

    Raises ToolError where it cannot read, or crashes.
    """
    family = survey.ruleset.family
    if TABLE not in legacy_tables(family):
        return Survey(replace(survey.ruleset, chains=()))
    command = reader_command(family)
    try:
        reading = read_dump(require(_survived(runner.run(command), command), command).output, family)
    except UnreadableError as error:
        raise ToolError(command, str(error)) from None
    return Survey(replace(survey.ruleset, chains=reading.chains), reading.faults)


def _survived(result: Result, command: tuple[str, ...]) -> Result:
    if result.code < 0:
        raise ToolError(
            command,
            f"python-iptables crashed with {signal.Signals(-result.code).name}; it changed nothing. "
            "Without --reader iptc the rules are read by iptables-legacy-save",
        )
    return result


# The process that reads


def main(arguments: list[str]) -> None:
    """Print the dump of a family. Ends with a message and exit code 1 where that cannot be done."""
    family = int(arguments[0])
    try:
        with _xtables_lock(os.environ.get("XTABLES_LOCKFILE", _LOCK_FILE)):
            text = dump_text(_dumped(_table(family), family))
    except Exception as error:  # noqa: BLE001 - its libraries may raise anything, at import too
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(text)


@contextmanager
def _xtables_lock(path: str) -> Iterator[None]:
    """The lock of iptables-legacy and iptables-legacy-restore. Raises TimeoutError or OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(f"somebody holds {path} for {LOCK_SECONDS} s") from None
                time.sleep(_LOCK_PAUSE)
        yield
    finally:
        os.close(handle)


def _table(family: int) -> Any:  # noqa: ANN401 - python-iptables has no types, here and below
    import iptc  # noqa: PLC0415 - the extra, and only this process may load it

    kind = iptc.Table if family == 4 else iptc.Table6
    # It opens all of these to tell a jump from a target, and what is opened is created.
    kind.ALL = [TABLE]
    # Nothing is changed, so there is nothing to commit; this makes sure of it.
    return kind(TABLE, autocommit=False)


def _dumped(table: Any, family: int) -> Iterator[DumpedChain]:  # noqa: ANN401
    for chain in table.chains:
        if is_own_chain(chain.name):
            yield DumpedChain(
                chain.name, tuple(_rule(table, chain, each, family) for each in _entries(table, chain))
            )
        elif chain.name in ENTRY_CHAINS:
            yield _entry_chain(table, chain, family)


def _entry_chain(table: Any, chain: Any, family: int) -> DumpedChain:  # noqa: ANN401
    """Other people's rules are not even decoded: some crash the library."""
    entries = list(_entries(table, chain))
    own = [is_own_chain(_target_name(table, each)) for each in entries]
    rules = (_rule(table, chain, each, family) for each, ours in zip(entries, own, strict=True) if ours)
    return DumpedChain(chain.name, tuple(rules), foreign_first=any(own) and not own[0])


def _entries(table: Any, chain: Any) -> Iterator[Any]:  # noqa: ANN401
    entry = table.first_rule(chain.name)
    while entry:
        yield entry
        entry = table.next_rule(entry)


_TARGETS = frozenset({"RETURN", "DROP", "CONNMARK"})


def _rule(table: Any, chain: Any, entry: Any, family: int) -> DumpedRule | Undecoded:  # noqa: ANN401
    target = _target_name(table, entry)
    if target not in _TARGETS and not is_own_chain(target):
        return Undecoded(f"target {target or '(none)'} is nothing podgate writes")
    try:
        rule = table.create_rule(entry, chain)
        header = rule.get_ip()
        return DumpedRule(
            source=(_address(header.src, family), _address(header.smsk, family)),
            destination=(_address(header.dst, family), _address(header.dmsk, family)),
            protocol=header.proto,
            flags=header.flags,
            inverted=header.invflags,
            interfaces=bool(header.iniface_mask or header.outiface_mask),
            target=_extension(rule.target, rule.target.target.u.target_size),
            matches=tuple(_extension(each, each.match.u.match_size) for each in rule.matches),
        )
    except Exception as error:  # noqa: BLE001 - an extension that is not installed, bytes that are no text
        return Undecoded(f"python-iptables cannot decode a rule of {chain.name}: {error}")


def _target_name(table: Any, entry: Any) -> str:  # noqa: ANN401
    """Libiptc knows it without decoding the rule; also that of a jump, of which the rule has an offset."""
    return (table.get_target(entry) or b"").decode("ascii", "replace")


def _address(value: Any, family: int) -> str:  # noqa: ANN401
    """From the bytes themselves: the library turns masks into prefix lengths, and ours may have gaps."""
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, bytes(value))


def _extension(module: Any, size: int) -> Extension:  # noqa: ANN401
    if size != module.size:
        # The library takes every extension for the newest revision it has.
        raise ValueError(f"{module.name} is of another revision than libxtables'")
    options = {name: tuple(values) for name, values in module.get_all_parameters().items()}
    return Extension(module.name, options)


if __name__ == "__main__":
    main(sys.argv[1:])
