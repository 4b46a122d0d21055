"""Label and field selectors as they stand in a query, and the choice of objects they make together.

Own code, and not that of the engine, so that a mistake there shows in tests instead of being repeated here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.status import bad_request
from controller.lab.apiserver.store import Pin, Record
from controller.objects.names import label_key_problem, label_value_problem, shown

Operator = Literal["in", "notin", "exists", "absent", "gt", "lt"]

_REQUIREMENT = re.compile(
    r"""\s*(?:
        !\s*(?P<absent>[^\s,!=<>()]+)
      | (?P<key>[^\s,!=<>()]+)(?:
            \s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)
          | \s*(?P<sign>==|!=|=|>|<)\s*(?P<value>[^\s,!=<>()]*)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_FIELD = re.compile(r"(?P<path>[^!=]+)(?P<sign>==|!=|=)(?P<value>.*)", re.DOTALL)
_SIGNS: Mapping[str, Operator] = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}


class Requirement(Struct, frozen=True):
    """What one key must be. `values` is empty for exists and absent."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def accepts(self, value: str | None) -> bool:
        """Whether a label of this value, None where there is no such label, is as required."""
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case "gt" | "lt":
                return value is not None and _compares(value, self.values[0], self.operator)


class Selection(Struct, frozen=True):
    """Which objects of one table a request is about.

    `fields` are (position in `Kind.fields`, value, whether it must be that value).
    """

    namespace: str = ""
    name: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[int, str, bool], ...] = ()
    names: tuple[tuple[str, str, bool], ...] = ()

    def matches(self, record: Record) -> bool:
        """Whether a record is chosen."""
        if self.namespace and record.namespace != self.namespace:
            return False
        if self.name and record.name != self.name:
            return False
        for position, value, equal in self.fields:
            if (record.fields[position] == value) is not equal:
                return False
        for requirement in self.labels:
            if not requirement.accepts(record.labels.get(requirement.key)):
                return False
        return all((getattr(record, part) == value) is equal for part, value, equal in self.names)

    def pins(self) -> list[Pin]:
        """Keys of which every chosen record has at least one: where a watch is to be looked up."""
        if self.name:
            return [("name", self.name)]
        for position, value, equal in self.fields:
            if equal:
                return [("field", position, value)]
        for requirement in self.labels:
            if requirement.operator == "in":
                return [("label", requirement.key, value) for value in requirement.values]
        return [("namespace", self.namespace)] if self.namespace else [("all",)]


def select(kind: Kind, namespace: str, labels: str, fields: str, name: str = "") -> Selection:
    """The choice a request makes. Raises ApiError 400 for what is no selector of this kind."""
    positions: list[tuple[int, str, bool]] = []
    names: list[tuple[str, str, bool]] = []
    for path, value, equal in parse_fields(fields):
        if path == "metadata.name" and equal and name in ("", value):
            name = value
        elif path in ("metadata.name", "metadata.namespace"):
            names.append((path.removeprefix("metadata."), value, equal))
        elif path in kind.fields:
            positions.append((kind.fields.index(path), value, equal))
        else:
            raise bad_request(
                f"Unable to find {kind.resource!r} that match label selector {labels!r}, field selector "
                f"{fields!r}: field label not supported: {path}"
            )
    return Selection(namespace, name, parse_labels(labels), tuple(positions), tuple(names))


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """`app=web,tier in (a, b),!old`. Raises ApiError 400."""
    found: list[Requirement] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise bad_request(f"unable to parse requirement: {shown(text[position:])} is no label selector")
        found.append(_requirement(match))
        position = match.end()
    return tuple(found)


def parse_fields(text: str) -> Sequence[tuple[str, str, bool]]:
    """`metadata.name=web,status.phase!=Failed` as (path, value, equal). Raises ApiError 400."""
    found = []
    for term in filter(None, text.split(",")):
        match = _FIELD.fullmatch(term)
        if match is None:
            raise bad_request(f"invalid selector: {shown(text)}; can't understand {shown(term)}")
        found.append((match["path"].strip(), match["value"].strip(), match["sign"] != "!="))
    return found


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        requirement = Requirement(match["absent"], "absent")
    elif match["set"]:
        values = tuple(value.strip() for value in match["values"].split(","))
        requirement = Requirement(match["key"], "in" if match["set"] == "in" else "notin", values)
    elif match["sign"]:
        requirement = Requirement(match["key"], _SIGNS[match["sign"]], (match["value"],))
    else:
        requirement = Requirement(match["key"], "exists")
    if problem := label_key_problem(requirement.key):
        raise bad_request(f"unable to parse requirement: the key {shown(requirement.key)} {problem}")
    for value in requirement.values:
        if problem := label_value_problem(value):
            raise bad_request(f"unable to parse requirement: the value {shown(value)} {problem}")
    return requirement


def _compares(value: str, bound: str, operator: Operator) -> bool:
    try:
        return int(value) > int(bound) if operator == "gt" else int(value) < int(bound)
    except ValueError:
        return False
