"""Pods, nodes and workloads for the tests of a lab's pure parts, in few words."""

from typing import Any

import msgspec

from controller.lab.podspec import Metadata, Node, Pod, Service
from controller.lab.workloads import Workload


def pod(
    name: str,
    *,
    owner: Workload | None = None,
    of: str = "",
    ready: bool = True,
    node: str = "n1",
    terminating: bool = False,
    phase: str = "Running",
    ips: tuple[str, ...] = (),
    created: str = "",
    spec: dict[str, Any] | None = None,
    **labels: str,
) -> Pod:
    """A pod; `of` is the hash of the template it was made from."""
    kind = owner.kind if owner else ""
    hash_label = "pod-template-hash" if kind == "Deployment" else "controller-revision-hash"
    references = []
    if owner:
        name_and_uid = {"name": owner.metadata.name, "uid": owner.metadata.uid}
        references = [{"kind": kind, "controller": True, **name_and_uid}]
    wire = {
        "metadata": {
            "name": name,
            "namespace": "x",
            "uid": f"uid-{name}",
            "labels": {**({hash_label: of} if of else {}), **labels},
            "ownerReferences": references,
            "deletionTimestamp": "2026-01-01T00:00:00Z" if terminating else None,
            "creationTimestamp": created,
        },
        "spec": {"nodeName": node, **(spec or {})},
        "status": {
            "phase": phase,
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }
    return msgspec.convert(wire, Pod)


def node(name: str, *, unschedulable: bool = False, **labels: str) -> Node:
    """A node."""
    wire = {"metadata": {"name": name, "labels": labels}, "spec": {"unschedulable": unschedulable}}
    return msgspec.convert(wire, Node)


def workload(kind: str, name: str = "web", *, generation: int = 1, **spec: object) -> Workload:
    """A workload."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main"}]}}
    metadata = Metadata(name=name, namespace="x", uid=f"uid-{name}", generation=generation)
    return Workload(kind=kind, metadata=metadata, spec={"template": template, **spec})


def service(name: str = "web", address: str = "10.96.0.9", **spec: object) -> Service:
    """A Service of port 80 that leads to the port web."""
    wire = {
        "metadata": {"name": name, "namespace": "x"},
        "spec": {
            "clusterIPs": [address],
            "selector": {"app": name},
            "ports": [{"port": 80, "targetPort": "http"}],
            **spec,
        },
    }
    return msgspec.convert(wire, Service)


def listening_at(port: int, name: str = "http", protocol: str = "TCP") -> dict[str, Any]:
    """The spec of a pod with one port."""
    ports = [{"containerPort": port, "name": name, "protocol": protocol}]
    return {"containers": [{"name": "main", "ports": ports}]}
