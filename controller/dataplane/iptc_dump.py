"""What python-iptables finds in the kernel, as JSON, and that JSON as our values.

`iptc_reader` fills these types from the kernel's own structures in a process of its own. Here they become the
values that `parse` makes of iptables-save, by code that shares nothing with it but the spelling of numbers:
two readers are worth having as far as they can err independently. Pure.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from controller.dataplane.readback import SPOILT
from controller.dataplane.render import HAIRPIN_BYTECODE, canonical_order
from controller.dataplane.ruleset import (
    AddressMatch,
    Chain,
    ConnmarkMatch,
    CtDirection,
    CtDirectionMatch,
    Drop,
    Goto,
    HairpinMatch,
    Jump,
    Match,
    PortMatch,
    ProtocolMatch,
    Return,
    Rule,
    SetConnmark,
    SetMatch,
    Side,
    Target,
    UntrackedMatch,
)
from controller.dataplane.validity import ENTRY_CHAINS, RulesetError, check_rule, is_own_chain
from controller.dataplane.words import UnreadableError, read_address, read_number


class Extension(Struct, frozen=True):
    """A match or target by its name, with its options as libxtables prints them: `{"dport": ("80",)}`.

    The values of a negated option begin with "!".
    """

    name: str
    options: dict[str, tuple[str, ...]] = {}


class DumpedRule(Struct, frozen=True, tag="rule"):
    """One ipt_entry or ip6t_entry: its header in the kernel's numbers, its matches, its target.

    `source` and `destination` are address and mask, both as addresses. `flags` and `inverted` are the bits of
    the header's `flags` and `invflags`; `interfaces` whether it tests one.
    """

    source: tuple[str, str]
    destination: tuple[str, str]
    protocol: int
    flags: int
    inverted: int
    interfaces: bool
    target: Extension
    matches: tuple[Extension, ...] = ()


class Undecoded(Struct, frozen=True, tag="undecoded"):
    """A rule that was not decoded, and why: nothing podgate writes."""

    reason: str


class DumpedChain(Struct, frozen=True):
    """A chain of ours with all its rules; or FORWARD or INPUT, with those that lead to ours.

    `foreign_first`: somebody else's rule stands above all of `rules`.
    """

    name: str
    rules: tuple[DumpedRule | Undecoded, ...]
    foreign_first: bool = False


class Reading(Struct, frozen=True):
    """Our chains, sorted, and what is wrong beside them, in words.

    A chain with a rule that podgate never writes has the rules `SPOILT`, which equal none.
    """

    chains: tuple[Chain, ...]
    faults: tuple[str, ...] = ()


def dump_text(chains: Iterable[DumpedChain]) -> bytes:
    """The chains as JSON."""
    return msgspec.json.encode(tuple(chains))


def read_dump(text: str, family: int) -> Reading:
    """The inverse of `dump_text`, as our values. Raises UnreadableError where the text is no dump."""
    try:
        dumped = msgspec.json.decode(text, type=tuple[DumpedChain, ...])
    except msgspec.MsgspecError as error:
        raise UnreadableError(f"this is no list of chains: {error}") from None
    chains: list[Chain] = []
    faults: list[str] = []
    for each in sorted(dumped, key=lambda chain: chain.name):
        if each.name in ENTRY_CHAINS:
            rules, strays = _entry_rules(each, family)
            faults.extend(strays)
            if rules:
                chains.append(Chain(each.name, rules))
        else:
            chains.append(Chain(each.name, _own_rules(each, family)))
    faults.extend(
        f"a foreign rule stands above podgate's in {each.name}" for each in dumped if each.foreign_first
    )
    return Reading(tuple(chains), tuple(faults))


def read_rule(dumped: DumpedRule, family: int) -> Rule:
    """One rule as a value. Raises UnreadableError for whatever podgate never writes."""
    _check_header(dumped, family)
    matches: list[Match] = [*_addresses(dumped, family), *_protocol(dumped, family)]
    comments: list[str] = []
    for each in dumped.matches:
        if each.name == "comment":
            comments.append(_value(each, "comment"))
        else:
            matches.append(_match(each, family))
    if len(comments) > 1:
        raise UnreadableError("podgate writes one comment")
    goto = bool(dumped.flags & _GOTO_FLAG[family])
    rule = Rule(canonical_order(matches), _target(dumped.target, goto=goto), "".join(comments))
    try:
        check_rule(rule, family)
    except RulesetError as error:
        raise UnreadableError(str(error)) from None
    return rule


def _own_rules(chain: DumpedChain, family: int) -> tuple[Rule, ...]:
    try:
        return tuple(_decoded(each, family) for each in chain.rules)
    except UnreadableError:
        return SPOILT


def _entry_rules(chain: DumpedChain, family: int) -> tuple[tuple[Rule, ...], list[str]]:
    """The rules that are podgate's, and words about the others."""
    rules: list[Rule] = []
    strays: list[str] = []
    for each in chain.rules:
        try:
            rules.append(_decoded(each, family))
        except UnreadableError as error:
            strays.append(f"a rule of {chain.name} that is not podgate's leads into its chains: {error}")
    return tuple(rules), strays


