"""Rulesets as the text that iptables-restore and ipset restore load.

The text is part of the product: people read it with `podgate render`, and the agent pipes it to the kernel.
It is the same for iptables-nft and iptables-legacy, equal rulesets give equal bytes, and nothing taken from
an object (a policy name in a comment) can end a line or a quoted string.

`parse.parse` reads it back: the same ruleset, if matches stand in `canonical_order`, comments of rules are
their own `safe_comment` and those of sets their own `safe_line`, and chains, sets and entries are sorted.
"""

import re
from collections.abc import Iterable, Iterator

from controller.dataplane.ruleset import (
    TABLE,
    AddressMatch,
    AddressSet,
    Chain,
    ConnmarkMatch,
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
    Side,
    Target,
    UntrackedMatch,
)
from controller.dataplane.validity import (
    ENTRY_CHAINS,
    PROTOCOLS,
    RulesetError,
    check_loadable,
    check_rule,
    check_set_name,
)
from controller.objects.addresses import BITS, format_address

SET_MAXELEM = 1048576
"""A set refuses entries beyond this; empty room costs nothing (docs/dataplane.md)."""

SET_HASHSIZE_MIN = 64

COMMENT_MAX = 255

SET_FAMILIES = {4: "inet", 6: "inet6"}

HAIRPIN_BYTECODE = {
    # ld src; st M[0]; ldx M[0]; ld dst; jeq x; ret 65535; ret 0
    4: "7,32 0 0 12,2 0 0 0,97 0 0 0,32 0 0 16,29 0 1 0,6 0 0 65535,6 0 0 0",
    # For each of the four words: ld src; tax; ld dst; jeq x, or jump to the end. Then ret 65535; ret 0
    6: (
        "18,32 0 0 8,7 0 0 0,32 0 0 24,29 0 13 0,32 0 0 12,7 0 0 0,32 0 0 28,29 0 9 0,"
        "32 0 0 16,7 0 0 0,32 0 0 32,29 0 5 0,32 0 0 20,7 0 0 0,32 0 0 36,29 0 1 0,6 0 0 65535,6 0 0 0"
    ),
}
"""Programs for xt_bpf, by family: are source and destination address of the IP header equal (rule 2.45)?

Classic BPF; offsets count from the start of the IP header.
"""

_UNSAFE = re.compile(r"[^A-Za-z0-9 _./:,=+@#\[\]()<>*-]")
_UNPRINTABLE = re.compile(r"[^ -~]")
_ENTRY = re.compile(r"[0-9a-z.:/,]+", re.ASCII)


def render_rules(ruleset: Ruleset) -> str:
    """Input for `iptables-restore --noflush` (family 4) or `ip6tables-restore --noflush` (family 6).

    Own chains are declared, which empties them where they exist; FORWARD and INPUT are not, and only gain our
    rules. All of it is one commit of one table, so the kernel takes everything or nothing. Raises
    RulesetError for what the kernel would refuse.
    """
    check_loadable(ruleset)
    own = (chain.name for chain in ruleset.chains if chain.name not in ENTRY_CHAINS)
    lines = [f"*{TABLE}", *(f":{name} - [0:0]" for name in own)]
    for chain in ruleset.chains:
        lines.extend(_chain_lines(chain, ruleset.family))
    return "\n".join([*lines, "COMMIT", ""])


def render_sets(ruleset: Ruleset) -> str:
    """Input for `ipset restore`; "" without sets. To be loaded before the rules that name the sets.

    Sets that exist are emptied and filled again, which is not atomic: this is a first load, not an update.
    What a set holds stands before it in a comment line, since ipset keeps no such text. Raises RulesetError
    for what ipset would refuse.
    """
    return "".join(f"{line}\n" for each in ruleset.sets for line in _set_lines(each, ruleset.family))


def rule_text(rule: Rule, family: int) -> str:
    """One rule as iptables takes it after `-A CHAIN`. Raises RulesetError for a rule without an exact text.

    >>> rule_text(Rule((ProtocolMatch(6), PortMatch(((80, 80),))), Return(), "shop/allow-web ingress[0]"), 4)
    '-p tcp -m tcp --dport 80 -m comment --comment "shop/allow-web ingress[0]" -j RETURN'
    """
    check_rule(rule, family)
    return _checked_text(rule, family)


