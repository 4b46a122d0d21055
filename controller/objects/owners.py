"""Who runs whom: owner references of pods and workloads, also where the owners are not in the files.

A Deployment runs its pods through a ReplicaSet, a CronJob through a Job. Files often hold the pods and the
Deployment and not what is between them; the names that the controllers give tell the rest.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controller.objects.kinds import Pod
from controller.objects.names import safe_name


class OwnerKey(NamedTuple):
    """What identifies a workload."""

    namespace: str
    kind: str
    name: str


_RUN_LABEL = "pod-template-hash"
_JOB_OF_CRON_JOB = re.compile(r"(.+)-[0-9]{8,10}")
_LONGEST_CHAIN = 8


def controller_of(data: Mapping[str, Any], namespace: str) -> OwnerKey | None:
    """The owner with `controller: true`, else the first one; None where there is none that can be read."""
    metadata = data.get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(references, list):
        return None
    readable = [
        item
        for item in references
        if isinstance(item, dict) and isinstance(item.get("kind"), str) and isinstance(item.get("name"), str)
    ]
    chosen = next(
        (item for item in readable if item.get("controller") is True), readable[0] if readable else None
    )
    return (
        OwnerKey(namespace, safe_name(chosen["kind"]), safe_name(chosen["name"]))
        if chosen is not None
        else None
    )


def chain_of(pod: Pod, owner: OwnerKey | None, owners: Mapping[OwnerKey, OwnerKey | None]) -> list[OwnerKey]:
    """The workloads that run a pod, the nearest first. `owners` has the owner of each one in the files."""
    chain: list[OwnerKey] = []
    while owner is not None and owner not in chain and len(chain) < _LONGEST_CHAIN:
        chain.append(owner)
        owner = owners[owner] if owner in owners else _implied_owner(pod, owner)
    return chain


def owned_workloads(owners: Mapping[OwnerKey, OwnerKey | None]) -> Iterable[OwnerKey]:
    """The workloads whose controller is a workload in the files too."""
    return (key for key, owner in owners.items() if owner in owners and owner != key)


def _implied_owner(pod: Pod, owner: OwnerKey) -> OwnerKey | None:
    """The Deployment behind a ReplicaSet, the CronJob behind a Job, from the names their controllers give."""
    run = pod.labels.get(_RUN_LABEL)
    if owner.kind == "ReplicaSet" and run and owner.name.endswith(f"-{run}"):
        return OwnerKey(owner.namespace, "Deployment", owner.name.removesuffix(f"-{run}"))
    if owner.kind == "Job" and (match := _JOB_OF_CRON_JOB.fullmatch(owner.name)):
        return OwnerKey(owner.namespace, "CronJob", match[1])
    return None
