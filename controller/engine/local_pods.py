"""What a node is told of one of its pods: where it is isolated, where only audited, and by which rulesets.

Policies that are enforced decide alone; those in audit mode are told only in directions in which no other
isolates the pod, as there they count what they would deny and everywhere else they have no effect.
"""

from collections.abc import Iterable, Mapping

from controller.engine.inventory import LabelSet, LivePod
from controller.engine.rulesets import LocalPod, PolicyRuleset, RulesetId
from controller.engine.translate import ruleset_id
from controller.objects.kinds import ContainerPort, Direction, Mode, NetworkPolicy

BOTH = (Direction.EGRESS, Direction.INGRESS)


def local_pod(
    live: LivePod, label_set: LabelSet, rulesets: Mapping[RulesetId, PolicyRuleset], mode: Mode
) -> LocalPod:
    """A pod that can be read, and its label set. `mode` is that of the cluster. O(its policies)."""
    namespace, name = live.key
    enforced, audited = _by_mode(label_set.policies.values(), label_set.namespace.mode or mode)
    isolated = {ruleset.direction for ruleset in enforced}
    counting = {ruleset for ruleset in audited if ruleset.direction not in isolated}
    ids = sorted(enforced | counting)
    return LocalPod(
        namespace,
        name,
        live.ips,
        isolated=tuple(sorted(isolated)),
        rulesets=tuple(ids),
        named_ports=_named_ports(live, map(rulesets.__getitem__, ids)),
        audited=tuple(sorted({ruleset.direction for ruleset in counting})),
    )


def quarantined_pod(live: LivePod, *, is_shut: bool) -> LocalPod:
    """A pod that cannot be read: isolated in both directions without rules, or only audited in both."""
    namespace, name = live.key
    if is_shut:
        return LocalPod(namespace, name, live.ips, isolated=BOTH)
    return LocalPod(namespace, name, live.ips, audited=BOTH)


def _by_mode(policies: Iterable[NetworkPolicy], mode: Mode) -> tuple[set[RulesetId], set[RulesetId]]:
    """The rulesets that are enforced, and those in audit mode; `mode` is of policies that say nothing."""
    enforced: set[RulesetId] = set()
    audited: set[RulesetId] = set()
    for policy in policies:
        ids = {ruleset_id(policy, direction) for direction in policy.directions}
        (audited if (policy.mode or mode) is Mode.AUDIT else enforced).update(ids)
    return enforced, audited


def _named_ports(live: LivePod, rulesets: Iterable[PolicyRuleset]) -> tuple[ContainerPort, ...]:
    """The ports of a pod that its ingress rules name (rule 2.34).

    Others would only make equal pods look different.
    """
    named = {
        (port.name, port.protocol)
        for ruleset in rulesets
        if ruleset.id.direction is Direction.INGRESS
        for rule in ruleset.rules
        for port in rule.named
    }
    return tuple(sorted(port for port in live.ports if (port.name, port.protocol) in named))