def canonical_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Matches from cheap to costly, so that a packet that misses the rule leaves it early; stable.

    An address compare takes 2 to 4 ns, a port or a mark about 25, xt_bpf 60 to 80 and a set 110 to 150
    (docs/dataplane.md). iptables itself always tests address and protocol first. Set lookups keep their
    order.
    """
    return tuple(sorted(matches, key=_cost_rank))


def safe_comment(text: str) -> str:
    """The text in characters that iptables-restore takes literally between quotes, 255 at most; idempotent.

    Any other character becomes `_`: quotes, backslashes, line ends, everything beyond ASCII. So does a `-` in
    front, which some versions take for an option.
    """
    text = _UNSAFE.sub("_", text).strip(" ")
    if text.startswith("-"):
        text = f"_{text[1:]}"
    return _shortened(text)


def safe_line(text: str) -> str:
    """The text on one line of printable ASCII, 255 at most: what the comment of a set may be; idempotent.

    It stands on a line that ipset skips whole, so nothing in it needs quoting. Anything else becomes `_`.
    """
    return _shortened(_UNPRINTABLE.sub("_", text).strip(" "))


def _shortened(text: str) -> str:
    return text if len(text) <= COMMENT_MAX else f"{text[: COMMENT_MAX - 3]}..."


def _chain_lines(chain: Chain, family: int) -> Iterator[str]:
    return (f"-A {chain.name} {_checked_text(rule, family)}" for rule in chain.rules)


def _checked_text(rule: Rule, family: int) -> str:
    protocol = next((PROTOCOLS[each.number] for each in rule.matches if isinstance(each, ProtocolMatch)), "")
    words = [_match_text(match, family, protocol) for match in canonical_order(rule.matches)]
    comment = safe_comment(rule.comment)
    if comment:
        # Last, although people would like it first: iptables runs it as a match of its own (22 ns legacy, 45
        # ns nft), which only packets that match the rule have to pay here.
        words.append(f'-m comment --comment "{comment}"')
    return " ".join([*words, _target_text(rule.target)])


_ORDER = (
    AddressMatch,
    ProtocolMatch,
    PortMatch,
    UntrackedMatch,
    CtDirectionMatch,
    ConnmarkMatch,
    HairpinMatch,
    SetMatch,
    LimitMatch,
)


def _cost_rank(match: Match) -> tuple[int, bool]:
    return _ORDER.index(type(match)), isinstance(match, AddressMatch) and match.side is Side.DESTINATION


def _match_text(match: Match, family: int, protocol: str) -> str:  # noqa: PLR0911  one case per match type
    match match:
        case AddressMatch(side=side, value=value, mask=mask):
            return f"{'-s' if side is Side.SOURCE else '-d'} {_masked(value, mask, family)}"
        case ProtocolMatch():
            return f"-p {protocol}"
        case PortMatch(ranges=ranges):
            return _ports_text(ranges, protocol)
        case SetMatch(name=name, sides=sides, negated=negated):
            return f"-m set {_not(negated)}--match-set {name} {','.join(sides)}"
        case ConnmarkMatch(value=value, mask=mask, negated=negated):
            return f"-m connmark {_not(negated)}--mark {value:#x}/{mask:#x}"
        case CtDirectionMatch(direction=direction):
            return f"-m conntrack --ctdir {direction}"
        case UntrackedMatch():
            return "-m conntrack --ctstate UNTRACKED"
        case HairpinMatch():
            return f'-m bpf --bytecode "{HAIRPIN_BYTECODE[family]}"'
        case LimitMatch(per_second=rate, burst=burst):
            return f"-m limit --limit {rate}/sec --limit-burst {burst}"


def _target_text(target: Target) -> str:
    match target:
        case Jump(chain=chain):
            return f"-j {chain}"
        case Goto(chain=chain):
            return f"-g {chain}"
        case Return():
            return "-j RETURN"
        case Drop():
            return "-j DROP"
        case SetConnmark(value=value, mask=mask):
            return f"-j CONNMARK --set-xmark {value:#x}/{mask:#x}"
        case Log(group=group, prefix=prefix):
            return f"-j NFLOG --nflog-prefix {prefix} --nflog-group {group}"


def _masked(value: int, mask: int, family: int) -> str:
    """`10.0.0.0/8` where the mask is a prefix, `0.0.0.5/0.0.0.15` where it is not."""
    address = format_address(family, value)
    host_bits = mask ^ ((1 << BITS[family]) - 1)
    if host_bits & (host_bits + 1):
        return f"{address}/{format_address(family, mask)}"
    return f"{address}/{BITS[family] - host_bits.bit_length()}"


def _ports_text(ranges: tuple[tuple[int, int], ...], protocol: str) -> str:
    texts = [f"{first}" if first == last else f"{first}:{last}" for first, last in ranges]
    if len(texts) == 1:
        return f"-m {protocol} --dport {texts[0]}"
    return f"-m multiport --dports {','.join(texts)}"


def _not(negated: bool) -> str:
    return "! " if negated else ""


def _set_lines(each: AddressSet, family: int) -> Iterator[str]:
    check_set_name(each.name, family)
    if len(each.entries) > SET_MAXELEM:
        raise RulesetError(f"set {each.name} has {len(each.entries)} entries, more than {SET_MAXELEM}")
    comment = safe_line(each.comment)
    if comment:
        yield f"# {each.name}: {comment}"
    kind = f"{each.type} family {SET_FAMILIES[family]}"
    yield f"create {each.name} {kind} hashsize {_hashsize(len(each.entries))} maxelem {SET_MAXELEM} -exist"
    yield f"flush {each.name}"
    for entry in each.entries:
        if not _ENTRY.fullmatch(entry):
            raise RulesetError(f"set {each.name}: {entry!r} is no entry")
        yield f"add {each.name} {entry} -exist"


def _hashsize(entries: int) -> int:
    """A power of two, a quarter of the entries or more: growing while filled takes ten times as long."""
    return max(SET_HASHSIZE_MIN, 1 << (-(-entries // 4) - 1).bit_length())
