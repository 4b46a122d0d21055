"""What the status of a workload says of its pods. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.lab.podspec import Node, Pod
from controller.lab.scheduling import suits
from controller.lab.workloads import Workload


def status_of(workload: Workload, pods: Sequence[Pod], nodes: Sequence[Node] = ()) -> dict[str, Any]:
    """The status, as `kubectl rollout status` and `kubectl wait` read it. O(pods + nodes)."""
    alive = [pod for pod in pods if not pod.is_terminating and not pod.has_ended]
    ready = sum(pod.is_ready for pod in alive)
    updated = [pod for pod in alive if workload.hash in pod.labels.values()]
    seen = {"observedGeneration": workload.metadata.generation}
    match workload.kind:
        case "Deployment":
            return seen | _deployment(workload, alive, ready, len(updated))
        case "StatefulSet":
            return seen | {
                "replicas": len(alive),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "currentReplicas": len(updated),
                "updatedReplicas": len(updated),
                "currentRevision": _revision(workload, alive),
                "updateRevision": f"{workload.metadata.name}-{workload.hash}",
            }
        case "DaemonSet":
            selector = ((workload.template.get("spec") or {}).get("nodeSelector")) or None
            return seen | {
                "desiredNumberScheduled": sum(suits(node, selector) for node in nodes),
                "currentNumberScheduled": len(alive),
                "numberMisscheduled": 0,
                "numberReady": ready,
                "numberAvailable": ready,
                "updatedNumberScheduled": len(updated),
            }
        case "Job":
            return _job(workload, pods, len(alive), ready)
        case "CronJob":
            return {}
        case _:
            return seen | {"replicas": len(alive), "readyReplicas": ready, "availableReplicas": ready}


def incomplete(workload: Workload, status: Mapping[str, Any]) -> bool:
    """Whether a workload, by its status, still has steps before it."""
    if workload.kind == "CronJob":
        return False
    if workload.kind == "Job":
        at_once = min(workload.replicas, int(workload.spec.get("parallelism") or 1))
        return int(status.get("ready", 0)) + int(status.get("succeeded", 0)) < at_once
    if status.get("observedGeneration") != workload.metadata.generation:
        return True
    if workload.kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        fields: tuple[str, ...] = ("currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    else:
        wanted = workload.replicas
        fields = ("replicas", "readyReplicas")
        fields += ("updatedReplicas",) if workload.kind != "ReplicaSet" else ()
    # kube-apiserver leaves out what is zero.
    return any(status.get(field, 0) != wanted for field in fields)


def _deployment(workload: Workload, alive: Sequence[Pod], ready: int, updated: int) -> dict[str, Any]:
    wanted = workload.replicas
    complete = ready == updated == len(alive) == wanted
    conditions = [
        {"type": "Available", "status": str(ready >= wanted), "reason": "MinimumReplicasAvailable"},
        {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
        },
    ]
    return {
        "replicas": len(alive),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": conditions,
    }


def _job(workload: Workload, pods: Sequence[Pod], active: int, ready: int) -> dict[str, Any]:
    succeeded = sum(pod.status.phase == "Succeeded" for pod in pods)
    failed = sum(pod.status.phase == "Failed" for pod in pods)
    found: dict[str, Any] = {"active": active, "ready": ready, "succeeded": succeeded, "failed": failed}
    if succeeded >= workload.replicas:
        found["conditions"] = [{"type": "Complete", "status": "True"}]
    return found


def _revision(workload: Workload, alive: Sequence[Pod]) -> str:
    """The template of the pods not yet updated, as far as there are any."""
    hashes = {pod.labels.get("controller-revision-hash", "") for pod in alive} - {workload.hash}
    return f"{workload.metadata.name}-{min(hashes, default=workload.hash)}"
