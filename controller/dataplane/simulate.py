"""What the kernel would do with a packet, given a Ruleset: netfilter's walk through chains, in memory.

It knows rules and sets and nothing of policies, so that it can be set against the engine, which knows
policies and nothing of rules: the two must agree on every packet. It is also how a ruleset explains itself
without root. The semantics are those of ip_tables and the matches podgate uses, including the odd ones: a
match on the connection never matches a packet that has none, not even when negated.

Out of scope: fragments without a transport header, and rules that are not podgate's.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from controller.dataplane.ruleset import (
    AddressMatch,
    AddressSet,
    Chain,
    ConnmarkMatch,
    CtDirection,
    CtDirectionMatch,
    Drop,
    Goto,
    HairpinMatch,
    Jump,
    LimitMatch,
    Log,
    Match,
    PortMatch,
    ProtocolMatch,
    Return,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    SetType,
    Side,
    UntrackedMatch,
)
from controller.dataplane.validity import check_loadable
from controller.dataplane.words import Entry, parse_entry
from controller.engine.intervals import Interval, IntervalSet
from controller.objects.addresses import BITS


class Hook(StrEnum):
    """Where the packet passes: through the node, to the node itself, or from it."""

    FORWARD = "FORWARD"
    INPUT = "INPUT"
    OUTPUT = "OUTPUT"


class Verdict(StrEnum):
    """ACCEPT: podgate lets it pass, whatever others do to it then. DROP is final."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"


class NoConnection(StrEnum):
    """Why a packet has no connection: conntrack leaves it alone, or cannot make sense of it."""

    UNTRACKED = "UNTRACKED"
    INVALID = "INVALID"


class Conntrack(Struct, frozen=True):
    """A packet's connection: which way the packet goes in it, and the mark it carries so far."""

    direction: CtDirection = CtDirection.ORIGINAL
    mark: int = 0


NEW_CONNECTION = Conntrack()


class Packet(Struct, frozen=True):
    """A packet as it stands at its hook, after any DNAT; addresses as integers of the ruleset's family.

    `destination_port` is None for protocols without ports.
    """

    hook: Hook
    family: int
    source: int
    destination: int
    protocol: int
    destination_port: int | None = None
    conntrack: Conntrack | NoConnection = NEW_CONNECTION


class Step(NamedTuple):
    """A rule that matched: the chain it stands in, and its position there, from 0."""

    chain: str
    position: int
    rule: Rule


class Outcome(Struct, frozen=True):
    """The verdict, the connection's mark afterwards, and every rule that matched, in order.

    Without a connection the mark is 0.
    """

    verdict: Verdict
    mark: int
    trace: tuple[Step, ...]


def simulate(ruleset: Ruleset, packet: Packet) -> Outcome:
    """The fate of one packet; to judge many, prepare a `Simulator` once. Raises what that raises."""
    return Simulator(ruleset).run(packet)


class Simulator:
    """A ruleset prepared to judge many packets: O(rules + entries) once, then O(rules visited) a packet.

    Raises RulesetError for a ruleset that the kernel would refuse, UnreadableError for a set entry that ipset
    would refuse.
    """

    def __init__(self, ruleset: Ruleset) -> None:
        check_loadable(ruleset)
        self._family = ruleset.family
        sets = {each.name: _index(each, ruleset.family) for each in ruleset.sets}
        self._chains = {chain.name: tuple(_prepare_chain(chain, sets)) for chain in ruleset.chains}

    def run(self, packet: Packet) -> Outcome:
        """The fate of a packet. Raises ValueError for a packet of the other family."""
        if packet.family != self._family:
            raise ValueError(f"an IPv{packet.family} packet never meets IPv{self._family} rules")
        connection = packet.conntrack if isinstance(packet.conntrack, Conntrack) else None
        mark = connection.mark if connection else 0
        trace: list[Step] = []
        callers: list[_Frame] = []
        frame: _Frame | None = iter(self._chains.get(packet.hook, ()))
        while frame is not None:
            step = _next_match(frame, packet, mark)
            if step is None:
                frame = callers.pop() if callers else None
                continue
            trace.append(step)
            target = step.rule.target
            if isinstance(target, Drop):
                return Outcome(Verdict.DROP, mark, tuple(trace))
            if isinstance(target, SetConnmark):
                mark = mark & ~target.mask | target.value if connection else 0
            elif not isinstance(target, Log):  # which decides nothing
                frame = self._follow(target, frame, callers)
        return Outcome(Verdict.ACCEPT, mark, tuple(trace))

    def _follow(
        self, target: Jump | Goto | Return, frame: "_Frame", callers: list["_Frame"]
    ) -> "_Frame | None":
        """Where to go on; None past the end of the first chain. A goto leaves nothing to come back to."""
        if isinstance(target, Return):
            return callers.pop() if callers else None
        if isinstance(target, Jump):
            callers.append(frame)
        return iter(self._chains[target.chain])


