"""Pods, nodes and Services as the lab reads them from the API server: what it runs and routes by.

The engine's own values leave out what decides no traffic (probes, unnamed ports, conditions), which a node
needs. Every field may be missing or null.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from controller.objects.kinds import TERMINAL_PHASES, Protocol

ADDRESS_ANNOTATION = "lab.podgate.dev/address"
"""On a pod: the address it wants, if that is free."""
SUCCEED_ANNOTATION = "lab.podgate.dev/succeed-after"
"""On a pod: the seconds after which its containers exit with 0."""
PROBE_PERIOD_ANNOTATION = "lab.podgate.dev/probe-period"
"""On a pod: the seconds between its readiness probes, which Kubernetes counts in whole ones."""
NUMBER_ANNOTATION = "lab.podgate.dev/number"
"""On a node: the number that its link to the fabric is called by."""

_READY = "Ready"


class Metadata(Struct, rename="camel", kw_only=True):
    """metadata of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list["OwnerReference"] | None = None


class OwnerReference(Struct, rename="camel", kw_only=True):
    """Who an object belongs to."""

    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Port(Struct, rename="camel", kw_only=True):
    """spec.containers[].ports[]."""

    container_port: int
    name: str | None = None
    protocol: str | None = None


class Action(Struct, kw_only=True):
    """The port that an httpGet, tcpSocket or grpc probe asks at."""

    port: int | str | None = None


class Probe(Struct, rename="camel", kw_only=True):
    """spec.containers[].readinessProbe."""

    http_get: Action | None = None
    tcp_socket: Action | None = None
    grpc: Action | None = None
    initial_delay_seconds: float | None = None
    period_seconds: float | None = None
    timeout_seconds: float | None = None
    failure_threshold: int | None = None
    success_threshold: int | None = None


class Container(Struct, rename="camel", kw_only=True):
    """spec.containers[]."""

    name: str = ""
    image: str | None = None
    ports: list[Port] | None = None
    readiness_probe: Probe | None = None
    restart_policy: str | None = None


class PodSpec(Struct, rename="camel", kw_only=True):
    """spec of a pod."""

    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    host_network: bool | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodIP(Struct, kw_only=True):
    """status.podIPs[]."""

    ip: str = ""


class Condition(Struct, kw_only=True):
    """status.conditions[]."""

    type: str
    status: str


class PodStatus(Struct, rename="camel", kw_only=True):
    """status of a pod."""

    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = field(default=None, name="podIPs")
    conditions: list[Condition] | None = None


class Pod(Struct, kw_only=True):
    """A Pod."""

    metadata: Metadata
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def node(self) -> str:
        """The node it is scheduled to, "" for none."""
        return self.spec.node_name or ""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.metadata.labels or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.metadata.annotations or {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, of each family at most one."""
        found = [each.ip for each in self.status.pod_ips or ()] or [self.status.pod_ip or ""]
        return tuple(filter(None, found))

    @property
    def is_terminating(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    @property
    def has_ended(self) -> bool:
        """Whether its containers have exited for good."""
        return self.status.phase in TERMINAL_PHASES

    @property
    def is_ready(self) -> bool:
        """Its condition Ready; one that is going away is not ready."""
        conditions = {each.type: each.status for each in self.status.conditions or ()}
        return conditions.get(_READY) == "True" and not self.is_terminating

    @property
    def controller(self) -> OwnerReference | None:
        """The workload it belongs to."""
        for owner in self.metadata.owner_references or ():
            if owner.controller:
                return owner
        return None

    def running_containers(self) -> Iterator[Container]:
        """Those that stay: init containers only as sidecars."""
        yield from self.spec.containers or ()
        for each in self.spec.init_containers or ():
            if each.restart_policy == "Always":
                yield each


class NodeAddress(Struct, kw_only=True):
    """status.addresses[] of a node."""

    type: str
    address: str


class NodeStatus(Struct, kw_only=True):
    """status of a node."""

    addresses: list[NodeAddress] | None = None


class NodeSpec(Struct, rename="camel", kw_only=True):
    """spec of a node."""

    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: list[str] | None = field(default=None, name="podCIDRs")
    unschedulable: bool | None = None


class Node(Struct, kw_only=True):
    """A Node."""

    metadata: Metadata
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class ServicePort(Struct, rename="camel", kw_only=True):
    """spec.ports[] of a Service."""

    port: int
    protocol: str | None = None
    target_port: int | str | None = None


class ServiceSpec(Struct, rename="camel", kw_only=True):
    """spec of a Service."""

    type: str | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = field(default=None, name="clusterIPs")
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None
    publish_not_ready_addresses: bool | None = None


class Service(Struct, kw_only=True):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class ReadinessCheck(Struct, frozen=True):
    """One readiness probe: which TCP port, and when it counts."""

    port: int
    period: float
    timeout: float
    delay: float
    failures: int
    successes: int


def listening(pod: Pod) -> tuple[tuple[Protocol, int], ...]:
    """Where a pod listens, each once; SCTP left out, for which nobody can listen here."""
    found = {
        (Protocol[(port.protocol or "TCP").upper()], port.container_port)
        for container in pod.running_containers()
        for port in container.ports or ()
    }
    return tuple(sorted(each for each in found if each[0] is not Protocol.SCTP))


def port_number(pod: Pod, port: int | str, protocol: Protocol = Protocol.TCP) -> int | None:
    """The number of a port that may be a name; None where the pod has none of that name and protocol."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    for container in pod.running_containers():
        for each in container.ports or ():
            if each.name == port and Protocol[(each.protocol or "TCP").upper()] is protocol:
                return each.container_port
    return None


def readiness_checks(pod: Pod) -> tuple[ReadinessCheck, ...]:
    """The readiness probes that ask at a port; commands in containers that do not exist always succeed."""
    return tuple(_checks(pod))


def _checks(pod: Pod) -> Iterator[ReadinessCheck]:
    for container in pod.running_containers():
        probe = container.readiness_probe
        if probe is None:
            continue
        action = probe.http_get or probe.tcp_socket or probe.grpc
        if action is None or action.port is None:
            continue
        # A name that the pod lacks fails for ever, as it does with kubelet; nobody listens at port 0.
        yield ReadinessCheck(
            port=port_number(pod, action.port) or 0,
            period=_period(pod) or probe.period_seconds or 10,
            timeout=probe.timeout_seconds or 1,
            delay=probe.initial_delay_seconds or 0,
            failures=probe.failure_threshold or 3,
            successes=probe.success_threshold or 1,
        )


def _period(pod: Pod) -> float | None:
    """The annotation, where it is a number."""
    try:
        return float(pod.annotations.get(PROBE_PERIOD_ANNOTATION, "0"))
    except ValueError:
        return None


def conditions(ready: bool, since: str) -> list[dict[str, Any]]:
    """The conditions of a pod that runs."""
    state = "True" if ready else "False"
    states = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": state, _READY: state}
    return [{"type": kind, "status": each, "lastTransitionTime": since} for kind, each in states.items()]
