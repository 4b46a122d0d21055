"""The three patches that say what to change: JSON (RFC 6902), merge (RFC 7386) and strategic merge."""

from typing import Any

import jsonpatch

from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.shapes import Path, item_key, list_shape
from controller.lab.apiserver.status import ApiError, bad_request
from controller.lab.apiserver.store import Object
from controller.objects.names import shown

_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def json_patch(value: Object, patch: object) -> Object:
    """A list of operations. Raises ApiError 422 when one cannot be done."""
    if not isinstance(patch, list):
        raise bad_request("a JSON patch is a list of operations")
    try:
        result = jsonpatch.apply_patch(value, patch)
    except jsonpatch.JsonPatchTestFailed as error:
        raise ApiError(
            422, "Invalid", f"the server rejected our request: testing value failed: {error}"
        ) from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise ApiError(422, "Invalid", message) from None
    return _as_object(result)


def merge_patch(value: Object, patch: object) -> Object:
    """Mappings are merged, null removes, anything else replaces."""
    return _as_object(_merge(value, _as_object(patch)))


def strategic_patch(kind: Kind, value: Object, patch: object) -> Object:
    """Like merge, and lists are merged by their keys. Raises ApiError 415 for custom resources."""
    if kind.custom:
        message = (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
        raise ApiError(415, "UnsupportedMediaType", message)
    return _as_object(_strategic(kind, value, _as_object(patch), []))


def _as_object(value: object) -> Object:
    if not isinstance(value, dict) or not isinstance(value.get("metadata", {}), dict):
        raise bad_request("the patch does not make an object with metadata")
    return value


def _merge(value: Any, patch: Any) -> Any:  # noqa: ANN401 (plain values)
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for field, change in patch.items():
        if change is None:
            merged.pop(field, None)
        else:
            merged[field] = _merge(merged.get(field), change)
    return merged


def _strategic(kind: Kind, value: Any, patch: dict[str, Any], path: Path) -> dict[str, Any]:  # noqa: ANN401
    directive = patch.get("$patch")
    if directive == "replace":
        return {field: item for field, item in patch.items() if field != "$patch"}
    if directive == "delete":
        return {}
    merged = dict(value) if isinstance(value, dict) else {}
    for field, change in patch.items():
        if field.startswith("$"):
            if not isinstance(change, list):
                raise bad_request(f"the directive {shown(field)} of a strategic merge patch needs a list")
            _directive(merged, field, change)
        elif change is None:
            merged.pop(field, None)
        else:
            merged[field] = _merge_field(kind, merged.get(field), change, [*path, field])
    for field, order in patch.items():
        if field.startswith(_ORDER):
            _reorder(kind, merged, field.removeprefix(_ORDER), order, path)
    return merged


def _merge_field(kind: Kind, old: Any, change: Any, path: Path) -> Any:  # noqa: ANN401
    if isinstance(change, dict):
        return _strategic(kind, old, change, path)
    if isinstance(change, list):
        return _merge_list(kind, old if isinstance(old, list) else [], change, path)
    return change


def _directive(merged: dict[str, Any], field: str, value: Any) -> None:  # noqa: ANN401
    if field.startswith(_PRIMITIVES):
        name = field.removeprefix(_PRIMITIVES)
        items = merged.get(name)
        merged[name] = [item for item in items if item not in value] if isinstance(items, list) else []
    elif field == "$retainKeys":
        for name in [name for name in merged if name not in value]:
            del merged[name]


def _merge_list(kind: Kind, old: list[Any], new: list[Any], path: Path) -> list[Any]:
    shape = list_shape(kind, path, old, new)
    if shape == "set":
        return [*old, *(item for item in new if item not in old)]
    if isinstance(shape, str):
        return new
    if any(item.get("$patch") == "replace" for item in new):
        return [item for item in new if "$patch" not in item]
    key = shape[:1]  # a strategic patch knows one key: ports of one number are the same port to it
    merged = {item_key(item, key): item for item in old}
    if len(merged) < len(old):
        key = shape
        merged = {item_key(item, key): item for item in old}
    for item in new:
        name = item_key(item, key)
        if item.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = _strategic(kind, merged.get(name), item, path)
    return list(merged.values())


def _reorder(kind: Kind, merged: dict[str, Any], field: str, order: list[Any], path: Path) -> None:
    items = merged.get(field)
    shape = list_shape(kind, [*path, field], order, items) if isinstance(items, list) else "atomic"
    if not isinstance(shape, tuple):
        return  # of sets the order means nothing
    places = {item_key(item, shape[:1]): place for place, item in reversed(list(enumerate(order)))}
    merged[field] = sorted(items or (), key=lambda item: places.get(item_key(item, shape[:1]), len(order)))
