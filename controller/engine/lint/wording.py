"""Names, lists and counts as they stand in messages: short, whatever the input."""

from collections.abc import Iterable

from controller.engine.lint.lookalikes import Lookalikes, pods_of
from controller.objects.kinds import Pod
from controller.objects.labels import LabelSelector

MOST_NAMES = 3
"""Names that a message lists before it says how many more there are."""

_LONGEST_SELECTOR = 120


def names_of(found: Iterable[Lookalikes]) -> str:
    """For people: `shop/web, shop/cart and 4 more`, by workload where there is one."""
    names = sorted({owner_of(pod) for pod in pods_of(found)})
    return listed(names)


def owner_of(pod: Pod) -> str:
    """`shop/web`: the workload of a pod, or the pod itself."""
    return f"{pod.namespace}/{pod.workload.name if pod.workload is not None else pod.name}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`, or `a, b, c and 4 more`."""
    shown = list(names)
    if len(shown) > MOST_NAMES + 1:
        return f"{', '.join(shown[:MOST_NAMES])} and {len(shown) - MOST_NAMES} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def asked(selector: LabelSelector) -> str:
    """What a selector asks for: `app=web,tier in (a,b)`."""
    text = str(selector)
    return text if len(text) <= _LONGEST_SELECTOR else f"{text[:_LONGEST_SELECTOR]}..."
