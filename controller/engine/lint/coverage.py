"""Which selector, peer or port list allows at least what another one allows, whoever lives in the cluster.

Judged on what is written, not on the pods of today: a rule is only called superfluous when no future pod can
make a difference. Every answer "covers" is a proof; "does not cover" may also mean that none was found.
"""

from collections.abc import Iterable, Iterator
from functools import reduce

from msgspec import Struct

from controller.engine.blocks import block_addresses
from controller.engine.connections import ALL_PORTS, NOTHING, ConnectionSet
from controller.engine.connections import EVERYTHING as EVERY_CONNECTION
from controller.objects.kinds import IPBlock, Peer, PolicyPort, PolicyRule, Protocol
from controller.objects.labels import EVERYTHING, NAME_LABEL, LabelSelector, Operator, Requirement


def selector_covers(wide: LabelSelector, narrow: LabelSelector) -> bool:
    """Whether every label set that `narrow` matches is matched by `wide`. O(requirements of both)."""
    return all(any(_implies(known, wanted) for known in narrow.requirements) for wanted in wide.requirements)


def contradiction(selector: LabelSelector) -> str:
    """The label key on which a selector asks for what no label set can have, or "". O(requirements)."""
    by_key: dict[str, list[Requirement]] = {}
    for requirement in selector.requirements:
        by_key.setdefault(requirement.key, []).append(requirement)
    return next((key for key, found in by_key.items() if not _can_hold(found)), "")


def fixed_pairs(selector: LabelSelector) -> Iterator[tuple[str, str]]:
    """The labels that all a selector matches must have with one value: what selectors are indexed by."""
    for requirement in selector.requirements:
        if requirement.operator is Operator.IN and len(requirement.values) == 1:
            yield requirement.key, requirement.values[0]


def namespace_selector(peer: Peer, namespace: str) -> LabelSelector:
    """The namespaces a selector peer looks in; without a namespaceSelector the policy's own (rule 2.12)."""
    if peer.namespace_selector is not None:
        return peer.namespace_selector
    return LabelSelector.of({NAME_LABEL: namespace})


def pod_selector(peer: Peer) -> LabelSelector:
    """The pods a selector peer picks; all of them without a podSelector (rule 2.13)."""
    return EVERYTHING if peer.pod_selector is None else peer.pod_selector


def peer_covers(wide: Peer | None, narrow: Peer | None, namespace: str) -> bool:
    """Whether `wide` matches all that `narrow` matches, for policies of one namespace; None is any peer.

    A block never covers selectors, whose pods may get any address, nor the other way round.
    """
    if wide is None or narrow is None:
        return wide is None
    if wide.ip_block is not None or narrow.ip_block is not None:
        return _block_covers(wide.ip_block, narrow.ip_block)
    return selector_covers(
        namespace_selector(wide, namespace), namespace_selector(narrow, namespace)
    ) and selector_covers(pod_selector(wide), pod_selector(narrow))


class Ports(Struct, frozen=True):
    """What a rule's `ports` allow: connections by number, and ports by name, which stay names here."""

    numbers: ConnectionSet = NOTHING
    names: frozenset[tuple[Protocol, str]] = frozenset()

    @classmethod
    def of_rule(cls, rule: PolicyRule) -> "Ports":
        """The ports of a rule; none listed is any port of any protocol (rule 2.11)."""
        if rule.ports is None:
            return cls(EVERY_CONNECTION)
        return reduce(Ports.__or__, map(cls.of_item, rule.ports), cls())

    @classmethod
    def of_item(cls, item: PolicyPort) -> "Ports":
        """One item of `ports` (rules 2.32, 2.33)."""
        if isinstance(item.port, str):
            return cls(names=frozenset({(item.protocol, item.port)}))
        if item.port is None:
            return cls(ConnectionSet.of([(item.protocol, *ALL_PORTS.intervals[0])]))
        return cls(ConnectionSet.of([(item.protocol, item.port, item.end_port or item.port)]))

    def __or__(self, other: "Ports") -> "Ports":
        return Ports(self.numbers | other.numbers, self.names | other.names)

    def __sub__(self, other: "Ports") -> "Ports":
        """What the other does not allow; a name is allowed with every port of its protocol."""
        names = frozenset(
            (protocol, name)
            for protocol, name in self.names - other.names
            if other.numbers.ports(protocol) != ALL_PORTS
        )
        return Ports(self.numbers - other.numbers, names)

    def __bool__(self) -> bool:
        return bool(self.numbers or self.names)


def _block_covers(wide: IPBlock | None, narrow: IPBlock | None) -> bool:
    if wide is None or narrow is None or not wide.cidr.contains(narrow.cidr):
        return False
    return not wide.excepts or not block_addresses(narrow) - block_addresses(wide)


def _implies(known: Requirement, wanted: Requirement) -> bool:
    """Whether a label set that meets `known` must meet `wanted` (rule 2.16)."""
    if known.key != wanted.key:
        return False
    values = set(wanted.values)
    match wanted.operator, known.operator:
        case Operator.IN, Operator.IN:
            return values.issuperset(known.values)
        case Operator.NOT_IN, Operator.IN:
            return values.isdisjoint(known.values)
        case Operator.NOT_IN, Operator.NOT_IN:
            return values.issubset(known.values)
        case wanted_operator, known_operator:
            return (wanted_operator, known_operator) in _IMPLIED


_IMPLIED = frozenset(
    {
        (Operator.EXISTS, Operator.IN),
        (Operator.EXISTS, Operator.EXISTS),
        (Operator.NOT_IN, Operator.DOES_NOT_EXIST),
        (Operator.DOES_NOT_EXIST, Operator.DOES_NOT_EXIST),
    }
)
"""(wanted, known) operators where the values do not matter."""


def _can_hold(requirements: Iterable[Requirement]) -> bool:
    """Whether one label can meet several requirements on its key."""
    present = absent = False
    allowed: set[str] | None = None
    refused: set[str] = set()
    for requirement in requirements:
        if requirement.operator is Operator.IN:
            allowed = set(requirement.values) if allowed is None else allowed & set(requirement.values)
        elif requirement.operator is Operator.NOT_IN:
            refused.update(requirement.values)
        elif requirement.operator is Operator.EXISTS:
            present = True
        else:
            absent = True
    if absent:
        return not present and allowed is None
    return allowed is None or bool(allowed - refused)
