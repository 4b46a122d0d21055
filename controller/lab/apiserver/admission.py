"""What the API server adds to an object and what it refuses, kind by kind, before it is stored."""

from base64 import b64encode
from typing import Any

from controller.lab.apiserver import crds, schemas
from controller.lab.apiserver.addresses import ServiceAddresses
from controller.lab.apiserver.builtin_schemas import METADATA, NETWORK_POLICY, TYPES
from controller.lab.apiserver.kinds import CRDS, NAMESPACES, RBAC_GROUP, Kind
from controller.lab.apiserver.status import Cause, bad_request, invalid
from controller.lab.apiserver.store import Object
from controller.objects.decode_metadata import check_metadata
from controller.objects.decode_policy import decode_policy
from controller.objects.findings import Finding, Severity, Source
from controller.objects.limits import TOO_LARGE
from controller.objects.names import dns_label_problem, dns_subdomain_problem
from controller.objects.report import Report

POLICIES = ("networking.k8s.io", "networkpolicies")
PODS = ("", "pods")
SERVICES = ("", "services")

_TAKEN = frozenset({"unknown-field", TOO_LARGE})
"""Codes of findings that name what an API server takes: it drops unknown fields, and the limits are ours."""


class Admission:
    """Defaults and checks objects; owns the addresses of Services."""

    def __init__(self) -> None:
        self._addresses = ServiceAddresses()

    def admit(self, kind: Kind, value: Object, old: Object | None, *, strict: bool) -> None:
        """Default an object in place. Raises ApiError 400 (strict, unknown field) and 422."""
        _check_metadata(kind, value)
        if kind.schema is not None:
            _fit(kind, value, kind.schema, strict=strict)
        match kind.key:
            case key if key == NAMESPACES:
                _admit_namespace(value)
            case ("", "secrets"):
                _admit_secret(value)
            case key if key == PODS:
                _admit_pod(value)
            case key if key == POLICIES:
                _fit(kind, value, NETWORK_POLICY, strict=strict)
                _admit_policy(kind, value)
            case key if key == SERVICES:
                self._addresses.allocate(value, old)
            case key if key == CRDS:
                crds.kinds_of(value)
                crds.accept(value)
            case _:
                pass

    def forget(self, kind: Kind, value: Object) -> None:
        """An object is gone: what it held is free again."""
        if kind.key == SERVICES:
            self._addresses.release(value)


def check_types(kind: Kind, value: Object) -> None:
    """Refuse what cannot be worked on: of an object, whole or applied in part. Raises ApiError 422."""
    causes = [
        cause
        for schema in (METADATA, TYPES.get(kind.key))
        if schema is not None
        for cause in schemas.check(value, schema, root=False)
    ]
    if causes:
        raise invalid(kind.group, kind.name, "", causes)


def _check_metadata(kind: Kind, value: Object) -> None:
    report = Report(kind.name, Source())
    check_metadata(value, report, namespaced=kind.namespaced, name_problem=_name_problem(kind))
    _refuse(kind, value, report.findings)


def _name_problem(kind: Kind) -> Any:  # noqa: ANN401 (a function of a name)
    if kind.key in (NAMESPACES, SERVICES):
        return dns_label_problem
    return _path_segment_problem if kind.group == RBAC_GROUP else dns_subdomain_problem


def _path_segment_problem(name: str) -> str:
    """Why a name of RBAC, such as `system:node`, cannot be a part of a path."""
    if name in (".", ".."):
        return "may not be '.' or '..'"
    return "may not contain '/' or '%'" if "/" in name or "%" in name else ""


def _refuse(kind: Kind, value: Object, findings: tuple[Finding, ...]) -> None:
    causes = [
        Cause(finding.path, f"Invalid value: {finding.message}")
        for finding in findings
        if finding.severity is Severity.ERROR and finding.code not in _TAKEN
    ]
    if causes:
        raise invalid(kind.group, kind.name, value["metadata"].get("name") or "", causes)


def _fit(kind: Kind, value: Object, schema: schemas.Schema, *, strict: bool) -> None:
    dropped = schemas.fit(value, schema)
    if dropped and strict:
        unknown = ", ".join(f'unknown field "{path}"' for path in dropped)
        raise bad_request(
            f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: strict decoding '
            f"error: {unknown}"
        )
    _check(kind, value, schema)


def _check(kind: Kind, value: Object, schema: schemas.Schema) -> None:
    causes = schemas.check(value, schema)
    if causes:
        raise invalid(kind.group, kind.name, value["metadata"].get("name") or "", causes)


def _admit_namespace(value: Object) -> None:
    metadata = value["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    value["spec"] = value.get("spec") or {}
    value["spec"].setdefault("finalizers", ["kubernetes"])
    value["status"] = value.get("status") or {}
    value["status"].setdefault("phase", "Active")


def _admit_secret(value: Object) -> None:
    """What is written as text, stringData, is stored as data in base64."""
    texts = value.pop("stringData", None) or {}
    value.setdefault("type", "Opaque")
    if texts:
        encoded = {name: b64encode(str(text).encode()).decode() for name, text in texts.items()}
        value["data"] = {**(value.get("data") or {}), **encoded}


def _admit_pod(value: Object) -> None:
    spec = value.get("spec") or {}
    containers = spec.get("containers")
    if not containers:
        cause = Cause("spec.containers", "Required value", "FieldValueRequired")
        raise invalid("", "Pod", value["metadata"]["name"], [cause])
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("schedulerName", "default-scheduler")
    for container in (*containers, *(spec.get("initContainers") or ())):
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
    value["status"] = value.get("status") or {}
    value["status"].setdefault("phase", "Pending")


def _admit_policy(kind: Kind, value: Object) -> None:
    """Rules 2.2, 2.3 and 2.5 of the semantics, by the decoder that every part of podgate uses."""
    _refuse(kind, value, decode_policy(value).findings)
    spec = value["spec"] = value.get("spec") or {}
    spec["podSelector"] = spec.get("podSelector") or {}
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            port["protocol"] = port.get("protocol") or "TCP"
