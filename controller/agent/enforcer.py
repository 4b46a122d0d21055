"""Makes one family's kernel hold what a node view says, and says what it did.

`Enforcer` keeps no opinion of its own about the kernel: it plans from what it last read or wrote, and reads
again whenever a step fails. The kernel is the only state, so a restart, a crash in the middle and somebody
else's `iptables -F` are all the same case: read, plan, take the steps.

One thing the kernel cannot tell: whether a change that took something away was interrupted before the new
generation that comes last. So the first application of a process raises it, and so does one after a failure.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.agent.conntrack import Conntrack
from controller.agent.generation import (
    installed_generation,
    may_tighten,
    next_generation,
    stated_generation,
)
from controller.dataplane.compile import NodeCompiler
from controller.dataplane.kernel import Kernel, KernelError
from controller.dataplane.plan import Planner, Step
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.dataplane.tools import ToolError
from controller.engine.rulesets import NodeView

ATTEMPTS = 4
FIRST_PAUSE = 0.05


class Cause(StrEnum):
    """Why steps were taken."""

    CHANGE = "change"
    DRIFT = "drift"


class Applied(Struct, frozen=True):
    """One application: its steps, the generation now in force, seconds it took, how often it began anew."""

    family: int
    cause: Cause
    steps: tuple[Step, ...]
    generation: int
    seconds: float
    retries: int = 0
    swept: int = 0
    """Chains that an earlier podgate had left in the other backend, and that were removed."""


class _Planned(NamedTuple):
    """Steps, the generation they bring, and what the kernel holds after them."""

    steps: tuple[Step, ...]
    generation: int
    target: Ruleset


class Enforcer:
    """One family of one node. Raises KernelError only after reading and planning anew several times."""

    def __init__(
        self,
        kernel: Kernel,
        settings: Settings,
        conntrack: Conntrack,
        *,
        keep_established: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        self._conntrack = conntrack
        self._keep_established = keep_established
        self._sleep = sleep
        self._compiler = NodeCompiler(kernel.family, settings)
        self.log_refusal = ""
        """Why denied packets are not logged although that was asked for; "" where they are."""
        self._planner = Planner()
        self._held: Ruleset | None = None
        self._marks_in_doubt = False
        self._settled = False  # whether every connection was told of the last thing that was taken away

    @property
    def family(self) -> int:
        """4 or 6."""
        return self._kernel.family

    @property
    def held(self) -> Ruleset | None:
        """What the kernel holds, as last read or written; None where that is not known."""
        return self._held

    def apply(self, view: NodeView, cause: Cause = Cause.CHANGE) -> Applied:
        """Make the kernel hold what the view says.

        O(what differs), after a full read where nothing is known.
        """
        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                steps, generation = self._attempt(view)
            except (KernelError, ToolError):
                self._held = None  # whatever is there now, it is not what was thought
                if attempt + 1 == ATTEMPTS:
                    raise
                self._go_on_without_log()
                self._sleep(FIRST_PAUSE * 2**attempt)
            except BaseException:
                self._held = None  # a bug, in the middle of a plan: the steps before it are taken
                raise
            else:
                seconds = time.monotonic() - started
                return Applied(self.family, cause, steps, generation, seconds, attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _go_on_without_log(self) -> None:
        """If it is the log that the kernel refuses: enforcing without it is better than not at all.

        Asked only after a failure, so that a kernel that takes it is never asked.
        """
        log = self._settings.drop_log
        if log is None:
            return
        self.log_refusal = self._kernel.log_refusal(log)
        if self.log_refusal:
            self._settings = replace(self._settings, drop_log=None)
            self._compiler = NodeCompiler(self.family, self._settings)

    def preview(self, view: NodeView) -> tuple[Step, ...]:
        """The steps that lead to the view, without the new generation that a restart alone brings.

        Reads the kernel. Raises KernelError.
        """
        self._held = self._kernel.read()
        current = installed_generation(self._held, self._settings.marks)
        return self._plan(view, self._held, current, settled=True).steps

    def expected(self, view: NodeView, held: Ruleset) -> Ruleset:
        """What the kernel should hold where it holds `held`: the view, in the generation in force."""
        return self._compile(view, stated_generation(held, self._settings.marks))

    def forget(self) -> None:
        """Read the kernel before the next application."""
        self._held = None

    def _attempt(self, view: NodeView) -> tuple[tuple[Step, ...], int]:
        held = self._held if self._held is not None else self._kernel.read()
        current = installed_generation(held, self._settings.marks)
        steps, generation, target = self._plan(view, held, current, settled=self._settled)
        if current is None or generation < current:
            # Marks of this number may be left from an earlier installation, or from the last time round.
            self._marks_in_doubt = True
        failure = self._clear_doubtful_marks()
        wordless = self._has_no_other_generation and (not self._settled or may_tighten(steps, held))
        self._settled = self._settled and generation == current and not wordless
        self._kernel.execute(held, steps)
        self._held = target
        if wordless:
            self._marks_in_doubt = True
            failure = self._clear_doubtful_marks()
        self._settled = True
        if failure is not None:
            raise KernelError(
                f"IPv{self.family}: the rules are in force, but old marks may let connections pass: {failure}"
            )
        return steps, generation

    @property
    def _has_no_other_generation(self) -> bool:
        """Whether marks must be cleared after each change, as no new number can tell connections of it."""
        return self._settings.marks.generations == 1 and not self._keep_established

    def _clear_doubtful_marks(self) -> ToolError | None:
        """Why it failed, if it did: that is no reason to enforce nothing."""
        if self._marks_in_doubt:
            try:
                self._conntrack.clear_marks(self.family, self._settings.marks.mask)
            except ToolError as error:
                return error
            self._marks_in_doubt = False
        return None

    def _plan(self, view: NodeView, held: Ruleset, current: int | None, *, settled: bool) -> _Planned:
        """The steps, with a new generation if they may take something away (rule 2.59)."""
        generation = current or 1
        target = self._compile(view, generation)
        if current is None or self._keep_established:
            return _Planned(self._planner.plan(held, target), generation, target)
        # Another rule or an entry less may always take something away: no need to plan to know that.
        if settled and held.chains == target.chains and not _loses_entries(held, target):
            steps = self._planner.plan(held, target)
            if not may_tighten(steps, held):
                return _Planned(steps, generation, target)
        generation = next_generation(current, self._settings.marks)
        target = self._compile(view, generation)
        return _Planned(self._planner.plan(held, target), generation, target)

    def _compile(self, view: NodeView, generation: int) -> Ruleset:
        return self._compiler.compile(view, generation)


def _loses_entries(held: Ruleset, target: Ruleset) -> bool:
    """Whether a set that both have loses some. O(sets + entries of those that differ)."""
    wanted = {each.name: each for each in target.sets}
    return any(
        not frozenset(each.entries) <= frozenset(wanted[each.name].entries)
        for each in held.sets
        if each.name in wanted and wanted[each.name].entries is not each.entries
    )
