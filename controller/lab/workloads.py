"""What workloads want: which pods to make and which to delete next, and what their status says. Pure.

A lab has no kube-controller-manager. Pods belong to their workload directly, without the ReplicaSet or Job
between; a CronJob does not wait for its hour and runs one pod at once. Everything is a function of the
present pods, so that a repeated call changes nothing.
"""

import hashlib
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from controller.lab.podspec import Metadata, Node, Pod
from controller.lab.scheduling import suits

API_VERSIONS: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
"""The kinds that become pods."""

_TEMPLATE_HASH = "pod-template-hash"
_REVISION_HASH = "controller-revision-hash"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits that make no words, as Kubernetes uses them in names."""


class Workload(Struct, frozen=True, kw_only=True):
    """A Deployment or one of the other kinds."""

    kind: str
    metadata: Metadata
    spec: Mapping[str, Any]

    @property
    def replicas(self) -> int:
        """How many pods it wants; for a Job, how many must succeed."""
        number = self.spec.get("completions" if self.kind == "Job" else "replicas")
        return 1 if number is None else int(number)

    @property
    def template(self) -> Mapping[str, Any]:
        """The pod template."""
        spec = self.spec
        if self.kind == "CronJob":
            spec = (spec.get("jobTemplate") or {}).get("spec") or {}
        return spec.get("template") or {}

    @property
    def hash(self) -> str:
        """Tells pods of this template from those of others."""
        octets = hashlib.sha256(msgspec.json.encode(self.template, order="deterministic")).digest()
        return "".join(_SAFE[octet % len(_SAFE)] for octet in octets[:10])


class Change(Struct, frozen=True):
    """What to do next: manifests of pods to be made, names of pods to be deleted."""

    create: tuple[dict[str, Any], ...] = ()
    delete: tuple[str, ...] = ()


def next_change(workload: Workload, pods: Sequence[Pod], nodes: Sequence[Node] = ()) -> Change:
    """The next step towards what a workload wants; `pods` are its own. O(pods + nodes)."""
    match workload.kind:
        case "Deployment":
            return _roll(workload, pods)
        case "StatefulSet":
            return _in_order(workload, pods)
        case "DaemonSet":
            return _everywhere(workload, pods, nodes)
        case "Job":
            return _to_the_end(workload, pods)
        case "CronJob":
            wanted = 0 if workload.spec.get("suspend") else 1
            return _keep(workload, pods, wanted)
        case _:
            return _keep(workload, pods, workload.replicas)


def _roll(workload: Workload, pods: Sequence[Pod]) -> Change:
    """A Deployment: never fewer ready pods than it allows, nor more pods than it allows."""
    wanted = workload.replicas
    alive = _alive(pods)
    new = [pod for pod in alive if pod.labels.get(_TEMPLATE_HASH) == workload.hash]
    old = [pod for pod in alive if pod not in new]
    strategy = workload.spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        if any(pod not in new for pod in pods if not pod.has_ended):
            return Change(delete=_names(old))
        return _keep(workload, new, wanted)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    absent = _share(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    if not surge and not absent:
        absent = 1
    make = min(wanted - len(new), wanted + surge - len(alive)) if old else wanted - len(new)
    ready = sum(pod.is_ready for pod in alive)
    unready_new = sum(not pod.is_ready for pod in new)
    spare = max(0, len(alive) - (wanted - absent) - unready_new)
    idle_old = [pod for pod in old if not pod.is_ready][:spare]
    ready_old = [pod for pod in old if pod.is_ready]
    surplus_ready = max(0, min(ready - (wanted - absent), spare - len(idle_old)))
    surplus_new = _surplus(new, wanted)
    return Change(
        create=tuple(_pod(workload) for _ in range(max(0, make))),
        delete=_names([*idle_old, *ready_old[:surplus_ready], *surplus_new]),
    )


def _keep(workload: Workload, pods: Sequence[Pod], wanted: int) -> Change:
    """So many pods, whatever template they are of; ended ones of a CronJob stay, as those of its Jobs do."""
    found = [pod for pod in pods if not pod.is_terminating] if workload.kind == "CronJob" else _alive(pods)
    return Change(
        create=tuple(_pod(workload) for _ in range(wanted - len(found))),
        delete=_names(_surplus(found, wanted)),
    )


def _to_the_end(workload: Workload, pods: Sequence[Pod]) -> Change:
    """A Job: pods until enough have succeeded."""
    succeeded = sum(pod.status.phase == "Succeeded" for pod in pods)
    active = len(_alive(pods))
    at_once = int(workload.spec.get("parallelism") or 1)
    make = min(workload.replicas - succeeded - active, at_once - active)
    return Change(create=tuple(_pod(workload) for _ in range(max(0, make))))


def _in_order(workload: Workload, pods: Sequence[Pod]) -> Change:
    """A StatefulSet: one after the other, each when those before it are ready; updated from the last on."""
    by_name = {pod.metadata.name: pod for pod in pods}
    names = [f"{workload.metadata.name}-{ordinal}" for ordinal in range(workload.replicas)]
    surplus = sorted((pod for pod in _alive(pods) if pod.metadata.name not in names), key=_ordinal)
    if surplus:
        return Change(delete=(surplus[-1].metadata.name,))
    parallel = workload.spec.get("podManagementPolicy") == "Parallel"
    create = []
    for ordinal, name in enumerate(names):
        pod = by_name.get(name)
        if pod is None:
            create.append(_member(workload, ordinal))
        if not parallel and (pod is None or not pod.is_ready):
            break
    if create or (workload.spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Change(create=tuple(create))
    return Change(delete=_outdated(workload, [by_name[name] for name in reversed(names) if name in by_name]))


def _everywhere(workload: Workload, pods: Sequence[Pod], nodes: Sequence[Node]) -> Change:
    """A DaemonSet: one pod on each node; updated one after the other."""
    selector = ((workload.template.get("spec") or {}).get("nodeSelector")) or None
    places = {node.metadata.name for node in nodes if suits(node, selector)}
    there = {pod.node for pod in pods if not pod.has_ended}
    stray = [pod for pod in _alive(pods) if pod.node not in places]
    create = tuple(_pod(workload, node=name) for name in sorted(places - there))
    if create or stray:
        return Change(create=create, delete=_names(stray))
    return Change(delete=_outdated(workload, sorted(_alive(pods), key=lambda pod: pod.node)))


def _outdated(workload: Workload, pods: Sequence[Pod]) -> tuple[str, ...]:
    """One pod of an older template, when no pod is missing or unready but those to be replaced anyway."""
    old = [pod for pod in pods if pod.labels.get(_REVISION_HASH) != workload.hash and not pod.is_terminating]
    unready_old = [pod for pod in old if not pod.is_ready]
    if unready_old:
        return _names(unready_old[:1])
    return _names(old[:1]) if all(pod.is_ready for pod in pods) else ()


def _alive(pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if not pod.is_terminating and not pod.has_ended]


def _surplus(pods: Sequence[Pod], wanted: int) -> list[Pod]:
    """Those to be deleted first when there are too many: unready before ready, young before old."""
    if len(pods) <= wanted:
        return []
    young_first = sorted(pods, key=lambda pod: pod.metadata.creation_timestamp or "", reverse=True)
    return sorted(young_first, key=lambda pod: pod.is_ready)[: len(pods) - max(0, wanted)]


def _names(pods: Iterable[Pod]) -> tuple[str, ...]:
    return tuple(pod.metadata.name for pod in pods)


def _ordinal(pod: Pod) -> int:
    last = pod.metadata.name.rpartition("-")[2]
    return int(last) if last.isdigit() else -1


def _share(value: int | str, whole: int, rounded: Any) -> int:  # noqa: ANN401 - math.ceil or math.floor
    """A number, or a percentage of the replicas."""
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(int(value[:-1]) * whole / 100))
    return int(value)


def _pod(workload: Workload, node: str = "") -> dict[str, Any]:
    random = "".join(secrets.choice(_SAFE) for _ in range(5))
    name = f"{workload.metadata.name}-{random}"
    if workload.kind == "Deployment":
        name = f"{workload.metadata.name}-{workload.hash}-{random}"
    return _manifest(workload, name, _added_labels(workload), node)


def _member(workload: Workload, ordinal: int) -> dict[str, Any]:
    name = f"{workload.metadata.name}-{ordinal}"
    labels = {
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        **_added_labels(workload),
    }
    return _manifest(workload, name, labels)


def _added_labels(workload: Workload) -> dict[str, str]:
    match workload.kind:
        case "Deployment":
            return {_TEMPLATE_HASH: workload.hash}
        case "StatefulSet" | "DaemonSet":
            return {_REVISION_HASH: workload.hash}
        case "Job":
            name, uid = workload.metadata.name, workload.metadata.uid
            return {"batch.kubernetes.io/job-name": name, "batch.kubernetes.io/controller-uid": uid}
        case _:
            return {}


def _manifest(workload: Workload, name: str, labels: Mapping[str, str], node: str = "") -> dict[str, Any]:
    template = workload.template
    metadata = template.get("metadata") or {}
    spec = dict(template.get("spec") or {})
    if node:
        spec["nodeName"] = node
    owner = {
        "apiVersion": API_VERSIONS[workload.kind],
        "kind": workload.kind,
        "name": workload.metadata.name,
        "uid": workload.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": workload.metadata.namespace,
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner],
        },
        "spec": spec,
    }
