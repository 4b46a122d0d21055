"""One family's rules and sets in the kernel of this network namespace: read them, change them step by step.

`execute` does what a plan says and nothing else; `read` is what is really there, as a Ruleset, so that the
two can be compared value by value. The families are separate objects that fail separately. Only podgate's own
chains, its own jumps and its own sets are ever touched or parsed.
"""

import time
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import groupby

from controller.dataplane import names
from controller.dataplane.backend import legacy_tables, saved_table
from controller.dataplane.edits import DeleteRule, EnterRule
from controller.dataplane.parse import ParseError, parse_rules, parse_sets
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step, advance
from controller.dataplane.ruleset import TABLE, Ruleset
from controller.dataplane.setlink import SetLink, SetLinkError
from controller.dataplane.steps_text import (
    commit_text,
    displaced_entries,
    entries_text,
    fill_text,
    removal_text,
)
from controller.dataplane.tools import Backend, Runner, ToolError, list_command, require, restore_command
from controller.dataplane.validity import is_own_set

ATTEMPTS = 5
FIRST_PAUSE = 0.02
"""Seconds before the first retry; doubled each time.

Lock and generation conflicts are over in milliseconds.
"""

_BUSY_CODE = 4
"""iptables' exit code for a resource problem: the lock is held, or somebody else committed meanwhile."""


class KernelError(Exception):
    """The kernel is not as planned: a step failed for good.

    Earlier steps stay; rules of a failed commit do not.
    """


