"""NetworkPolicy from plain values, defaulted as the API server does it, validated, fail closed.

The API server refuses an object as a whole. A reader of files, and an agent that meets an object from before
an upgrade, must say what the object does instead: what was understood counts, what was not allows nothing,
and the pods stay isolated. Each thing that is wrong becomes a finding with its field path. Rules 2.1 to 2.5,
2.63 and 2.70.
"""

from collections.abc import Callable, Mapping
from typing import Any

from controller.objects.decode_metadata import check_metadata, identify, namespace_is_known
from controller.objects.decode_rules import PEERS_FIELD, decode_rules
from controller.objects.decode_selector import SelectorReading, decode_selector
from controller.objects.findings import Source
from controller.objects.kinds import Direction, NetworkPolicy, PolicyRule
from controller.objects.labels import EVERYTHING
from controller.objects.limits import within_limits
from controller.objects.mode import read_mode
from controller.objects.names import shown, shown_key, shown_text, type_name
from controller.objects.report import Report
from controller.objects.unknown_fields import (
    report_harmless,
    report_one_widening,
    report_widening,
    suggestion,
    unknown_keys,
)

API_VERSION = "networking.k8s.io/v1"
"""The only apiVersion that API servers of today know a NetworkPolicy in."""

_NOWHERE = Source()
_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_SPEC_FIELDS = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
_BOTH = (Direction.INGRESS, Direction.EGRESS)
_DIRECTIONS = {direction.value: direction for direction in Direction}


def decode_policy(
    data: Mapping[str, Any],
    source: Source = _NOWHERE,
    line_of: Callable[[str], int] | None = None,
) -> NetworkPolicy:
    """A policy from its plain values. Never raises; what is wrong is in `findings` of the result.

    `line_of` gives the line of a field path in `source.file`, for the findings and for `lines` of the result.
    """
    identity = identify(data, source)
    report = Report(f"NetworkPolicy {identity}", source, line_of)
    _check_version(data.get("apiVersion"), report)
    check_metadata(data, report)
    mode = read_mode(data, report)
    _check_home(data, report)
    misplaced = _check_fields(data, report)
    spec = data.get("spec")
    spec = {} if spec is None else spec  # rule 2.2
    is_mapping = isinstance(spec, dict)
    if not is_mapping:
        message = f"is {type_name(spec)}, not a mapping; the whole namespace is isolated, nothing allowed"
        report.error("wrong-type", "spec", message, "write spec: {podSelector: ...}")
        spec = {"policyTypes": [direction.value for direction in _BOTH]}
    unsure = report_widening(spec, _SPEC_FIELDS, "spec", report) or misplaced
    selector = _subjects(spec.get("podSelector"), report)
    rules = {
        way: within_limits(decode_rules(spec.get(way.lower()), way, report), way, report) for way in _BOTH
    }
    directions = _directions(spec.get("policyTypes"), spec.get("egress"), report)
    if unsure:
        directions = _BOTH  # the field that nobody knows may have been any of those of spec
    if unsure or not selector.understood:
        rules = dict.fromkeys(_BOTH, ())
    return NetworkPolicy(
        namespace=identity.namespace,
        name=identity.name,
        pod_selector=selector.selector,
        directions=directions,
        ingress=rules[Direction.INGRESS],
        egress=rules[Direction.EGRESS],
        mode=mode,
        uid=_uid(data),
        generation=_generation(data),
        source=source,
        lines=_lines(rules, line_of),
        findings=report.findings,
    )


def _check_version(version: object, report: Report) -> None:
    if version == API_VERSION:
        return
    message = (
        "is missing" if version is None else f"{shown(version)} is no apiVersion that knows a NetworkPolicy"
    )
    report.error("wrong-api-version", "apiVersion", message, f"write apiVersion: {API_VERSION}")


