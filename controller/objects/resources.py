"""Our own custom resources, as they stand in the API server: what the operator says and the agents do.

A `NodePolicy` is one node's share of the policies: its pods, their rules, and the peer groups that those
name. A `PeerGroupSlice` holds up to 100 members of one group, shared by every node and policy that names it.
Members never stand in a NodePolicy, so a pod that comes or goes rewrites one slice and not every node that
may talk to it.

A group is complete when its slices 0 to `count` - 1 are there, and slice 0 says the count. The count stands
in the group and not in the NodePolicies: there every group that grows would rewrite every node naming it.
Only what is stated counts: isolation is in the NodePolicy, and never concluded from a group being empty.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

GROUP = "podgate.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
GROUP_LABEL = "podgate.dev/group"
"""On every slice: the id of its group. Agents watch slices by it."""

TRIGGER_ANNOTATION = "podgate.dev/last-change-trigger-time"
"""When the API event arrived that led to this write, RFC 3339 in UTC: where programming latency begins."""

MEMBERS_MAX = 100
"""Members a slice: 2 KB a write, three times the smallest possible one (docs/scale.md)."""

FEATURES = frozenset({"tiers"})
"""What a NodePolicy may require of the agent that reads it, beyond what every version does."""


class SelectorTerm(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One condition on a label, as in matchExpressions; conditions of a selector are ANDed."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class GroupReference(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A peer group that the rules name: the pods that the selectors pick.

    Either `namespace` or `namespaceSelector` says where. `namespaceSelector: []` is every namespace, and
    `podSelector: []` every pod.
    """

    id: str
    pod_selector: tuple[SelectorTerm, ...]
    namespace: str = ""
    namespace_selector: tuple[SelectorTerm, ...] | None = None


class NamedPortReference(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A group of (address, protocol, port): the pods of another group that have a port of this name."""

    id: str
    pods: GroupReference
    name: str
    protocol: str


class PortNumbers(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Destination ports first to last of one protocol; 0 to 65535 is every port."""

    protocol: str
    first: int
    last: int


class PortName(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A port by name: of the selected pod for ingress, of the destination pod for egress."""

    protocol: str
    name: str


class PodPort(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A named port of a pod, by its number."""

    name: str
    protocol: str
    port: int


class Block(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Addresses of a CIDR block without those of the blocks in `except`."""

    cidr: str
    excepts: tuple[str, ...] = msgspec.field(default=(), name="except")


class Rule(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One rule: any peer or one of the groups and blocks, and any port or one of the ports and names.

    Without `anyPeer`, no groups and no blocks match nobody; so with `anyPort` and ports.
    """

    path: str
    action: str = "Accept"
    any_peer: bool = False
    groups: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    any_port: bool = False
    ports: tuple[PortNumbers, ...] = ()
    named_ports: tuple[PortName, ...] = ()


class Ruleset(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One policy in one direction. `uid` and `generation` are those of the policy it was made from."""

    id: str
    tier: str
    name: str
    direction: str
    namespace: str = ""
    priority: int = 0
    uid: str = ""
    generation: int = 0
    rules: tuple[Rule, ...] = ()


class NodePod(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A pod of the node that a policy concerns: isolated in these directions, judged by these rulesets.

    In `audited` directions only policies in audit mode select it: what they would deny passes, counted.
    """

    namespace: str
    name: str
    ips: tuple[str, ...] = ()
    isolated: tuple[str, ...] = ()
    rulesets: tuple[str, ...] = ()
    named_ports: tuple[PodPort, ...] = ()
    audited: tuple[str, ...] = ()


class NodePolicySpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one node enforces. `digest` is of everything else in it.

    `addresses` are those of every live pod of the node, isolated or not. `requires` lists features without
    which this cannot be enforced as meant: an agent that does not know one keeps what it has and says so.
    `mode` is that of policies which do not say it: it decides nothing here, and is for who looks.
    """

    digest: str
    pods: tuple[NodePod, ...] = ()
    rulesets: tuple[Ruleset, ...] = ()
    groups: tuple[GroupReference, ...] = ()
    named_port_groups: tuple[NamedPortReference, ...] = ()
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    requires: tuple[str, ...] = ()
    mode: str = "enforce"


class ConditionType(StrEnum):
    """What an agent says about its node."""

    READY = "Ready"
    DEGRADED = "Degraded"
    STALE = "Stale"


MESSAGE_MAX = 1024
"""Characters of a condition's message: every write of a NodePolicy carries it."""

# What agents write is bounded by the API server, not in reading: one that was stored before must not hide
# others. An agent that was taken over could else fill the object until the operator cannot write it.
_Word = Annotated[str, Meta(extra_json_schema={"maxLength": 256})]
_Text = Annotated[str, Meta(extra_json_schema={"maxLength": MESSAGE_MAX})]


class Condition(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A condition as in other Kubernetes objects; `status` is True, False or Unknown."""

    type: _Word
    status: _Word
    reason: _Word = ""
    message: _Text = ""
    last_transition_time: _Word = ""


_Conditions = Annotated[tuple[Condition, ...], Meta(extra_json_schema={"maxItems": 16})]


class NodePolicyStatus(Struct, frozen=True, rename="camel"):
    """What the agent of the node made of the spec whose digest is `observedDigest`.

    Times are RFC 3339 in UTC. `podsPending` are isolated and wait for peer groups that are incomplete.
    """

    observed_digest: _Word = ""
    applied_at: _Word = ""
    pods_enforced: int = 0
    pods_pending: int = 0
    backend: _Word = ""
    agent_version: _Word = ""
    conditions: _Conditions = ()


class Metadata(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The metadata that we read and write."""

    name: str
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class NodePolicy(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One node's share, under the name of the node."""

    # By a factory, as a plain default would be left out in writing: an API server refuses what has no kind.
    # Default factories, for what equals a plain default is not written.

    api_version: str = msgspec.field(default_factory=lambda: API_VERSION)
    kind: str = msgspec.field(default_factory=lambda: "NodePolicy")
    metadata: Metadata
    spec: NodePolicySpec
    status: NodePolicyStatus | None = None


class SliceEndpoint(Struct, frozen=True, rename="camel", omit_defaults=True, order=True):
    """A member of a named-port group."""

    address: str
    protocol: str
    port: int


class PeerGroupSliceSpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Members of one group, sorted; addresses of both families, or endpoints.

    `index` is its place among the group's slices; `count`, how many they are, stands in slice 0.
    `selector` is for people.
    """

    selector: str
    index: int = 0
    count: int = 0
    addresses: Annotated[tuple[str, ...], Meta(max_length=MEMBERS_MAX)] = ()
    endpoints: Annotated[tuple[SliceEndpoint, ...], Meta(max_length=MEMBERS_MAX)] = ()


class PeerGroupSlice(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One slice, named after its group and index: `pg-<group>-<index>`."""

    api_version: str = msgspec.field(default_factory=lambda: API_VERSION)
    kind: str = msgspec.field(default_factory=lambda: "PeerGroupSlice")
    metadata: Metadata
    spec: PeerGroupSliceSpec


def slice_name(group: str, index: int) -> str:
    """The name of a slice."""
    return f"pg-{group}-{index}"


def group_of(metadata: Metadata) -> str:
    """The group of a slice, by its label; "" for one that has lost it."""
    return metadata.labels.get(GROUP_LABEL, "")
