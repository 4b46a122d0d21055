"""Scalars with an explicit tag (`!!str 8080`), which are rare in manifests and read as kubectl reads them."""

import base64
import binascii

from controller.objects.malformed import MalformedError
from controller.objects.names import shown
from controller.objects.scalars import NotFiniteError, Scalar, resolve_plain

_PREFIX = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "null": (type(None),),
}


def tagged_scalar(tag: str, text: str, line: int) -> Scalar:
    """The value of a scalar with this tag; tags of other makers mean a text. Raises MalformedError."""
    name = tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else ""
    if name == "binary":
        return _binary(text, line)
    if name not in _TYPES:
        return text
    try:
        value = resolve_plain(text)
    except NotFiniteError:
        value = text
    if type(value) not in _TYPES[name]:
        raise MalformedError("unreadable-document", f"{shown(text)} is no !!{name}", line, "remove the tag")
    return value


def _binary(text: str, line: int) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise MalformedError("unreadable-document", "a !!binary text is no base64", line) from None
