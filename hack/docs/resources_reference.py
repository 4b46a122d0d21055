"""Writes docs/reference/resources.md: the fields of our own kinds, from the types that podgate uses.

.venv/bin/python hack/docs/resources_reference.py            # write the page
.venv/bin/python hack/docs/resources_reference.py --check    # exit 1 if the page is stale
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from msgspec import inspect

from controller.objects.crds import node_policy_crd, peer_group_slice_crd
from controller.objects.resources import (
    API_VERSION,
    GROUP_LABEL,
    TRIGGER_ANNOTATION,
    NodePolicySpec,
    NodePolicyStatus,
    PeerGroupSliceSpec,
)
from hack.docs.generated import REFERENCE, deliver, wrapped

PAGE = REFERENCE / "resources.md"
"""The page that is written."""

_INTRODUCTION = f"""\
# NodePolicy and PeerGroupSlice

<!-- Written by hack/docs/resources_reference.py, from controller/objects/resources.py: make docs -->

What the operator tells the agents, in `{API_VERSION}`. Both kinds belong to podgate: the operator writes
again whatever somebody else changes. They are worth reading, not writing;
[how it works](../how-it-works.md) says what they are for.

- label `{GROUP_LABEL}`, on slices: the group
- annotation `{TRIGGER_ANNOTATION}`: when the API event arrived that led to this write
"""

_LOCATIONS = (
    ("NodePolicy", node_policy_crd, {"spec": NodePolicySpec, "status": NodePolicyStatus}),
    ("PeerGroupSlice", peer_group_slice_crd, {"spec": PeerGroupSliceSpec}),
)
_LIMITS = {"maxLength": "at most {} characters", "maxItems": "at most {}"}
_PLAIN = {inspect.StrType: "string", inspect.IntType: "integer", inspect.BoolType: "boolean"}


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    shown: set[type] = set()
    for name, definition, parts in _LOCATIONS:
        crd: dict[str, Any] = definition()
        yield f"## {name}"
        yield ""
        yield wrapped(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"])
        yield ""
        yield f"Cluster-scoped; `kubectl get {crd['spec']['names']['plural']}`, or `{_short(crd)}` for short."
        for part, kind in parts.items():
            yield ""
            yield f"### {name}.{part}"
            yield ""
            yield from _struct(kind)
            shown.add(kind)
            for nested in _nested(kind):
                if nested not in shown:
                    shown.add(nested)
                    yield ""
                    yield f"### {nested.__name__}"
                    yield ""
                    yield from _struct(nested)
        yield ""


def _short(crd: dict[str, Any]) -> str:
    (only,) = crd["spec"]["names"]["shortNames"]
    return str(only)


def _struct(kind: type) -> Iterator[str]:
    yield wrapped(kind.__doc__ or "")
    yield ""
    yield "| field | type | default |"
    yield "| --- | --- | --- |"
    for field in _fields(kind):
        yield f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |"


def _fields(kind: type) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind} is no struct")
    return info.fields


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "" if default in ("", (), None) else f"`{msgspec.json.encode(default).decode()}`"


def _type(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata():
            limits = (info.extra_json_schema or {}).items()
            return ", ".join([_type(info.type), *(_LIMITS[key].format(most) for key, most in limits)])
        case inspect.StructType():
            return f"[{info.cls.__name__}](#{info.cls.__name__.lower()})"
        case inspect.VarTupleType():
            most = "" if info.max_length is None else f", at most {info.max_length}"
            return f"list of {_type(info.item_type)}{most}"
        case inspect.UnionType():
            (only,) = (each for each in info.types if not isinstance(each, inspect.NoneType))
            return f"{_type(only)}, or absent"
    return _PLAIN[type(info)]


def _nested(kind: type) -> Iterator[type]:
    """The types within a type, in the order of its fields, each before those in it."""
    for field in _fields(kind):
        for found in _structs(field.type):
            yield found
            yield from _nested(found)


def _structs(info: inspect.Type) -> Iterator[type]:
    match info:
        case inspect.Metadata():
            yield from _structs(info.type)
        case inspect.StructType():
            yield info.cls
        case inspect.VarTupleType():
            yield from _structs(info.item_type)
        case inspect.UnionType():
            for each in info.types:
                yield from _structs(each)


if __name__ == "__main__":
    sys.exit(deliver(PAGE, page(), sys.argv[1:]))
