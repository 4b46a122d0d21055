"""Workloads as pods: manifests hold Deployments, policies speak of pods.

Each workload whose pods are not in the files becomes one synthetic pod with the labels and ports of its
template. Where the pods are there, the workload only gives them its name. A pod that has finished stands for
none of those to come: a CronJob between two runs is still there.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from controller.objects.decode_cluster import decode_template
from controller.objects.decode_metadata import check_metadata, identify
from controller.objects.decode_selector import decode_selector
from controller.objects.findings import Finding, Source
from controller.objects.kinds import Pod, Workload
from controller.objects.labels import LabelSelector
from controller.objects.names import label_value_problem, type_name
from controller.objects.owners import OwnerKey, chain_of, controller_of, owned_workloads
from controller.objects.report import Report

WORKLOAD_GROUPS: Mapping[str, frozenset[str]] = {
    "Deployment": frozenset({"apps", "extensions"}),
    "StatefulSet": frozenset({"apps"}),
    "DaemonSet": frozenset({"apps", "extensions"}),
    "ReplicaSet": frozenset({"apps", "extensions"}),
    "ReplicationController": frozenset({""}),
    "Job": frozenset({"batch"}),
    "CronJob": frozenset({"batch"}),
}
"""The kinds that become pods and their API groups, in the order in which their pods choose names."""

_ORDER = {kind: place for place, kind in enumerate(WORKLOAD_GROUPS)}


class WorkloadReading(Struct, frozen=True):
    """A workload: the pod of its template, which pods it takes for its own, and who controls it."""

    key: OwnerKey
    template: Pod
    selector: LabelSelector | None
    owner: OwnerKey | None
    findings: tuple[Finding, ...] = ()


class OwnedPod(Struct, frozen=True):
    """A pod of the files and its controller."""

    pod: Pod
    owner: OwnerKey | None


def decode_workload(kind: str, data: Mapping[str, Any], source: Source) -> WorkloadReading:
    """A workload of one of the kinds above. Never raises; what is unreadable quarantines its pod."""
    identity = identify(data, source)
    report = Report(f"{kind} {identity}", source)
    check_metadata(data, report)
    path = "spec.jobTemplate.spec" if kind == "CronJob" else "spec"
    spec = _at(data, path, report)
    template = decode_template(spec.get("template"), f"{path}.template", identity, report, source)
    key = OwnerKey(identity.namespace, kind, identity.name)
    return WorkloadReading(
        key=key,
        template=msgspec.structs.replace(
            template,
            labels={**template.labels, **_added_labels(key)},
            workload=Workload(kind, identity.name),
        ),
        selector=_selector(kind, spec.get("selector"), f"{path}.selector", report),
        owner=controller_of(data, identity.namespace),
        findings=report.findings,
    )


def add_synthetic_pods(pods: Iterable[OwnedPod], workloads: Iterable[WorkloadReading]) -> list[Pod]:
    """The pods with the names of their workloads, and one synthetic pod for each workload that has none.

    Independent of the order of both. O(pods + workloads x pods of their namespace without a known owner's
    chain).
    """
    found = sorted(workloads, key=lambda item: (item.key.namespace, _ORDER[item.key.kind], item.key.name))
    owners = {item.key: item.owner for item in found}
    by_namespace: dict[str, list[WorkloadReading]] = defaultdict(list)
    for item in found:
        by_namespace[item.key.namespace].append(item)
    present: set[OwnerKey] = set(owned_workloads(owners))
    named = []
    for owned in pods:
        chain = chain_of(owned.pod, owned.owner, owners)
        matching = [
            item.key
            for item in by_namespace.get(owned.pod.namespace, ())
            if item.selector is not None and item.selector.matches(owned.pod.labels)
        ]
        present.update(key for key in (*chain, *matching) if key.kind == "Job" or not owned.pod.is_finished)
        named.append(_with_workload(owned.pod, chain, matching))
    return named + _synthetic_pods(named, [item for item in found if item.key not in present])


def _with_workload(pod: Pod, chain: Sequence[OwnerKey], matching: Sequence[OwnerKey]) -> Pod:
    """The pod with what runs it: the far end of the chain of owners, else a workload that selects it."""
    known = [key for key in chain if key.kind in WORKLOAD_GROUPS] or list(matching[:1])
    if not known:
        return pod
    return msgspec.structs.replace(pod, workload=Workload(known[-1].kind, known[-1].name))


def _synthetic_pods(pods: Iterable[Pod], workloads: Sequence[WorkloadReading]) -> list[Pod]:
    taken = {pod.key for pod in pods}
    result = []
    for item in workloads:
        name = item.key.name
        if (item.key.namespace, name) in taken:
            name = f"{name}-{item.key.kind.lower()}"
        while (item.key.namespace, name) in taken:
            name = f"{name}-pod"
        taken.add((item.key.namespace, name))
        result.append(msgspec.structs.replace(item.template, name=name))
    return result


def _added_labels(key: OwnerKey) -> dict[str, str]:
    """The labels that the controllers of Kubernetes put on a workload's first pod, as far as files tell.

    Hashes stand for the real ones, which only a cluster knows, and depend on the name alone, so that an edit
    of a template changes no labels. The Jobs of a CronJob have names that nobody can foresee.
    """
    run = hashlib.sha256("/".join(key).encode()).hexdigest()[:10]
    added: Mapping[str, Mapping[str, str]] = {
        "Deployment": {"pod-template-hash": run},
        "DaemonSet": {"controller-revision-hash": run},
        "StatefulSet": {
            "controller-revision-hash": f"{key.name}-{run}",
            "statefulset.kubernetes.io/pod-name": f"{key.name}-0",
            "apps.kubernetes.io/pod-index": "0",
        },
        "Job": {"job-name": key.name, "batch.kubernetes.io/job-name": key.name},
    }
    labels = added.get(key.kind, {})
    return {label: value for label, value in labels.items() if not label_value_problem(value)}


def _at(data: Mapping[str, Any], path: str, report: Report) -> dict[str, Any]:
    """The mapping at a path of fields; an empty one, reported, where something else stands."""
    value: Any = data
    walked = []
    for field in path.split("."):
        walked.append(field)
        value = value.get(field)
        if not isinstance(value, dict):
            message = "is missing" if value is None else f"is {type_name(value)}, not a mapping"
            report.error("wrong-type", ".".join(walked), message)
            return {}
    return dict(value)


def _selector(kind: str, value: object, path: str, report: Report) -> LabelSelector | None:
    """Which pods the workload takes for its own; None when it does not say so in words that can be read."""
    if value is None:
        return None
    if kind == "ReplicationController":
        value = {"matchLabels": value}
    selector, understood = decode_selector(value, path, report)
    return selector if understood and not selector.selects_everything else None
