"""Hypothesis strategies: arbitrary rulesets in canonical form, and packets that can meet their rules.

Canonical is what the kernel gives back: matches in order, comments safe, chains, sets and entries sorted, no
chain that leads back to itself. Addresses and ports come from small pools as often as not, since random ones
would never meet.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from controller.dataplane.render import canonical_order, safe_comment, safe_line
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
    Target,
    UntrackedMatch,
)
from controller.dataplane.simulate import Conntrack, Hook, NoConnection, Packet
from controller.dataplane.validity import LIMIT_MAX, MULTIPORT_SLOTS, PROTOCOLS, TRANSPORTS, port_slots
from controller.dataplane.words import Entry, format_entry
from controller.objects.addresses import BITS

families = st.sampled_from([4, 6])
SUBNET = {4: 0x0A000000, 6: 0xFD << 120}
"""10.0.0.0 and fd00::, where the addresses of the small pool are."""

_PORT_POOL = [0, 53, 80, 81, 443, 8080, 65535]
_NAME = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=16, max_size=16)
_FIXED_CHAINS = ("PODGATE", "PODGATE-IN", "PODGATE-E", "PODGATE-I", "PODGATE-D", "PODGATE-EA", "PODGATE-I7")

ports = st.sampled_from(_PORT_POOL) | st.integers(0, 65535)
marks = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0x1FFF0000, 0xFFFFFFFF, 0x10000, 0])
_texts = st.text(st.characters(codec="ascii"), max_size=300)
limits = st.integers(1, LIMIT_MAX)
logs = st.builds(Log, st.integers(1, 65535), st.sampled_from(["podgate-drop", "podgate-audit"]))
safe_comments = _texts.map(safe_comment)
safe_lines = _texts.map(safe_line)


def addresses(family: int) -> st.SearchStrategy[int]:
    """Never 0: ipset stores no such entry."""
    pool = st.integers(1, 40).map(lambda host: SUBNET[family] | host)
    return pool | st.integers(1, (1 << BITS[family]) - 1)


def masks(family: int) -> st.SearchStrategy[int]:
    """Prefixes, suffixes (how pods are dispatched), single hosts, and anything; never 0."""
    bits = BITS[family]
    full = (1 << bits) - 1
    prefixes = st.integers(1, bits).map(lambda length: full ^ ((1 << (bits - length)) - 1))
    return prefixes | st.sampled_from([full, 0xF, 0xF0]) | st.integers(1, full)


@st.composite
def address_matches(draw: st.DrawFn, family: int, side: Side) -> AddressMatch:
    mask = draw(masks(family))
    return AddressMatch(side, draw(addresses(family)) & mask, mask)


@st.composite
def port_ranges(draw: st.DrawFn) -> tuple[int, int]:
    first = draw(ports)
    return draw(st.sampled_from([(first, first), (first, 65535), (0, first)]) | st.just((first, first)))


def _fits_multiport(ranges: Sequence[tuple[int, int]]) -> bool:
    return len(ranges) == 1 or port_slots(tuple(ranges)) <= MULTIPORT_SLOTS


port_matches = (
    st.lists(port_ranges(), min_size=1, max_size=15)
    .filter(_fits_multiport)
    .map(lambda ranges: PortMatch(tuple(ranges)))
)


@st.composite
def masked_marks(draw: st.DrawFn) -> tuple[int, int]:
    mask = draw(marks)
    return draw(marks) & mask, mask


def set_matches(sets: Sequence[AddressSet]) -> st.SearchStrategy[SetMatch]:
    """Also too few and too many sides for the type of set: the kernel takes both."""
    sides = st.sampled_from(list(Side)).map(lambda side: (side,))
    return st.builds(
        SetMatch,
        st.sampled_from([each.name for each in sets]),
        sides | sides.map(lambda first: (*first, Side.DESTINATION)),
        st.booleans(),
    )


@st.composite
def match_lists(draw: st.DrawFn, family: int, sets: Sequence[AddressSet]) -> tuple[Match, ...]:
    found: list[Match] = []

    def maybe(strategy: st.SearchStrategy[Any]) -> None:
        if draw(st.integers(0, 3)) == 0:
            found.append(draw(strategy))

    maybe(address_matches(family, Side.SOURCE))
    maybe(address_matches(family, Side.DESTINATION))
    maybe(st.sampled_from(sorted(PROTOCOLS)).map(ProtocolMatch))
    if any(isinstance(match, ProtocolMatch) and match.number in TRANSPORTS for match in found):
        found += draw(st.lists(port_matches, max_size=1))
    maybe(st.just(UntrackedMatch()))
    maybe(st.builds(CtDirectionMatch, st.sampled_from(CtDirection)))
    maybe(
        st.builds(
            lambda mark, negated: ConnmarkMatch(mark[0], mark[1], negated), masked_marks(), st.booleans()
        )
    )
    maybe(st.just(HairpinMatch()))
    maybe(st.builds(LimitMatch, limits, limits))
    if sets:
        found += draw(st.lists(set_matches(sets), max_size=2))
    return canonical_order(found)


def jumps(chains: Sequence[str]) -> st.SearchStrategy[Target]:
    names = st.sampled_from(list(chains))
    return st.builds(Jump, names) | st.builds(Goto, names)


def targets(chains: Sequence[str]) -> st.SearchStrategy[Target]:
    fixed: list[Target] = [Return(), Drop()]
    simple = st.sampled_from(fixed) | masked_marks().map(lambda mark: SetConnmark(*mark)) | logs
    return simple | jumps(chains) if chains else simple


@st.composite
def address_sets(draw: st.DrawFn, family: int) -> AddressSet:
    kind = draw(st.sampled_from(SetType))
    entries = draw(st.lists(set_entries(kind, family), max_size=12))
    texts = tuple(format_entry(entry, family) for entry in sorted(set(entries)))
    return AddressSet(f"pg{family}-{draw(_NAME)}", kind, texts, draw(safe_lines))


def set_entries(kind: SetType, family: int) -> st.SearchStrategy[Entry]:
    bits = BITS[family]
    if kind is SetType.ADDRESSES:
        return addresses(family).map(lambda address: Entry(address, bits))
    if kind is SetType.ENDPOINTS:
        return st.builds(Entry, addresses(family), st.just(bits), st.sampled_from(sorted(TRANSPORTS)), ports)
    return st.builds(
        lambda address, length: Entry(address >> (bits - length) << (bits - length), length),
        addresses(family),
        st.integers(1, bits) | st.sampled_from([bits - 4, bits]),
    )


@st.composite
def rulesets(draw: st.DrawFn, family: int) -> Ruleset:
    sets = draw(st.lists(address_sets(family), max_size=3, unique_by=_name))
    profiles = st.builds("PODGATE-{}P-{}".format, st.sampled_from("EI"), _NAME)
    names = draw(st.lists(st.sampled_from(_FIXED_CHAINS) | profiles, max_size=6, unique=True))
    # A chain leads only to those behind it in the list.
    contents = [rules_to(targets(names[place:]), family, sets) for place in range(1, len(names) + 1)]
    chains = [Chain(name, draw(content)) for name, content in zip(names, contents, strict=True)]
    if names:
        entries = draw(st.lists(st.sampled_from(["FORWARD", "INPUT"]), unique=True))
        content = rules_to(jumps(names), family, sets).filter(bool)
        chains.extend(Chain(entry, draw(content)) for entry in entries)
    return Ruleset(family, tuple(sorted(chains, key=_name)), tuple(sorted(sets, key=_name)))


def rules_to(
    found: st.SearchStrategy[Target], family: int, sets: Sequence[AddressSet]
) -> st.SearchStrategy[tuple[Rule, ...]]:
    return st.lists(st.builds(Rule, match_lists(family, sets), found, safe_comments), max_size=5).map(tuple)


any_rulesets = families.flatmap(rulesets)


def _name(each: Chain | AddressSet) -> str:
    return each.name


def packets(family: int) -> st.SearchStrategy[Packet]:
    icmp = 1 if family == 4 else 58
    transport = st.tuples(st.sampled_from(sorted(TRANSPORTS)), ports)
    connections = st.builds(Conntrack, st.sampled_from(CtDirection), marks)
    return st.builds(
        lambda transport, **rest: Packet(
            family=family, protocol=transport[0], destination_port=transport[1], **rest
        ),
        transport | st.just((icmp, None)),
        hook=st.sampled_from(Hook),
        source=addresses(family),
        destination=addresses(family),
        conntrack=connections | st.sampled_from(NoConnection),
    )


def without_limits(ruleset: Ruleset) -> Ruleset:
    """Without what depends on packets before, and what only logs."""
    kept = (Chain(each.name, tuple(filter(_is_steady, each.rules))) for each in ruleset.chains)
    chains = tuple(each for each in kept if each.rules or each.name.startswith("PODGATE"))
    return Ruleset(ruleset.family, chains, ruleset.sets)


def _is_steady(rule: Rule) -> bool:
    return not isinstance(rule.target, Log) and not any(isinstance(each, LimitMatch) for each in rule.matches)
