"""Pods, namespaces and nodes from plain values: who there is to police.

A pod of which something cannot be read is not dropped, since that would leave it outside every policy: it is
kept as quarantined, isolated and a peer of nobody. Rules 2.17, 2.37, 2.40, 2.54 and 2.57.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from controller.objects.addresses import AddressError, Cidr, format_address, parse_address, parse_cidr
from controller.objects.conversion import convert_part
from controller.objects.decode_metadata import (
    DEFAULT_NAMESPACE,
    Identity,
    check_labels,
    check_metadata,
    identify,
    read_labels,
)
from controller.objects.findings import Finding, Source
from controller.objects.kinds import ContainerPort, Namespace, Node, Pod, Protocol
from controller.objects.labels import NAME_LABEL
from controller.objects.mode import read_mode
from controller.objects.names import (
    dns_label_problem,
    dns_subdomain_problem,
    label_key_problem,
    label_value_problem,
    port_name_problem,
    safe_name,
    shown,
    type_name,
)
from controller.objects.report import Report
from controller.objects.wire import (
    WireNodeSpec,
    WireNodeStatus,
    WirePod,
    WirePodSpec,
    WirePodStatus,
    WirePort,
)

_NOWHERE = Source()
_NODE_ADDRESS_TYPES = frozenset({"InternalIP", "ExternalIP"})
_PROTOCOLS = {protocol.name: protocol for protocol in Protocol}
_LAST_PORT = 65535

_SHARED = 1 << 16
"""Label sets, ports and names kept to be shared: more than a cluster of 150,000 pods has."""

_NO_SPEC, _NO_STATUS, _NO_LABELS = WirePodSpec(), WirePodStatus(), dict[str, str]()


class PodReading(NamedTuple):
    """A pod and what is wrong with it."""

    pod: Pod
    findings: tuple[Finding, ...]


class NamespaceReading(NamedTuple):
    """A namespace and what is wrong with it. With unreadable labels its pods have to be quarantined."""

    namespace: Namespace
    labels_readable: bool
    findings: tuple[Finding, ...]


class NodeReading(NamedTuple):
    """A node and what is wrong with it."""

    node: Node
    findings: tuple[Finding, ...]


def decode_pod(data: Mapping[str, Any], source: Source = _NOWHERE) -> PodReading:
    """A Pod. Never raises; with a field of a wrong type it is quarantined, with all else that it says."""
    identity = identify(data, source)
    report = Report(f"Pod {identity}", source)
    labels_readable = check_metadata(data, report)
    spec, spec_readable = convert_part(data.get("spec"), WirePodSpec, "spec", report)
    status, status_readable = convert_part(data.get("status"), WirePodStatus, "status", report)
    quarantined = not (labels_readable and spec_readable and status_readable)
    if quarantined:
        _report_quarantine(report)
    pod = Pod(
        namespace=identity.namespace,
        name=identity.name,
        labels=_labels_of(data),
        ips=_pod_ips(status, report),
        node=_node_name(spec, "spec", report),
        phase=status.phase or "Running",
        host_network=bool(spec.host_network),
        ports=_container_ports(spec, "spec", report),
        uid=_uid(data),
        quarantined=quarantined,
        source=source,
    )
    return PodReading(pod, report.findings)


def plain_pod(wire: WirePod) -> Pod:
    """What `decode_pod` makes of a pod with nothing wrong in it, at a third of the cost.

    Raises ValueError for any other: `decode_pod` knows what to say of it. What equal pods have in common,
    labels, ports and names, is the very same object in all of them.
    """
    metadata, spec, status = wire.metadata, wire.spec or _NO_SPEC, wire.status or _NO_STATUS
    if metadata is None or not metadata.name or dns_subdomain_problem(metadata.name):
        raise ValueError("it has no proper name")
    return Pod(
        namespace=_plain_namespace(metadata.namespace or DEFAULT_NAMESPACE),
        name=metadata.name,
        labels=_plain_labels(tuple(metadata.labels.items())) if metadata.labels else _NO_LABELS,
        ips=_plain_ips(status),
        node=_plain_node(spec.node_name or ""),
        phase=_plain_phase(status.phase or "Running"),
        host_network=bool(spec.host_network),
        ports=_plain_ports(
            tuple(
                [
                    (port.name, port.container_port, port.protocol)
                    for containers, always in ((spec.containers, True), (spec.init_containers, False))
                    for container in containers or ()
                    if container.ports and (always or container.restart_policy == "Always")
                    for port in container.ports
                ]
            )
        ),
        uid=metadata.uid or "",
    )


def decode_template(template: object, path: str, identity: Identity, report: Report, source: Source) -> Pod:
    """The pod that the template of a workload describes, under the workload's name. Never raises."""
    if not isinstance(template, dict):
        message = "is missing" if template is None else f"is {type_name(template)}, not a mapping"
        report.error("wrong-type", path, message, "write template: {metadata: {labels: ...}, spec: ...}")
        template = {"metadata": "unreadable"}
    metadata = template.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    labels_readable = check_labels(labels, f"{path}.metadata.labels", report)
    spec, spec_readable = convert_part(template.get("spec"), WirePodSpec, f"{path}.spec", report)
    quarantined = not (labels_readable and spec_readable and (metadata is None or isinstance(metadata, dict)))
    if quarantined:
        _report_quarantine(report)
    return Pod(
        namespace=identity.namespace,
        name=identity.name,
        labels=read_labels(labels),
        node=_node_name(spec, f"{path}.spec", report),
        host_network=bool(spec.host_network),
        ports=_container_ports(spec, f"{path}.spec", report),
        synthetic=True,
        quarantined=quarantined,
        source=source,
    )


