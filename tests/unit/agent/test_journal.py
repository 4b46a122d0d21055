"""What the log tells: decisions once, and what is wrong, once a minute and when it is over."""

from controller.agent.enforcer import Applied, Cause
from controller.agent.journal import Journal
from controller.agent.node import Drift, FamilyFailure
from controller.agent.node_kernel import Absent
from controller.agent.subscription import Problem, Subscription, Target
from tests.unit.agent.published import SHOP, policy, slices
from tests.unit.builder import NODE

APPLIED = Applied(4, Cause.CHANGE, (), 1, 0.0031)
FAILED = FamilyFailure(4, "it broke")


class Lines:
    """A logger that keeps its lines; the edge of the process."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def bind(self, **_keys: object) -> "Lines":
        return self

    def debug(self, msg: str, **keys: object) -> None:
        pass

    def info(self, msg: str, **_keys: object) -> None:
        self.told.append(f"info: {msg}")

    def warning(self, msg: str, **_keys: object) -> None:
        self.told.append(f"warning: {msg}")

    def error(self, msg: str, **_keys: object) -> None:
        self.told.append(f"error: {msg}")

    exception = error


class Told:
    """A journal, its lines and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines = Lines()
        self.journal = Journal("node-2", self.lines, lambda: self.now)

    def take(self) -> list[str]:
        found, self.lines.told = self.lines.told, []
        return found


def target() -> Target:
    subscription = Subscription(NODE, 0.0)
    for each in slices(SHOP):
        subscription.put_slice(each, 0.0)
    subscription.put_policy(policy(SHOP), 0.0)
    found = subscription.take(0.0)
    assert found is not None
    return found


def test_a_policy_is_told_once() -> None:
    told = Told()
    wanted = target()
    told.journal.in_force(wanted, 0.0031, [])
    first = told.take()

    told.journal.in_force(wanted, 0.0031, [0.002])

    assert first[0] == "info: policy shop/db applied on node-2: 1 pod, 1 chain, 1 address, 3.1 ms"
    assert told.take() == []


def test_a_failure_is_told_once_a_minute_and_when_it_is_over() -> None:
    told = Told()
    for told.now in (0.0, 1.0, 30.0, 61.0):
        told.journal.failed(FAILED, 2.0)
    told.journal.took(APPLIED)

    lines = told.take()

    assert len(lines) == 3
    assert lines[0] == (
        "error: node-2 IPv4 cannot be programmed, its rules stay as they are: it broke; next attempt in 2.0 s"
    )
    assert lines[2] == "info: node-2 IPv4: works again"


def test_another_failure_is_told_at_once() -> None:
    told = Told()
    told.journal.failed(FAILED, 2.0)

    told.journal.failed(FamilyFailure(4, "it broke otherwise"), 2.0)

    assert len(told.take()) == 2


def test_a_problem_is_told_once_a_minute_and_when_it_is_over() -> None:
    told = Told()
    for told.now in (0.0, 5.0, 65.0):
        told.journal.problems([Problem("GroupsIncomplete", "one is missing")])
    told.journal.problems([])
    told.journal.problems([])

    assert told.take() == [
        "warning: node-2 GroupsIncomplete: one is missing",
        "warning: node-2 GroupsIncomplete: one is missing",
        "info: node-2 GroupsIncomplete: is over",
    ]


def test_staleness_is_told_when_it_turns() -> None:
    told = Told()
    for why in ("", "silence", "silence", "", ""):
        told.journal.stale(why)

    assert told.take() == [
        "warning: node-2 stale: silence; what was enforced last stays in force",
        "info: node-2 stale: is over",
    ]


def test_very_much_drift_is_told_in_few_lines() -> None:
    told = Told()

    told.journal.drifted([Drift(4, f"set {number} is missing") for number in range(500)])

    assert len(told.take()) == 11


def test_a_family_that_is_not_there_is_told_once() -> None:
    told = Told()

    told.journal.absent(Absent(6, "the kernel has no IPv6"))
    told.journal.absent(Absent(6, "the kernel has no IPv6"))

    assert told.take() == ["info: node-2 IPv6: nothing to enforce: the kernel has no IPv6"]
