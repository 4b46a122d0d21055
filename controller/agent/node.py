"""A node: both families, applied, checked, repaired and cleaned, each on its own.

What fails in one family never stops the other, and is reported beside what worked. The order inside a family
is the plan's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import Applied, Cause, Enforcer
from controller.dataplane.compile import FAMILIES
from controller.dataplane.kernel import Detours, Kernel, KernelError, Survey
from controller.dataplane.plan import Step
from controller.dataplane.readback import SPOILT
from controller.dataplane.restore_channel import RestoreChannel
from controller.dataplane.ruleset import Rule, Ruleset
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend, Runner, ToolError, restore_command
from controller.engine.rulesets import NodeView


class FamilyFailure(Struct, frozen=True):
    """A family that could not be brought to the wanted state.

    It keeps what it had, or a safe step on the way.
    """

    family: int
    reason: str


class Drift(Struct, frozen=True):
    """One way in which the kernel differs from what it should hold."""

    family: int
    text: str

    def __str__(self) -> str:
        return f"IPv{self.family}: {self.text}"


class NodeEnforcement:
    """Both families of this network namespace through one backend.

    `keep_open` keeps a restore process for each, for who makes many changes; `close` ends them.
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
    ) -> None:
        conntrack = Conntrack(runner)
        self._kernels = {
            family: Kernel(family, backend, runner, channel=_channel(backend, family) if keep_open else None)
            for family in families
        }
        self._enforcers = {
            family: Enforcer(kernel, settings, conntrack, keep_established=keep_established)
            for family, kernel in self._kernels.items()
        }

    def apply(self, view: NodeView, cause: Cause = Cause.CHANGE) -> list[Applied | FamilyFailure]:
        """Make the kernel hold the view, family by family."""
        return [
            self._guarded(enforcer, lambda each: each.apply(view, cause))
            for enforcer in self._enforcers.values()
        ]

    def preview(self, view: NodeView) -> dict[int, tuple[Step, ...]]:
        """The steps `apply` would take, by family. Raises KernelError."""
        return {family: enforcer.preview(view) for family, enforcer in self._enforcers.items()}

    def verify(self, view: NodeView, reread: Callable[[Survey], Survey] | None = None) -> list[Drift]:
        """Every difference between the kernel and the view.

        A family that cannot be read is a difference too. `reread` replaces what another reader sees; it may
        raise ToolError.
        """
        return [drift for family in self._kernels for drift in self._drift_of(family, view, reread)]

    def repair(self, view: NodeView) -> list[Applied | FamilyFailure]:
        """Read again and mend what differs, also a jump that a foreign rule was put above."""
        return [
            self._guarded(enforcer, lambda each: self._mend(each, view))
            for enforcer in self._enforcers.values()
        ]

    def _mend(self, enforcer: Enforcer, view: NodeView) -> Applied:
        kernel = self._kernels[enforcer.family]
        enforcer.forget()
        kernel.mend_entries()  # a stray jump can keep a chain from going
        applied = enforcer.apply(view, Cause.DRIFT)
        kernel.mend_entries()  # now that the right jump is there in any case
        return applied

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
            return all(kernel.is_alive() for kernel in self._kernels.values())
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
        except (KernelError, ToolError) as error:
            enforcer.forget()
            yield Drift(family, str(error).removeprefix(f"IPv{family}: "))
            return
        found = [*differences(survey.ruleset, expected), *survey.faults]
        if found:
            enforcer.forget()
        yield from (Drift(family, text) for text in found)

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
