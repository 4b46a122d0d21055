"""Pods, namespaces and nodes from plain values: who there is to police.

A pod of which something cannot be read is not dropped, since that would leave it outside every policy: it is kept as
quarantined, isolated and a peer of nobody. Rules 2.17, 2.37, 2.40, 2.54 and 2.57.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from controller.objects.addresses import AddressError, Cidr, format_address, parse_address, parse_cidr
from controller.objects.decode_metadata import (
    Identity,
    check_labels,
    check_metadata,
    check_name,
    identify,
    read_labels,
)
from controller.objects.findings import Finding, Source
from controller.objects.kinds import ContainerPort, Namespace, Node, Pod, Protocol
from controller.objects.names import dns_label_problem, dns_subdomain_problem, port_name_problem, shown, type_name
from controller.objects.report import Report
from controller.objects.wire import (
    WireContainer,
    WireNodeSpec,
    WireNodeStatus,
    WirePodSpec,
    WirePodStatus,
    WirePort,
)

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server sets on every namespace to its name, and that nobody can change (rule 2.17)."""

_NODE_ADDRESS_TYPES = frozenset({"InternalIP", "ExternalIP"})
_PROTOCOLS = {protocol.name: protocol for protocol in Protocol}
_LONGEST_ADDRESS = 64
_CONVERT_ERROR = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_TYPE_WORDS = {
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}

Wire = TypeVar("Wire", bound=Struct)


class PodReading(NamedTuple):
    """A pod and what is wrong with it."""

    pod: Pod
    findings: tuple[Finding, ...]


class NamespaceReading(NamedTuple):
    """A namespace and what is wrong with it; pods of one whose labels are unreadable have to be quarantined."""

    namespace: Namespace
    labels_readable: bool
    findings: tuple[Finding, ...]


class NodeReading(NamedTuple):
    """A node and what is wrong with it."""

    node: Node
    findings: tuple[Finding, ...]


def decode_pod(data: Mapping[str, Any], source: Source = Source()) -> PodReading:  # noqa: B008 (frozen)
    """A Pod. Never raises; when a part has the wrong type the pod is quarantined, with what could be read."""
    identity = identify(data, source)
    report = Report(f"Pod {identity}", source)
    check_metadata(data, report)
    metadata = data.get("metadata")
    labels, readable = _labels(metadata, "metadata", report)
    spec, spec_readable = _convert(data.get("spec"), WirePodSpec, "spec", report)
    status, status_readable = _convert(data.get("status"), WirePodStatus, "status", report)
    if not (readable and spec_readable and status_readable):
        _quarantine(report)
    pod = Pod(
        namespace=identity.namespace,
        name=identity.name,
        labels=labels,
        ips=_pod_ips(status, report),
        node=spec.node_name or "",
        phase=status.phase or "Running",
        host_network=bool(spec.host_network),
        ports=_container_ports(spec, "spec", report),
        uid=_uid(metadata),
        quarantined=not (readable and spec_readable and status_readable),
        source=source,
    )
    return PodReading(pod, report.findings)


def decode_template(
    template: object, path: str, identity: Identity, report: Report, source: Source
) -> Pod:
    """The pod that a workload's template describes, with the workload's name. Never raises."""
    if not isinstance(template, dict):
        message = "is missing" if template is None else f"is {type_name(template)}, not a mapping"
        report.error("wrong-type", path, message, "write template: {metadata: {labels: ...}, spec: ...}")
        template = {"metadata": False}
    metadata = template.get("metadata")
    readable = metadata is None or isinstance(metadata, dict)
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    readable = check_labels(labels, f"{path}.metadata.labels", report) and readable
    spec, spec_readable = _convert(template.get("spec"), WirePodSpec, f"{path}.spec", report)
    quarantined = not (readable and spec_readable)
    if quarantined:
        _quarantine(report)
    return Pod(
        namespace=identity.namespace,
        name=identity.name,
        labels=read_labels(labels),
        node=spec.node_name or "",
        host_network=bool(spec.host_network),
        ports=_container_ports(spec, f"{path}.spec", report),
        synthetic=True,
        quarantined=quarantined,
        source=source,
    )


def decode_namespace(data: Mapping[str, Any], source: Source = Source()) -> NamespaceReading:  # noqa: B008 (frozen)
    """A Namespace with its metadata.name label (rule 2.17). Never raises."""
    identity = identify(data, source, namespaced=False)
    report = Report(f"Namespace {identity}", source)
    metadata = data.get("metadata")
    _check_cluster_scoped(metadata, report, dns_label_problem)
    labels, readable = _labels(metadata, "metadata", report)
    check_labels(metadata.get("labels") if isinstance(metadata, dict) else None, "metadata.labels", report)
    if not readable:
        message = "cannot be read: every pod of the namespace is isolated and a peer of nobody"
        report.error("unreadable-labels", "metadata.labels", message, "mend the labels")
    namespace = Namespace(name=identity.name, labels=labels | {NAMESPACE_LABEL: identity.name}, source=source)
    return NamespaceReading(namespace, readable, report.findings)


def decode_node(data: Mapping[str, Any], source: Source = Source()) -> NodeReading:  # noqa: B008 (frozen)
    """A Node: its addresses (rule 2.40) and the blocks of its pods. Never raises; what cannot be read is left out."""
    identity = identify(data, source, namespaced=False)
    report = Report(f"Node {identity}", source)
    metadata = data.get("metadata")
    _check_cluster_scoped(metadata, report, dns_subdomain_problem)
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    check_labels(labels, "metadata.labels", report)
    spec, _ = _convert(data.get("spec"), WireNodeSpec, "spec", report)
    status, _ = _convert(data.get("status"), WireNodeStatus, "status", report)
    texts = [
        (f"status.addresses[{index}].address", item.address)
        for index, item in enumerate(status.addresses or ())
        if item.type in _NODE_ADDRESS_TYPES
    ]
    node = Node(
        name=identity.name,
        labels=read_labels(labels),
        ips=_addresses(texts, report),
        pod_cidrs=_pod_cidrs(spec, report),
        source=source,
    )
    return NodeReading(node, report.findings)


def bare_namespace(name: str) -> Namespace:
    """A namespace that no file defines, as the API server would have it (rule 2.17)."""
    return Namespace(name=name, labels={NAMESPACE_LABEL: name})


def _quarantine(report: Report) -> None:
    message = "cannot be read in full: the pod is isolated in both directions and a peer of nobody"
    report.error("unreadable-labels", "", message, "mend the fields named in the other findings")


def _labels(metadata: object, path: str, report: Report) -> tuple[dict[str, str], bool]:
    """Labels and whether all of them could be read; what is wrong is reported by `check_metadata`."""
    del path, report
    if metadata is None:
        return {}, True
    if not isinstance(metadata, dict):
        return {}, False
    labels = read_labels(metadata.get("labels"))
    written = metadata.get("labels")
    return labels, written is None or (isinstance(written, dict) and len(labels) == len(written))