class Kernel:
    """The kernel's tables of one family, seen through one backend."""

    def __init__(
        self, family: int, backend: Backend, runner: Runner, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.family = family
        self.backend = backend
        self._runner = runner
        self._sleep = sleep
        self._link: SetLink | None = None

    def execute(self, held: Ruleset, steps: Iterable[Step]) -> Ruleset:
        """Take the steps, in order, from what the kernel holds; returns what it holds then.

        Raises KernelError at the first step that fails after its retries: read the kernel before planning
        again.
        """
        for filling, group in groupby(steps, key=_is_fill):
            for batch in [tuple(group)] if filling else ((step,) for step in group):
                try:
                    self._take(held, batch)
                except (ToolError, SetLinkError) as error:
                    raise KernelError(f"IPv{self.family} {type(batch[0]).__name__}: {error}") from error
                held = reduce(advance, batch, held)
        return held

    def read(self) -> Ruleset:
        """What of ours is there.

        Raises KernelError where it cannot be read, or is nothing podgate ever writes.
        """
        try:
            chains = parse_rules(saved_table(self._runner, self.backend, self.family), self.family)
            return Ruleset(self.family, chains, parse_sets(self._saved_sets(), self.family))
        except (ToolError, ParseError) as error:
            raise KernelError(f"IPv{self.family}: {error}") from error

    def displaced(self) -> tuple[str, ...]:
        """The chains of others in which a foreign rule stands above our jump. Raises KernelError."""
        try:
            return displaced_entries(saved_table(self._runner, self.backend, self.family))
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error

    def is_alive(self) -> bool:
        """The canary: our jumps and our entry chain are there, at 2 to 6 ms.

        Raises KernelError where nobody answers.
        """
        if not self.exists():
            return False
        commands = (list_command(self.backend, self.family, name) for name in ("FORWARD", names.ENTRY))
        try:
            found = [self._runner.run(command) for command in commands]
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        jump, judge = (result.output.split() if not result.code else [] for result in found)
        return names.ENTRY in jump and "CONNMARK" in judge

    def clear_rules(self) -> None:
        """Remove our jumps and chains, in one transaction, by their names alone. Raises KernelError."""
        try:
            text = removal_text(saved_table(self._runner, self.backend, self.family))
            if text:
                self._commit(text)
        except ToolError as error:
            raise KernelError(f"IPv{self.family} {self.backend}: {error}") from error

    def clear_sets(self) -> None:
        """Destroy our sets; no rule of any backend may refer to them any more. Raises KernelError."""
        try:
            self._destroy(self._own_sets())
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error

    def raise_entries(self) -> None:
        """Put our jumps above foreign rules again, where they are not. Raises KernelError."""
        for chain in self.displaced():
            jump = next(rules.rules[0] for rules in self.read().chains if rules.name == chain)
            try:
                self._commit(commit_text((DeleteRule(chain, jump), EnterRule(chain, jump)), self.family))
            except ToolError as error:
                raise KernelError(f"IPv{self.family}: {error}") from error

    def exists(self) -> bool:
        """Whether the backend has the table at all; asking never creates it."""
        return self.backend is not Backend.LEGACY or TABLE in legacy_tables(self.family)

    def close(self) -> None:
        """Close the channel to the sets; what is in the kernel stays."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _take(self, held: Ruleset, batch: tuple[Step, ...]) -> None:
        """One step; or several new sets, which one process can make, as nothing refers to them yet."""
        match batch[0]:
            case FillSet():
                fills = (step for step in batch if isinstance(step, FillSet))
                self._restore_sets("".join(fill_text(step.set, self.family) for step in fills))
            case AddEntries(name, entries):
                self._change_entries(held, name, "add", entries)
            case RemoveEntries(name, entries):
                self._change_entries(held, name, "del", entries)
            case Commit(edits):
                self._commit(commit_text(edits, self.family))
            case DestroySets(obsolete):
                self._destroy(obsolete)

    # Rules

    def _commit(self, text: str) -> None:
        """One transaction, tried again while others hold the lock. Raises ToolError."""
        command = restore_command(self.backend, self.family)
        result = self._runner.run(command, text)
        for attempt in range(1, ATTEMPTS):
            if result.code != _BUSY_CODE and "Resource temporarily unavailable" not in result.errors:
                break
            self._sleep(FIRST_PAUSE * 2**attempt)
            result = self._runner.run(command, text)
        require(result, command)

    # Sets

    def _change_entries(self, held: Ruleset, name: str, verb: str, entries: tuple[str, ...]) -> None:
        """By netlink; where that channel cannot be had, by `ipset restore`.

        Raises SetLinkError or ToolError.
        """
        kind = next(each.type for each in held.sets if each.name == name)
        link = self._open_link()
        if link is None:
            self._restore_sets(entries_text(verb, name, entries))
        elif verb == "add":
            link.add(name, kind, self.family, entries)
        else:
            link.remove(name, kind, self.family, entries)

    def _open_link(self) -> SetLink | None:
        if self._link is None:
            try:
                self._link = SetLink()
            except OSError:
                return None
        return self._link

    def _restore_sets(self, text: str) -> None:
        """Not atomic: lines before a failing one stay. All of ours can be repeated. Raises ToolError."""
        command = ("ipset", "restore")
        require(self._runner.run(command, text), command)

    def _destroy(self, obsolete: Iterable[str]) -> None:
        """One by one, as the kernel may still hold one for a moment after its last rule went.

        Raises ToolError.
        """
        for name in obsolete:
            command = ("ipset", "destroy", name)
            result = self._runner.run(command)
            for attempt in range(1, ATTEMPTS):
                if "in use" not in result.errors:
                    break
                self._sleep(FIRST_PAUSE * 2**attempt)
                result = self._runner.run(command)
            if result.code and "does not exist" not in result.errors:
                require(result, command)

    def _own_sets(self) -> list[str]:
        """Names only: a bare `ipset save` fails because of anybody's set that this ipset is too old for."""
        command = ("ipset", "list", "-n")
        found = require(self._runner.run(command), command).output.split()
        return [name for name in found if is_own_set(name, self.family)]

    def _saved_sets(self) -> str:
        text = "".join(f"save {name}\n" for name in self._own_sets())
        if not text:
            return ""
        command = ("ipset", "restore")
        return require(self._runner.run(command, text), command).output


def _is_fill(step: Step) -> bool:
    return isinstance(step, FillSet)
