"""Server-side apply: which manager owns which field, in metadata.managedFields.

Paths are kept as Kubernetes writes them in fieldsV1 (`f:spec`, `k:{"name":"web"}`, `v:"x"`). Other writes are
tracked where a client names itself (`fieldManager`) or the object has owners already; clients that do neither
own nothing, and what they wrote belongs to "before-first-apply" once somebody applies.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from controller.lab.apiserver.clock import timestamp
from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.shapes import DEFAULT_KEYS, Path, item_key, list_shape, mapping_shape
from controller.lab.apiserver.status import ApiError
from controller.lab.apiserver.store import Object

Field = tuple[str, ...]
"""The path of one field, each step as in fieldsV1."""

_METADATA = ("annotations", "finalizers", "labels", "ownerReferences")
_IGNORED = ("apiVersion", "kind")


class Owner(Struct, frozen=True):
    """Who owns fields, and by which operation: Apply or Update."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""


def apply(  # noqa: PLR0913 (as a request has them)
    kind: Kind, live: Object, applied: Object, manager: str, *, force: bool, subresource: str = ""
) -> Object:
    """The live object with what a manager applies. Raises ApiError 409 where others own other values."""
    owner = Owner(manager, "Apply", kind.api_version, subresource)
    applied = _relevant(applied, subresource)
    mine = set(_fields(kind, applied))
    owners = read_owners(live) or _before_first_apply(kind, live, subresource)
    previous = owners.get(owner, set())
    known = _last_applied(kind, live) if manager == "kubectl" else set()
    conflicts = [
        (field, other.manager)
        for other, fields in owners.items()
        if other != owner
        for field in sorted(fields & mine)
        if _value(live, field) != _value(applied, field)
    ]
    refused = [(field, other) for field, other in conflicts if field not in known]
    if refused and not force:
        raise _refusal(refused)
    lost = {field for field, _ in conflicts}
    kept = {other: left for other, fields in owners.items() if other != owner and (left := fields - lost)}
    elsewhere = set().union(*kept.values()) if kept else set()
    merged: Object = _merge(kind, live, applied, [])
    for field in sorted(previous - mine - elsewhere, key=len):  # an item before what is in it
        if not _is_key(field) and not _is_shared_item(field, elsewhere):
            _remove(merged, field)
    write_owners(merged, {**kept, owner: mine}, live)
    return merged


def track(kind: Kind, new: Object, old: Object | None, manager: str, subresource: str = "") -> None:
    """Record in `new` that a manager wrote what differs from `old`."""
    owners = read_owners(old or {})
    before = dict(_values(kind, old or {}))
    after = dict(_values(kind, new))
    written = {field for field, value in after.items() if field not in before or before[field] != value}
    gone = before.keys() - after.keys()
    if not written and not gone:
        return
    owner = Owner(manager, "Update", kind.api_version, subresource)
    kept = {
        other: left
        for other, fields in owners.items()
        if (left := fields - gone if other == owner else fields - gone - written)
    }
    if written:
        kept[owner] = kept.get(owner, set()) | written
    write_owners(new, kept, old or {})


def read_owners(value: Object) -> dict[Owner, set[Field]]:
    """Out of metadata.managedFields."""
    found: dict[Owner, set[Field]] = {}
    for entry in (value.get("metadata") or {}).get("managedFields") or ():
        if not entry.get("manager"):
            continue
        owner = Owner(
            entry["manager"],
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found.setdefault(owner, set()).update(_from_v1(entry.get("fieldsV1") or {}, ()))
    return found


def write_owners(value: Object, owners: dict[Owner, set[Field]], live: Object) -> None:
    """Into metadata.managedFields; the time of an owner whose fields are as in `live` stays."""
    before = read_owners(live)
    times = {
        Owner(
            entry["manager"],
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        ): entry.get("time")
        for entry in (live.get("metadata") or {}).get("managedFields") or ()
        if entry.get("manager")
    }
    entries = []
    for owner, fields in owners.items():
        same = before.get(owner) == fields
        entry = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owner.api_version,
            "time": times[owner] if same else timestamp(),
            "fieldsType": "FieldsV1",
            "fieldsV1": _to_v1(fields),
        }
        if owner.subresource:
            entry["subresource"] = owner.subresource
        entries.append(entry)
    # A new list: the one of the live object is shared with it.
    value["metadata"] = {**value["metadata"], "managedFields": entries}


def _before_first_apply(kind: Kind, live: Object, subresource: str) -> dict[Owner, set[Field]]:
    fields = set(_fields(kind, _relevant(live, subresource)))
    return {Owner("before-first-apply", "Update", kind.api_version, subresource): fields} if fields else {}


def _last_applied(kind: Kind, live: Object) -> set[Field]:
    """What kubectl owns by its annotation: applying on the server after it is no conflict with itself."""
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    try:
        applied = json.loads(annotations.get("kubectl.kubernetes.io/last-applied-configuration", "{}"))
    except ValueError:
        return set()
    return set(_fields(kind, _relevant(applied, ""))) if isinstance(applied, dict) else set()


def _refusal(conflicts: list[tuple[Field, str]]) -> ApiError:
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    words = [f'conflict with "{manager}": {_shown(field)}' for field, manager in conflicts]
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": _shown(field)}
        for field, manager in conflicts
    ]
    message = f"Apply failed with {count}: " + ", ".join(words)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _relevant(value: Object, subresource: str) -> Object:
    """What of an object can be owned: the status through its subresource, the rest without."""
    found = {
        field: part
        for field, part in value.items()
        if field not in (*_IGNORED, "metadata", "status") or (field == "status" and subresource)
    }
    if subresource:
        return {field: part for field, part in found.items() if field == subresource}
    metadata = value.get("metadata") or {}
    kept = {field: metadata[field] for field in _METADATA if metadata.get(field)}
    return {**found, "metadata": kept} if kept else found


