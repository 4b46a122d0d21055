"""What a node enforces is one object, and an API server takes none beyond 1.5 MiB.

One tenant with a policy of 100,000 ports, or a hundred policies on every pod, would else keep the whole node
from hearing of anybody's changes. So the largest policies of the namespace that needs most room are left out
until the rest fits. Their pods stay isolated: what cannot be said allows nothing.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from controller.engine.rulesets import NodeView, RulesetId
from controller.engine.tiers import Tier
from controller.engine.translate import groups_of


def without_the_largest(share: NodeView, surplus: int, size_of: Callable[[RulesetId], int]) -> NodeView:
    """The share without as many rulesets as make up for `surplus`; the same one where none may go.

    O(rulesets log rulesets + pods x their rulesets).
    """
    gone: set[RulesetId] = set()
    homes: dict[str, list[tuple[int, RulesetId]]] = {}
    for ruleset in share.rulesets:
        if ruleset.tier is Tier.NETWORK_POLICY:  # whose rules only allow: other tiers also deny
            homes.setdefault(ruleset.namespace, []).append((size_of(ruleset), ruleset))
    totals = {namespace: sum(size for size, _ in sizes) for namespace, sizes in homes.items()}
    for sizes in homes.values():
        sizes.sort()
    while surplus > 0 and any(homes.values()):
        namespace = max(totals, key=lambda each: (totals[each], each))
        size, ruleset = homes[namespace].pop()
        gone.add(ruleset)
        totals[namespace] -= size
        surplus -= size
    return _without(share, gone) if gone else share


def _without(share: NodeView, gone: Iterable[RulesetId]) -> NodeView:
    rulesets = {key: found for key, found in share.rulesets.items() if key not in gone}
    refs = {ref for found in rulesets.values() for ref in groups_of(found)}
    return replace(
        share,
        pods=tuple(
            replace(pod, rulesets=tuple(each for each in pod.rulesets if each not in gone))
            for pod in share.pods
        ),
        rulesets=rulesets,
        groups={ref: found for ref, found in share.groups.items() if ref in refs},
        named_ports={ref: found for ref, found in share.named_ports.items() if ref in refs},
    )
