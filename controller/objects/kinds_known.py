"""Which documents are read, which are passed over, and which look like a mistake.

A NetworkPolicy that is passed over because its kind or apiVersion is misspelt would leave its pods open, so
near misses are errors; Services and ConfigMaps are none of our business.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from controller.objects.decode_metadata import identify
from controller.objects.findings import Finding, Source
from controller.objects.names import shown, shown_key, type_name
from controller.objects.report import Report
from controller.objects.workloads import WORKLOAD_GROUPS


class Handling(Enum):
    """What becomes of a document."""

    READ = auto()
    SKIP = auto()
    REFUSE = auto()


class Decision(Struct, frozen=True):
    """What becomes of a document, its kind (safe to print), and what has to be said about it."""

    handling: Handling
    kind: str = ""
    findings: tuple[Finding, ...] = ()


_GROUPS: Mapping[str, frozenset[str]] = {
    "NetworkPolicy": frozenset({"networking.k8s.io", "extensions", ""}),
    "Pod": frozenset({""}),
    "Namespace": frozenset({""}),
    "Node": frozenset({""}),
    **WORKLOAD_GROUPS,
}
_OBJECT_FIELDS = frozenset({"metadata", "spec"})
_POLICY_GROUPS = ("networking.k8s.io", "extensions")
_POLICY_VERSION = "networking.k8s.io/v1"
_BESIDE_POLICIES = frozenset({"Ingress", "IngressClass", "IPAddress", "ServiceCIDR"})
"""The other kinds of the apiVersion of policies: anything else there may have been meant as a policy."""

_LONGEST_NAME = 64
_LOWER = {kind.lower(): kind for kind in _GROUPS}


def classify(data: Mapping[str, Any], source: Source) -> Decision:
    """What to do with a document."""
    kind = data.get("kind")
    if kind is None and not _OBJECT_FIELDS & data.keys():
        report = Report("document", source)
        message = "has no kind, no metadata and no spec: it is no manifest and is passed over"
        report.warning("not-a-manifest", "", message, "keep files of other programs out of the folder")
        return Decision(Handling.REFUSE, findings=report.findings)
    if not isinstance(kind, str) or not kind:
        report = Report(f"object {identify(data, source)}", source)
        message = f"is {type_name(kind)}, not a text" if kind else "is missing"
        report.error("missing-kind", "kind", message, "add apiVersion and kind")
        return Decision(Handling.REFUSE, findings=report.findings)
    report = Report(f"{shown_key(kind)} {identify(data, source)}", source)
    version = data.get("apiVersion")
    handling = _handling(kind, version, report)
    return Decision(handling, shown_key(kind), report.findings)


def _handling(kind: str, version: object, report: Report) -> Handling:
    if kind in _GROUPS and _fits(kind, version):
        _report_version(kind, version, report)
        return Handling.READ
    if meant := _misspelt(kind, version):
        remedy = f"did you mean {meant}? Kinds are case-sensitive"
        report.error("unknown-kind", "kind", f"{shown(kind)} is no kind of Kubernetes", remedy)
        return Handling.REFUSE
    if version == _POLICY_VERSION and kind.removesuffix("List") not in _BESIDE_POLICIES:
        message = f"{shown(kind)} is no kind of {_POLICY_VERSION}: it may have been meant as a policy"
        report.error("unknown-kind", "kind", message, "write kind: NetworkPolicy, or remove it")
        return Handling.REFUSE
    if kind.endswith("NetworkPolicy"):
        message = f"policies of {shown(version)} are not read: verdicts given here do not know them"
        report.warning("policy-not-read", "apiVersion", message)
    return Handling.SKIP


def _report_version(kind: str, version: object, report: Report) -> None:
    if kind == "NetworkPolicy" or (isinstance(version, str) and version):
        return  # decode_policy has words of its own for the version of a policy
    message = "is missing" if not version else f"is {type_name(version)}, not a text"
    report.error("wrong-api-version", "apiVersion", message, f"add the apiVersion of a {kind}")


def _fits(kind: str, version: object) -> bool:
    """Whether the API group has the kind, cannot be read, or is a misspelt one of a policy."""
    if not version or not isinstance(version, str):
        return True
    group = _group(version)
    if group in _GROUPS[kind]:
        return True
    # `networking.k8s.oi` must not leave pods open; the groups of Calico and Cilium are nothing like it.
    is_short = len(group) < _LONGEST_NAME
    return kind == "NetworkPolicy" and is_short and bool(get_close_matches(group, _POLICY_GROUPS, 1, 0.7))


def _misspelt(kind: str, version: object) -> str:
    """The kind that was meant, or "" when this one is probably another program's."""
    meant = _LOWER.get(kind.lower())
    if meant is not None:
        return meant if meant != kind and _fits(meant, version) else ""
    is_ours = isinstance(version, str) and _group(version) in _GROUPS["NetworkPolicy"] - {""}
    if is_ours and len(kind) < _LONGEST_NAME and get_close_matches(kind, ["NetworkPolicy"], 1, 0.75):
        return "NetworkPolicy"
    return ""


def _group(version: str) -> str:
    """The API group of `group/version`; "" for the core group, which is written as `v1`."""
    return version.rpartition("/")[0]
