"""metadata of any object: its identity, which is needed even when it is wrong, and what is wrong with it.

An object whose name or namespace cannot be read still isolates pods, so it gets a name that is safe to print
(`names.safe_name`). Rules 2.1 and 2.70 a.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from controller.objects.findings import Source
from controller.objects.names import (
    dns_label_problem,
    dns_subdomain_problem,
    label_key_problem,
    label_value_problem,
    safe_name,
    shown,
    shown_key,
    type_name,
    typed,
)
from controller.objects.report import Report
from controller.objects.unknown_fields import report_harmless, report_one_widening, suggestion, unknown_keys

DEFAULT_NAMESPACE = "default"
"""Where an object without metadata.namespace lives (rule 2.1)."""

FIELDS = frozenset(
    {
        "annotations",
        "clusterName",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""The fields of ObjectMeta."""


class Identity(Struct, frozen=True):
    """Where an object is and what it is called, safe to print. `namespace` is "" for cluster scope."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def identify(data: Mapping[str, Any], source: Source, *, namespaced: bool = True) -> Identity:
    """The identity of an object, with stand-ins for what is missing or unreadable. Reports nothing."""
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    name = metadata.get("name")
    namespace = metadata.get("namespace")
    return Identity(
        namespace=namespace_or_default(namespace) if namespaced else "",
        name=safe_name(name)
        if isinstance(name, str) and name
        else _stand_in(metadata.get("generateName"), source),
    )


def namespace_or_default(namespace: object) -> str:
    """A namespace as read, safe to print; the default one for none and for what is no text (rule 2.1)."""
    return safe_name(namespace) if isinstance(namespace, str) and namespace else DEFAULT_NAMESPACE


def check_metadata(
    data: Mapping[str, Any],
    report: Report,
    *,
    namespaced: bool = True,
    name_problem: Callable[[str], str] = dns_subdomain_problem,
) -> bool:
    """Reports what the API server would refuse (rule 2.70 a). True when all labels could be read."""
    metadata = data.get("metadata")
    if metadata is None:
        report.error("missing-name", "metadata.name", "an object needs a name", "add metadata.name")
        return True
    if not isinstance(metadata, dict):
        report.error(
            "wrong-type",
            "metadata",
            f"is {type_name(metadata)}, not a mapping",
            "write metadata: {name: ...}",
        )
        return False
    _check_name(metadata, report, name_problem)
    if namespaced:
        _check_namespace(metadata.get("namespace"), report)
    _check_annotations(metadata.get("annotations"), report)
    _check_fields(metadata, report)
    return check_labels(metadata.get("labels"), "metadata.labels", report)


def namespace_is_known(data: Mapping[str, Any]) -> bool:
    """Whether an object says, or leaves to the default (rule 2.1), in which namespace it lives."""
    metadata = data.get("metadata")
    if metadata is None:
        return True
    if not isinstance(metadata, dict):
        return False
    namespace = metadata.get("namespace")
    return (
        namespace is None
        or namespace == ""
        or (isinstance(namespace, str) and not dns_label_problem(namespace))
    )


def check_labels(labels: object, path: str, report: Report) -> bool:
    """Reports bad labels; False when one of them cannot be what was meant (rule 2.70 b).

    That is one of the wrong type, and one that the API server refuses too: `app: "web "` would be picked by
    no selector that is meant for `app: web`.
    """
    if labels is None:
        return True
    if not isinstance(labels, dict):
        report.error(
            "wrong-type", path, f"is {type_name(labels)}, not a mapping", "write labels as key: value"
        )
        return False
    readable = True
    for key, value in labels.items():
        if value is not None and not isinstance(value, str):
            readable = False
            message = f"the value of a label must be a text, and {typed(value)}"
            report.error("wrong-type", f"{path}[{shown_key(str(key))}]", message, quoting_remedy(key, value))
        elif problem := _label_problem(str(key), value or ""):
            readable = False
            report.error("invalid-label", f"{path}[{shown_key(str(key))}]", problem)
    return readable


def read_labels(labels: object) -> dict[str, str]:
    """The labels that can be read; null is the empty text (rule 2.16)."""
    if not isinstance(labels, dict):
        return {}
    return {str(key): value or "" for key, value in labels.items() if value is None or isinstance(value, str)}


def quoting_remedy(key: object, value: object) -> str:
    """What to do about `version: 2` or `enabled: yes`, which YAML takes for a number and a boolean."""
    if isinstance(value, bool | int | float):
        return f'quote it: {shown_key(str(key))}: "{shown(value)}"'
    return f'write one text: {shown_key(str(key))}: "..."'


def _label_problem(key: str, value: str) -> str:
    if problem := label_key_problem(key):
        return f"the key {shown(key)} is not valid: it {problem}"
    if problem := label_value_problem(value):
        return f"the value {shown(value)} is not valid: it {problem}"
    return ""


def _check_name(metadata: Mapping[str, Any], report: Report, name_problem: Callable[[str], str]) -> None:
    name = metadata.get("name")
    if name is None or name == "":
        if not isinstance(metadata.get("generateName"), str) or not metadata["generateName"]:
            report.error("missing-name", "metadata.name", "an object needs a name", "add metadata.name")
    elif not isinstance(name, str):
        report.error(
            "wrong-type", "metadata.name", f"{shown(name)} is no text", "quote it, if that is its name"
        )
    elif problem := name_problem(name):
        report.error(
            "invalid-name",
            "metadata.name",
            f"{shown(name)} is not valid: it {problem}",
            "choose another name",
        )


def _check_namespace(namespace: object, report: Report) -> None:
    if namespace is None or namespace == "":
        return  # rule 2.1
    if not isinstance(namespace, str):
        remedy = f'quote it, if that is its name; until then "{DEFAULT_NAMESPACE}" is assumed'
        report.error("wrong-type", "metadata.namespace", f"{shown(namespace)} is no text", remedy)
    elif problem := dns_label_problem(namespace):
        remedy = "write the name of an existing namespace"
        report.error(
            "invalid-namespace",
            "metadata.namespace",
            f"{shown(namespace)} is not valid: it {problem}",
            remedy,
        )


def _check_annotations(annotations: object, report: Report) -> None:
    if annotations is None:
        return
    if not isinstance(annotations, dict):
        message = f"is {type_name(annotations)}, not a mapping"
        report.error("wrong-type", "metadata.annotations", message, "write annotations as key: value")
        return
    for key, value in annotations.items():
        path = f"metadata.annotations[{shown_key(str(key))}]"
        if value is not None and not isinstance(value, str):
            message = f"an annotation must be a text, and {typed(value)}"
            report.error("wrong-type", path, message, quoting_remedy(key, value))
        elif problem := label_key_problem(str(key).lower()):
            report.error("invalid-label", path, f"the key {shown(str(key))} is not valid: it {problem}")


def _check_fields(metadata: Mapping[str, Any], report: Report) -> None:
    for key in unknown_keys(metadata, FIELDS):
        # A misspelt namespace moves the object to the default namespace.
        if remedy := suggestion(key, frozenset({"namespace"})):
            report_one_widening(key, f"metadata.{shown_key(key)}", report, remedy)
        else:
            report_harmless({key: None}, FIELDS, "metadata", report)


def _stand_in(prefix: object, source: Source) -> str:
    if isinstance(prefix, str) and prefix:
        return f"{safe_name(prefix)}<generated>"
    return f"<unnamed-{source.line}>" if source.line else "<unnamed>"