def _check_home(data: Mapping[str, Any], report: Report) -> None:
    """Reports a policy that isolates nobody knows whom: elsewhere its pods are open without it."""
    if not namespace_is_known(data):
        message = "the namespace cannot be known, so that no verdict can be given about the pods it is for"
        report.error("unknown-namespace", "metadata.namespace", message, "write the name of the namespace")


def _check_fields(data: Mapping[str, Any], report: Report) -> bool:
    """Reports unknown top-level fields; True where one of them was meant to say what the policy does."""
    misplaced = False
    for key in unknown_keys(data, _FIELDS):
        if key in _SPEC_FIELDS or suggestion(key, frozenset({"spec"})):
            remedy = (
                "indent it, so that it stands under spec" if key in _SPEC_FIELDS else "did you mean spec?"
            )
            report_one_widening(key, shown_key(key), report, remedy)
            misplaced = True
        else:
            report_harmless({key: None}, _FIELDS, "", report)
    return misplaced


def _subjects(value: object, report: Report) -> SelectorReading:
    """Whom the policy is about; everybody when that cannot be read, and then its rules must not count."""
    if value is None:
        return SelectorReading(EVERYTHING, understood=True)  # rule 2.2
    reading = decode_selector(value, "spec.podSelector", report)
    if not reading.understood:
        subjects = shown_text(str(reading.selector), 120)
        message = f"is not understood in full: pods that match {subjects} are isolated, nothing is allowed"
        report.error("invalid-selector", "spec.podSelector", message, "mend the selector")
    return reading


def _directions(value: object, egress: object, report: Report) -> tuple[Direction, ...]:
    """The defaulted policyTypes in a fixed order; both when they cannot be read (rules 2.3, 2.70 h)."""
    if value is None or value == []:
        # Egress rules that cannot be read were meant to be some: `egress: {to: ...}` isolates.
        has_egress = egress is not None and egress != []
        if egress == []:
            message = "without policyTypes an empty list isolates nothing: egress stays open"
            remedy = "to deny all egress write policyTypes: [Ingress, Egress]"
            report.warning("empty-egress", "spec.egress", message, remedy)
        return _BOTH if has_egress else (Direction.INGRESS,)
    remedy = "write policyTypes: [Ingress], [Egress] or [Ingress, Egress]"
    if not isinstance(value, list):
        message = f"is {type_name(value)}, not a list; both directions are isolated"
        report.error("wrong-type", "spec.policyTypes", message, remedy)
        return _BOTH
    unknown = [
        index for index, item in enumerate(value) if not isinstance(item, str) or item not in _DIRECTIONS
    ]
    for index in unknown:
        message = f"{shown(value[index])} is neither Ingress nor Egress; both directions are isolated"
        report.error("invalid-policy-types", f"spec.policyTypes[{index}]", message, remedy)
    if len(value) > len(_BOTH):
        message = f"has {len(value)} entries, and 2 are the most; both directions are isolated"
        report.error("invalid-policy-types", "spec.policyTypes", message, remedy)
    if unknown or len(value) > len(_BOTH):
        return _BOTH
    return tuple(direction for direction in _BOTH if direction.value in value)


def _uid(data: Mapping[str, Any]) -> str:
    metadata = data.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) else ""


def _generation(data: Mapping[str, Any]) -> int:
    metadata = data.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, dict) else None
    return generation if type(generation) is int else 0


def _lines(
    rules: Mapping[Direction, tuple[PolicyRule, ...]], line_of: Callable[[str], int] | None
) -> dict[str, int]:
    """The lines that people ask for: of the selector, and of each rule, peer and port that counts."""
    if line_of is None:
        return {}
    paths = ["spec.podSelector"]
    for direction, found in rules.items():
        for rule in found:
            path = f"spec.{direction.lower()}[{rule.index}]"
            paths.append(path)
            paths.extend(f"{path}.{PEERS_FIELD[direction]}[{peer.index}]" for peer in rule.peers or ())
            paths.extend(f"{path}.ports[{port.index}]" for port in rule.ports or ())
    return {path: line_of(path) for path in paths}
