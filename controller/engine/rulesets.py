"""What resolve produces: policies with their selectors turned into references to peer groups.

A `PolicyRuleset` is one policy in one direction. It names groups and never lists their members, so a pod that
comes or goes changes a group and no ruleset. A `NodeView` is everything one node needs, and nothing else: the
input of `dataplane.compile`, whether it was computed here or received as custom resources.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from controller.engine.identity import digest
from controller.engine.tiers import Action, Tier
from controller.objects.addresses import Cidr
from controller.objects.kinds import ContainerPort, Direction, IPBlock, Mode, Protocol
from controller.objects.labels import LabelSelector


class PodGroup(Struct, frozen=True, order=True):
    """The live pods one canonical selector picks; shared by every rule that asks the same.

    Exactly one of `namespace` (a peer without namespaceSelector: the policy's own namespace, rule 2.12) and
    `namespace_selector` (rules 2.13, 2.14) is set; the other is "" or None.
    """

    namespace: str
    namespace_selector: LabelSelector | None
    pod_selector: LabelSelector

    @property
    def id(self) -> str:
        """A short name, the same wherever it is computed: a digest of the canonical selectors."""
        return digest(("pods", msgspec.json.encode(self).decode()))

    def __str__(self) -> str:
        where = (
            f"namespaces {self.namespace_selector}" if self.namespace_selector is not None else self.namespace
        )
        return f"pods {self.pod_selector} in {where}"


class NamedPortGroup(Struct, frozen=True, order=True):
    """(address, protocol, port) of every pod of a group that has this port by name (rules 2.35, 2.36)."""

    pods: PodGroup
    name: str
    protocol: Protocol

    @property
    def id(self) -> str:
        """A short name for the group, as of `PodGroup`."""
        return digest(("ports", self.pods.id, self.name, self.protocol.name))

    def __str__(self) -> str:
        return f"port {self.name}/{self.protocol.name} of {self.pods}"


class PortRange(Struct, frozen=True, order=True):
    """Destination ports first..last of one protocol; 0..65535 is every port of it."""

    protocol: Protocol
    first: int
    last: int


class NamedPort(Struct, frozen=True, order=True):
    """A port by name: the subject pod's for ingress (rule 2.34), the destination pod's for egress (2.35)."""

    protocol: Protocol
    name: str


class RulesetRule(Struct, frozen=True):
    """One rule: any peer or one of groups and blocks, and any port or one of ports and named.

    `path` is the field path inside the policy (`spec.ingress[1]`). With `any_peer` (or `any_port`) the lists
    are empty; without it, empty lists match nothing.
    """

    path: str
    action: Action = Action.ACCEPT
    any_peer: bool = False
    groups: tuple[PodGroup, ...] = ()
    blocks: tuple[IPBlock, ...] = ()
    any_port: bool = False
    ports: tuple[PortRange, ...] = ()
    named: tuple[NamedPort, ...] = ()


class RulesetId(Struct, frozen=True, order=True):
    """Which policy, which direction; `str()` is `shop/allow-web ingress`.

    Sorts in the order of evaluation.
    """

    tier: Tier
    priority: int
    namespace: str
    name: str
    direction: Direction

    @property
    def policy(self) -> str:
        """The policy as users write it: `shop/allow-web`, or the bare name of a cluster-scoped one."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.policy} {self.direction.lower()}"


class PolicyRuleset(Struct, frozen=True):
    """One policy in one direction: ordered rules.

    In the NetworkPolicy tier order does not matter (rule 2.7).
    """

    id: RulesetId
    rules: tuple[RulesetRule, ...] = ()


Endpoint = tuple[str, Protocol, int]
"""(address, protocol, port): a member of a NamedPortGroup."""


class LocalPod(Struct, frozen=True, order=True):
    """A pod of the node.

    `isolated` states the directions in which a NetworkPolicy selects it, and is never inferred from
    `rulesets` (an isolated pod may have none: quarantine). In the `audited` ones only policies in audit mode
    select it: what their rules do not allow is counted, and passes. No direction is in both, and rulesets of
    policies in audit mode are listed for audited directions only. `named_ports` are those its ingress
    rulesets mention.
    """

    namespace: str
    name: str
    ips: tuple[str, ...] = ()
    isolated: tuple[Direction, ...] = ()
    rulesets: tuple[RulesetId, ...] = ()
    named_ports: tuple[ContainerPort, ...] = ()
    audited: tuple[Direction, ...] = ()

    def audits(self, ruleset: RulesetId) -> bool:
        """Whether a ruleset of this pod is only counted, never enforced."""
        return ruleset.tier is Tier.NETWORK_POLICY and ruleset.direction in self.audited


class NodeView(Struct, frozen=True):
    """All that a node enforces.

    Only pods that some policy concerns are listed; `known` holds every live local address. `mode` is that of
    policies which do not say it, and decides nothing here any more: it is passed on to be shown.
    """

    node: str
    pods: tuple[LocalPod, ...] = ()
    rulesets: Mapping[RulesetId, PolicyRuleset] = field(default_factory=dict)
    groups: Mapping[PodGroup, frozenset[str]] = field(default_factory=dict)
    named_ports: Mapping[NamedPortGroup, frozenset[Endpoint]] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    pod_cidrs: tuple[Cidr, ...] = ()
    mode: Mode = Mode.ENFORCE
