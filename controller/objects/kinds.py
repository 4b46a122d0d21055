"""The Kubernetes objects that decide who may talk to whom, as the engine wants them.

Values are frozen, defaulted and validated. What could not be understood is already gone from them, always in
the direction that allows less: a bad peer is missing from `peers`, which then holds `()` (matches nothing)
and never None (matches everything).
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct, field

from controller.objects.addresses import Cidr
from controller.objects.findings import Finding, Source
from controller.objects.labels import EVERYTHING, LabelSelector


class Direction(StrEnum):
    """A policy type, as in `spec.policyTypes`."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class Mode(StrEnum):
    """Whether a policy drops what it does not allow, or only counts it."""

    ENFORCE = "enforce"
    AUDIT = "audit"


class Protocol(IntEnum):
    """The transports a policy can name (rule 2.38), by their IP protocol number."""

    TCP = 6
    UDP = 17
    SCTP = 132


class IPBlock(Struct, frozen=True, order=True):
    """Addresses of `cidr` without those of `excepts`, one family (rules 2.19 to 2.23)."""

    cidr: Cidr
    excepts: tuple[Cidr, ...] = ()

    def holds(self, family: int, value: int) -> bool:
        """Whether an address is in the block and in none of its excepts."""
        return self.cidr.holds(family, value) and not any(hole.holds(family, value) for hole in self.excepts)


class Peer(Struct, frozen=True, order=True):
    """One item of `from` or `to`: an IP block, or selectors of pods and namespaces (rule 2.15).

    `index` is its place in the list as written, for the field path.
    """

    index: int
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class PolicyPort(Struct, frozen=True):
    """One item of `ports`: a protocol with every port (None), a number, a range to `end_port`, or a name."""

    index: int
    protocol: Protocol = Protocol.TCP
    port: int | str | None = None
    end_port: int | None = None


class PolicyRule(Struct, frozen=True):
    """One item of `ingress` or `egress`.

    None means any peer or any port; `()` means none at all (rule 2.11).
    """

    index: int
    peers: tuple[Peer, ...] | None = None
    ports: tuple[PolicyPort, ...] | None = None


class NetworkPolicy(Struct, frozen=True, kw_only=True):
    """A `networking.k8s.io/v1` NetworkPolicy after defaulting (rules 2.1 to 2.5).

    `directions` is the defaulted `policyTypes`; `mode` is what its own annotation says, None where it says
    nothing. `lines` maps field paths to line numbers of `source.file`
    where the policy came from a YAML file. `findings` is why parts of it match nothing.
    """

    namespace: str
    name: str
    pod_selector: LabelSelector = EVERYTHING
    directions: tuple[Direction, ...] = (Direction.INGRESS,)
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    mode: Mode | None = None
    uid: str = ""
    generation: int = 0
    source: Source = Source()
    lines: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name): what identifies the policy."""
        return (self.namespace, self.name)

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """The rules of one direction; none where policyTypes does not list it (rule 2.4)."""
        if direction not in self.directions:
            return ()
        return self.ingress if direction is Direction.INGRESS else self.egress


class ContainerPort(Struct, frozen=True, order=True):
    """A named port of a container (rule 2.37); unnamed ones decide nothing and are not kept."""

    name: str
    protocol: Protocol
    port: int


class Workload(Struct, frozen=True, order=True):
    """What runs a pod, for people: `Deployment web`."""

    kind: str
    name: str


TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


class Pod(Struct, frozen=True, kw_only=True):
    """A pod, reduced to what decides its traffic. `ips` are canonical texts of both families (rule 2.57).

    `quarantined`: something that matters, its labels say, could not be read; then it is isolated in both
    directions and a peer of nobody.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()
    node: str = ""
    phase: str = "Running"
    host_network: bool = False
    ports: tuple[ContainerPort, ...] = ()
    uid: str = ""
    workload: Workload | None = None
    synthetic: bool = False
    quarantined: bool = False
    source: Source = Source()

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name): what identifies the pod."""
        return (self.namespace, self.name)

    @property
    def is_policed(self) -> bool:
        """Whether policies speak of it: not on the host network, not finished (rules 2.42, 2.43, 2.54)."""
        return not self.host_network and not self.is_finished

    @property
    def is_finished(self) -> bool:
        """Whether it has no traffic any more, though its status may still name its address (rule 2.54)."""
        return self.phase in TERMINAL_PHASES


class Namespace(Struct, frozen=True, kw_only=True):
    """A namespace; `labels` already hold `kubernetes.io/metadata.name` (rule 2.17).

    `mode` is that of its policies which say nothing themselves; None where the namespace says nothing either.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    mode: Mode | None = None
    source: Source = Source()


class Node(Struct, frozen=True, kw_only=True):
    """A node: its addresses (from which its pods are always reachable, rule 2.40), and its pods' blocks."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()
    pod_cidrs: tuple[Cidr, ...] = ()
    source: Source = Source()


class ServicePort(Struct, frozen=True, order=True):
    """A port of a Service, and the number or name it has at the pods."""

    protocol: Protocol
    port: int
    target: int | str


class Service(Struct, frozen=True, kw_only=True):
    """A Service, reduced to where it leads. `addresses` are its ClusterIPs, as canonical texts."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()


class Cluster(Struct, frozen=True, kw_only=True):
    """Everything that was read, sorted by name, each object once. The input of the engine.

    Every namespace that an object lives in is present (created with its metadata.name label when no file
    defines it). `mode` is that of policies which neither say it themselves nor by their namespace.
    """

    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    nodes: tuple[Node, ...] = ()
    mode: Mode = Mode.ENFORCE
    services: tuple[Service, ...] = ()
    """Only `explain` asks for them: policies do not see Services."""