_Test = Callable[[Packet, int], bool]
"""(packet, its connection's mark at this point) -> whether the match holds."""


class _PreparedRule(NamedTuple):
    """A rule with its address compares laid open: they decide most rules, and a call would cost more."""

    source_mask: int
    source_value: int
    destination_mask: int
    destination_value: int
    tests: tuple[_Test, ...]
    step: Step


_Frame = Iterator[_PreparedRule]
"""A chain as far as it has been walked."""


class _Lookup(NamedTuple):
    """How to look something up in a set: how many things it wants to know, and whether it holds them."""

    dimensions: int
    contains: Callable[[int, Packet], bool]


def _next_match(frame: Iterator[_PreparedRule], packet: Packet, mark: int) -> Step | None:
    """The next rule of the frame that matches; None at its end."""
    source, destination = packet.source, packet.destination
    for source_mask, source_value, destination_mask, destination_value, tests, step in frame:
        if source & source_mask != source_value or destination & destination_mask != destination_value:
            continue
        for test in tests:
            if not test(packet, mark):
                break
        else:
            return step
    return None


def _prepare_chain(chain: Chain, sets: dict[str, _Lookup]) -> Iterator[_PreparedRule]:
    for index, rule in enumerate(chain.rules):
        address = {each.side: each for each in rule.matches if isinstance(each, AddressMatch)}
        source, destination = (
            address.get(side, AddressMatch(side, value=0, mask=0)) for side in (Side.SOURCE, Side.DESTINATION)
        )
        tests = tuple(_test(match, sets) for match in rule.matches if not isinstance(match, AddressMatch))
        step = Step(chain.name, index, rule)
        yield _PreparedRule(source.mask, source.value, destination.mask, destination.value, tests, step)


def _test(match: Match, sets: dict[str, _Lookup]) -> _Test:  # noqa: PLR0911  one case per match type
    match match:
        case ProtocolMatch(number=number):
            return lambda packet, _: packet.protocol == number
        case PortMatch(ranges=ranges):
            ports = IntervalSet(ranges)
            return lambda packet, _: packet.destination_port is not None and packet.destination_port in ports
        case SetMatch():
            return _set_test(match, sets[match.name])
        case ConnmarkMatch(value=value, mask=mask, negated=negated):
            return lambda packet, mark: (
                isinstance(packet.conntrack, Conntrack) and (mark & mask == value) is not negated
            )
        case CtDirectionMatch(direction=direction):
            return lambda packet, _: (
                isinstance(packet.conntrack, Conntrack) and packet.conntrack.direction is direction
            )
        case UntrackedMatch():
            return lambda packet, _: packet.conntrack is NoConnection.UNTRACKED
        case HairpinMatch():
            return lambda packet, _: packet.source == packet.destination
        case LimitMatch():
            return lambda _packet, _mark: True  # of one packet, the first
        case AddressMatch():
            raise AssertionError("address matches are compared in place")


def _set_test(match: SetMatch, lookup: _Lookup) -> _Test:
    negated = match.negated
    if len(match.sides) < lookup.dimensions:
        # The kernel finds nothing in a set that is asked too little; negated, that matches every packet.
        return lambda _packet, _mark: negated
    contains = lookup.contains
    if match.sides[0] is Side.SOURCE:
        return lambda packet, _: contains(packet.source, packet) is not negated
    return lambda packet, _: contains(packet.destination, packet) is not negated


def _index(each: AddressSet, family: int) -> _Lookup:
    entries = [parse_entry(text, each.type, family) for text in each.entries]
    match each.type:
        case SetType.ADDRESSES:
            addresses = frozenset(entry.address for entry in entries)
            return _Lookup(1, lambda address, _: address in addresses)
        case SetType.NETWORKS:
            blocks = IntervalSet(_interval(entry, family) for entry in entries)
            return _Lookup(1, lambda address, _: address in blocks)
        case SetType.ENDPOINTS:
            endpoints = frozenset((entry.address, entry.protocol, entry.port) for entry in entries)
            return _Lookup(
                2, lambda address, packet: (address, packet.protocol, packet.destination_port) in endpoints
            )


def _interval(entry: Entry, family: int) -> Interval:
    return entry.address, entry.address | (1 << (BITS[family] - entry.prefix)) - 1
