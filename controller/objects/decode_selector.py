"""Label selectors from plain values to `LabelSelector`, fail closed.

What a selector that is partly unreadable means depends on who asks: a peer then matches nothing, while the
pods of spec.podSelector must stay isolated. So the reading gives both: the requirements that were understood,
which select a superset, and whether that was all of it. Rules 2.16 and 2.70 b.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from controller.objects.decode_metadata import quoting_remedy
from controller.objects.labels import LabelSelector, Operator, Requirement
from controller.objects.names import (
    label_key_problem,
    label_value_problem,
    shown,
    shown_key,
    type_name,
    typed,
)
from controller.objects.report import Report
from controller.objects.unknown_fields import report_widening

_FIELDS = frozenset({"matchLabels", "matchExpressions"})
_EXPRESSION_FIELDS = frozenset({"key", "operator", "values"})
_OPERATORS = {operator.value: operator for operator in Operator}


class SelectorReading(NamedTuple):
    """The requirements that were understood, and whether none was left out."""

    selector: LabelSelector
    understood: bool


def decode_selector(value: object, path: str, report: Report) -> SelectorReading:
    """A selector that is present (null is for the caller). Findings go to `report`; never raises."""
    if not isinstance(value, dict):
        message = f"is {type_name(value)}, not a mapping"
        report.error("wrong-type", path, message, "write matchLabels: {app: web}, or {} for all")
        return SelectorReading(LabelSelector(), understood=False)
    has_unknown = report_widening(value, _FIELDS, path, report, "labels belong under matchLabels")
    labels, labels_understood = _match_labels(value.get("matchLabels"), f"{path}.matchLabels", report)
    requirements, understood = _match_expressions(
        value.get("matchExpressions"), f"{path}.matchExpressions", report
    )
    complete = labels_understood and understood and not has_unknown
    return SelectorReading(LabelSelector.of(labels, requirements), complete)


def _match_labels(value: object, path: str, report: Report) -> tuple[dict[str, str], bool]:
    if value is None:
        return {}, True
    if not isinstance(value, dict):
        report.error(
            "wrong-type", path, f"is {type_name(value)}, not a mapping", "write matchLabels: {app: web}"
        )
        return {}, False
    labels = {}
    for key, text in value.items():
        problem, remedy = _label_problem(str(key), text)
        if problem:
            report.error("invalid-selector", f"{path}[{shown_key(str(key))}]", problem, remedy)
        else:
            labels[str(key)] = text or ""  # null decodes to the empty text (rule 2.16)
    return labels, len(labels) == len(value)


def _label_problem(key: str, value: object) -> tuple[str, str]:
    """What is wrong with one label and what to do, or two empty texts."""
    if problem := label_key_problem(key):
        return f"the key {shown(key)} is not valid: it {problem}", "mend the key"
    if value is None:
        return "", ""
    if not isinstance(value, str):
        message = f"the value of a label is a text, and {typed(value)}"
        return message, quoting_remedy(key, value)
    if problem := label_value_problem(value):
        return f"the value {shown(value)} is not valid: it {problem}", "mend it: no pod can have such a label"
    return "", ""


def _match_expressions(value: object, path: str, report: Report) -> tuple[list[Requirement], bool]:
    if value is None:
        return [], True
    if not isinstance(value, list):
        remedy = "write a list: - {key: app, operator: In, values: [web]}"
        report.error("wrong-type", path, f"is {type_name(value)}, not a list", remedy)
        return [], False
    found = [_expression(item, f"{path}[{index}]", report) for index, item in enumerate(value)]
    understood = [requirement for requirement in found if requirement is not None]
    return understood, len(understood) == len(found)


def _expression(item: object, path: str, report: Report) -> Requirement | None:
    if not isinstance(item, dict):
        remedy = "write {key: app, operator: In, values: [web]}"
        report.error("wrong-type", path, f"is {type_name(item)}, not a mapping", remedy)
        return None
    has_unknown = report_widening(item, _EXPRESSION_FIELDS, path, report)
    key = _key(item, path, report)
    operator = _operator(item, path, report)
    values = _values(item.get("values"), f"{path}.values", report)
    if operator is None or values is None or not _count_fits(operator, values, path, report):
        return None
    return None if has_unknown or key is None else Requirement(key, operator, values)


def _key(item: Mapping[str, Any], path: str, report: Report) -> str | None:
    key = item.get("key")
    if key is None:
        report.error("invalid-selector", f"{path}.key", "is missing", "name the label: key: app")
    elif not isinstance(key, str):
        report.error("invalid-selector", f"{path}.key", f"{typed(key)}, not a text", "quote it")
    elif problem := label_key_problem(key):
        report.error(
            "invalid-selector", f"{path}.key", f"{shown(key)} is not valid: it {problem}", "mend the key"
        )
    else:
        return key
    return None


def _operator(item: Mapping[str, Any], path: str, report: Report) -> Operator | None:
    name = item.get("operator")
    operator = _OPERATORS.get(name) if isinstance(name, str) else None
    if operator is None:
        message = "is missing" if name is None else f"{shown(name)} is no operator"
        remedy = "write In, NotIn, Exists or DoesNotExist, spelt exactly so"
        report.error("invalid-selector", f"{path}.operator", message, remedy)
    return operator


def _values(value: object, path: str, report: Report) -> tuple[str, ...] | None:
    if value is None:
        return ()
    if not isinstance(value, list):
        report.error("wrong-type", path, f"is {type_name(value)}, not a list", "write values: [a, b]")
        return None
    problems = 0
    for index, text in enumerate(value):
        if not isinstance(text, str):
            message = f"{typed(text)}, not a text"
        elif problem := label_value_problem(text):
            message = f"{shown(text)} is not valid: it {problem}"
        else:
            continue
        problems += 1
        report.error("invalid-selector", f"{path}[{index}]", message, "quote it, if it is a label value")
    return tuple(value) if not problems else None


def _count_fits(operator: Operator, values: tuple[str, ...], path: str, report: Report) -> bool:
    if operator in (Operator.IN, Operator.NOT_IN):
        if not values:
            message = f"{operator} needs at least one value"
            report.error("invalid-selector", f"{path}.values", message, "add values, or use Exists")
        return bool(values)
    if values:
        message = f"{operator} takes no values"
        report.error("invalid-selector", f"{path}.values", message, "remove them, or use In")
    return not values