def _fields(kind: Kind, value: Object) -> Iterator[Field]:
    return (field for field, _ in _leaves(kind, value, [], ()))


def _values(kind: Kind, value: Object) -> Iterator[tuple[Field, Any]]:
    main = _relevant(value, "")
    if "status" in value:
        main["status"] = value["status"]
    return _leaves(kind, main, [], ())


def _leaves(kind: Kind, value: Any, path: Path, field: Field) -> Iterator[tuple[Field, Any]]:  # noqa: ANN401
    """Every field that can have an owner of its own, with its value (None for an item as such)."""
    if isinstance(value, dict) and value and mapping_shape(kind, path) != "atomic":
        for name, inner in value.items():
            yield from _leaves(kind, inner, [*path, name], (*field, f"f:{name}"))
        return
    shape = list_shape(kind, path, value) if isinstance(value, list) and value else "atomic"
    if shape == "set":
        for item in value:
            yield (*field, f"v:{_canonical(item)}"), item
    elif isinstance(shape, tuple):
        for item in value:
            place = (*field, _step(item, shape))
            yield place, None
            for name, inner in item.items():
                yield from _leaves(kind, inner, [*path, name], (*place, f"f:{name}"))
    elif field:
        yield field, value


def _step(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    return f"k:{_canonical(dict(zip(keys, item_key(item, keys), strict=True)))}"


def _canonical(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _merge(kind: Kind, live: Any, applied: Any, path: Path) -> Any:  # noqa: ANN401
    if isinstance(applied, dict) and isinstance(live, dict) and mapping_shape(kind, path) != "atomic":
        merged = dict(live)
        for field, value in applied.items():
            merged[field] = _merge(kind, live.get(field), value, [*path, field])
        return merged
    if not isinstance(applied, list) or not isinstance(live, list):
        return applied
    shape = list_shape(kind, path, live, applied)
    if shape == "set":
        return [*live, *(item for item in applied if item not in live)]
    if isinstance(shape, str):
        return applied
    items = {item_key(item, shape): item for item in live}
    for item in applied:
        key = item_key(item, shape)
        items[key] = _merge(kind, items.get(key, {}), item, path)
    return list(items.values())


def _find(value: Any, step: str) -> tuple[Any, Any]:  # noqa: ANN401
    """The key or index of a step in a mapping or list, and what is there; (None, None) where nothing is."""
    mark, _, text = step.partition(":")
    if mark == "f":
        return (text, value[text]) if isinstance(value, dict) and text in value else (None, None)
    wanted = json.loads(text)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if item == wanted if mark == "v" else _is_item(item, wanted):
            return index, item
    return None, None


def _is_item(item: Any, wanted: dict[str, Any]) -> bool:  # noqa: ANN401
    return isinstance(item, dict) and all(
        item.get(key, DEFAULT_KEYS.get(key)) == value for key, value in wanted.items()
    )


def _value(value: Any, field: Field) -> Any:  # noqa: ANN401
    for step in field:
        key, value = _find(value, step)
        if key is None:
            return None
    # An item as such has no value: whether it is there is all that can differ, and applying puts it there.
    return None if field[-1].startswith("k:") else value


def _is_key(field: Field) -> bool:
    """Whether a field tells its item from others: it goes with the item and never alone."""
    *_, item, last = ("", *field)
    return item.startswith("k:") and last.removeprefix("f:") in json.loads(item.removeprefix("k:"))


def _is_shared_item(field: Field, elsewhere: set[Field]) -> bool:
    """Whether it is an item of a list in which others own something."""
    return field[-1].startswith("k:") and any(other[: len(field)] == field for other in elsewhere)


def _remove(value: Object, field: Field) -> None:
    """Take a field out of an object in place, and the mappings and lists that it leaves empty."""
    chain: list[tuple[Any, Any]] = []
    found: Any = value
    for step in field:
        key, inner = _find(found, step)
        if key is None:
            return
        # Copied on the way: the merged object shares its parts with the live one.
        inner = inner.copy() if isinstance(inner, dict | list) else inner
        found[key] = inner
        chain.append((found, key))
        found = inner
    holder, key = chain[-1]
    del holder[key]
    for above, name in reversed(chain[:-1]):
        if above[name] or above is value:
            break
        del above[name]


def _from_v1(fields: dict[str, Any], path: Field) -> Iterator[Field]:
    for step, inner in fields.items():
        if step == "." and path:
            yield path
        elif not _is_step(step):
            continue  # of another's making: it names no field that could be found
        elif inner and isinstance(inner, dict):
            yield from _from_v1(inner, (*path, step))
        else:
            yield (*path, step)


def _is_step(step: str) -> bool:
    mark, _, text = step.partition(":")
    if mark == "f":
        return bool(text)
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return mark == "v" or (mark == "k" and isinstance(value, dict))


def _to_v1(fields: Iterable[Field]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    found = set(fields)
    for field in sorted(found):
        place = tree
        for step in field:
            place = place.setdefault(step, {})
    for field in found:
        place = tree
        for step in field:
            place = place[step]
        if place:
            place["."] = {}
    return tree


def _shown(field: Field) -> str:
    words = []
    for step in field:
        mark, _, text = step.partition(":")
        if mark == "f":
            words.append(f".{text}")
        elif mark == "k":
            words.append(
                "[" + ",".join(f"{key}={_canonical(item)}" for key, item in json.loads(text).items()) + "]"
            )
        else:
            words.append(f"[={text}]")
    return "".join(words)
