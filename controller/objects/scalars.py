"""What a YAML scalar without quotes means to kubectl.

kubectl reads YAML 1.1 with exceptions of its own (sigs.k8s.io/yaml): `y`, `yes` and `on` are booleans, `010`
is eight, `2001-12-14` and `12:30:45` stay texts. A reader that follows another YAML gives a policy another
meaning than the cluster does; the table in the tests was made with kubectl itself.
"""

import re
from functools import lru_cache

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_FINITE = frozenset(f"{sign}.{word}" for word in ("inf", "Inf", "INF") for sign in ("", "+", "-")) | {
    ".nan",
    ".NaN",
    ".NAN",
}
_INT = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_DOT_FLOAT = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)?", re.ASCII)
_LONGEST_INT = 80


class NotFiniteError(ValueError):
    """`.nan` or `.inf`: YAML has them, JSON, and so Kubernetes, has not."""


def resolve_plain(text: str) -> Scalar:
    """The value of a scalar without quotes and without tag. Raises NotFiniteError."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text in _NOT_FINITE:
        raise NotFiniteError(text)
    if text[0] == ".":
        return _float(text.replace("_", ""), text) if _DOT_FLOAT.fullmatch(text) else text
    digits = text.replace("_", "")
    number = _int(digits)
    if number is not None:
        return number
    return _float(digits, text) if _FLOAT.fullmatch(digits) else text


def key_text(value: Scalar) -> str | None:
    """The text that kubectl makes of a mapping key; None for null, which it refuses."""
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@lru_cache(maxsize=4096)
def resolve_short(text: str) -> Scalar:
    """The same, remembered: manifests repeat themselves. Only for short texts, which may stay in memory."""
    return resolve_plain(text)


@lru_cache(maxsize=4096)
def plain_key(text: str) -> str | None:
    """`key_text` of a short key without quotes and without tag, remembered; None also for `.nan`."""
    try:
        return key_text(resolve_plain(text))
    except NotFiniteError:
        return None


def _int(digits: str) -> int | None:
    """A number as Go's ParseInt with base 0 reads it; None when it is none or needs more than 64 bits."""
    match = _INT.fullmatch(digits) if len(digits) <= _LONGEST_INT else None
    if match is None:
        return None
    sign, hexadecimal, binary, octal, decimal = match.groups()
    for text, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)):
        if text is not None:
            value = int(text, base)
            break
    else:
        return None
    limit = 1 << (63 if sign else 64)
    return (-value if sign == "-" else value) if value < limit else None


def _float(digits: str, text: str) -> Scalar:
    """A float, or the integer it equals, as `80.0` becomes 80 through JSON. Too large a number is a text."""
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        return text
    return int(value) if value.is_integer() and abs(value) < 1e21 else value
