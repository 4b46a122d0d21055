"""A family that a node does not have, and drift that a neighbour brings back: neither is mended for ever."""

from collections.abc import Iterable

import pytest

from controller.agent.enforcer import Applied
from controller.agent.guard import Check
from controller.agent.node import Drift, FamilyFailure
from controller.agent.node_kernel import Absent, Checked, NodeKernel
from controller.dataplane.tools import Backend
from controller.engine.rulesets import NodeView

VIEW = NodeView("node")


class Enforcement:
    """The edge: what a family's kernel answers."""

    def __init__(self, family: int, drifts: Iterable[Drift] = (), *, absent: bool = False) -> None:
        self.family = family
        self.drifts = list(drifts)
        self._is_absent = absent
        self.repairs = 0

    def apply(self, _view: NodeView) -> list[Applied | FamilyFailure]:
        return [] if self._is_absent else [FamilyFailure(self.family, "the lock is held")]

    def absent(self) -> dict[int, str]:
        return {self.family: "the kernel has no IPv6"} if self._is_absent else {}

    def verify(self, _view: NodeView) -> list[Drift]:
        return self.drifts

    def repair(self, _view: NodeView) -> list[Applied | FamilyFailure]:
        self.repairs += 1
        return [FamilyFailure(self.family, "not now")]


def kernel_of(*enforcements: Enforcement) -> NodeKernel:
    made = {each.family: each for each in enforcements}
    return NodeKernel(Backend.NFT, lambda family: made[family])  # type: ignore[arg-type, return-value]


def test_a_family_that_the_node_does_not_have_is_no_failure() -> None:
    kernel = kernel_of(Enforcement(4), Enforcement(6, absent=True))

    four, six = kernel.apply(VIEW, kernel.families)

    assert isinstance(four, FamilyFailure)
    assert six == Absent(6, "the kernel has no IPv6")


@pytest.mark.parametrize(("deferred", "repairs"), [(True, 0), (False, 1)])
def test_what_a_neighbour_brings_back_is_told_and_left_for_now(deferred: bool, repairs: int) -> None:
    drift = Drift(4, "a foreign rule stands above podgate's in FORWARD", deferred=deferred)
    family = Enforcement(4, [drift])

    (found,) = kernel_of(family, Enforcement(6)).check(VIEW, [4], Check.FULL)

    assert isinstance(found, Checked)
    assert (found.drifts, family.repairs) == ((drift,), repairs)


def test_rules_in_one_family_are_rules_of_an_earlier_run() -> None:
    """What is on disk may be older than they are: it must not replace them before the server was asked."""
    four, six = Enforcement(4), Enforcement(6)
    four.is_alive = lambda: True  # type: ignore[attr-defined]
    six.is_alive = lambda: False  # type: ignore[attr-defined]

    assert kernel_of(four, six).has_rules()
