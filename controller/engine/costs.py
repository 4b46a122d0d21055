"""What rulesets cost a node beside their text, in bytes of the room of a NodePolicy.

An exception leaves a block for every bit that it is longer, and pods that do not share all of their policies
have the rules of those that they share once for each list of rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from controller.engine.rulesets import LocalPod, NodeView, PolicyRuleset, RulesetId, RulesetRule
from controller.objects.kinds import Direction
from controller.objects.limits import holes_left, rules_needed

_BLOCK_COST = 2
"""For each block that an exception leaves: 600,000 of them are 170 MB of an agent's memory."""
_RULE_COST = 12
"""For each rule of the kernel in each list of rules: 100,000 of them are 230 MB, and 8 s to compile."""
_CACHED = 1 << 16
"""Rulesets: more than a cluster of 10,000 policies has."""


def costs_of(share: NodeView) -> Mapping[RulesetId, int]:
    """What each ruleset of a share costs. O(pods x their rulesets)."""
    lists = Counter(ruleset for each in _lists(share.pods) for ruleset in each)
    return {key: _cost(ruleset, lists[key]) for key, ruleset in share.rulesets.items()}


def _lists(pods: Iterable[LocalPod]) -> Iterable[Iterable[RulesetId]]:
    """The rulesets of each list of rules: of one direction, and for ports by name of one set of numbers."""
    found = {
        (direction, pod.rulesets, pod.named_ports if direction is Direction.INGRESS else ())
        for pod in pods
        if pod.rulesets
        for direction in Direction
    }
    return ([each for each in ids if each.direction is direction] for direction, ids, _ in found)


def _cost(ruleset: PolicyRuleset, lists: int) -> int:
    holes, rules = _needs(ruleset)
    return _BLOCK_COST * holes + _RULE_COST * rules * lists


@lru_cache(maxsize=_CACHED)
def _needs(ruleset: PolicyRuleset) -> tuple[int, int]:
    """Blocks that exceptions leave, and rules in one list, at most."""
    holes = sum(holes_left(block) for rule in ruleset.rules for block in rule.blocks)
    return holes, sum(map(_rules_of, ruleset.rules))


def _rules_of(rule: RulesetRule) -> int:
    return rules_needed(len(rule.ports), len(rule.blocks), selects=rule.any_peer or bool(rule.groups))
