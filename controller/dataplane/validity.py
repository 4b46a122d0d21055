"""What the kernel and its tools would refuse, found before they are asked.

`Ruleset` can hold values that no iptables text says, or that iptables would silently read as something else:
a masked address with bits outside its mask, ports without a protocol, a jump to nowhere. One such rule fails
the commit of all rules, or worse, enforces something that was not meant. Render and simulate accept only what
passes here.
"""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from controller.dataplane.ruleset import (
    CHAIN_NAME_MAX,
    SET_NAME_MAX,
    AddressMatch,
    Chain,
    ConnmarkMatch,
    Goto,
    Jump,
    LimitMatch,
    Log,
    Match,
    PortMatch,
    ProtocolMatch,
    Rule,
    Ruleset,
    SetConnmark,
    SetMatch,
    Side,
)
from controller.objects.addresses import BITS

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
"""The protocols podgate names in rules, as iptables-save prints them; others have no text here."""

TRANSPORTS = frozenset({6, 17, 132})
"""Protocols with ports, each with an iptables match of its own name."""

MULTIPORT_SLOTS = 15

ENTRY_CHAINS = ("FORWARD", "INPUT")
"""Chains of the kernel that podgate enters from and does not own."""

LIMIT_MAX = 100
"""Packets a second up to which legacy iptables keeps every limit as it was said (it counts in 0.1 ms)."""

_LOG_GROUP_MAX = 65535
_LOG_PREFIX = re.compile(r"[a-z-]{1,63}", re.ASCII)
_CHAIN_NAME = re.compile(r"PODGATE(?:-[0-9A-Za-z]+)*", re.ASCII)
_SET_NAME = re.compile(r"pg([46])(?:-[0-9A-Za-z]+)+", re.ASCII)
_MARK_MAX = 0xFFFFFFFF


class RulesetError(ValueError):
    """A value that cannot be loaded as it stands; the message names the chain, rule or set."""


def is_own_chain(name: str) -> bool:
    """Whether a chain is podgate's by its name: `PODGATE`, `PODGATE-IN`, ..., and not `PODGATEWAY`."""
    return _CHAIN_NAME.fullmatch(name) is not None


def is_own_set(name: str, family: int) -> bool:
    """Whether a set is podgate's and of this family by its name: `pg4-...` or `pg6-...`."""
    found = _SET_NAME.fullmatch(name)
    return found is not None and found[1] == str(family)


def check_loadable(ruleset: Ruleset) -> None:
    """Raise RulesetError for what the kernel or its tools would refuse, or take as something else; O(rules).

    Every name is legal, ours and there once; every reference has its object; no chain leads back to itself;
    every rule passes `check_rule`.
    """
    if ruleset.family not in BITS:
        raise RulesetError(f"no address family {ruleset.family}")
    sets = _unique_names("set", [each.name for each in ruleset.sets])
    chains = _unique_names("chain", [each.name for each in ruleset.chains])
    for name in sets:
        check_set_name(name, ruleset.family)
    for chain in ruleset.chains:
        _check_chain(chain, ruleset.family, chains, sets)
    _check_no_loop(ruleset)


def check_set_name(name: str, family: int) -> None:
    """Raise RulesetError unless the name is ours, of this family, and short enough for ipset."""
    if not is_own_set(name, family) or len(name) > SET_NAME_MAX:
        raise RulesetError(f"{name!r} is no set name: pg{family}-..., at most {SET_NAME_MAX} characters")


def check_chain_name(name: str) -> None:
    """Raise RulesetError unless the name is ours and short enough for iptables."""
    if not is_own_chain(name) or len(name) > CHAIN_NAME_MAX:
        raise RulesetError(f"{name!r} is no chain name: PODGATE-..., at most {CHAIN_NAME_MAX} characters")


def check_rule(rule: Rule, family: int) -> None:
    """Raise RulesetError unless the rule has a text that means exactly what the values mean."""
    _check_repetition(rule)
    for match in rule.matches:
        _check_match(match, family)
    if _has_ports(rule) and not TRANSPORTS.intersection(_protocols(rule)):
        raise RulesetError(f"ports need a protocol that has them, tcp, udp or sctp: {rule}")
    if isinstance(rule.target, Jump | Goto):
        check_chain_name(rule.target.chain)
    if isinstance(rule.target, SetConnmark):
        _check_mark(rule.target.value, rule.target.mask)
    if isinstance(rule.target, Log):
        _check_log(rule.target)


def _check_log(log: Log) -> None:
    if not 0 < log.group <= _LOG_GROUP_MAX or not _LOG_PREFIX.fullmatch(log.prefix):
        raise RulesetError(f"group {log.group} and prefix {log.prefix!r} are no place to log to")