def decode_namespace(data: Mapping[str, Any], source: Source = _NOWHERE) -> NamespaceReading:
    """A Namespace with its metadata.name label (rule 2.17). Never raises."""
    identity = identify(data, source, namespaced=False)
    report = Report(f"Namespace {identity}", source)
    readable = check_metadata(data, report, namespaced=False, name_problem=dns_label_problem)
    if not readable:
        message = "cannot be read in full: every pod of the namespace is isolated and a peer of nobody"
        report.error("quarantined", "metadata.labels", message, "mend the labels")
    labels, mode = _labels_of(data) | {NAME_LABEL: identity.name}, read_mode(data, report)
    namespace = Namespace(name=identity.name, labels=labels, mode=mode, source=source)
    return NamespaceReading(namespace, readable, report.findings)


def decode_node(data: Mapping[str, Any], source: Source = _NOWHERE) -> NodeReading:
    """A Node: its addresses (rule 2.40) and pod blocks. Never raises; what is unreadable is left out."""
    identity = identify(data, source, namespaced=False)
    report = Report(f"Node {identity}", source)
    check_metadata(data, report, namespaced=False)
    spec, _ = convert_part(data.get("spec"), WireNodeSpec, "spec", report)
    status, _ = convert_part(data.get("status"), WireNodeStatus, "status", report)
    addresses = [
        (f"status.addresses[{index}].address", item.address)
        for index, item in enumerate(status.addresses or ())
        if item.type in _NODE_ADDRESS_TYPES
    ]
    node = Node(
        name=identity.name,
        labels=_labels_of(data),
        ips=_addresses(addresses, report),
        pod_cidrs=_pod_cidrs(spec, report),
        source=source,
    )
    return NodeReading(node, report.findings)


def bare_namespace(name: str) -> Namespace:
    """A namespace that no file defines, as the API server would have it (rule 2.17)."""
    return Namespace(name=name, labels={NAME_LABEL: name})


@lru_cache(maxsize=_SHARED)
def _plain_labels(labels: tuple[tuple[str, str | None], ...]) -> dict[str, str]:
    """One dictionary for all pods of these labels. Nobody may change it."""
    if any(label_key_problem(key) or label_value_problem(value or "") for key, value in labels):
        raise ValueError("a label is not valid")
    return {key: value or "" for key, value in labels}


@lru_cache(maxsize=_SHARED)
def _plain_namespace(name: str) -> str:
    if dns_label_problem(name):
        raise ValueError("its namespace is not valid")
    return name


@lru_cache(maxsize=_SHARED)
def _plain_node(name: str) -> str:
    if name and dns_subdomain_problem(name):
        raise ValueError("its node is not valid")
    return name


@lru_cache(maxsize=_SHARED)
def _plain_phase(phase: str) -> str:
    return phase


@lru_cache(maxsize=_SHARED)
def _plain_ports(ports: tuple[tuple[str | None, int | None, str | None], ...]) -> tuple[ContainerPort, ...]:
    """The named ones of these (name, number, protocol)."""
    report = Report("", _NOWHERE)
    found = {
        port
        for name, number, protocol in ports
        if name and (port := _container_port(WirePort(name, number, protocol), "", report)) is not None
    }
    if report.findings:
        raise ValueError("a port is not valid")
    return tuple(sorted(found))