def _decoded(each: DumpedRule | Undecoded, family: int) -> Rule:
    if isinstance(each, Undecoded):
        raise UnreadableError(each.reason)
    return read_rule(each, family)


# The header

_GOTO_FLAG = {4: 0x02, 6: 0x04}
"""IPT_F_GOTO and IP6T_F_GOTO of linux/netfilter_ipv{4,6}/ip{,6}_tables.h."""

_PROTOCOL_FLAG = 0x01
"""IP6T_F_PROTO: the rule tests the protocol. IPv4 has no such flag; the protocol is tested if it is not 0."""


def _check_header(dumped: DumpedRule, family: int) -> None:
    known = _GOTO_FLAG[family] | (_PROTOCOL_FLAG if family == 6 else 0)
    if dumped.flags & ~known:
        raise UnreadableError(f"the header has flags {dumped.flags:#x}")
    if dumped.inverted:
        raise UnreadableError("the header inverts a test")
    if dumped.interfaces:
        raise UnreadableError("the header tests an interface")
    if family == 6 and bool(dumped.flags & _PROTOCOL_FLAG) != bool(dumped.protocol):
        raise UnreadableError(f"the header says of protocol {dumped.protocol} both to test it and not to")


def _addresses(dumped: DumpedRule, family: int) -> Iterator[AddressMatch]:
    for side, (address, mask_text) in (
        (Side.SOURCE, dumped.source),
        (Side.DESTINATION, dumped.destination),
    ):
        value, mask = read_address(address, family), read_address(mask_text, family)
        if value or mask:
            yield AddressMatch(side, value, mask)


def _protocol(dumped: DumpedRule, family: int) -> Iterator[ProtocolMatch]:
    if dumped.protocol:
        yield ProtocolMatch(dumped.protocol)
    if any(
        each.name in _PORT_MATCHES and _PORT_MATCHES[each.name] != dumped.protocol for each in dumped.matches
    ):
        raise UnreadableError(f"an IPv{family} rule tests ports of another protocol than its own")


# Matches and targets

_PORT_MATCHES = {"tcp": 6, "udp": 17, "sctp": 132}
_ALL_PORTS = ((0, 65535),)


def _match(each: Extension, family: int) -> Match:
    match each.name:
        case "tcp" | "udp" | "sctp":
            return PortMatch(_ports(_value(each, "dport")) if each.options else _ALL_PORTS)
        case "multiport":
            return PortMatch(_ports(_value(each, "dports")))
        case "connmark":
            negated, (mark,) = _values(each, "mark", 1)
            return ConnmarkMatch(*_mark(mark), negated)
        case "conntrack":
            return _conntrack(each)
        case "set":
            negated, (name, sides) = _values(each, "match-set", 2)
            return SetMatch(name, tuple(_side(side) for side in sides.split(",")), negated)
        case "bpf" if _value(each, "bytecode") == HAIRPIN_BYTECODE[family]:
            return HairpinMatch()
    raise UnreadableError(f"match {each.name} {dict(each.options)} is nothing podgate writes")


def _conntrack(each: Extension) -> Match:
    if "ctstate" in each.options:
        if _value(each, "ctstate") != "UNTRACKED":
            raise UnreadableError(f"connection state {each.options['ctstate']} is nothing podgate tests")
        return UntrackedMatch()
    try:
        return CtDirectionMatch(CtDirection(_value(each, "ctdir")))
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def _target(target: Extension, *, goto: bool) -> Target:
    if target.name == "CONNMARK" and not goto:
        return SetConnmark(*_mark(_value(target, "set-xmark")))
    if target.options:
        raise UnreadableError(f"target {target.name} {dict(target.options)} is nothing podgate writes")
    if is_own_chain(target.name):
        return Goto(target.name) if goto else Jump(target.name)
    match target.name:
        case "RETURN" if not goto:
            return Return()
        case "DROP" if not goto:
            return Drop()
    raise UnreadableError(f"target {target.name} is nothing podgate writes")


# Options

_NEGATION = ("!",)


def _value(each: Extension, option: str) -> str:
    """The only value of the only option there may be."""
    negated, (value,) = _values(each, option, 1)
    if negated:
        raise UnreadableError(f"podgate does not negate {each.name} --{option}")
    return value


def _values(each: Extension, option: str, count: int) -> tuple[bool, tuple[str, ...]]:
    """Whether the only option there may be is negated, and its values, so many."""
    values = each.options.get(option, ())
    negated = len(values) == count + 1 and values[:1] == _NEGATION
    values = values[1:] if negated else values
    if set(each.options) != {option} or len(values) != count:
        raise UnreadableError(f"{each.name} {dict(each.options)} is nothing podgate writes")
    return negated, values


def _ports(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for each in text.split(","):
        first, _, last = each.partition(":")
        ranges.append((read_number(first), read_number(last or first)))
    return tuple(ranges)


def _mark(text: str) -> tuple[int, int]:
    """Libxtables leaves out a mask of all bits."""
    value, slash, mask = text.partition("/")
    return read_number(value), read_number(mask) if slash else 0xFFFFFFFF


def _side(text: str) -> Side:
    try:
        return Side(text)
    except ValueError as error:
        raise UnreadableError(str(error)) from None
