"""Watch events and list items as bytes: the least decoding that tells what they are about.

Two passes over the JSON, each of which skips what it does not need at memory speed: the head (type, name,
uid, version) of every event, then the object itself, only of those that bring something new. So a bad object
spoils nothing but itself, and a duplicate costs next to nothing.
"""

from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from controller.kube.errors import UNDECODABLE, Status
from controller.kube.store import Identity

T = TypeVar("T")


class KeyMeta(Struct, rename="camel"):
    """metadata, as far as it says which object this is."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Head(Struct):
    """An object's metadata."""

    metadata: KeyMeta = field(default_factory=KeyMeta)


class EventHead(Struct):
    """What an event is: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, of which object."""

    type: str
    object: Head = field(default_factory=Head)


class _EventStatus(Struct):
    object: Status


class _EventRaw(Struct):
    object: Raw


class EventOf(Struct, Generic[T]):
    """An event's object."""

    object: T


item_head = msgspec.json.Decoder(Head).decode
event_head = msgspec.json.Decoder(EventHead).decode
_event_status = msgspec.json.Decoder(_EventStatus, strict=False).decode
_event_raw = msgspec.json.Decoder(_EventRaw).decode


def event_status(line: bytes) -> Status:
    """The Status of an ERROR event; an empty one where it holds something else."""
    try:
        return _event_status(line).object
    except UNDECODABLE as error:
        return Status(message=f"an ERROR event without a Status: {error}")


def event_object(line: bytes) -> bytes:
    """The object of an event, as it was written."""
    return bytes(_event_raw(line).object)


def identity(meta: KeyMeta) -> Identity:
    """Which object, and which version."""
    return Identity((meta.namespace, meta.name), meta.uid, number(meta.resource_version))


def number(resource_version: str) -> int | None:
    """A resourceVersion to compare; None for one that is no number (etcd counts in 64 bits)."""
    is_number = resource_version.isascii() and resource_version.isdecimal() and len(resource_version) <= 20
    return int(resource_version) if is_number else None
