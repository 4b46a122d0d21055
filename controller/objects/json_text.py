"""JSON text to plain values: one, or several one after the other, as `kubectl get -o json` and jq write them.

The standard parser is used with a hook, not a faster one, because it refuses duplicate keys at a cost of 8 ms
for a megabyte, and says where an error is.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from controller.objects.malformed import MalformedError
from controller.objects.names import shown

_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def load_json(text: str) -> Iterator[tuple[Any, int]]:
    """Each value of a text and the line it starts at. Raises MalformedError at what is no JSON."""
    position = _after_space(text, 0)
    line = 1
    counted = 0
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        value, position = _value_at(text, position, line)
        yield value, line
        position = _after_space(text, position)


class _DuplicateKeyError(ValueError):
    """Carries the key that stands twice."""


def _value_at(text: str, position: int, line: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except RecursionError:
        raise MalformedError("too-deep", "nested too deeply", line, "remove the nesting") from None
    except _DuplicateKeyError as error:
        message = f"the key {shown(error.args[0])} stands twice in one mapping"
        raise MalformedError("duplicate-key", message, line, "keep one") from None
    except json.JSONDecodeError as error:
        message = f"{error.msg} at column {error.colno}"
        raise MalformedError("unreadable-document", message, error.lineno, "mend the JSON") from None
    except ValueError as error:  # a number of thousands of digits, NaN
        raise MalformedError("unreadable-document", shown(str(error)), line) from None
    if _SURROGATE.search(text, position, end):
        _refuse_lone_surrogates(value, line)
    return value, end


def _refuse_lone_surrogates(value: object, line: int) -> None:
    """Half a character would break every output later; Go reads it as a replacement character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "holds an unpaired surrogate escape"
        raise MalformedError("unreadable-document", message, line, "write the whole character") from None


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return result


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
