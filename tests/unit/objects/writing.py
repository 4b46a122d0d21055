"""Words for the tests of `controller.objects`: a policy from the few fields a test is about."""

from typing import Any

from controller.objects.assembly import Assembly, build_cluster
from controller.objects.decode_policy import decode_policy
from controller.objects.documents import Document
from controller.objects.findings import Finding, Severity, Source
from controller.objects.kinds import NetworkPolicy, Peer, PolicyPort

Manifest = dict[str, Any]

UNSET: Any = object()


def manifest(spec: object = UNSET, **metadata: object) -> Manifest:
    """A NetworkPolicy shop/web with this spec, without any when it is not given."""
    data: Manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop"} | metadata,
    }
    return data if spec is UNSET else data | {"spec": spec}


def policy(spec: object = UNSET, **metadata: object) -> NetworkPolicy:
    """The decoded policy."""
    return decode_policy(manifest(spec, **metadata))


def ingress_policy(*rules: object) -> NetworkPolicy:
    """A policy with these ingress rules."""
    return policy({"podSelector": {}, "ingress": list(rules)})


def peers(*items: object) -> tuple[Peer, ...] | None:
    """What is left of a `from` list."""
    return ingress_policy({"from": list(items)}).ingress[0].peers


def ports(*items: object) -> tuple[PolicyPort, ...] | None:
    """What is left of a `ports` list."""
    return ingress_policy({"ports": list(items)}).ingress[0].ports


def errors(found: NetworkPolicy) -> list[tuple[str, str]]:
    """(code, path) of the errors."""
    return [(item.code, item.path) for item in found.findings if item.severity is Severity.ERROR]


def error_at(found: NetworkPolicy, path: str) -> Finding:
    """The one error of a field."""
    (finding,) = (item for item in found.findings if item.path == path and item.severity is Severity.ERROR)
    return finding


def assemble(*manifests: Manifest) -> Assembly:
    """The cluster that manifests describe, each from a file of its own: 0.yaml, 1.yaml."""
    return build_cluster(Document(data, Source(f"{index}.yaml", 1)) for index, data in enumerate(manifests))


def codes(found: Assembly) -> list[str]:
    """The codes of the findings, in their order."""
    return [item.code for item in found.findings]


def pod(key: str, **parts: Any) -> Manifest:  # noqa: ANN401 (parts of a manifest)
    """A Pod; `labels` and `owner` (kind, name) go into its metadata, `spec` and `status` stay as they are."""
    namespace, name = key.split("/")
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": parts.pop("labels", {})}
    if owner := parts.pop("owner", None):
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata} | parts


def running(key: str, *ips: str, node: str = "", **parts: Any) -> Manifest:  # noqa: ANN401 (parts of a manifest)
    """A running Pod with addresses."""
    status = {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]}
    return pod(key, status=status, spec={"nodeName": node} | parts.pop("spec", {}), **parts)


def node(name: str, *pod_cidrs: str, ip: str = "") -> Manifest:
    """A Node."""
    addresses = [{"type": "InternalIP", "address": ip}] if ip else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDRs": list(pod_cidrs)},
        "status": {"addresses": addresses},
    }


def workload(kind: str, key: str, labels: dict[str, str], **spec: Any) -> Manifest:  # noqa: ANN401
    """A workload whose pods have these labels; `spec` is theirs, `owner` the workload's controller."""
    namespace, name = key.split("/")
    metadata: Manifest = {"name": name, "namespace": namespace}
    if owner := spec.pop("owner", None):
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    inner: Manifest = {"template": {"metadata": {"labels": labels}, "spec": spec}}
    if kind not in {"Job", "CronJob"}:
        inner["selector"] = labels if kind == "ReplicationController" else {"matchLabels": labels}
    group = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    outer = {"jobTemplate": {"spec": inner}} if kind == "CronJob" else inner
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": outer}
