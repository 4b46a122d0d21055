"""The CustomResourceDefinitions of our kinds, made from the types in `resources`: they cannot differ.

`hack/manifests/crds.py` writes them to `manifests/base/crds`, and a test compares.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from controller.objects.resources import (
    GROUP,
    VERSION,
    NodePolicySpec,
    NodePolicyStatus,
    PeerGroupSliceSpec,
)

Schema = dict[str, Any]

_AGE: Schema = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_READY = '.status.conditions[?(@.type=="Ready")].status'


def node_policy_crd() -> Schema:
    """The definition of NodePolicy."""
    columns: list[Schema] = [
        {"name": "Ready", "type": "string", "jsonPath": _READY},
        {"name": "Enforced", "type": "integer", "jsonPath": ".status.podsEnforced"},
        {"name": "Pending", "type": "integer", "jsonPath": ".status.podsPending"},
        {"name": "Backend", "type": "string", "jsonPath": ".status.backend"},
        {"name": "Applied", "type": "date", "jsonPath": ".status.appliedAt"},
        {"name": "Digest", "type": "string", "jsonPath": ".spec.digest", "priority": 1},
        {"name": "Observed", "type": "string", "jsonPath": ".status.observedDigest", "priority": 1},
        _AGE,
    ]
    text = "What one node enforces: its pods, their rules, and the peer groups that the rules name."
    schema = _object_schema(text, NodePolicySpec, NodePolicyStatus)
    return _definition("NodePolicy", "nodepolicies", ["np-node"], schema, columns)


def peer_group_slice_crd() -> Schema:
    """The definition of PeerGroupSlice."""
    columns: list[Schema] = [
        {"name": "Selector", "type": "string", "jsonPath": ".spec.selector"},
        {"name": "Index", "type": "integer", "jsonPath": ".spec.index"},
        {"name": "Slices", "type": "integer", "jsonPath": ".spec.count"},
        _AGE,
    ]
    text = "Up to 100 members of one peer group, shared by every policy and node that names it."
    schema = _object_schema(text, PeerGroupSliceSpec, None)
    return _definition("PeerGroupSlice", "peergroupslices", ["pgs"], schema, columns)


def schema_of(kind: type) -> Schema:
    """The structural schema of a type. Raises TypeError for what a structural schema cannot say."""
    return _schema(inspect.type_info(kind))


def _definition(kind: str, plural: str, short: list[str], schema: Schema, columns: list[Schema]) -> Schema:
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": short,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Cluster", "names": names, "versions": [version]},
    }


def _object_schema(text: str, spec: type, status: type | None) -> Schema:
    properties: Schema = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": schema_of(spec),
    }
    if status is not None:
        properties["status"] = schema_of(status)
    return {"description": text, "type": "object", "required": ["spec"], "properties": properties}


_SCALARS: Mapping[type, str] = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.BoolType: "boolean",
}


def _schema(info: inspect.Type) -> Schema:
    match info:
        case inspect.Metadata():
            return {**_schema(info.type), **(info.extra_json_schema or {})}
        case inspect.StructType():
            return _struct_schema(info)
        case inspect.VarTupleType():
            limit = {} if info.max_length is None else {"maxItems": info.max_length}
            return {"type": "array", "items": _schema(info.item_type), **limit}
        case inspect.UnionType():
            (only,) = (each for each in info.types if not isinstance(each, inspect.NoneType))
            return {**_schema(only), "nullable": True}
        case _ if type(info) in _SCALARS:
            return {"type": _SCALARS[type(info)]}
    raise TypeError(f"{info} has no structural schema")


def _struct_schema(info: inspect.StructType) -> Schema:
    required = [field.encode_name for field in info.fields if field.required]
    return {
        "description": _description(info.cls),
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {field.encode_name: _schema(field.type) for field in info.fields},
    }


def _description(kind: type[msgspec.Struct]) -> str:
    """The docstring, without its line breaks."""
    return " ".join((kind.__doc__ or "").split())
