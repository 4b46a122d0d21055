"""SARIF 2.1.0: the form in which code hosts show findings beside the lines of a change.

Any verb that can say "this line, because" fills in `Rule`s and `Result`s; what the format demands beyond that
(URIs, rule indexes, fingerprints that survive moved lines) is known here only.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath
from urllib.parse import quote

import msgspec
from msgspec import Struct

from controller import __version__
from controller.engine.identity import digest
from controller.objects.findings import Severity, Source

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Level(StrEnum):
    """How loud a result is, in SARIF's words."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


LEVELS: Mapping[Severity, Level] = {
    Severity.ERROR: Level.ERROR,
    Severity.WARNING: Level.WARNING,
    Severity.INFO: Level.NOTE,
}
"""SARIF's word for a finding's severity."""


class Rule(Struct, frozen=True):
    """A kind of result: a stable id, a title of a few words, what it means, what to do about it."""

    id: str
    title: str
    meaning: str
    remedy: str = ""


class Result(Struct, frozen=True, kw_only=True):
    """One thing to show. `rule` is the id of a `Rule`.

    `object` is what it speaks of (`NetworkPolicy shop/web`), `path` the field inside it. With the rule and
    `identity` they make the fingerprint by which a later run recognises the result although its line moved;
    set `identity` where several results of one rule speak of one field.
    """

    rule: str
    level: Level
    message: str
    source: Source = Source()
    object: str = ""
    path: str = ""
    identity: str = ""


def sarif_text(rules: Iterable[Rule], results: Sequence[Result]) -> str:
    """A SARIF log with one run, as indented JSON that ends in a newline.

    Only rules that a result names are listed. Raises KeyError where a result names one that is not there.
    """
    used = {result.rule for result in results}
    listed = [rule for rule in rules if rule.id in used]
    indexes = {rule.id: index for index, rule in enumerate(listed)}
    driver = {"name": "podgate", "version": __version__, "rules": [_rule(rule) for rule in listed]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(result, indexes[result.rule]) for result in results],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def _rule(rule: Rule) -> dict[str, object]:
    described: dict[str, object] = {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.meaning},
    }
    if rule.remedy:
        described["help"] = {"text": rule.remedy, "markdown": rule.remedy}
    return described


def _result(result: Result, index: int) -> dict[str, object]:
    described: dict[str, object] = {
        "ruleId": result.rule,
        "ruleIndex": index,
        "level": result.level.value,
        "message": {"text": result.message},
        "partialFingerprints": {
            "podgate/v1": digest((result.rule, result.object, result.path, result.identity))
        },
    }
    location = _location(result)
    if location:
        described["locations"] = [location]
    return described


def _location(result: Result) -> dict[str, object]:
    """Where it is: the file if there is one (standard input is none), the object if one is named."""
    location: dict[str, object] = {}
    if result.source.file not in ("", "-"):
        physical: dict[str, object] = {"artifactLocation": {"uri": _uri(result.source.file)}}
        if result.source.line > 0:
            physical["region"] = {"startLine": result.source.line}
        location["physicalLocation"] = physical
    if result.object:
        name = f"{result.object} {result.path}" if result.path else result.object
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "object"}]
    return location


def _uri(file: str) -> str:
    """A relative file stays relative: code hosts look it up in the repository."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
