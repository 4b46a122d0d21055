"""A node's kernel as the reconcile loop sees it: families that are programmed and looked after one by one.

Called in the kernel thread only. Nothing here raises: what goes wrong in a family is its outcome, whatever it
was, as one family's failure must never keep the other from its rules.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from controller.agent.enforcer import Applied
from controller.agent.guard import Check
from controller.agent.node import Drift, FamilyFailure, NodeEnforcement
from controller.dataplane.compile import FAMILIES
from controller.dataplane.kernel import KernelError
from controller.dataplane.tools import Backend
from controller.engine.rulesets import NodeView


class Absent(Struct, frozen=True):
    """A family that this node does not have: nothing is to be enforced in it, and nothing can be."""

    family: int
    reason: str


Outcome = Applied | FamilyFailure | Absent


class Size(Struct, frozen=True):
    """What podgate has in the kernel."""

    rules: int = 0
    sets: int = 0
    entries: int = 0


class Checked(Struct, frozen=True):
    """How a family differed from what it should hold, and what came of mending it; None where it did not."""

    family: int
    drifts: tuple[Drift, ...] = ()
    mended: Outcome | None = None


class NodeKernel:
    """The families of a node, each with an enforcement of its own."""

    def __init__(self, backend: Backend, make: Callable[[int], NodeEnforcement]) -> None:
        """`make` gives the enforcement of a family, and of no other."""
        self.backend = backend
        self._families: Mapping[int, NodeEnforcement] = {family: make(family) for family in FAMILIES}

    @property
    def families(self) -> tuple[int, ...]:
        """4 and 6."""
        return tuple(self._families)

    def has_rules(self) -> bool:
        """Whether rules of an earlier run are in force in some family.

        One is enough to wait for the API server: they may be newer than what is on disk.
        """
        return any(_is_alive(each) for each in self._families.values() if not each.absent())

    def apply(self, view: NodeView, families: Iterable[int]) -> list[Outcome]:
        """Have these families hold the view."""
        return [self._guarded(family, self._families[family].apply, view) for family in families]

    def check(self, view: NodeView, families: Iterable[int], check: Check) -> list[Checked]:
        """Look whether these families hold the view, and mend those that do not."""
        return [self._checked(family, view, check) for family in families]

    def sizes(self) -> dict[int, Size]:
        """What is in the kernel, as far as is known, by family. O(chains + sets)."""
        return {
            family: Size(
                rules=sum(len(chain.rules) for chain in held.chains),
                sets=len(held.sets),
                entries=sum(len(each.entries) for each in held.sets),
            )
            for each in self._families.values()
            for family, held in each.held().items()
        }

    def denied(self) -> dict[int, dict[str, int]]:
        """The packets denied so far, by family and chain; without families that cannot be asked just now."""
        found: dict[int, dict[str, int]] = {}
        for each in self._families.values():
            with contextlib.suppress(KernelError):  # the check of the rules says so
                found.update(each.denied())
        return found

    def log_refusals(self) -> dict[int, str]:
        """The families whose kernel takes no rule that logs, and what it says."""
        found = (each.log_refusals() for each in self._families.values())
        return {family: why for refusals in found for family, why in refusals.items()}

    def close(self) -> None:
        """Let go of the channels to the kernel; rules and sets stay."""
        for each in self._families.values():
            each.close()

    def _checked(self, family: int, view: NodeView, check: Check) -> Checked:
        enforcement = self._families[family]
        if check is Check.CANARY and _is_alive(enforcement):
            return Checked(family)
        try:
            drifts = tuple(enforcement.verify(view))
        except Exception as error:  # noqa: BLE001 - as in _guarded
            return Checked(family, mended=_failure(family, error))
        if all(drift.deferred for drift in drifts):
            return Checked(family, drifts)
        return Checked(family, drifts, self._guarded(family, enforcement.repair, view))

    def _guarded(
        self, family: int, action: Callable[[NodeView], list[Applied | FamilyFailure]], view: NodeView
    ) -> Outcome:
        try:
            results = action(view)
            return results[0] if results else Absent(family, self._families[family].absent()[family])
        except Exception as error:  # noqa: BLE001 - a bug in one family must not stop the other
            return _failure(family, error)


def _is_alive(enforcement: NodeEnforcement) -> bool:
    try:
        return enforcement.is_alive()
    except Exception:  # noqa: BLE001 - the full check that follows says what it is
        return False


def _failure(family: int, error: Exception) -> FamilyFailure:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return FamilyFailure(family, f"internal error at {where}: {type(error).__name__}: {error}")
