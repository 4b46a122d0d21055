"""Fields that Kubernetes does not know, with the field that was probably meant.

kubectl refuses them; an API server that is asked to be lenient drops them (rule 2.63), and what it then
returns is all that counts. In a file, dropping one from a rule, a peer or a selector would leave a policy
that says something else than its author wrote, often more: `- form: [...]` would allow everybody. So such a
part is not understood and matches nothing, as anything else that is invalid. Elsewhere a field is lost
without harm.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from controller.objects.names import shown, shown_key
from controller.objects.report import Report

_LONGEST_FIELD = 64


def report_harmless(mapping: Mapping[str, object], known: frozenset[str], path: str, report: Report) -> None:
    """Warns of fields whose loss leaves the meaning as it is."""
    for key in unknown_keys(mapping, known):
        remedy = suggestion(key, known) or "remove it"
        report.warning(
            "unknown-field", field_path(path, key), "Kubernetes has no such field here and drops it", remedy
        )


def report_widening(
    mapping: Mapping[str, object], known: frozenset[str], path: str, report: Report, hint: str = ""
) -> bool:
    """Reports fields whose loss would change what the policy says, and tells whether there are any.

    `hint` is for those like no known one.
    """
    found = unknown_keys(mapping, known)
    for key in found:
        report_one_widening(key, field_path(path, key), report, suggestion(key, known) or hint)
    return bool(found)


def report_one_widening(key: str, path: str, report: Report, remedy: str) -> None:
    """Reports one field whose loss would change what the policy says."""
    report.error(
        "unknown-field-widens",
        path,
        f"Kubernetes has no field {shown(key)} here; without it more might pass, so this part allows nothing",
        remedy or "remove it, or move it to where it belongs",
    )


def unknown_keys(mapping: Mapping[str, object], known: frozenset[str]) -> list[str]:
    """The keys that are not known, as texts, in order of writing."""
    if mapping.keys() <= known:
        return []
    return [str(key) for key in mapping if key not in known]


def suggestion(key: str, known: frozenset[str]) -> str:
    """`did you mean podSelector?`, or "" where nothing is alike. Field names are case-sensitive."""
    if len(key) > _LONGEST_FIELD:
        return ""
    for name in sorted(known):
        if name.lower() == key.lower():
            return f"field names are case-sensitive: write {name}"
    close = get_close_matches(key, sorted(known), 1, 0.65)
    return f"did you mean {close[0]}?" if close else ""


def field_path(path: str, key: str) -> str:
    """The path of a field, printable whatever its name is."""
    return f"{path}.{shown_key(key)}" if path else shown_key(key)
