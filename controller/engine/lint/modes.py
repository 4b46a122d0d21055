"""What audit mode means for those who forget it: pods that stay open, and rules that do not count."""

from collections.abc import Iterator, Mapping

from controller.engine.lint.context import Context
from controller.engine.lint.lookalikes import Lookalikes, pod_count
from controller.engine.lint.notes import about_namespace, about_policy, as_note
from controller.engine.lint.wording import listed, names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, Mode, Namespace, NetworkPolicy
from controller.objects.mode import ANNOTATION
from controller.objects.names import counted

_Ends = Mapping[Direction, tuple[Lookalikes, ...]]
"""Pods, by a direction in which something holds for them."""


def check_modes(context: Context) -> Iterator[Finding]:
    """audit-without-say and only-audited.

    O(policies), + lookalikes that those in audit mode select x policies that apply to them.
    """
    audited = [policy for policy in context.policies if context.evaluator.mode(policy) is Mode.AUDIT]
    for policy in audited:
        yield from _without_say(context, policy)
    spaces = {policy.namespace for policy in audited}
    for namespace in context.cluster.namespaces:
        if namespace.name in spaces:
            yield from _only_audited(context, namespace)


def _without_say(context: Context, policy: NetworkPolicy) -> Iterator[Finding]:
    subjects = context.subjects(policy)
    silenced = {
        direction: tuple(alike for alike in subjects if _enforced(context, alike, direction))
        for direction in policy.directions
    }
    parts = [
        f"{direction.lower()} of {names_of(found)} ({_names(context, found, direction)})"
        for direction, found in silenced.items()
        if found
    ]
    if not parts:
        return
    lost = any(found and policy.rules(direction) for direction, found in silenced.items())
    effect = "its rules do not count there" if lost else "it has no effect there"
    message = f"is in audit mode beside policies that are enforced for {listed(parts)}: {effect}"
    remedy = f"try a whole namespace ({ANNOTATION}: audit on it), or enforce this policy too"
    finding = about_policy(policy, "audit-without-say", "metadata.annotations", message, remedy)
    yield finding if lost else as_note(finding)


def _only_audited(context: Context, namespace: Namespace) -> Iterator[Finding]:
    live = context.live.get(namespace.name, ())
    ends: _Ends = {
        direction: tuple(alike for alike in live if _is_only_audited(context, alike, direction))
        for direction in Direction
    }
    parts = [
        f"{counted(pod_count(found), 'pod')} for {direction.lower()} ({names_of(found)})"
        for direction, found in ends.items()
        if found
    ]
    if parts:
        message = f"only policies in audit mode select {listed(parts)}: nothing is dropped there"
        remedy = f"when the trial is over, remove {ANNOTATION}: audit, or the operator's --mode=audit"
        yield about_namespace(namespace, "only-audited", message, remedy)


def _is_only_audited(context: Context, alike: Lookalikes, direction: Direction) -> bool:
    return bool(context.applying(alike, direction)) and not _enforced(context, alike, direction)


def _enforced(context: Context, alike: Lookalikes, direction: Direction) -> tuple[NetworkPolicy, ...]:
    applying = context.applying(alike, direction)
    return tuple(policy for policy in applying if context.evaluator.mode(policy) is Mode.ENFORCE)


def _names(context: Context, found: tuple[Lookalikes, ...], direction: Direction) -> str:
    policies = {policy.key for alike in found for policy in _enforced(context, alike, direction)}
    return listed("/".join(key) for key in sorted(policies))
