"""The manifests that scenarios are made of, and the store that holds them from step to step."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.conformance.scenario import Manifest, ObjectKey, Step


def namespace(name: str, labels: Mapping[str, str] | None = None) -> Manifest:
    """A Namespace; the label with its name is left to the reader to add (rule 2.17)."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}


def pod(
    key: str, labels: Mapping[str, str], address: str, ports: Sequence[Mapping[str, Any]] = ()
) -> Manifest:
    """A running Pod of one container. `key` is `namespace/name`, `ports` are as in a container's manifest."""
    space, name = key.split("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": space, "name": name, "labels": dict(labels)},
        "spec": {"containers": [{"name": "main", "image": "registry.example/server", "ports": list(ports)}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def node(name: str, addresses: Sequence[str]) -> Manifest:
    """A Node with internal addresses."""
    internal = [{"type": "InternalIP", "address": address} for address in addresses]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": internal}}


def policy(key: str, spec: Manifest) -> Manifest:
    """A NetworkPolicy. `key` is `namespace/name`."""
    space, name = key.split("/")
    metadata = {"namespace": space, "name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def policy_key(key: str) -> ObjectKey:
    """What identifies the policy `namespace/name`."""
    space, name = key.split("/")
    return "NetworkPolicy", space, name


def key_of(manifest: Manifest) -> ObjectKey:
    """What identifies an object; a policy without a namespace is in `default` (rule 2.1)."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    space = "" if kind in {"Namespace", "Node"} else metadata.get("namespace", "default")
    return kind, space, metadata["name"]


class Store:
    """The objects as they stand after each step."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, Manifest] = {}

    def take(self, step: Step) -> tuple[Manifest, ...]:
        """Make the changes of a step; return all objects. Raises KeyError for a deletion of nothing."""
        for key in step.delete:
            self._delete(key)
        for manifest in step.apply:
            self._objects[key_of(manifest)] = manifest
        return tuple(self._objects.values())

    def _delete(self, key: ObjectKey) -> None:
        del self._objects[key]
        kind, _, name = key
        if kind == "Namespace":
            self._objects = {found: each for found, each in self._objects.items() if found[1] != name}
