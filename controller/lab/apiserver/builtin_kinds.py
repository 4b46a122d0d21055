"""The kinds that are served from the start."""

from collections.abc import Mapping

from controller.lab.apiserver.kinds import RBAC_GROUP, Key, Kind

_ADMISSION = "admissionregistration.k8s.io"
_CUSTOM = "apiextensions.k8s.io"
_CLUSTER = "cluster generation"

_ROWS = (
    # group, plural, kind, short name, and of: cluster (scope), status, generation, all (the category)
    ("", "configmaps", "ConfigMap", "cm", ""),
    ("", "endpoints", "Endpoints", "ep", ""),
    ("", "events", "Event", "ev", ""),
    ("", "namespaces", "Namespace", "ns", "cluster status"),
    ("", "nodes", "Node", "no", "cluster status"),
    ("", "pods", "Pod", "po", "status generation all"),
    ("", "secrets", "Secret", "", ""),
    ("", "serviceaccounts", "ServiceAccount", "sa", ""),
    ("", "services", "Service", "svc", "status all"),
    ("apps", "daemonsets", "DaemonSet", "ds", "status generation all"),
    ("apps", "deployments", "Deployment", "deploy", "status generation all"),
    ("apps", "replicasets", "ReplicaSet", "rs", "status generation all"),
    ("apps", "statefulsets", "StatefulSet", "sts", "status generation all"),
    ("batch", "cronjobs", "CronJob", "cj", "status generation all"),
    ("batch", "jobs", "Job", "", "status generation all"),
    ("coordination.k8s.io", "leases", "Lease", "", ""),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice", "", ""),
    ("events.k8s.io", "events", "Event", "ev", ""),
    ("networking.k8s.io", "ingresses", "Ingress", "ing", "status generation"),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy", "netpol", "generation"),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "status generation"),
    ("scheduling.k8s.io", "priorityclasses", "PriorityClass", "pc", "cluster generation"),
    (_CUSTOM, "customresourcedefinitions", "CustomResourceDefinition", "crd", "cluster status generation"),
    (RBAC_GROUP, "clusterrolebindings", "ClusterRoleBinding", "", "cluster"),
    (RBAC_GROUP, "clusterroles", "ClusterRole", "", "cluster"),
    (RBAC_GROUP, "rolebindings", "RoleBinding", "", ""),
    (RBAC_GROUP, "roles", "Role", "", ""),
    (_ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "", _CLUSTER),
    (_ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", _CLUSTER),
    (_ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "", _CLUSTER),
    (_ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "", _CLUSTER),
)  # fmt: skip
_FURTHER: Mapping[Key, tuple[str, ...]] = {
    ("", "namespaces"): ("finalize",),
    ("", "pods"): ("binding", "eviction"),
    ("", "serviceaccounts"): ("token",),
}
"""Subresources beside status."""

_EVENT_FIELDS = (
    *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion")),
    *("involvedObject.resourceVersion", "involvedObject.fieldPath"),
    *("reason", "reportingComponent", "source", "type"),
)
_FIELDS: Mapping[Key, tuple[str, ...]] = {
    ("", "events"): _EVENT_FIELDS,
    ("events.k8s.io", "events"): _EVENT_FIELDS,
    ("", "namespaces"): ("status.phase",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "pods"): (
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        *("spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    ),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
}
_RENAMES: Mapping[Key, Mapping[str, str]] = {
    ("events.k8s.io", "events"): {
        "note": "message",
        "regarding": "involvedObject",
        "reportingController": "reportingComponent",
        "deprecatedSource": "source",
        "deprecatedFirstTimestamp": "firstTimestamp",
        "deprecatedLastTimestamp": "lastTimestamp",
        "deprecatedCount": "count",
    }
}
_STORED_AS: Mapping[Key, Key] = {("events.k8s.io", "events"): ("", "events")}


def builtin_kinds() -> list[Kind]:
    """What is served from the start; all of it is version v1."""
    return [_kind(*row) for row in _ROWS]


def _kind(group: str, plural: str, name: str, short: str, traits: str) -> Kind:
    key = (group, plural)
    words = traits.split()
    return Kind(
        group=group,
        version="v1",
        plural=plural,
        name=name,
        namespaced="cluster" not in words,
        short=(short,) if short else (),
        categories=("all",) if "all" in words else (),
        subresources=(*(("status",) if "status" in words else ()), *_FURTHER.get(key, ())),
        fields=_FIELDS.get(key, ()),
        generations="generation" in words,
        renames=_RENAMES.get(key, {}),
        stored_as=_STORED_AS.get(key),
    )