def _plain_ips(status: WirePodStatus) -> tuple[str, ...]:
    texts = [item.ip for item in status.pod_ips or () if item.ip]
    if status.pod_ip and status.pod_ip not in texts:
        texts.append(status.pod_ip)
    return tuple(dict.fromkeys(map(_pod_address, texts)))


def _report_quarantine(report: Report) -> None:
    message = "cannot be read in full: the pod is isolated in both directions and a peer of nobody"
    report.error("quarantined", "", message, "mend the fields that the other findings name")


def _node_name(spec: WirePodSpec, path: str, report: Report) -> str:
    """The node that a pod names, safe to print, as the names of nodes are: it becomes a heading of rules."""
    name = spec.node_name or ""
    if name and (problem := dns_subdomain_problem(name)):
        message = f"{shown(name)} is no name of a node: it {problem}"
        report.error("invalid-node-name", f"{path}.nodeName", message, "write the name of a Node, or nothing")
    return safe_name(name)


def _pod_ips(status: WirePodStatus, report: Report) -> tuple[str, ...]:
    """Every address of both families, podIPs first (rule 2.57)."""
    texts = [(f"status.podIPs[{index}].ip", item.ip) for index, item in enumerate(status.pod_ips or ())]
    return _addresses([*texts, ("status.podIP", status.pod_ip)], report)


def _pod_address(text: str) -> str:
    family, value = parse_address(text)
    if not value:  # nobody has it, and ipset refuses to store it
        raise AddressError("the null address belongs to nobody")
    return format_address(family, value)


def _addresses(texts: list[tuple[str, str | None]], report: Report) -> tuple[str, ...]:
    """Canonical texts in order, each once; those that are no addresses are reported and left out."""
    found: dict[str, None] = {}
    for path, text in texts:
        if not text:
            continue
        try:
            found[_pod_address(text)] = None
        except AddressError:
            report.error(
                "invalid-ip",
                path,
                f"{shown(text)} is no IP address; it is left out",
                "write it as 10.244.1.7",
            )
    return tuple(found)


def _pod_cidrs(spec: WireNodeSpec, report: Report) -> tuple[Cidr, ...]:
    texts = [(f"spec.podCIDRs[{index}]", text) for index, text in enumerate(spec.pod_cidrs or ())]
    found: dict[Cidr, None] = {}
    for path, text in [*texts, ("spec.podCIDR", spec.pod_cidr)]:
        if not text:
            continue
        try:
            found[parse_cidr(text)] = None
        except AddressError:
            message = f"{shown(text)} is no CIDR block; it is left out"
            report.error("invalid-pod-cidr", path, message, "write it as 10.244.1.0/24")
    return tuple(found)


def _container_ports(spec: WirePodSpec, path: str, report: Report) -> tuple[ContainerPort, ...]:
    """The named ports of containers, and of init containers that keep running beside them (rule 2.37)."""
    sidecars = [
        (f"{path}.initContainers[{index}]", container)
        for index, container in enumerate(spec.init_containers or ())
        if container.restart_policy == "Always"
    ]
    containers = [(f"{path}.containers[{index}]", item) for index, item in enumerate(spec.containers or ())]
    found = {
        port
        for place, container in containers + sidecars
        for index, item in enumerate(container.ports or ())
        if item.name and (port := _container_port(item, f"{place}.ports[{index}]", report)) is not None
    }
    return tuple(sorted(found))


def _container_port(item: WirePort, path: str, report: Report) -> ContainerPort | None:
    protocol = _PROTOCOLS.get(item.protocol or "TCP")
    name = item.name or ""
    number = item.container_port
    if protocol is None:
        problem, where = f"{shown(item.protocol)} is no protocol", "protocol"
    elif number is None or not 1 <= number <= _LAST_PORT:
        problem, where = f"{shown(number)} is not within 1 to 65535", "containerPort"
    elif why := port_name_problem(name):
        problem, where = f"{shown(name)} is no port name: it {why}", "name"
    else:
        return ContainerPort(name, protocol, number)
    report.error(
        "invalid-container-port", f"{path}.{where}", f"{problem}; rules that name the port do not open it"
    )
    return None


def _labels_of(data: Mapping[str, Any]) -> dict[str, str]:
    metadata = data.get("metadata")
    return read_labels(metadata.get("labels")) if isinstance(metadata, dict) else {}


def _uid(data: Mapping[str, Any]) -> str:
    metadata = data.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    return uid if isinstance(uid, str) else ""
