"""Findings of the checks, with the place filled in: the policy's name, the field path, the file and line."""

from collections.abc import Callable, Iterator

import msgspec

from controller.engine.evaluate import line_of, rule_path
from controller.engine.lint.codes import SEVERITIES
from controller.engine.lint.context import Context
from controller.objects.findings import Finding, Severity, Source
from controller.objects.kinds import Direction, Namespace, NetworkPolicy, Peer, PolicyPort, PolicyRule

Check = Callable[[Context], Iterator[Finding]]
"""What every check is: a question to the whole cluster, answered with findings."""

INPUT = "input"
"""The object of findings that speak of everything that was read."""


def about_policy(policy: NetworkPolicy, code: str, path: str, message: str, remedy: str = "") -> Finding:
    """A finding on a field of a policy, as grave as its code."""
    return Finding(
        code=code,
        severity=SEVERITIES[code],
        object=f"NetworkPolicy {policy.namespace}/{policy.name}",
        path=path,
        message=message,
        remedy=remedy,
        source=Source(policy.source.file, _line(policy, path)),
    )


def _line(policy: NetworkPolicy, path: str) -> int:
    """The line of a field; of a section that has none, the line that says whom the policy is about."""
    line = line_of(policy, path)
    is_inside = path.startswith("spec.") and line == policy.source.line
    return policy.lines.get("spec.podSelector", line) if is_inside else line


def as_note(finding: Finding) -> Finding:
    """The same finding, only worth knowing."""
    return msgspec.structs.replace(finding, severity=Severity.INFO)


def about_namespace(namespace: Namespace, code: str, message: str, remedy: str = "") -> Finding:
    """A finding on a namespace as a whole."""
    return Finding(
        code=code,
        severity=SEVERITIES[code],
        object=f"Namespace {namespace.name}",
        message=message,
        remedy=remedy,
        source=namespace.source,
    )


def about_input(code: str, message: str, remedy: str = "") -> Finding:
    """A finding on everything that was read."""
    return Finding(code=code, severity=SEVERITIES[code], object=INPUT, message=message, remedy=remedy)


def rules_of(policy: NetworkPolicy) -> Iterator[tuple[Direction, PolicyRule]]:
    """The rules that count, of both directions (rule 2.4)."""
    for direction in Direction:
        for rule in policy.rules(direction):
            yield direction, rule


def item_path(direction: Direction, rule: PolicyRule, item: Peer | PolicyPort) -> str:
    """`spec.ingress[1].from[0]` or `spec.egress[0].ports[2]`."""
    if isinstance(item, PolicyPort):
        return f"{rule_path(direction, rule)}.ports[{item.index}]"
    return f"{rule_path(direction, rule)}.{'from' if direction is Direction.INGRESS else 'to'}[{item.index}]"


def reads_in_full(policy: NetworkPolicy) -> bool:
    """Whether nothing of a policy had to be left out: only then is what is left what its author meant."""
    return not any(finding.severity is Severity.ERROR for finding in policy.findings)
