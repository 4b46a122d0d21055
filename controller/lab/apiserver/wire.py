"""Objects as a client is sent them: with apiVersion and kind, in another version, or metadata only."""

import msgspec
from msgspec import Raw, Struct

from controller.lab.apiserver.kinds import Kind
from controller.lab.apiserver.store import ChangeType, Object, Record, decode_json, encode_json


class _MetadataOnly(Struct):
    metadata: Raw


_metadata = msgspec.json.Decoder(_MetadataOnly).decode


class Form:
    """How objects of a kind are to look. `metadata_only`: as PartialObjectMetadata."""

    def __init__(self, kind: Kind, *, metadata_only: bool = False) -> None:
        self._kind = kind
        self._metadata_only = metadata_only
        self._name = "PartialObjectMetadata" if metadata_only else kind.name
        self._api_version = "meta.k8s.io/v1" if metadata_only else kind.api_version
        self.prefix = b'{"kind":"%s","apiVersion":"%s",' % (self._name.encode(), self._api_version.encode())
        """The start of every object; forms with the same one give the same text."""

    def item(self, record: Record) -> bytes:
        """An object in a list: built-in kinds have neither kind nor apiVersion there, as in real lists."""
        bare = not self._kind.custom and not self._metadata_only
        return self._body(record) if bare else self.prefix + self._body(record)[1:]

    def object(self, record: Record) -> bytes:
        """An object on its own."""
        return self.prefix + self._body(record)[1:]

    def line(self, change: ChangeType, record: Record) -> bytes:
        """An event of a watch."""
        return b'{"type":"%s","object":%s}\n' % (change.encode(), self.object(record))

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """The event that says how far a watch is."""
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        body = {"kind": self._name, "apiVersion": self._api_version, "metadata": metadata}
        return encode_json({"type": "BOOKMARK", "object": body}) + b"\n"

    def list_start(self, revision: int, token: str = "", remaining: int = 0) -> bytes:
        """A list up to its items; `]}` ends it."""
        metadata: Object = {"resourceVersion": str(revision)}
        if token:
            metadata |= {"continue": token}
            if remaining:
                metadata["remainingItemCount"] = remaining
        head = {"kind": f"{self._name}List", "apiVersion": self._api_version, "metadata": metadata}
        return encode_json(head)[:-1] + b',"items":['

    def _body(self, record: Record) -> bytes:
        if self._metadata_only:
            return b'{"metadata":%s}' % bytes(_metadata(record.data).metadata)
        if self._kind.renames:
            return encode_json(to_version(self._kind, decode_json(record.data)))
        return record.data


def to_version(kind: Kind, value: Object) -> Object:
    """A stored object with the field names of a version."""
    names = {stored: here for here, stored in kind.renames.items()}
    return {names.get(field, field): part for field, part in value.items()}


def from_version(kind: Kind, value: Object) -> Object:
    """An object of a version as it is stored."""
    return {kind.renames.get(field, field): part for field, part in value.items()}


def error_line(status: Object) -> bytes:
    """A failure in the middle of a watch, which has been answered 200 already."""
    return encode_json({"type": "ERROR", "object": status}) + b"\n"
