"""What the agent tells in its log: decisions, and what is wrong, once and not at every attempt."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from controller.agent.decisions import decisions
from controller.agent.enforcer import Applied
from controller.agent.node import Drift, FamilyFailure
from controller.agent.node_kernel import Absent
from controller.agent.subscription import Problem, Target
from controller.telemetry.logs import Logger, logger

_AGAIN = 60.0
"""Seconds after which something that is still wrong is said again."""
_DRIFTS_SHOWN = 10


def not_logged(family: int, why: str) -> str:
    """That a family is enforced without the log that was asked for."""
    return (
        f"IPv{family}: denied packets are not logged, as this kernel or its iptables has no NFLOG or limit "
        f"({why}); they are enforced all the same"
    )


class Journal:
    """Remembers what was said last."""

    def __init__(
        self, node: str, log: Logger | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._log = (log or logger("agent")).bind(node=node)
        self._clock = clock
        self._told: Target | None = None
        self._failures: dict[int, tuple[str, float]] = {}
        self._problems: dict[str, float] = {}
        self._is_stale = False
        self._absent: set[int] = set()
        self._not_logged: set[int] = set()

    def in_force(self, target: Target, seconds: float, waited: Sequence[float]) -> None:
        """All families hold the target, after so many seconds in the kernel; its events waited so long."""
        self._log.debug(
            f"{self._node}: {len(waited)} changes are in force",
            waited_ms=[round(each * 1000, 3) for each in waited],
        )
        for each in decisions(self._told, target):
            self._log.info(each.sentence(self._node, seconds), policy=each.policy, digest=target.digest)
        if self._told is None:
            self._log.info(
                f"{self._node}: first programming done: {len(target.view.pods)} pods, "
                f"{len(target.view.rulesets)} rulesets, {len(target.view.groups)} peer groups",
                digest=target.digest,
            )
        self._told = target

    def took(self, outcome: Applied) -> None:
        """An application that worked; a failure before it is over."""
        if self._failures.pop(outcome.family, None) is not None:
            self._log.info(f"{self._node} IPv{outcome.family}: works again")
        self._log.debug(
            f"{self._node} IPv{outcome.family}: {len(outcome.steps)} steps ({outcome.cause})",
            seconds=round(outcome.seconds, 6),
            generation=outcome.generation,
        )
        if outcome.swept:
            self._log.info(
                f"{self._node} IPv{outcome.family}: {outcome.swept} chains that an earlier podgate left in "
                "the other iptables backend are removed"
            )

    def not_logged(self, refusals: Mapping[int, str]) -> None:
        """The families whose denied packets cannot be logged; said once."""
        for family, why in refusals.items():
            if family not in self._not_logged:
                self._not_logged.add(family)
                self._log.warning(f"{self._node} {not_logged(family, why)}")

    def failed(self, failure: FamilyFailure, retry: float) -> None:
        """An application that did not work, and is tried again in `retry` seconds."""
        reason, at = self._failures.get(failure.family, ("", float("-inf")))
        if reason == failure.reason and self._clock() - at < _AGAIN:
            return
        self._failures[failure.family] = failure.reason, self._clock()
        self._log.error(
            f"{self._node} IPv{failure.family} cannot be programmed, its rules stay as they are: "
            f"{failure.reason}; next attempt in {retry:.1f} s"
        )

    def absent(self, family: Absent) -> None:
        """A family that this node does not have; said once."""
        if family.family not in self._absent:
            self._absent.add(family.family)
            self._log.info(f"{self._node} IPv{family.family}: nothing to enforce: {family.reason}")

    def drifted(self, drifts: Iterable[Drift]) -> None:
        """Somebody else changed the rules."""
        found = list(drifts)
        for drift in found[:_DRIFTS_SHOWN]:
            left = " (left for now, as it comes back each time: whose rule is it?)" if drift.deferred else ""
            self._log.warning(f"{self._node} drift: {drift}{left}")
        if len(found) > _DRIFTS_SHOWN:
            self._log.warning(f"{self._node} drift: {len(found) - _DRIFTS_SHOWN} more differences")

    def mended(self, outcome: Applied, repairs: int) -> None:
        """The rules are as they should be again."""
        self._log.info(
            f"{self._node} IPv{outcome.family}: mended in {outcome.seconds * 1000:.1f} ms, "
            f"{repairs} repairs so far"
        )

    def problems(self, found: Iterable[Problem]) -> None:
        """What keeps this node from doing all that was asked."""
        now = self._clock()
        present = {each.reason: each.message for each in found}
        for reason, message in present.items():
            if now - self._problems.get(reason, float("-inf")) >= _AGAIN:
                self._problems[reason] = now
                self._log.warning(f"{self._node} {reason}: {message}", reason=reason)
        for reason in self._problems.keys() - present.keys():
            del self._problems[reason]
            self._log.info(f"{self._node} {reason}: is over", reason=reason)

    def stale(self, why: str) -> None:
        """Whether nothing newer may have been heard of, and why; "" when all is well."""
        if bool(why) is self._is_stale:
            return
        self._is_stale = bool(why)
        if why:
            self._log.warning(f"{self._node} stale: {why}; what was enforced last stays in force")
        else:
            self._log.info(f"{self._node} stale: is over")
