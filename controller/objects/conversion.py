"""Parts of objects by the types of `wire`: what can be read of a part, field by field.

One field of a wrong type must not cost the others: a pod that loses its address with it would be open there.
"""

import re
from types import UnionType
from typing import Any, TypeGuard, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from controller.objects.report import Report

_CONVERT_ERROR = re.compile(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `\$.*`)?", re.DOTALL)
_TYPE_WORDS = {
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}

Wire = TypeVar("Wire", bound=Struct)


def convert_part(value: object, kind: type[Wire], path: str, report: Report) -> tuple[Wire, bool]:
    """A part of an object by its types, and whether all of it has them.

    Never raises. What has a wrong type is reported and left empty; everything else of the part is kept.
    """
    if value is None:
        return kind(), True
    try:
        return msgspec.convert(value, kind), True
    except msgspec.ValidationError:
        found = _readable(value, kind, path, report)
        return found if isinstance(found, kind) else kind(), False


def _readable(value: object, wanted: Any, path: str, report: Report) -> Any:  # noqa: ANN401 (any field)
    """What can be read of a value; None, with a finding, for nothing. O(size of the value)."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        reason = str(error)
    kind = get_args(wanted)[0] if isinstance(wanted, UnionType) else wanted
    if isinstance(value, list) and get_origin(kind) is list:
        return [
            _item(item, get_args(kind)[0], f"{path}[{index}]", report) for index, item in enumerate(value)
        ]
    if _is_mapping(value) and isinstance(kind, type) and issubclass(kind, Struct):
        return kind(
            **{
                each.name: _readable(value[each.encode_name], each.type, f"{path}.{each.encode_name}", report)
                for each in msgspec.structs.fields(kind)
                if each.encode_name in value
            }
        )
    report.error("wrong-type", path, _in_words(reason), "mend the type")
    return None


def _item(value: object, wanted: Any, path: str, report: Report) -> Any:  # noqa: ANN401 (any field)
    """One of a list. An empty one stands for what cannot be read: those after it keep their index."""
    found = _readable(value, wanted, path, report)
    return wanted() if found is None and isinstance(wanted, type) else found


def _is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it has names for keys, as YAML does not ask for."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _in_words(reason: str) -> str:
    """What "Expected `str`, got `int`" is in the words of other findings."""
    match = _CONVERT_ERROR.fullmatch(reason)
    if match is None:
        return reason
    expected, got = match.groups()
    wanted = " or ".join(_TYPE_WORDS.get(word, word) for word in expected.split(" | ") if word != "null")
    return f"is {_TYPE_WORDS.get(got, got)}, not {wanted}"
