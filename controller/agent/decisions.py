"""What a new target means for each policy, in the words of an operator: applied, with what, or removed.

Pure. Members that come and go are no decision: only rules and pods are compared.
"""

from collections.abc import Iterator
from typing import NamedTuple

from controller.agent.subscription import Target
from controller.engine.rulesets import LocalPod, NamedPortGroup, NodeView, PolicyRuleset, RulesetId
from controller.engine.tiers import Tier
from controller.engine.translate import groups_of
from controller.objects.kinds import Direction

_PolicyKey = tuple[Tier, int, str]


class Decision(NamedTuple):
    """A policy that concerns this node otherwise than before. `audited`: it only counts, at all of its pods.

    `chains` are the lists of rules with some of its, `addresses` those of its peers.
    """

    policy: str
    removed: bool = False
    pods: int = 0
    chains: int = 0
    addresses: int = 0
    audited: bool = False

    def sentence(self, node: str, seconds: float) -> str:
        """`policy shop/allow-web applied on node-2: 3 pods, 2 chains, 41 addresses, 3.1 ms`."""
        if self.removed:
            return f"policy {self.policy} removed from {node}: {seconds * 1000:.1f} ms"
        counts = ", ".join(
            _count(number, word)
            for number, word in ((self.pods, "pod"), (self.chains, "chain"), (self.addresses, "address"))
        )
        verb = "audited" if self.audited else "applied"
        return f"policy {self.policy} {verb} on {node}: {counts}, {seconds * 1000:.1f} ms"


class _Use(NamedTuple):
    """A policy on a node: its rules, and the pods that obey them."""

    rulesets: tuple[PolicyRuleset, ...]
    pods: tuple[LocalPod, ...]


def decisions(old: Target | None, new: Target) -> list[Decision]:
    """The policies that differ, sorted; none where only members do. O(pods x rulesets)."""
    if old is not None and old.view.rulesets is new.view.rulesets and old.view.pods == new.view.pods:
        return []
    before = {} if old is None else _uses(old.view)
    after = _uses(new.view)
    found = [_applied(key, use, new.view) for key, use in after.items() if before.get(key) != use]
    found += [Decision(key[2], removed=True) for key in before.keys() - after.keys()]
    return sorted(found)


def _uses(view: NodeView) -> dict[_PolicyKey, _Use]:
    rulesets: dict[_PolicyKey, list[PolicyRuleset]] = {}
    for ruleset in view.rulesets.values():
        rulesets.setdefault(_key(ruleset.id), []).append(ruleset)
    pods: dict[_PolicyKey, list[LocalPod]] = {}
    for pod in view.pods:
        for key in {_key(ruleset) for ruleset in pod.rulesets}:
            pods.setdefault(key, []).append(pod)
    return {key: _Use(tuple(found), tuple(pods.get(key, ()))) for key, found in rulesets.items()}


def _key(ruleset: RulesetId) -> _PolicyKey:
    return ruleset.tier, ruleset.priority, ruleset.policy


def _applied(key: _PolicyKey, use: _Use, view: NodeView) -> Decision:
    return Decision(
        policy=key[2],
        pods=len(use.pods),
        chains=len({lists for pod in use.pods for lists in _lists(pod, use)}),
        addresses=len({address for ruleset in use.rulesets for address in _addresses(ruleset, view)}),
        audited=bool(use.pods) and all(pod.audits(each) for pod in use.pods for each in _own(pod, use)),
    )


def _own(pod: LocalPod, use: _Use) -> Iterator[RulesetId]:
    return (ruleset.id for ruleset in use.rulesets if ruleset.id in pod.rulesets)


def _lists(pod: LocalPod, use: _Use) -> Iterator[tuple[object, ...]]:
    """What makes a list of rules of this pod another than those of other pods (`dataplane.profiles`)."""
    for ruleset in use.rulesets:
        direction = ruleset.id.direction
        ids = tuple(sorted(each for each in pod.rulesets if each.direction is direction))
        if ruleset.id in ids:
            yield direction, ids, pod.named_ports if direction is Direction.INGRESS else ()


def _addresses(ruleset: PolicyRuleset, view: NodeView) -> Iterator[str]:
    for group in groups_of(ruleset):
        if isinstance(group, NamedPortGroup):
            yield from (address for address, _, _ in view.named_ports[group])
        else:
            yield from view.groups[group]


def _count(number: int, word: str) -> str:
    plural = "es" if word.endswith("s") else "s"
    return f"{number} {word}{'' if number == 1 else plural}"
