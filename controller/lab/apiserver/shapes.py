"""How lists and mappings are merged: by keys, as sets, or replaced as a whole.

For built-in kinds a table, by the names of a field and of the one that holds it, which tell the lists of
Kubernetes apart (a container's `ports` from a Service's); for custom resources what their schema says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from controller.lab.apiserver.kinds import Kind

Shape = Literal["atomic", "set", "granular"] | tuple[str, ...]
"""A tuple: a list of mappings that are told apart by these fields."""

Path = Sequence[str]
"""Field names from the root; the items of a list add nothing."""

_POD_LISTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("spec", "containers"): ("name",),
    ("spec", "initContainers"): ("name",),
    ("spec", "ephemeralContainers"): ("name",),
    ("spec", "volumes"): ("name",),
    ("spec", "imagePullSecrets"): ("name",),
    ("spec", "hostAliases"): ("ip",),
    ("spec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("status", "podIPs"): ("ip",),
    ("status", "hostIPs"): ("ip",),
    **{
        (containers, field): keys
        for containers in ("containers", "initContainers", "ephemeralContainers")
        for field, keys in {
            "env": ("name",),
            "ports": ("containerPort", "protocol"),
            "volumeMounts": ("mountPath",),
            "volumeDevices": ("devicePath",),
        }.items()
    },
}
_LISTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    **_POD_LISTS,
    ("metadata", "ownerReferences"): ("uid",),
    ("status", "conditions"): ("type",),
    ("status", "addresses"): ("type",),
}
_OF_KIND: Mapping[str, Mapping[tuple[str, str], tuple[str, ...]]] = {
    "Service": {("spec", "ports"): ("port", "protocol")},
    "ServiceAccount": {("", "secrets"): ("name",), ("", "imagePullSecrets"): ("name",)},
}
_SETS = frozenset({("metadata", "finalizers"), ("spec", "podCIDRs")})
_ATOMIC_MAPPINGS = frozenset(
    {
        "configMapKeyRef",
        "fieldRef",
        "involvedObject",
        "labelSelector",
        "namespaceSelector",
        "nodeSelector",
        "podSelector",
        "resourceFieldRef",
        "roleRef",
        "scopeSelector",
        "secretKeyRef",
        "selector",
        "targetRef",
    }
)
DEFAULT_KEYS: Mapping[str, str] = {"protocol": "TCP"}
"""Values of keys that an item may leave out."""


def list_shape(kind: Kind, path: Path, *lists: Sequence[Any]) -> Shape:
    """How the list at a path is merged; as a whole where some item of `lists` has not the keys of one."""
    shape = _shape_of_path(kind, path)
    if isinstance(shape, tuple) and not all(_has_keys(item, shape) for items in lists for item in items):
        return "atomic"
    return shape


def _has_keys(item: Any, keys: tuple[str, ...]) -> bool:  # noqa: ANN401 (plain values)
    return isinstance(item, dict) and not any(isinstance(item.get(key), dict | list) for key in keys)


def _shape_of_path(kind: Kind, path: Path) -> Shape:
    if kind.schema is not None and path[0] != "metadata":
        return _list_of_schema(kind.schema, path)
    place = (path[-2] if len(path) > 1 else "", path[-1])
    if place in _SETS:
        return "set"
    return _OF_KIND.get(kind.name, {}).get(place) or _LISTS.get(place) or "atomic"


def mapping_shape(kind: Kind, path: Path) -> Shape:
    """Whether the mapping at a path has one owner or one for each field."""
    if kind.schema is not None and path[:1] != ["metadata"]:
        atomic = _descend(kind.schema, path).get("x-kubernetes-map-type") == "atomic"
    else:
        atomic = path[-1] in _ATOMIC_MAPPINGS if path else False
    return "atomic" if atomic else "granular"


def item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    """What tells an item of a list from the others."""
    return tuple(item.get(key, DEFAULT_KEYS.get(key)) for key in keys)


def _list_of_schema(schema: Mapping[str, Any], path: Path) -> Shape:
    found = _descend(schema, path)
    match found.get("x-kubernetes-list-type"):
        case "map":
            return tuple(found.get("x-kubernetes-list-map-keys") or ())
        case "set":
            return "set"
        case _:
            return "atomic"


def _descend(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    for field in path:
        items = schema.get("items")
        schema = items if isinstance(items, dict) else schema
        inner = (schema.get("properties") or {}).get(field, schema.get("additionalProperties"))
        schema = inner if isinstance(inner, dict) else {}
    return schema
