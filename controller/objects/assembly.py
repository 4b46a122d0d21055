"""Documents to one `Cluster`: each kind to its decoder, duplicates settled, what is implied added.

Pure: the same documents give the same cluster, whatever their order, except that of two documents for one
object the later one counts, as with kubectl apply.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from controller.objects.addresses import Cidr
from controller.objects.decode_cluster import bare_namespace, decode_namespace, decode_node, decode_pod
from controller.objects.decode_policy import decode_policy
from controller.objects.decode_service import decode_service
from controller.objects.documents import Document
from controller.objects.findings import Finding, Severity, Source
from controller.objects.kinds import Cluster, Namespace, NetworkPolicy, Node, Pod, Service
from controller.objects.kinds_known import Handling, classify
from controller.objects.owners import controller_of
from controller.objects.placement import place
from controller.objects.workloads import OwnedPod, WorkloadReading, add_synthetic_pods, decode_workload


class Assembly(Struct, frozen=True):
    """The cluster, what is wrong with its objects, and how many documents of other kinds were passed over.

    `addressless`, of what runs: live pods without an address, and workloads without a pod, in words.
    """

    cluster: Cluster
    findings: tuple[Finding, ...] = ()
    skipped: Mapping[str, int] = {}
    addressless: tuple[str, ...] = ()


def build_cluster(documents: Iterable[Document], pod_cidrs: Sequence[Cidr] = ()) -> Assembly:
    """Everything that the documents say. Never raises. `pod_cidrs`: where pods without address get one."""
    collector = _collected(documents)
    pods, nodes, findings = place(
        add_synthetic_pods(collector.pods.values(), collector.workloads.values()),
        [*collector.nodes.values()],
        pod_cidrs,
    )
    return _assembled(collector, pods, nodes, findings)


def observed_cluster(documents: Iterable[Document]) -> Assembly:
    """What runs: as `build_cluster`, but a pod without an address or a node has none (rule 2.53).

    Never raises.
    """
    collector = _collected(documents)
    pods = sorted((owned.pod for owned in collector.pods.values()), key=lambda pod: pod.key)
    nodes = sorted(collector.nodes.values(), key=lambda node: node.name)
    found = _assembled(collector, pods, nodes, ())
    return msgspec.structs.replace(found, addressless=tuple(_addressless(collector)))


def _addressless(collector: "_Collector") -> Iterable[str]:
    """Whom the offline verbs give an address."""
    real = {owned.pod.key for owned in collector.pods.values()}
    for pod in add_synthetic_pods(collector.pods.values(), collector.workloads.values()):
        if pod.ips or pod.is_finished or pod.host_network:
            continue
        if pod.key in real:
            yield f"Pod {pod.namespace}/{pod.name}"
        elif pod.workload is not None:
            yield f"{pod.workload.kind} {pod.namespace}/{pod.workload.name}"


def _collected(documents: Iterable[Document]) -> "_Collector":
    collector = _Collector()
    for document in documents:
        collector.take(document)
    return collector


def _assembled(
    collector: "_Collector", pods: Iterable[Pod], nodes: Iterable[Node], placement_findings: Iterable[Finding]
) -> Assembly:
    pods, claims = _apart_from_nodes(pods, collector.nodes.values())
    pods = [_quarantined(pod, collector.quarantined_namespaces) for pod in pods]
    cluster = Cluster(
        namespaces=_namespaces(collector, pods),
        pods=tuple(pods),
        policies=tuple(sorted(collector.policies.values(), key=lambda policy: policy.key)),
        nodes=tuple(nodes),
        services=tuple(collector.services[key] for key in sorted(collector.services)),
    )
    findings = [*collector.findings, *placement_findings, *claims, *_shared_addresses(pods)]
    return Assembly(
        cluster, tuple(sorted(findings, key=finding_order)), dict(sorted(collector.skipped.items()))
    )


def finding_order(finding: Finding) -> tuple[Any, ...]:
    """By place, then by object and field: the order in which a person mends them."""
    return (finding.source, finding.object, finding.path, finding.code, finding.message)


class _Collector:
    """The decoded objects by identity, the later one of two under the same."""

    def __init__(self) -> None:
        self.pods: dict[tuple[str, ...], OwnedPod] = {}
        self.workloads: dict[tuple[str, ...], WorkloadReading] = {}
        self.policies: dict[tuple[str, ...], NetworkPolicy] = {}
        self.namespaces: dict[tuple[str, ...], Namespace] = {}
        self.nodes: dict[tuple[str, ...], Node] = {}
        self.services: dict[tuple[str, ...], Service] = {}
        self.quarantined_namespaces: set[str] = set()
        self.findings: list[Finding] = []
        self.skipped: Counter[str] = Counter()
        self._places: dict[tuple[str, ...], Source] = {}

    def take(self, document: Document) -> None:
        """Decodes one document and files it."""
        decision = classify(document.data, document.source)
        self.findings.extend(decision.findings)
        if decision.kind == "Service" and document.data.get("apiVersion") == "v1":
            self._take_service(document)
        elif decision.handling is Handling.SKIP:
            self.skipped[decision.kind] += 1
        elif decision.handling is Handling.READ:
            self._decode(decision.kind, document)

    def _decode(self, kind: str, document: Document) -> None:
        match kind:
            case "NetworkPolicy":
                self._take_policy(document)
            case "Pod":
                self._take_pod(document)
            case "Namespace":
                self._take_namespace(document)
            case "Node":
                self._take_node(document)
            case _:
                self._take_workload(kind, document)

    def _take_policy(self, document: Document) -> None:
        line_of = document.lines.line if document.lines is not None else None
        policy = decode_policy(document.data, document.source, line_of)
        self.findings.extend(policy.findings)
        key = self._claim(("NetworkPolicy", *policy.key), document.source)
        self.policies[key] = (
            policy if key[-1] == policy.name else msgspec.structs.replace(policy, name=key[-1])
        )

    def _take_pod(self, document: Document) -> None:
        pod, findings = decode_pod(document.data, document.source)
        self.findings.extend(findings)
        key = self._claim(("Pod", *pod.key), document.source)
        pod = pod if key[-1] == pod.name else msgspec.structs.replace(pod, name=key[-1])
        self.pods[key] = OwnedPod(pod, controller_of(document.data, pod.namespace))

    def _take_namespace(self, document: Document) -> None:
        namespace, labels_readable, findings = decode_namespace(document.data, document.source)
        self.findings.extend(findings)
        self.namespaces[self._claim(("Namespace", namespace.name), document.source)] = namespace
        if labels_readable:
            self.quarantined_namespaces.discard(namespace.name)
        else:
            self.quarantined_namespaces.add(namespace.name)

    def _take_node(self, document: Document) -> None:
        node, findings = decode_node(document.data, document.source)
        self.findings.extend(findings)
        self.nodes[self._claim(("Node", node.name), document.source)] = node

    def _take_service(self, document: Document) -> None:
        service, findings = decode_service(document.data, document.source)
        self.findings.extend(findings)
        if service is not None:
            self.services[service.namespace, service.name] = service

    def _take_workload(self, kind: str, document: Document) -> None:
        workload = decode_workload(kind, document.data, document.source)
        self.findings.extend(workload.findings)
        self.workloads[self._claim((kind, workload.key.namespace, workload.key.name), document.source)] = (
            workload
        )

    def _claim(self, key: tuple[str, ...], source: Source) -> tuple[str, ...]:
        """The key to file an object under.

        Objects without a name are different objects: were one to replace another, the isolation that it asks
        for would be lost.
        """
        if "<" in key[-1]:
            number = 2
            plain = key[-1]
            while key in self._places:
                key = (*key[:-1], f"{plain}.{number}")
                number += 1
        elif key in self._places:
            self._report_duplicate(key, self._places[key], source)
        self._places[key] = source
        return key

    def _report_duplicate(self, key: tuple[str, ...], first: Source, second: Source) -> None:
        places = f" at {first} and again at {second}" if first.file or second.file else ""
        self.findings.append(
            Finding(
                code="duplicate-object",
                severity=Severity.WARNING,
                object=f"{key[0]} {'/'.join(key[1:])}",
                message=f"is defined twice{places}; the later definition counts",
                remedy="remove one of them",
                source=second,
            )
        )


def _namespaces(collector: _Collector, pods: Iterable[Pod]) -> tuple[Namespace, ...]:
    """Those of the files and those that objects live in, sorted."""
    found = {namespace.name: namespace for namespace in collector.namespaces.values()}
    used = {pod.namespace for pod in pods} | {policy.namespace for policy in collector.policies.values()}
    found.update((name, bare_namespace(name)) for name in used - found.keys())
    return tuple(found[name] for name in sorted(found))


def _quarantined(pod: Pod, namespaces: set[str]) -> Pod:
    """A pod under unreadable namespace labels is nobody's peer: a selector might pick it wrongly."""
    if pod.namespace not in namespaces or pod.quarantined:
        return pod
    return msgspec.structs.replace(pod, quarantined=True)


