"""One family's rules and sets in the kernel of this network namespace: read them, change them step by step.

`execute` does what a plan says and nothing else; `read` is what is really there, as a Ruleset, so that the
two can be compared value by value. The families are separate objects that fail separately. Only podgate's own
chains, its own jumps and its own sets are ever touched or parsed.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from controller.dataplane import names
from controller.dataplane.backend import legacy_tables, saved_table
from controller.dataplane.compile import log_rule
from controller.dataplane.counters import last_count
from controller.dataplane.parse import ParseError
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step
from controller.dataplane.readback import entries, read_sets, read_table
from controller.dataplane.render import rule_text
from controller.dataplane.restore_channel import ChannelUnavailableError, RestoreChannel
from controller.dataplane.ruleset import TABLE, AddressSet, Ruleset, SetType
from controller.dataplane.setlink import SetLink
from controller.dataplane.settings import DropLog
from controller.dataplane.steps_text import (
    commit_text,
    entries_text,
    entry_text,
    fill_text,
    own_chain_names,
    removal_text,
)
from controller.dataplane.tools import (
    Backend,
    Runner,
    ToolError,
    ToolMissingError,
    count_command,
    list_command,
    require,
    restore_command,
)
from controller.dataplane.validity import RulesetError, is_own_set
from controller.dataplane.words import UnreadableError

ATTEMPTS = 5
FIRST_PAUSE = 0.02
"""Seconds before the first retry; doubled each time.

Lock and generation conflicts are over in milliseconds.
"""

PROBE_CHAIN = "PODGATE-PROBE"
"""Made for a moment, to see whether the kernel takes a rule; nothing leads there."""

_BUSY_CODE = 4
"""iptables' exit code for a resource problem: the lock is held, or somebody else committed meanwhile."""


class KernelError(Exception):
    """The kernel is not as planned: a step failed for good.

    Earlier steps stay; rules of a failed commit do not.
    """


class Survey(Struct, frozen=True):
    """What of ours is in the kernel, and what is wrong beside it, in words, where it leads to our chains.

    `displaced` says where a neighbour's rule stands above our jump, and so may keep packets from us.
    """

    ruleset: Ruleset
    faults: tuple[str, ...] = ()
    displaced: tuple[str, ...] = ()


class Detours(Struct, frozen=True):
    """How many commits took a process of their own although a channel was to take them, and why the last."""

    count: int = 0
    reason: str = ""


