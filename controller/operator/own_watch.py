"""Watches our own objects, so that what others change or delete is put right.

Their content is decoded once per content: agents write their status into the NodePolicies, and such an event
must not cost what a new spec costs.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from sys import intern

import msgspec
from msgspec import Raw, Struct, field

from controller.engine.changes import Member
from controller.engine.node_policies import spec_digest
from controller.kube.client import ObjectMeta
from controller.kube.sink import Unreadable
from controller.kube.store import Key
from controller.objects.kinds import Protocol
from controller.objects.resources import (
    GROUP_LABEL,
    Metadata,
    NodePolicySpec,
    PeerGroupSliceSpec,
)
from controller.operator.held import UNKNOWN, HeldNode, HeldSlice, slice_digest
from controller.operator.metrics import Metrics
from controller.operator.publication import Publication
from controller.operator.steps import Kind, Place, named_groups
from controller.operator.worklist import Moment
from controller.telemetry.logs import logger

_log = logger("operator.own_watch")
_NAME = re.compile(r"pg-([a-z0-9]+)-(0|[1-9][0-9]{0,5})")


_CHANGED = "changed or deleted by somebody else"
_NOT_ITSELF = (
    "not what its digest says: somebody changed it, or the API server leaves out fields that its "
    "CustomResourceDefinition does not know, and an upgrade of that is missing"
)


class WireSlice(Struct):
    """A PeerGroupSlice as it is sent."""

    metadata: Metadata
    spec: PeerGroupSliceSpec


class SeenSlice(Struct):
    """A PeerGroupSlice as it was seen."""

    place: Place
    held: HeldSlice


class WireNodePolicy(Struct):
    """A NodePolicy as it is sent, its parts still to be read."""

    metadata: ObjectMeta
    spec: Raw
    status: Raw = Raw(b"{}")


class SeenNode(Struct):
    """A NodePolicy as it was seen. `spec` only until it was read; `content` is a hash of its bytes."""

    held: HeldNode
    content: bytes
    spec: bytes = b""


class _Status(Struct, rename="camel"):
    observed_digest: str = ""


class _Meta(Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""


class _Head(Struct):
    metadata: _Meta = field(default_factory=_Meta)


def keep_slice(wire: WireSlice) -> SeenSlice:
    """What is remembered of a slice."""
    meta, spec = wire.metadata, wire.spec
    label = meta.labels.get(GROUP_LABEL, "")
    held = HeldSlice(
        meta.uid, meta.resource_version, slice_digest(label, spec), spec.count, tuple(_members(spec))
    )
    return SeenSlice(place_of(meta.name), held)


def keep_node(wire: WireNodePolicy) -> SeenNode:
    """What is remembered of a NodePolicy."""
    meta, spec = wire.metadata, bytes(wire.spec)
    held = HeldNode(
        meta.uid,
        meta.resource_version,
        UNKNOWN,
        observed=_observed(wire.status),
        generation=meta.generation,
    )
    return SeenNode(held, hashlib.blake2b(spec, digest_size=16).digest(), spec)


def read_slice(raw: bytes) -> HeldSlice:
    """A PeerGroupSlice as the API server answers it; what cannot be read equals nothing that we write."""
    try:
        return keep_slice(msgspec.json.decode(raw, type=WireSlice)).held
    except msgspec.DecodeError:
        meta = _meta(raw)
        return HeldSlice(meta.uid, meta.resource_version, UNKNOWN)


def read_node(raw: bytes) -> HeldNode:
    """A NodePolicy as the API server answers it."""
    try:
        seen = keep_node(msgspec.json.decode(raw, type=WireNodePolicy))
    except msgspec.DecodeError:
        meta = _meta(raw)
        return HeldNode(meta.uid, meta.resource_version, UNKNOWN)
    seen.held.digest, seen.held.groups = _read_spec(seen.spec)
    return seen.held


def place_of(name: str) -> Place:
    """Where a slice belongs by its name, which nobody can change; of no group if it is not a name of ours."""
    match = _NAME.fullmatch(name)
    return Place(name, match[1], int(match[2])) if match is not None else Place(name, "", 0)


class _Sink:
    """What both have in common: who is told, and what is said when others changed something."""

    kind: Kind

    def __init__(self, publication: Publication, metrics: Metrics, wake: Callable[[], None]) -> None:
        self._publication = publication
        self._metrics = metrics
        self._wake = wake
        self._unreadable: dict[str, str] = {}

    def synced(self, at: float, /) -> None:
        """A list is complete; the term asks the reflector."""

    def _uid(self, name: str, held: HeldSlice | HeldNode | None) -> str:
        unreadable = self._unreadable.pop(name, "")
        return held.uid if held is not None else unreadable

    def _told(self, name: str, *, differs: bool, what: str = _CHANGED) -> None:
        self._wake()
        if differs:
            self._metrics.repairs.labels(self.kind.value).inc()
            _log.warning(f"{what}; it is put right", kind=self.kind.value, name=name)


class SliceSink(_Sink):
    """PeerGroupSlices, to the publication of a term."""

    kind = Kind.SLICE

    def added(self, key: Key, value: SeenSlice, at: float, /) -> None:
        """A slice."""
        self._unreadable.pop(key[1], None)
        differs = self._publication.slice_seen(value.place, value.held, _moment(at))
        self._told(key[1], differs=differs)

    def changed(self, key: Key, value: SeenSlice, _old: SeenSlice, at: float, /) -> None:
        """Another version of it."""
        self.added(key, value, at)

    def removed(self, key: Key, old: SeenSlice | None, at: float, /) -> None:
        """It is gone."""
        uid = self._uid(key[1], old.held if old is not None else None)
        self._told(key[1], differs=self._publication.slice_gone(place_of(key[1]), uid, _moment(at)))

    def unreadable(self, bad: Unreadable, at: float, /) -> None:
        """It is nothing that we wrote."""
        if bad.key is None:
            return
        name = bad.key[1]
        self._unreadable[name] = bad.uid
        held = read_slice(bad.raw)
        self._told(name, differs=self._publication.slice_seen(place_of(name), held, _moment(at)))


class NodeSink(_Sink):
    """NodePolicies, to the publication of a term."""

    kind = Kind.NODE_POLICY

    def added(self, key: Key, value: SeenNode, at: float, /) -> None:
        """A NodePolicy."""
        self._unreadable.pop(key[1], None)
        value.held.digest, value.held.groups = _read_spec(value.spec)
        self._see(key[1], value, at)

    def changed(self, key: Key, value: SeenNode, old: SeenNode, at: float, /) -> None:
        """Another version of it; mostly an agent that wrote its status."""
        if value.content == old.content:
            value.held.digest, value.held.groups = old.held.digest, old.held.groups
            self._see(key[1], value, at)
        else:
            self.added(key, value, at)

    def removed(self, key: Key, old: SeenNode | None, at: float, /) -> None:
        """It is gone."""
        uid = self._uid(key[1], old.held if old is not None else None)
        self._told(key[1], differs=self._publication.node_gone(key[1], uid, _moment(at)))

    def unreadable(self, bad: Unreadable, at: float, /) -> None:
        """It is nothing that we wrote."""
        if bad.key is None:
            return
        self._unreadable[bad.key[1]] = bad.uid
        held = read_node(bad.raw)
        self._told(bad.key[1], differs=self._publication.node_seen(bad.key[1], held, _moment(at)))

    def _see(self, name: str, value: SeenNode, at: float) -> None:
        value.spec = b""
        differs = self._publication.node_seen(name, value.held, _moment(at))
        self._told(name, differs=differs, what=_CHANGED if value.held.digest != UNKNOWN else _NOT_ITSELF)


def _members(spec: PeerGroupSliceSpec) -> Iterator[Member]:
    """Who is in a slice, as it says: what is no member at all is found out when it is compared."""
    yield from map(intern, spec.addresses)
    for each in spec.endpoints:
        if each.protocol in Protocol.__members__:
            yield intern(each.address), Protocol[each.protocol], each.port


def _read_spec(spec: bytes) -> tuple[str, tuple[str, ...]]:
    """The digest of a spec, computed, whatever it says itself, and the groups that it names."""
    try:
        found = msgspec.json.decode(spec, type=NodePolicySpec)
    except msgspec.DecodeError:
        return UNKNOWN, ()
    digest = spec_digest(found)
    return (digest if digest == found.digest else UNKNOWN), tuple(map(intern, named_groups(found)))


def _observed(status: Raw) -> str:
    try:
        return msgspec.json.decode(status, type=_Status).observed_digest
    except msgspec.DecodeError:
        return ""


def _meta(raw: bytes) -> "_Meta":
    try:
        return msgspec.json.decode(raw, type=_Head).metadata
    except msgspec.DecodeError:
        return _Meta()


def _moment(at: float) -> Moment:
    return Moment(time.monotonic(), at)
