"""A node: both families, applied, checked, repaired and cleaned, each on its own.

What fails in one family never stops the other, and is reported beside what worked. The order inside a family
is the plan's.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import Applied, Cause, Enforcer
from controller.agent.guard import Contest
from controller.dataplane import names
from controller.dataplane.compile import FAMILIES
from controller.dataplane.families import absence, disuse
from controller.dataplane.kernel import Detours, Kernel, KernelError, Survey
from controller.dataplane.plan import Step
from controller.dataplane.readback import SPOILT
from controller.dataplane.restore_channel import RestoreChannel
from controller.dataplane.ruleset import Rule, Ruleset
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend, Runner, ToolError, ToolMissingError, restore_command
from controller.engine.rulesets import NodeView


class FamilyFailure(Struct, frozen=True):
    """A family that could not be brought to the wanted state.

    It keeps what it had, or a safe step on the way.
    """

    family: int
    reason: str


class Drift(Struct, frozen=True):
    """One way in which the kernel differs from what it should hold.

    `deferred`: `repair` will leave it for now, as a neighbour brings it back each time.
    """

    family: int
    text: str
    deferred: bool = False

    def __str__(self) -> str:
        return f"IPv{self.family}: {self.text}"


class NodeEnforcement:
    """Both families of this network namespace through one backend.

    `keep_open` keeps a restore process for each, for who makes many changes; `close` ends them. A family that
    the node does not have takes no part in anything: `absent` says why.
    """

    def __init__(  # noqa: PLR0913 - one argument per option
        self,
        backend: Backend,
        runner: Runner,
        settings: Settings = DEFAULTS,
        *,
        keep_established: bool = False,
        keep_open: bool = False,
        families: Iterable[int] = FAMILIES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._runner = runner
        self._now = now
        conntrack = Conntrack(runner)
        self._kernels = {
            family: Kernel(family, backend, runner, channel=_channel(backend, family) if keep_open else None)
            for family in families
        }
        self._enforcers = {
            family: Enforcer(kernel, settings, conntrack, keep_established=keep_established)
            for family, kernel in self._kernels.items()
        }
        self._first_places = {family: Contest() for family in self._kernels}
        self._given_up: dict[int, str] = {}
        self._swept: set[int] = set()

    def apply(self, view: NodeView, cause: Cause = Cause.CHANGE) -> list[Applied | FamilyFailure]:
        """Make the kernel hold the view, family by family.

        The first time also takes away what an earlier podgate left in the other backend.
        """
        return self._each(view, lambda enforcer: self._swept_clean(enforcer.apply(view, cause)))

    def preview(self, view: NodeView) -> dict[int, tuple[Step, ...]]:
        """The steps `apply` would take, by family. Raises KernelError."""
        return {family: self._enforcers[family].preview(view) for family in self._present(view)}

    def absent(self) -> dict[int, str]:
        """The families that this node does not have, or has no tables and no use for, and why."""
        found = {family: absence(family) or self._given_up.get(family, "") for family in self._kernels}
        return {family: reason for family, reason in found.items() if reason}

    def log_refusals(self) -> dict[int, str]:
        """The families whose kernel takes no rule that logs, and what it says; the others are logged."""
        return {family: each.log_refusal for family, each in self._enforcers.items() if each.log_refusal}

    def denied(self) -> dict[int, dict[str, int]]:
        """By family and chain, the packets denied (or only audited) so far. Raises KernelError."""
        held = self.held()
        return {
            family: kernel.denied(_counting_chains(held.get(family)))
            for family, kernel in self._kernels.items()
        }

    def displacements(self) -> dict[int, int]:
        """By family, how often a neighbour's rule stood above our jump and was moved below it."""
        return {family: contest.mended for family, contest in self._first_places.items()}

    def verify(self, view: NodeView, reread: Callable[[Survey], Survey] | None = None) -> list[Drift]:
        """Every difference between the kernel and the view.

        A family that cannot be read is a difference too. `reread` replaces what another reader sees; it may
        raise ToolError.
        """
        return [drift for family in self._present(view) for drift in self._drift_of(family, view, reread)]

    def repair(self, view: NodeView) -> list[Applied | FamilyFailure]:
        """Read again and mend what differs, also a jump that a foreign rule was put above.

        A neighbour that puts it there each time is moved below ever more rarely: two programs that both
        insist on the first place would else do nothing but that.
        """
        return self._each(view, lambda enforcer: self._mend(enforcer, view))

    def _mend(self, enforcer: Enforcer, view: NodeView) -> Applied:
        kernel = self._kernels[enforcer.family]
        contest = self._first_places[enforcer.family]
        insisting = contest.may_mend(self._now())
        enforcer.forget()
        moved = kernel.mend_entries(insisting=insisting)  # a stray jump can keep a chain from going
        applied = enforcer.apply(view, Cause.DRIFT)
        moved |= kernel.mend_entries(insisting=insisting)  # now that the right jump is there in any case
        if moved:
            contest.count(self._now())
        self._swept.discard(enforcer.family)
        return self._swept_clean(applied)

    def _swept_clean(self, applied: Applied) -> Applied:
        """Once our rules are in force here, none may be left in the other backend. Raises KernelError."""
        if applied.family in self._swept:
            return applied
        try:
            removed = self._leftovers(applied.family)
            if removed:
                self._other(applied.family).clear_rules()
                self._enforcers[applied.family].forget()  # sets that only they used can go now
        except KernelError as error:
            raise KernelError(
                f"the rules are in force, but beside them may be old ones of podgate's: {error}"
            ) from error
        self._swept.add(applied.family)
        return replace(applied, swept=len(removed))

    def _leftovers(self, family: int) -> tuple[str, ...]:
        """Our chains in the other backend. Raises KernelError."""
        try:
            return self._other(family).own_chains()
        except ToolMissingError:
            return ()  # a machine without the tool: whoever wrote there, podgate did not

    def _other(self, family: int) -> Kernel:
        (other,) = {*Backend} - {self._backend}
        return Kernel(family, other, self._runner)

    def _present(self, view: NodeView) -> list[int]:
        self._given_up = {family: reason for family, reason in self._given_up.items() if disuse(family, view)}
        return [family for family in self._kernels if family not in self.absent()]

    def _each(self, view: NodeView, action: Callable[[Enforcer], Applied]) -> list[Applied | FamilyFailure]:
        results = [self._guarded(self._enforcers[family], action) for family in self._present(view)]
        for each in results:
            if isinstance(each, FamilyFailure) and (unused := disuse(each.family, view)):
                # Tables that cannot be had, and that nobody needs: no failure, and not to be tried for ever.
                self._given_up[each.family] = f"{unused}, and its tables cannot be had: {each.reason}"
        return [each for each in results if each.family not in self._given_up]

    def held(self) -> dict[int, Ruleset]:
        """What each family holds, as last read or written; without those where that is not known."""
        known = ((family, enforcer.held) for family, enforcer in self._enforcers.items())
        return {family: held for family, held in known if held is not None}

    def close(self) -> None:
        """Let go of the channels to the kernel; rules and sets stay."""
        for kernel in self._kernels.values():
            kernel.close()

    def detours(self) -> dict[int, Detours]:
        """By family, the commits for which the process kept open was of no use."""
        return {family: kernel.detours for family, kernel in self._kernels.items()}

    def is_alive(self) -> bool:
        """The canary of both families; a family that cannot be asked is not alive."""
        try:
            return all(
                kernel.is_alive() for family, kernel in self._kernels.items() if family not in self.absent()
            )
        except KernelError:
            return False

    def _drift_of(
        self, family: int, view: NodeView, reread: Callable[[Survey], Survey] | None
    ) -> Iterator[Drift]:
        enforcer = self._enforcers[family]
        try:
            survey = self._kernels[family].survey()
            if reread is not None:
                survey = reread(survey)
            expected = enforcer.expected(view, survey.ruleset)
            leftovers = self._leftovers(family)
        except (KernelError, ToolError) as error:
            enforcer.forget()
            yield Drift(family, str(error).removeprefix(f"IPv{family}: "))
            return
        found = [*differences(survey.ruleset, expected), *survey.faults]
        if leftovers:
            found.append(f"{len(leftovers)} chains of podgate's are left in the other iptables backend")
        if found:
            enforcer.forget()
        yield from (Drift(family, text) for text in found)
        waiting = not self._first_places[family].may_mend(self._now())
        yield from (Drift(family, fault, deferred=waiting) for fault in survey.displaced)

    def _guarded(self, enforcer: Enforcer, action: Callable[[Enforcer], Applied]) -> Applied | FamilyFailure:
        try:
            return action(enforcer)
        except (KernelError, ToolError) as error:
            return FamilyFailure(enforcer.family, str(error))