class Kernel:
    """The kernel's tables of one family, seen through one backend.

    `open_link` opens the channel to the sets; where it cannot (OSError), `ipset restore` does its work.
    `channel` takes the commits; without one, or where it fails, each is a process of its own.
    """

    def __init__(  # noqa: PLR0913 - its ways into the kernel, each of which a test can close
        self,
        family: int,
        backend: Backend,
        runner: Runner,
        sleep: Callable[[float], None] = time.sleep,
        open_link: Callable[[], SetLink] = SetLink,
        *,
        channel: RestoreChannel | None = None,
    ) -> None:
        self.family = family
        self.backend = backend
        self._runner = runner
        self._sleep = sleep
        self._open_link = open_link
        self._link: SetLink | None = None
        self._channel = channel
        self.detours = Detours()

    def execute(self, held: Ruleset, steps: Iterable[Step]) -> None:
        """Take the steps, in order, from what the kernel holds.

        Raises KernelError at the first step that fails after its retries: read the kernel before planning
        again. A set that somebody else still uses is left where it is, and found again by the next reading.
        """
        kinds = {each.name: each.type for each in held.sets}
        for filling, group in groupby(steps, key=_is_fill):
            # New sets, to which nothing refers yet, are made by one process.
            for batch in (tuple(group),) if filling else ((step,) for step in group):
                try:
                    self._take(batch, kinds)
                except (ToolError, OSError, RulesetError, UnreadableError) as error:
                    self._close_link()  # an answer may still be under way on it
                    raise KernelError(f"IPv{self.family} {type(batch[0]).__name__}: {error}") from error
                kinds.update((step.set.name, step.set.type) for step in batch if isinstance(step, FillSet))

    def read(self) -> Ruleset:
        """What of ours is there. Raises KernelError where it cannot be read at all."""
        return self.survey().ruleset

    def survey(self) -> Survey:
        """What of ours is there, and whether packets get to it. Raises as `read` does.

        A chain of ours that holds what podgate never writes is there with rules that equal none, a set of our
        name that podgate never made without entries.
        """
        try:
            saved = saved_table(self._runner, self.backend, self.family)
            found = read_table(saved, self.family)
            sets, odd = read_sets(self._saved_sets(), self.family)
        except (ToolError, ParseError) as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        strays = (f"a rule that is not podgate's leads into its chains: {line}" for line in found.strays)
        displaced = tuple(
            f"a foreign rule stands above podgate's in {entry.chain}"
            for entry in entries(saved)
            if not entry.first
        )
        foreign = (f"set {name} is not of podgate's making" for name in odd)
        return Survey(Ruleset(self.family, found.chains, sets), (*strays, *foreign), displaced)

    def is_alive(self) -> bool:
        """The canary: our jump and our entry chain are there, at 2 to 6 ms.

        Raises KernelError where nobody answers.
        """
        if not self.exists():
            return False
        commands = (list_command(self.backend, self.family, name) for name in ("FORWARD", names.ENTRY))
        try:
            found = [self._runner.run(command) for command in commands]
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        forward, judge = ([] if result.code else result.output.splitlines() for result in found)
        return any(line.endswith(f" -j {names.ENTRY}") for line in forward) and any(
            " -j CONNMARK " in line for line in judge
        )

    def denied(self, chains: Iterable[str] = names.LOG_PREFIXES) -> dict[str, int]:
        """The packets counted by each chain where they end (`DENY`, `AUDIT`), since its rule was made.

        2 to 4 ms a chain. Empty where there is none; raises KernelError where nobody answers.
        """
        if not self.exists():
            return {}
        found: dict[str, int] = {}
        try:
            for chain in chains:
                result = self._runner.run(count_command(self.backend, self.family, chain))
                if not result.code:
                    found[chain] = last_count(result.output)
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        return found

    def log_refusal(self, log: DropLog) -> str:
        """Why a rule that logs cannot be had here, "" if it can; asks by making one, where nothing goes."""
        removal = f"*{TABLE}\n:{PROBE_CHAIN} - [0:0]\n-X {PROBE_CHAIN}\nCOMMIT\n"
        rule = rule_text(log_rule(names.DENY, log), self.family)
        try:
            self._commit(f"*{TABLE}\n:{PROBE_CHAIN} - [0:0]\nCOMMIT\n")
        except ToolError:
            return ""  # not even a chain: what fails is not the log
        refusal = ""
        try:
            self._commit(f"*{TABLE}\n:{PROBE_CHAIN} - [0:0]\n-A {PROBE_CHAIN} {rule}\nCOMMIT\n")
        except ToolError as error:
            refusal = error.reason
        with contextlib.suppress(ToolError):  # no rule leads there, and the next plan removes it
            self._commit(removal)
        return refusal

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
            busy = self._destroy(self._own_sets())
        except ToolError as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        if busy:
            raise KernelError(f"IPv{self.family}: somebody else uses the sets {', '.join(busy)}")

    def own_chains(self) -> tuple[str, ...]:
        """The names of our chains, also of those that another version made; asking creates nothing.

        Raises KernelError, or ToolMissingError where this backend's tools are not installed.
        """
        try:
            return own_chain_names(saved_table(self._runner, self.backend, self.family))
        except ToolMissingError:
            raise
        except ToolError as error:
            raise KernelError(f"IPv{self.family} {self.backend}: {error}") from error

    def mend_entries(self, *, insisting: bool = True) -> bool:
        """Have each entry lead to us by one jump; returns whether that passed a foreign rule above it.

        Which jump is right is what `read` reads, so apply first. Without `insisting`, a foreign rule above
        the only jump is left there. Raises KernelError.
        """
        passed = False
        try:
            saved = saved_table(self._runner, self.backend, self.family)
            strays = read_table(saved, self.family).strays
            for entry in entries(saved):
                right = [line for line in entry.jumps if line not in strays]
                single = len(entry.jumps) == 1
                if right and not (single and (entry.first or not insisting)):
                    self._commit(entry_text(entry, right[0]))
                    passed |= not entry.first
        except (ToolError, ParseError) as error:
            raise KernelError(f"IPv{self.family}: {error}") from error
        return passed

    def exists(self) -> bool:
        """Whether the backend has the table at all; asking never creates it."""
        return self.backend is not Backend.LEGACY or TABLE in legacy_tables(self.family)

    def close(self) -> None:
        """Close the channels; what is in the kernel stays."""
        self._close_link()
        if self._channel is not None:
            self._channel.close()

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _take(self, batch: tuple[Step, ...], kinds: Mapping[str, SetType]) -> None:
        match batch[0]:
            case FillSet():
                self._fill([step.set for step in batch if isinstance(step, FillSet)])
            case AddEntries(name, changed):
                self._change_entries("add", name, kinds[name], changed)
            case RemoveEntries(name, changed):
                self._change_entries("del", name, kinds[name], changed)
            case Commit(edits):
                self._commit(commit_text(edits, self.family))
            case DestroySets(obsolete):
                self._destroy(obsolete)

    # Rules

    def _commit(self, text: str) -> None:
        """One transaction, tried again while others hold the lock. Raises ToolError."""
        if self._is_taken_by_channel(text):
            return
        command = restore_command(self.backend, self.family)
        result = self._runner.run(command, text)
        for attempt in range(1, ATTEMPTS):
            if result.code != _BUSY_CODE and "Resource temporarily unavailable" not in result.errors:
                break
            self._sleep(FIRST_PAUSE * 2**attempt)
            result = self._runner.run(command, text)
        require(result, command)

    def _is_taken_by_channel(self, text: str) -> bool:
        """Whether the transaction is in force already; if not, nothing of it is.

        Then a process of its own has to take it, also what the channel refused: it may just have been the
        lock, and such a process gives reasons with line numbers that fit the text. Raises ToolError where
        nobody can say.
        """
        if self._channel is None:
            return False
        try:
            result = self._channel.commit(text)
        except ChannelUnavailableError as error:
            reason = str(error)
        else:
            if not result.code:
                return True
            reason = result.errors or f"exit code {result.code}"
        self.detours = Detours(self.detours.count + 1, reason)
        return False

    # Sets

    def _change_entries(self, verb: str, name: str, kind: SetType, changed: tuple[str, ...]) -> None:
        """By netlink; where that channel cannot be had, by `ipset restore`.

        Raises SetLinkError, UnreadableError or ToolError.
        """
        link = self._opened_link()
        if link is None:
            self._restore_sets(entries_text(verb, name, changed))
        elif verb == "add":
            link.add(name, kind, self.family, changed)
        else:
            link.remove(name, kind, self.family, changed)

    def _opened_link(self) -> SetLink | None:
        if self._link is None:
            try:
                self._link = self._open_link()
            except OSError:
                return None
        return self._link

    def _fill(self, sets: Sequence[AddressSet]) -> None:
        """Nothing refers to them, so sets of their names made otherwise may go. Raises ToolError."""
        text = "".join(fill_text(each, self.family) for each in sets)
        try:
            self._restore_sets(text)
        except ToolError as error:
            if "same name already exists" not in error.reason:
                raise
            self._destroy([each.name for each in sets])
            self._restore_sets(text)

    def _restore_sets(self, text: str) -> None:
        """Not atomic: lines before a failing one stay. All of ours can be repeated. Raises ToolError."""
        command = ("ipset", "restore")
        require(self._runner.run(command, text), command)

    def _destroy(self, obsolete: Iterable[str]) -> list[str]:
        """One by one, as the kernel may still hold one for a moment after its last rule went.

        Returns those that stay in use: no reason to fail what is done already. Raises ToolError.
        """
        busy = []
        for name in obsolete:
            command = ("ipset", "destroy", name)
            result = self._runner.run(command)
            for attempt in range(1, ATTEMPTS):
                if "in use" not in result.errors:
                    break
                self._sleep(FIRST_PAUSE * 2**attempt)
                result = self._runner.run(command)
            if "in use" in result.errors:
                busy.append(name)
            elif result.code and "does not exist" not in result.errors:
                require(result, command)
        return busy

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
