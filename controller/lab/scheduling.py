"""Which node a pod goes to: the one with the fewest pods of its workload, then the fewest at all. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from controller.lab.podspec import Node, Pod


def assign(pods: Iterable[Pod], nodes: Sequence[Node]) -> dict[str, str]:
    """A node for each pod that has none yet, by `namespace/name`.

    Pods that no node suits are missing from the answer. O(pods x nodes).
    """
    all_pods = [pod for pod in pods if not pod.is_terminating and not pod.has_ended]
    load = Counter(pod.node for pod in all_pods if pod.node)
    spread = Counter((pod.node, _kin(pod)) for pod in all_pods if pod.node)
    found: dict[str, str] = {}
    for pod in sorted((pod for pod in all_pods if not pod.node), key=lambda pod: pod.key):
        suited = [node.metadata.name for node in nodes if suits(node, pod.spec.node_selector)]
        if not suited:
            continue
        chosen = min(suited, key=lambda name: (spread[name, _kin(pod)], load[name], name))
        found[pod.key] = chosen
        load[chosen] += 1
        spread[chosen, _kin(pod)] += 1
    return found


def suits(node: Node, selector: dict[str, str] | None) -> bool:
    """Whether a node takes pods with this nodeSelector."""
    if node.spec.unschedulable or node.metadata.deletion_timestamp:
        return False
    return (selector or {}).items() <= (node.metadata.labels or {}).items()


def _kin(pod: Pod) -> str:
    owner = pod.controller
    return owner.uid if owner else pod.metadata.namespace
