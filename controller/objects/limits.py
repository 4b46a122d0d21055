"""How large a policy may be: what one tenant writes, the operator and every node have to carry.

Kubernetes limits a policy by its bytes alone, and a product grows faster than its text: a hundred named ports
times a hundred peers are 8 KB of text and 10,000 peer groups. So a direction of a policy that needs more than
this allows nothing: its pods stay isolated, and it is said why. The limits are ten times what policies in use
were seen to need, and a tenth of what hurts.
"""

from collections.abc import Iterable

from controller.objects.kinds import Direction, IPBlock, PolicyRule
from controller.objects.labels import LabelSelector
from controller.objects.report import Report

TOO_LARGE = "policy-too-large"
"""The code of the finding. An API server takes such a policy: the limits are ours."""
GROUPS_MAX = 500
"""Peer groups of one policy in one direction: each is kept up to date, an object, and a set of the kernel."""
RULES_MAX = 10_000
"""Rules of the kernel for one pod, from one policy in one direction."""
BLOCKS_MAX = 500_000
"""Entries of sets from the ipBlocks of one policy in one direction; a set takes 1,048,576."""

_PORTS_IN_RULE = 15
"""What one multiport match takes."""
_BLOCKS_IN_RULES = 4
"""Blocks up to this many are rules of their own, more are one set."""


def within_limits(
    rules: tuple[PolicyRule, ...], direction: Direction, report: Report
) -> tuple[PolicyRule, ...]:
    """The rules of a direction; none, and a finding, where they need more than a policy may. O(rules)."""
    needs = (
        (groups_needed(rules, direction), GROUPS_MAX, "peer groups"),
        (sum(map(_rules_of, rules)), RULES_MAX, "rules in the kernel for each pod"),
        (sum(map(_blocks_of, rules)), BLOCKS_MAX, "entries of sets for its ipBlocks and their exceptions"),
    )
    excess = [(needed, most, what) for needed, most, what in needs if needed > most]
    for needed, most, what in excess:
        message = f"needs {needed} {what}, and {most} are the most; no rule of it is applied"
        remedy = "split the policy, or say the same with fewer selectors, port names, ports or exceptions"
        report.error(TOO_LARGE, f"spec.{direction.lower()}", message, remedy)
    return () if excess else rules


def groups_needed(rules: Iterable[PolicyRule], direction: Direction) -> int:
    """Peer groups: one for each selector; for egress to a port by name, one more for each name at each.

    A port by name at a block or at anybody is looked for at all pods, which is one group (rule 2.35).
    """
    rules = tuple(rules)
    selectors = {selector for rule in rules for selector in _selectors(rule)}
    return len(selectors) + (sum(map(_endpoints_of, rules)) if direction is Direction.EGRESS else 0)


def _selectors(rule: PolicyRule) -> set[tuple[LabelSelector | None, LabelSelector | None]]:
    return {
        (peer.namespace_selector, peer.pod_selector) for peer in rule.peers or () if peer.ip_block is None
    }


def _endpoints_of(rule: PolicyRule) -> int:
    names = sum(isinstance(each.port, str) for each in rule.ports or ())
    anywhere = rule.peers is None or any(peer.ip_block is not None for peer in rule.peers)
    return names * (len(_selectors(rule)) + anywhere) if names else 0


def _rules_of(rule: PolicyRule) -> int:
    blocks = sum(peer.ip_block is not None for peer in rule.peers or ())
    selects = rule.peers is None or blocks < len(rule.peers)
    return rules_needed(len(rule.ports or ()), blocks, selects=selects)


def rules_needed(ports: int, blocks: int, *, selects: bool) -> int:
    """Rules of the kernel for one rule of a policy at most: a product of its ports and its peers.

    No ports are every port. All selectors together are one set.
    """
    return max(1, -(-ports // _PORTS_IN_RULE)) * (min(blocks, _BLOCKS_IN_RULES) + selects)


def _blocks_of(rule: PolicyRule) -> int:
    return sum(1 + holes_left(peer.ip_block) for peer in rule.peers or () if peer.ip_block is not None)


def holes_left(block: IPBlock) -> int:
    """Blocks that its exceptions leave of it at most: one for every bit that each of them is longer."""
    return sum(inner.prefix - block.cidr.prefix for inner in block.excepts)
