"""The state a client writes beside the one there is: whether it may be, and what of it counts."""

from collections.abc import Mapping
from typing import Any

from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.status import bad_request, conflict, modified
from controller.lab.apiserver.store import Object, Record


def check_identity(kind: Kind, old: Record, metadata: Mapping[str, Any]) -> None:
    """That a write is about the object it names. Raises ApiError 400, and 409 for another revision or uid."""
    revision = metadata.get("resourceVersion")
    if revision and revision != str(old.revision):
        raise modified(kind.group, kind.plural, old.name)
    if metadata.get("uid") and metadata["uid"] != old.uid:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old.uid}"
        raise conflict(kind.group, kind.plural, old.name, why)
    if metadata.get("name") not in (None, "", old.name):
        raise bad_request("the name of the object does not match the name on the URL")
    if kind.namespaced and metadata.get("namespace") not in (None, "", old.namespace):
        raise bad_request("the namespace of the object does not match the namespace on the URL")


def check_preconditions(kind: Kind, old: Record, wanted: Mapping[str, Any]) -> None:
    """Preconditions of a deletion. Raises ApiError 409."""
    actual = {"uid": old.uid, "resourceVersion": str(old.revision)}
    for field, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) and wanted[field] != actual[field]:
            why = (
                f"Precondition failed: {word} in precondition: {wanted[field]}, {word} in object meta: "
                f"{actual[field]}"
            )
            raise conflict(kind.group, kind.plural, old.name, why)


def isolate(kind: Kind, value: Object, before: Object, subresource: str) -> Object:
    """A write to status changes only status; a write to the object leaves it alone."""
    if subresource == "status":
        metadata = dict(before["metadata"])
        if value["metadata"].get("managedFields"):
            metadata["managedFields"] = value["metadata"]["managedFields"]
        isolated = {**before, "metadata": metadata}
        isolated.pop("status", None)
        metadata.pop("resourceVersion", None)
        return {**isolated, "status": value["status"]} if "status" in value else isolated
    if kind.has_status:
        value.pop("status", None)
        if "status" in before:
            value["status"] = before["status"]
    return value


def differs(one: Object, other: Object, but: tuple[str, ...]) -> bool:
    """Whether two states differ in some field but those."""
    fields = (one.keys() | other.keys()) - {"apiVersion", "kind", *but}
    return any(one.get(field) != other.get(field) for field in fields)


def without_type(value: Object) -> Object:
    """An object as it is stored."""
    return {field: part for field, part in value.items() if field not in ("apiVersion", "kind")}
