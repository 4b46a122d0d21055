"""What the status of a workload says of its pods. Pure."""

from collections.abc import Sequence
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
