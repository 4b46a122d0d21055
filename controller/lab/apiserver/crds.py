"""Kinds out of a CustomResourceDefinition."""

from collections.abc import Mapping
from typing import Any

from controller.lab.apiserver import schemas
from controller.lab.apiserver.clock import timestamp
from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.status import Cause, invalid
from controller.lab.apiserver.store import Object


def kinds_of(crd: Object) -> list[Kind]:
    """The kinds of the served versions. Raises ApiError 422 when the definition is none."""
    name = crd["metadata"]["name"]
    causes = _problems(crd)
    if causes:
        raise invalid("apiextensions.k8s.io", "CustomResourceDefinition", name, causes)
    spec = crd["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            name=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            singular=names.get("singular") or names["kind"].lower(),
            short=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=("status",) if "status" in (version.get("subresources") or {}) else (),
            fields=tuple(
                field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()
            ),
            generations=True,
            custom=True,
            schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def accept(crd: Object) -> None:
    """Set the defaults and the status of a definition that is served at once."""
    spec = crd["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status = crd.get("status") or {}
    if not status.get("conditions"):
        status["conditions"] = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
    status["acceptedNames"] = names
    before = status.get("storedVersions") or []
    status["storedVersions"] = before if stored in before else [*before, stored]
    crd["status"] = status


def _condition(kind: str, reason: str, message: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": "True",
        "lastTransitionTime": timestamp(),
        "reason": reason,
        "message": message,
    }


def _problems(crd: Object) -> list[Cause]:
    spec = crd.get("spec")
    if not isinstance(spec, dict):
        return [Cause("spec", "Required value", "FieldValueRequired")]
    names: Mapping[str, Any] = spec.get("names") or {}
    required = {
        "spec.group": spec.get("group"),
        "spec.scope": spec.get("scope"),
        "spec.names.plural": names.get("plural"),
        "spec.names.kind": names.get("kind"),
        "spec.versions": spec.get("versions"),
    }
    causes = [
        Cause(path, "Required value", "FieldValueRequired") for path, value in required.items() if not value
    ]
    if causes:
        return causes
    full = f"{names['plural']}.{spec['group']}"
    if crd["metadata"].get("name") != full:
        causes.append(
            Cause("metadata.name", f'Invalid value: must be spec.names.plural+"."+spec.group: {full}')
        )
    if spec["scope"] not in ("Namespaced", "Cluster"):
        causes.append(Cause("spec.scope", 'Unsupported value: supported values: "Cluster", "Namespaced"'))
    if sum(1 for version in spec["versions"] if version.get("storage")) != 1:
        causes.append(
            Cause("spec.versions", "Invalid value: must have exactly one version marked as storage")
        )
    for index, version in enumerate(spec["versions"]):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        causes.extend(schemas.malformed(schema, f"spec.versions[{index}].schema.openAPIV3Schema"))
    causes.extend(
        Cause(
            f"spec.versions[{index}].schema.openAPIV3Schema",
            "Required value: schemas are required",
            "FieldValueRequired",
        )
        for index, version in enumerate(spec["versions"])
        if not (version.get("schema") or {}).get("openAPIV3Schema")
    )
    return causes
