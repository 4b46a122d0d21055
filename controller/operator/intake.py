"""API objects to the engine, one by one, whatever their order and whatever is wrong with them.

Objects come from two places: pods from a reflector, the others from kopf. Each is identified by its uid,
since events of an object and of the one before it under the same name may come in any order. What is wrong
with an object is kept as long as the object is, for whoever tells its owner; it stops nothing else.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controller.engine.changes import Changes, PodKey
from controller.engine.resolve import Resolver
from controller.kube.sink import Unreadable
from controller.objects.decode_cluster import (
    NamespaceReading,
    NodeReading,
    decode_namespace,
    decode_node,
    decode_pod,
    plain_pod,
)
from controller.objects.decode_policy import decode_policy
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Mode, NetworkPolicy, Pod
from controller.objects.mode import INVALID_MODE
from controller.objects.wire import WirePod
from controller.operator.held import is_newer
from controller.telemetry.logs import logger

Key = tuple[str, str]
"""(namespace, name) as the API server has them; the namespace is "" for cluster scope."""

Value = NetworkPolicy | NamespaceReading | NodeReading

_REMEMBERED = 10_000
"""How many objects that are gone are remembered: 1 MB."""
_log = logger("operator.intake")


class Source(StrEnum):
    """The kinds that kopf delivers, by their plural."""

    NAMESPACES = "namespaces"
    NETWORK_POLICIES = "networkpolicies"
    NODES = "nodes"


class Received(NamedTuple):
    """When an event came, by the clock on the wall and by the one that only goes forward."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> "Received":
        """This moment."""
        return cls(time.time(), time.monotonic())


class Arrival(Struct, frozen=True):
    """An object of one of the `Source` kinds as of an event; `value` None: it is deleted."""

    source: Source
    key: Key
    uid: str
    version: str
    value: Value | None
    received: Received


class Known(Struct):
    """Which object is known under a key. `seen_at` is the monotonic time of its last event."""

    uid: str
    version: str
    seen_at: float
    value: Value


class Quarantine(Struct, frozen=True):
    """A pod of which something could not be read, and what."""

    uid: str
    findings: tuple[Finding, ...]


def arrival_of(source: Source, body: Mapping[str, Any], received: Received, *, gone: bool) -> Arrival | None:
    """An event's object, decoded; None for what has no name and so is no object. Never raises."""
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        return None
    key = (str(metadata.get("namespace") or ""), name)
    uid, version = str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or "")
    return Arrival(source, key, uid, version, None if gone else _decode(source, body), received)


def _decode(source: Source, body: Mapping[str, Any]) -> Value:
    match source:
        case Source.NAMESPACES:
            return decode_namespace(body)
        case Source.NETWORK_POLICIES:
            return decode_policy(body)
        case Source.NODES:
            return decode_node(body)


def keep_pod(wire: WirePod) -> Pod:
    """What is remembered of a pod that has nothing wrong in it; ValueError for any other.

    Its uid is left out: the reflector knows it.
    """
    return replace(plain_pod(wire), uid="")