def _unique_names(kind: str, names: list[str]) -> frozenset[str]:
    unique = frozenset(names)
    if len(unique) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RulesetError(f"{kind} {twice} is there twice")
    return unique


def _check_chain(chain: Chain, family: int, chains: frozenset[str], sets: frozenset[str]) -> None:
    if chain.name not in ENTRY_CHAINS:
        check_chain_name(chain.name)
    for index, rule in enumerate(chain.rules):
        try:
            check_rule(rule, family)
            _check_references(rule, chains, sets)
            # Anything else there would be indistinguishable from a rule of somebody else's.
            if chain.name in ENTRY_CHAINS and not isinstance(rule.target, Jump | Goto):
                raise RulesetError("a rule here can only lead to a chain of podgate")  # noqa: TRY301
        except RulesetError as error:
            raise RulesetError(f"{chain.name}[{index}]: {error}") from None


def _check_references(rule: Rule, chains: frozenset[str], sets: frozenset[str]) -> None:
    if isinstance(rule.target, Jump | Goto) and rule.target.chain not in chains:
        raise RulesetError(f"chain {rule.target.chain} does not exist")
    for match in rule.matches:
        if isinstance(match, SetMatch) and match.name not in sets:
            raise RulesetError(f"set {match.name} does not exist")


def _check_repetition(rule: Rule) -> None:
    """One match of each kind, one address match of each side; only set lookups may be repeated."""
    kinds = [
        (type(match), match.side if isinstance(match, AddressMatch) else None)
        for match in rule.matches
        if not isinstance(match, SetMatch)
    ]
    if len(kinds) != len(set(kinds)):
        raise RulesetError(f"a rule tests each thing once: {rule}")


def _check_match(match: Match, family: int) -> None:
    match match:
        case AddressMatch(value=value, mask=mask):
            if not 0 < mask < 1 << BITS[family] or value & ~mask:
                raise RulesetError(f"value {value:#x} and mask {mask:#x} are no IPv{family} address test")
        case ProtocolMatch(number=number):
            if number not in PROTOCOLS:
                raise RulesetError(f"protocol {number} has no name here")
        case PortMatch(ranges=ranges):
            _check_ports(ranges)
        case SetMatch(name=name, sides=sides):
            check_set_name(name, family)
            if len(sides) not in {1, 2} or sides[1:] == (Side.SOURCE,):
                raise RulesetError(f"set {name} takes an address, or an address and the destination port")
        case ConnmarkMatch(value=value, mask=mask):
            _check_mark(value, mask)
        case LimitMatch(per_second=rate, burst=burst):
            _check_limit(rate, burst)
        case _:
            pass


def _check_limit(rate: int, burst: int) -> None:
    if not 0 < rate <= LIMIT_MAX or not 0 < burst <= LIMIT_MAX:
        raise RulesetError(f"a limit is of 1 to {LIMIT_MAX} packets a second, not {rate} (burst {burst})")


def _check_ports(ranges: tuple[tuple[int, int], ...]) -> None:
    if not ranges or not all(0 <= first <= last <= 65535 for first, last in ranges):
        raise RulesetError(f"{ranges} are no port ranges")
    if len(ranges) > 1 and port_slots(ranges) > MULTIPORT_SLOTS:
        raise RulesetError(f"{ranges} need more than the {MULTIPORT_SLOTS} slots of one multiport")


def port_slots(ranges: tuple[tuple[int, int], ...]) -> int:
    """How many of multiport's slots the ranges take: a port one, a range two."""
    return sum(1 if first == last else 2 for first, last in ranges)


def _check_mark(value: int, mask: int) -> None:
    # `--mark 3/1` never matches and `--set-xmark 3/1` flips a bit outside its mask: neither is ever meant.
    if not 0 <= mask <= _MARK_MAX or value < 0 or value & ~mask:
        raise RulesetError(f"mark {value:#x}/{mask:#x} has bits outside its mask, or more than 32")


def _check_no_loop(ruleset: Ruleset) -> None:
    following = {chain.name: tuple(_targets(chain)) for chain in ruleset.chains}
    try:
        TopologicalSorter(following).prepare()
    except CycleError as error:
        raise RulesetError(f"chains lead back to themselves: {' '.join(error.args[1])}") from None


def _targets(chain: Chain) -> Iterator[str]:
    for rule in chain.rules:
        if isinstance(rule.target, Jump | Goto):
            yield rule.target.chain


def _has_ports(rule: Rule) -> bool:
    return any(isinstance(match, PortMatch) for match in rule.matches)


def _protocols(rule: Rule) -> Iterator[int]:
    return (match.number for match in rule.matches if isinstance(match, ProtocolMatch))
