"""What the agent says about its node in the status of its NodePolicy.

Pure. A status is a function of what is so, and of the status before, whose times stay where nothing changed:
an agent that restarts and finds everything as it was has nothing to write.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from controller import __version__
from controller.agent.subscription import Problem
from controller.objects.resources import MESSAGE_MAX, Condition, ConditionType, NodePolicyStatus


class Report(Struct, frozen=True):
    """What is so.

    `digest` is of the last spec that all families hold, "" before the first. `waits_for` says why the newest
    one is not in force, "" when it is; `stale` why nothing newer may have been heard of, "" when nothing
    speaks for it. `problems` are why less is enforced than was asked for, the worst first; `notes` what else
    is not as asked for, and takes nothing from what is enforced.
    """

    digest: str = ""
    enforced: int = 0
    pending: int = 0
    backend: str = ""
    waits_for: str = ""
    stale: str = ""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def node_status(report: Report, before: NodePolicyStatus | None, now: str) -> NodePolicyStatus:
    """The status to write at `now`, RFC 3339, after `before`."""
    earlier = before or NodePolicyStatus()
    is_same = earlier.observed_digest == report.digest and earlier.applied_at
    return NodePolicyStatus(
        observed_digest=report.digest,
        applied_at=earlier.applied_at if is_same else (now if report.digest else ""),
        pods_enforced=report.enforced,
        pods_pending=report.pending,
        backend=report.backend,
        agent_version=__version__,
        conditions=tuple(_conditions(report, earlier.conditions, now)),
    )


def _conditions(report: Report, before: Sequence[Condition], now: str) -> Iterator[Condition]:
    since = {each.type: (each.status, each.last_transition_time) for each in before}
    for kind, found in (
        (ConditionType.READY, _ready(report)),
        (ConditionType.DEGRADED, _degraded(report)),
        (ConditionType.STALE, _stale(report)),
    ):
        is_true, reason, message = found
        status = "True" if is_true else "False"
        old_status, old_time = since.get(kind, ("", ""))
        time = old_time if old_status == status and old_time else now
        yield Condition(kind.value, status, reason, message[:MESSAGE_MAX], time)


def _ready(report: Report) -> tuple[bool, str, str]:
    if report.waits_for:
        return False, "NotEnforced", report.waits_for
    return True, "Enforced", "; ".join((f"{report.enforced} pods are enforced", *report.notes))


def _degraded(report: Report) -> tuple[bool, str, str]:
    if not report.problems:
        return False, "AsAsked", "nothing is wrong"
    return True, report.problems[0].reason, "; ".join(each.message for each in report.problems)


def _stale(report: Report) -> tuple[bool, str, str]:
    if report.stale:
        return True, "NothingNewHeard", report.stale
    return False, "InTouch", "in touch with the API server"