def _channel(backend: Backend, family: int) -> RestoreChannel:
    return RestoreChannel(restore_command(backend, family))


def cleanup(runner: Runner, families: Iterable[int] = FAMILIES) -> list[FamilyFailure]:
    """Remove everything of podgate's from both backends and both families, and nothing else."""
    failures: list[FamilyFailure] = []
    for family in families:
        for backend in Backend:
            kernel = Kernel(family, backend, runner)
            try:
                kernel.clear_rules()
            except KernelError as error:
                failures.append(FamilyFailure(family, str(error)))
        try:
            Kernel(family, Backend.NFT, runner).clear_sets()
        except KernelError as error:
            failures.append(FamilyFailure(family, str(error)))
    return failures


def _counting_chains(held: Ruleset | None) -> tuple[str, ...]:
    """The chains that count denied packets; all that there can be where it is not known what is there."""
    there = None if held is None else {chain.name for chain in held.chains}
    return tuple(name for name in names.LOG_PREFIXES if there is None or name in there)


def differences(held: Ruleset, expected: Ruleset) -> Iterator[str]:
    """How two rulesets differ, one line each: chains, then sets."""
    chains = {chain.name: chain.rules for chain in held.chains}
    wanted = {chain.name: chain.rules for chain in expected.chains}
    for name in sorted(chains.keys() | wanted.keys()):
        if name not in chains:
            yield f"chain {name} is missing"
        elif name not in wanted:
            yield f"chain {name} should not be there"
        elif chains[name] != wanted[name]:
            yield f"chain {name}: {_rule_difference(chains[name], wanted[name])}"
    sets = {each.name: each for each in held.sets}
    needed = {each.name: each for each in expected.sets}
    for name in sorted(sets.keys() | needed.keys()):
        if name not in sets:
            yield f"set {name} is missing"
        elif name not in needed:
            yield f"set {name} should not be there"
        else:
            yield from _entry_differences(name, set(sets[name].entries), set(needed[name].entries))


def _rule_difference(held: tuple[Rule, ...], expected: tuple[Rule, ...]) -> str:
    if held == SPOILT:
        return "holds a rule that is not podgate's"
    lacking, surplus = (
        sum((Counter(one) - Counter(other)).values()) for one, other in ((expected, held), (held, expected))
    )
    if not lacking and not surplus:
        return "its rules are in another order"
    return f"lacks {lacking} of its {len(expected)} rules and holds {surplus} others"


def _entry_differences(name: str, held: set[str], expected: set[str]) -> Iterator[str]:
    for entry in sorted(expected - held):
        yield f"set {name} lacks {entry}"
    for entry in sorted(held - expected):
        yield f"set {name} holds {entry} and should not"