def _apart_from_nodes(pods: Iterable[Pod], nodes: Iterable[Node]) -> tuple[list[Pod], list[Finding]]:
    """The pods without addresses that nodes name as their own: isolating those isolates nodes (rule 2.42).

    Only a pod on the host network has such an address, and whether it is there may be what nobody could read.
    """
    owners = {text: node.name for node in nodes for text in node.ips}
    kept: list[Pod] = []
    findings: list[Finding] = []
    for pod in pods:
        taken = [text for text in pod.ips if text in owners] if pod.is_policed else []
        findings.extend(_node_address(pod, text, owners[text]) for text in taken)
        rest = tuple(text for text in pod.ips if text not in taken)
        kept.append(msgspec.structs.replace(pod, ips=rest) if taken else pod)
    return kept, findings


def _node_address(pod: Pod, text: str, node: str) -> Finding:
    return Finding(
        code="duplicate-ip",
        severity=Severity.WARNING,
        object=f"Pod {'/'.join(pod.key)}",
        path="status.podIPs",
        message=f"{text} is the address of Node {node}: nothing is enforced for the pod there",
        remedy="write hostNetwork: true, or the address that the pod has",
        source=pod.source,
    )


def _shared_addresses(pods: Iterable[Pod]) -> list[Finding]:
    """Two live pods with one address (rule 2.56)."""
    holders: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.is_policed:
            for text in pod.ips:
                holders[text].append(pod)
    return [
        Finding(
            code="duplicate-ip",
            severity=Severity.WARNING,
            object=f"Pod {'/'.join(pod.key)}",
            path="status.podIPs",
            message=f"{text} is also the address of {'/'.join(holders[text][0].key)}",
            remedy="one of the two is stale: remove it",
            source=pod.source,
        )
        for text in sorted(holders)
        for pod in holders[text][1:]
    ]
