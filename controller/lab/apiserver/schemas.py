"""Structural schemas of custom resources: unknown fields dropped, defaults set, the rest checked.

The parts of OpenAPI that CRDs may use, but for CEL rules (x-kubernetes-validations) and `not`. Those need an
evaluator of their own, and would refuse what a test means to refuse by other means.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from controller.lab.apiserver.status import Cause
from controller.objects.names import shown, type_name

Schema = Mapping[str, Any]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
}
_ROOT = ("apiVersion", "kind", "metadata")


def fit(value: Any, schema: Schema) -> list[str]:  # noqa: ANN401 (plain values)
    """Drop from a value, in place, the fields its schema does not know, and set the defaults.

    The paths of what was dropped.
    """
    dropped: list[str] = []
    _fit(value, schema, "", dropped, root=True)
    return dropped


def check(value: Any, schema: Schema, path: str = "", *, root: bool = True) -> list[Cause]:  # noqa: ANN401
    """Everything about a value that its schema does not allow; of a `root` but apiVersion, kind, metadata."""
    return list(_check(value, schema, path, root=root))


def malformed(schema: object, path: str) -> Iterator[Cause]:
    """What makes a schema none, so far as this module reads it."""
    if not isinstance(schema, dict):
        yield _wrong_type(schema, "object", path)
        return
    wrong = [word for word in schema if word in _PARTS and not _TYPES[_PARTS[word]](schema[word])]
    yield from (_wrong_type(schema[word], _PARTS[word], f"{path}.{word}") for word in wrong)
    if wrong:
        return
    for place, inner in _inner(schema):
        yield from malformed(inner, f"{path}.{place}")
    try:
        re.compile(schema.get("pattern", ""))
    except re.error as error:
        yield Cause(f"{path}.pattern", f"Invalid value: {shown(schema['pattern'])}: {error}")


def _inner(schema: Schema) -> Iterator[tuple[str, object]]:
    """The schemas within a schema, with their places."""
    for field, inner in schema.get("properties", {}).items():
        yield f"properties[{field}]", inner
    for word in ("allOf", "anyOf", "oneOf"):
        yield from ((f"{word}[{index}]", inner) for index, inner in enumerate(schema.get(word, ())))
    for word in ("items", "additionalProperties"):
        if word in schema and not (word == "additionalProperties" and isinstance(schema[word], bool)):
            yield word, schema[word]


_PARTS: Mapping[str, str] = {
    "properties": "object",
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "enum", "required", "x-kubernetes-list-map-keys"), "array"),
    **dict.fromkeys(("type", "pattern"), "string"),
    **dict.fromkeys(("minimum", "maximum"), "number"),
    **{f"{end}{what}": "integer" for end in ("min", "max") for what in ("Length", "Items", "Properties")},
}
"""The types of the words of a schema."""


def _fit(value: Any, schema: Schema, path: str, dropped: list[str], *, root: bool) -> None:  # noqa: ANN401
    if isinstance(value, list):
        items = schema.get("items") or {}
        for index, item in enumerate(value):
            _fit(item, items, f"{path}[{index}]", dropped, root=False)
    elif isinstance(value, dict):
        _fit_fields(value, schema, path, dropped, root=root)


def _fit_fields(value: dict[str, Any], schema: Schema, path: str, dropped: list[str], *, root: bool) -> None:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    keep = schema.get("x-kubernetes-preserve-unknown-fields") or others is True
    known = _ROOT if root or schema.get("x-kubernetes-embedded-resource") else ()
    for field in list(value):
        place = f"{path}.{field}" if path else field
        if field in known:
            continue
        if field in properties:
            _fit_field(value, field, properties[field], place, dropped)
        elif isinstance(others, Mapping):
            _fit(value[field], others, place, dropped, root=False)
        elif not keep:
            del value[field]
            dropped.append(place)
    for field, inner in properties.items():
        if field not in value and "default" in inner:
            value[field] = _copy(inner["default"])
            _fit(value[field], inner, f"{path}.{field}", dropped, root=False)


def _fit_field(value: dict[str, Any], field: str, schema: Schema, path: str, dropped: list[str]) -> None:
    if value[field] is None and not schema.get("nullable"):
        del value[field]  # as the API server does: null is the same as absent, and then the default counts
    else:
        _fit(value[field], schema, path, dropped, root=False)


def _copy(value: Any) -> Any:  # noqa: ANN401 (plain values)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _check(value: Any, schema: Schema, path: str, *, root: bool) -> Iterator[Cause]:  # noqa: ANN401
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if type(value) not in (int, str):
            yield _wrong_type(value, "integer or string", path)
        return
    wanted = str(schema.get("type"))
    if wanted in _TYPES and not _TYPES[wanted](value):
        yield _wrong_type(value, wanted, path)
        return
    yield from _check_value(value, schema, path)
    if isinstance(value, dict):
        yield from _check_fields(value, schema, path, root=root)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(item, schema.get("items") or {}, f"{path}[{index}]", root=False)
    yield from _check_alternatives(value, schema, path)


def _check_fields(value: dict[str, Any], schema: Schema, path: str, *, root: bool) -> Iterator[Cause]:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for field in schema.get("required") or ():
        if field not in value:
            yield Cause(_join(path, field), "Required value", "FieldValueRequired")
    for field, item in value.items():
        if root and field in _ROOT:
            continue
        inner = properties.get(field, others)
        if isinstance(inner, Mapping):
            yield from _check(item, inner, _join(path, field), root=False)


def _check_value(value: Any, schema: Schema, path: str) -> Iterator[Cause]:  # noqa: ANN401
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(shown(item) for item in schema["enum"])
        yield Cause(
            path,
            f"Unsupported value: {shown(value)}: supported values: {supported}",
            "FieldValueNotSupported",
        )
    for word, measure, low in _BOUNDS:
        bound = schema.get(word)
        size = measure(value)
        if bound is not None and size is not None and (size < bound if low else size > bound):
            than = "greater than or equal to" if low else "less than or equal to"
            yield Cause(path, f"Invalid value: {shown(value)}: {word}: {size} should be {than} {bound}")
    pattern = schema.get("pattern")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        yield Cause(path, f"Invalid value: {shown(value)}: should match '{pattern}'")


def _check_alternatives(value: Any, schema: Schema, path: str) -> Iterator[Cause]:  # noqa: ANN401
    for inner in schema.get("allOf") or ():
        yield from _check(value, inner, path, root=False)
    for word, allowed in (("anyOf", range(1, 1000)), ("oneOf", range(1, 2))):
        if word in schema:
            fitting = sum(1 for inner in schema[word] if not check(value, inner, path, root=False))
            if fitting not in allowed:
                yield Cause(path, f"Invalid value: {fitting} alternatives of {word} are met")


def _size_of(kind: type[str] | type[list[Any]] | type[dict[str, Any]]) -> Callable[[Any], int | None]:
    def size(value: Any) -> int | None:  # noqa: ANN401
        return len(value) if isinstance(value, kind) else None

    return size


def _number(value: Any) -> float | None:  # noqa: ANN401
    return value if type(value) in (int, float) else None


_BOUNDS: tuple[tuple[str, Callable[[Any], float | None], bool], ...] = (
    ("minimum", _number, True),
    ("maximum", _number, False),
    ("minLength", _size_of(str), True),
    ("maxLength", _size_of(str), False),
    ("minItems", _size_of(list), True),
    ("maxItems", _size_of(list), False),
    ("minProperties", _size_of(dict), True),
    ("maxProperties", _size_of(dict), False),
)


def _wrong_type(value: Any, wanted: str, path: str) -> Cause:  # noqa: ANN401
    message = f"Invalid value: {shown(value)}: must be of type {wanted}, and is {type_name(value)}"
    return Cause(path, message, "FieldValueTypeInvalid")


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