class Intake:
    """Owns the engine's state, and which objects made it what it is.

    `changed` is called after each event that changed a result, with the time of day it came at.
    """

    def __init__(
        self,
        changed: Callable[[Changes, float], None],
        *,
        mode: Mode = Mode.ENFORCE,
        remembered: int = _REMEMBERED,
    ) -> None:
        self.resolver = Resolver(mode)
        self.known: dict[Source, dict[Key, Known]] = {source: {} for source in Source}
        self.quarantined: dict[PodKey, Quarantine] = {}
        """The pods of which something could not be read."""
        self.pods_of: Callable[[], Iterable[Pod]] = tuple
        """Every pod that could be read, for the moment when the labels of a namespace cannot."""
        self._changed = changed
        self._remembered = remembered
        self._gone: dict[str, None] = {}
        self._renamed: dict[Key, PodKey] = {}
        self._unreadable_namespaces: set[str] = set()

    # Namespaces, NetworkPolicies, Nodes

    def take(self, arrival: Arrival) -> None:
        """An event. One that is older than what is known is not believed, nor is one of what is gone."""
        known = self.known[arrival.source].get(arrival.key)
        if arrival.value is None:
            self._remember_gone(arrival.uid)
            if known is not None and known.uid == arrival.uid:
                self.forget(arrival.source, arrival.key, arrival.received.wall)
            return
        if arrival.uid in self._gone:
            return
        if known is not None and not is_newer(arrival.version, known.version):
            known.seen_at = arrival.received.monotonic
            return
        self.known[arrival.source][arrival.key] = Known(
            arrival.uid, arrival.version, arrival.received.monotonic, arrival.value
        )
        self._put(arrival.value)
        self._tell(arrival.received.wall)

    def forget(self, source: Source, key: Key, at: float) -> None:
        """An object is gone."""
        known = self.known[source].pop(key, None)
        if known is None:
            return
        self._remember_gone(known.uid)
        match known.value:
            case NetworkPolicy():
                self.resolver.remove_policy(known.value.key)
            case NamespaceReading():
                self.resolver.remove_namespace(known.value.namespace.name)
                self._set_readable(known.value.namespace.name, readable=True)
            case NodeReading():
                self.resolver.remove_node(known.value.node.name)
        self._tell(at)

    def _remember_gone(self, uid: str) -> None:
        """What was read before it went and comes in after that would stay as a ghost; no uid comes back."""
        if not uid:
            return
        self._gone[uid] = None
        if len(self._gone) > self._remembered:
            del self._gone[next(iter(self._gone))]

    def _put(self, value: Value) -> None:
        match value:
            case NetworkPolicy():
                self.resolver.put_policy(value)
                _report(value.findings)
            case NamespaceReading():
                self.resolver.put_namespace(value.namespace)
                self._set_readable(value.namespace.name, readable=value.labels_readable)
                _report(value.findings)
            case NodeReading():
                self.resolver.put_node(value.node)
                _report(value.findings)

    def _set_readable(self, namespace: str, *, readable: bool) -> None:
        """Pods under labels that cannot be read are isolated, and nobody's peers. O(all pods) on a change."""
        if readable is (namespace not in self._unreadable_namespaces):
            return
        if readable:
            self._unreadable_namespaces.discard(namespace)
        else:
            self._unreadable_namespaces.add(namespace)
        for pod in self.pods_of():
            if pod.namespace == namespace:
                self.resolver.put_pod(self._as_trusted(pod))

    # Pods: the sink of a reflector

    def added(self, key: Key, value: Pod, at: float, /) -> None:
        """A pod that is new, or can be read again."""
        renamed = self._renamed.pop(key, None)
        if renamed is not None:
            self.resolver.remove_pod(renamed)
        self.quarantined.pop(key, None)
        self.resolver.put_pod(self._as_trusted(value))
        self._tell(at)

    def changed(self, _key: Key, value: Pod, old: Pod, at: float, /) -> None:
        """Another version of a pod; nine in ten differ in nothing that counts."""
        if value != old:
            self.resolver.put_pod(self._as_trusted(value))
            self._tell(at)

    def removed(self, key: Key, _old: Pod | None, at: float, /) -> None:
        """A pod is gone."""
        engine_key = self._renamed.pop(key, key)
        self.quarantined.pop(engine_key, None)
        self.resolver.remove_pod(engine_key)
        self._tell(at)

    def unreadable(self, bad: Unreadable, at: float, /) -> None:
        """A pod of which something cannot be read in the quick way, if at all."""
        try:
            data = msgspec.json.decode(bad.raw)
        except msgspec.DecodeError:
            data = {}
        if bad.key is None or not isinstance(data, dict):
            _log.error("a pod without a readable name is left out", err=bad.reason)
            return
        pod, findings = decode_pod(data)
        old = self._renamed.pop(bad.key, bad.key)
        if old != pod.key:
            self.resolver.remove_pod(old)
        if pod.key != bad.key:
            self._renamed[bad.key] = pod.key
        if pod.quarantined:
            self.quarantined[pod.key] = Quarantine(bad.uid, findings)
        else:
            self.quarantined.pop(pod.key, None)
        _report(findings)
        self.resolver.put_pod(self._as_trusted(pod))
        self._tell(at)

    def synced(self, at: float, /) -> None:
        """A list of pods is complete; what it means to the start is asked of the reflector."""

    def _as_trusted(self, pod: Pod) -> Pod:
        if pod.namespace not in self._unreadable_namespaces or pod.quarantined:
            return pod
        return replace(pod, quarantined=True)

    def _tell(self, at: float) -> None:
        changes = self.resolver.take_changes()
        if changes:
            self._changed(changes, at)


def _report(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.severity is Severity.ERROR or finding.code == INVALID_MODE:
            _log.warning(
                finding.message,
                object=finding.object,
                path=finding.path,
                code=finding.code,
                remedy=finding.remedy,
            )
