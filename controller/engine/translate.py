"""One policy to its rulesets: selectors become group references, ports become ranges and names.

Pure and local: nothing here knows which pods exist, so a policy is translated once per edit.
"""

from collections.abc import Iterator

from controller.engine.rulesets import (
    NamedPort,
    NamedPortGroup,
    PodGroup,
    PolicyRuleset,
    PortRange,
    RulesetId,
    RulesetRule,
)
from controller.engine.tiers import Action, Tier
from controller.objects.kinds import Direction, NetworkPolicy, Peer, PolicyPort, PolicyRule
from controller.objects.labels import EVERYTHING

ALL_PODS = PodGroup("", EVERYTHING, EVERYTHING)
"""Every live pod: where a named egress port may be when no selector narrows it (rules 2.24, 2.35)."""

LAST_PORT = 65535


def rulesets_of(policy: NetworkPolicy) -> tuple[PolicyRuleset, ...]:
    """One ruleset per direction the policy isolates, also where it has no rules (rules 2.4, 2.7)."""
    return tuple(
        PolicyRuleset(ruleset_id(policy, direction), tuple(_rules(policy, direction)))
        for direction in sorted(set(policy.directions))
    )


def ruleset_id(policy: NetworkPolicy, direction: Direction) -> RulesetId:
    """The identity of a policy's ruleset in one direction."""
    return RulesetId(Tier.NETWORK_POLICY, 0, policy.namespace, policy.name, direction)


def groups_of(ruleset: PolicyRuleset) -> Iterator[PodGroup | NamedPortGroup]:
    """Every group whose members the ruleset needs; a group may come more than once."""
    for rule in ruleset.rules:
        yield from rule.groups
        if ruleset.id.direction is Direction.EGRESS:
            yield from named_port_groups(rule)


def named_port_groups(rule: RulesetRule) -> Iterator[NamedPortGroup]:
    """An egress rule's named-port groups: of its groups; of all pods for blocks or any peer (2.24, 2.35)."""
    sources = rule.groups + ((ALL_PODS,) if rule.any_peer or rule.blocks else ())
    for pods in sources:
        for named in rule.named:
            yield NamedPortGroup(pods, named.name, named.protocol)


def _rules(policy: NetworkPolicy, direction: Direction) -> Iterator[RulesetRule]:
    for rule in policy.rules(direction):
        yield RulesetRule(
            path=f"spec.{direction.lower()}[{rule.index}]",
            action=Action.ACCEPT,
            any_peer=rule.peers is None,
            groups=_groups(policy.namespace, rule),
            blocks=tuple(sorted({peer.ip_block for peer in rule.peers or () if peer.ip_block is not None})),
            any_port=rule.ports is None,
            ports=tuple(
                sorted({_range(item) for item in rule.ports or () if not isinstance(item.port, str)})
            ),
            named=tuple(
                sorted(
                    {
                        NamedPort(item.protocol, item.port)
                        for item in rule.ports or ()
                        if isinstance(item.port, str)
                    }
                )
            ),
        )


def _groups(namespace: str, rule: PolicyRule) -> tuple[PodGroup, ...]:
    return tuple(sorted({_group(namespace, peer) for peer in rule.peers or () if peer.ip_block is None}))


def _group(namespace: str, peer: Peer) -> PodGroup:
    pods = peer.pod_selector or EVERYTHING
    if peer.namespace_selector is None:
        return PodGroup(namespace, None, pods)
    return PodGroup("", peer.namespace_selector, pods)


def _range(item: PolicyPort) -> PortRange:
    if item.port is None:
        return PortRange(item.protocol, 0, LAST_PORT)
    assert isinstance(item.port, int)  # noqa: S101 - names were taken out by the caller
    return PortRange(item.protocol, item.port, item.end_port or item.port)
