"""The text of iptables-save and ipset save back into a Ruleset.

The kernel is asked what it holds, not remembered: the answer is compared with what it should hold. So this
reads what render writes and what iptables-save and ipset save (nft and legacy) make of it, and brings both to
the same values. Whatever is not podgate's is skipped unread, since other people's rules may hold anything;
whatever is podgate's and cannot be read is an error, never a guess.
"""

import re
from collections.abc import Iterator

from controller.dataplane.render import HAIRPIN_BYTECODE, SET_FAMILIES, canonical_order
from controller.dataplane.ruleset import (
    TABLE,
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
from controller.dataplane.validity import ENTRY_CHAINS, RulesetError, check_rule, is_own_chain, is_own_set
from controller.dataplane.words import (
    Entry,
    UnreadableError,
    format_entry,
    parse_entry,
    prefix_mask,
    read_address,
    read_number,
    read_protocol,
)
from controller.objects.addresses import BITS, format_address


class ParseError(ValueError):
    """A line of podgate's that cannot be read: `line_number` (from 1), its `text`, and the `reason`."""

    def __init__(self, line_number: int, text: str, reason: str) -> None:
        super().__init__(f"line {line_number}: {reason}: {text!r}")
        self.line_number = line_number
        self.text = text
        self.reason = reason


def parse(rules_text: str, sets_text: str, family: int) -> Ruleset:
    """Everything of podgate's in the two texts. Raises ParseError.

    `parse(render_rules(x), render_sets(x), x.family) == x` for every x in canonical form (see render). ipset
    does not keep the comments of sets, so those read from a kernel have none.
    """
    return Ruleset(family, parse_rules(rules_text, family), parse_sets(sets_text, family))


def parse_rules(text: str, family: int) -> tuple[Chain, ...]:
    """Own chains, and the rules of FORWARD and INPUT that lead to them, from iptables-save text; sorted.

    Counters, other tables, other chains and their rules are skipped. Raises ParseError.
    """
    chains: dict[str, list[Rule]] = {}
    table = ""
    number = 0
    for number, line in _lines(text):
        if line.startswith("*"):
            table = line[1:]
        elif line == "COMMIT":
            table = ""
        elif table == TABLE:
            try:
                _read_table_line(line, family, chains)
            except (UnreadableError, RulesetError) as error:
                raise ParseError(number, line, str(error)) from None
        elif not table and not line.startswith("#"):
            raise ParseError(number, line, "stands outside of a table")
    if table:
        # iptables-restore applies nothing of such a table; a save that stops early is not the whole truth.
        raise ParseError(number, f"*{table}", "the table ends without COMMIT")
    return tuple(Chain(name, tuple(rules)) for name, rules in sorted(chains.items()))


def parse_sets(text: str, family: int) -> tuple[AddressSet, ...]:
    """Own sets of the family, sorted, from `ipset save` or `ipset restore` text. Raises ParseError."""
    sets: dict[str, _Set] = {}
    comments: dict[str, str] = {}
    for number, line in _lines(text):
        if line.startswith("#"):
            name, _, comment = line.removeprefix("# ").partition(": ")
            comments[name] = comment
            continue
        verb, name, *rest = [*line.split(), "", ""]
        if is_own_set(name, family):
            try:
                _read_set_line(verb, name, [each for each in rest if each], family, sets)
            except UnreadableError as error:
                raise ParseError(number, line, str(error)) from None
    return tuple(each.value(name, comments.get(name, ""), family) for name, each in sorted(sets.items()))


_LINE = re.compile(r"[^\n]*\n?")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines: that also breaks lines at characters that are part of other people's comments. One by
    # one, as a node's sets are some 100,000 lines.
    for number, found in enumerate(_LINE.finditer(text), 1):
        if stripped := found[0].strip():
            yield number, stripped


# Rules

_APPEND = re.compile(r"(?:\[\d+:\d+\] )?-A (\S+) ?(.*)", re.ASCII)
# iptables prints the target last, and a jump takes no options. Quoted text never ends so: it ends in a quote.
_LEADS_TO = re.compile(r"(?:^| )-[jg] (\S+)$", re.ASCII)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?!\S)|(\S+)')
_ESCAPE = re.compile(r"\\(.)")


def _read_table_line(line: str, family: int, chains: dict[str, list[Rule]]) -> None:
    if line.startswith(":"):
        name = line[1:].split(" ", 1)[0]
        if is_own_chain(name):
            chains[name] = []
        return
    append = _APPEND.fullmatch(line)
    if append is None:
        if any(is_own_chain(word) for word in line.split()) and not line.startswith("#"):
            raise UnreadableError("only -A is read")
        return
    name, body = append.groups()
    if name in ENTRY_CHAINS:
        target = _LEADS_TO.search(body)
        if target is not None and is_own_chain(target[1]):
            chains.setdefault(name, []).append(_rule(body, family))
    elif is_own_chain(name):
        if name not in chains:
            raise UnreadableError(f"chain {name} is not declared")
        chains[name].append(_rule(body, family))


class _Words:
    """The words of a rule, taken one by one."""

    def __init__(self, text: str) -> None:
        self._words = _split(text)
        self._next = 0

    def __bool__(self) -> bool:
        return self._next < len(self._words)

    def take(self) -> str:
        if not self:
            raise UnreadableError("the rule ends too early")
        self._next += 1
        return self._words[self._next - 1]

    def skip(self, word: str) -> bool:
        """Whether the next word is this one; if so, it is taken."""
        found = bool(self) and self._words[self._next] == word
        self._next += found
        return found

    def expect(self, word: str) -> None:
        if not self.skip(word):
            raise UnreadableError(f"{word} is missing")


def _split(text: str) -> list[str]:
    if '"' not in text:
        return text.split()
    words = []
    for quoted, plain in _WORD.findall(text):
        if '"' in plain:
            raise UnreadableError("a quote is not closed")
        words.append(plain or _ESCAPE.sub(r"\1", quoted))
    return words


def _rule(body: str, family: int) -> Rule:
    words = _Words(body)
    matches: list[Match | None] = []
    comment = ""
    target: Target | None = None
    while words:
        match words.take():
            case "-s":
                matches.append(_address_match(Side.SOURCE, words.take(), family))
            case "-d":
                matches.append(_address_match(Side.DESTINATION, words.take(), family))
            case "-p":
                matches.append(ProtocolMatch(read_protocol(words.take())))
            case "-m" if words.skip("comment"):
                words.expect("--comment")
                comment = words.take()
            case "-m":
                matches.append(_module_match(words, family))
            case "-j":
                target = _target(words)
            case "-g":
                target = Goto(_own_chain(words.take()))
            case option:
                raise UnreadableError(f"{option} is nothing podgate writes")
    if target is None:
        raise UnreadableError("the rule has no target")
    rule = Rule(canonical_order(match for match in matches if match), target, comment)
    check_rule(rule, family)
    return rule


def _module_match(words: _Words, family: int) -> Match:  # noqa: PLR0911  one case per match
    module = words.take()
    match module:
        case "tcp" | "udp" | "sctp":
            # iptables-save leaves out a range that is all ports.
            return PortMatch(_port_ranges(words.take()) if words.skip("--dport") else ((0, 65535),))
        case "multiport":
            words.expect("--dports")
            return PortMatch(_port_ranges(words.take()))
        case "connmark":
            negated = words.skip("!")
            words.expect("--mark")
            return ConnmarkMatch(*_mark(words.take()), negated)
        case "conntrack":
            return _conntrack_match(words)
        case "set":
            return _set_match(words)
        case "bpf":
            words.expect("--bytecode")
            if not words.skip(HAIRPIN_BYTECODE[family]):
                raise UnreadableError("the bytecode is another program than the hairpin test")
            return HairpinMatch()
        case "limit":
            return _limit_match(words)
        case _:
            raise UnreadableError(f"match {module} is nothing podgate writes")


_USUAL_BURST = 5
"""What iptables-save leaves out."""


def _limit_match(words: _Words) -> LimitMatch:
    words.expect("--limit")
    rate, _, unit = words.take().partition("/")
    if unit not in {"sec", "second"}:
        raise UnreadableError(f"a limit for each {unit} is nothing podgate writes")
    burst = read_number(words.take()) if words.skip("--limit-burst") else _USUAL_BURST
    return LimitMatch(read_number(rate), burst)


def _conntrack_match(words: _Words) -> Match:
    """One option only: given both, the kernel ignores the direction if there is no connection."""
    if words.skip("--ctstate"):
        words.expect("UNTRACKED")
        return UntrackedMatch()
    words.expect("--ctdir")
    direction = words.take()
    if direction not in CtDirection.__members__:
        raise UnreadableError(f"{direction} is no direction")
    return CtDirectionMatch(CtDirection(direction))


def _set_match(words: _Words) -> Match:
    negated = words.skip("!")
    words.expect("--match-set")
    name = words.take()
    try:
        return SetMatch(name, tuple(Side(side) for side in words.take().split(",")), negated)
    except ValueError:
        raise UnreadableError(f"set {name} is looked up by something unknown") from None


def _target(words: _Words) -> Target:
    match words.take():
        case "RETURN":
            return Return()
        case "DROP":
            return Drop()
        case "CONNMARK":
            words.expect("--set-xmark")
            return SetConnmark(*_mark(words.take()))
        case "NFLOG":
            words.expect("--nflog-prefix")
            prefix = words.take()
            words.expect("--nflog-group")
            return Log(read_number(words.take()), prefix)
        case chain:
            return Jump(_own_chain(chain))


def _own_chain(name: str) -> str:
    if not is_own_chain(name):
        raise UnreadableError(f"{name} is no target podgate writes")
    return name


def _address_match(side: Side, text: str, family: int) -> AddressMatch | None:
    """None for a mask of 0, which tests nothing and which iptables forgets too."""
    address, slash, mask_text = text.partition("/")
    if not slash:
        mask = prefix_mask(BITS[family], family)
    elif mask_text.isdecimal():
        mask = prefix_mask(read_number(mask_text), family)
    else:
        mask = read_address(mask_text, family)
    return AddressMatch(side, read_address(address, family) & mask, mask) if mask else None


def _port_ranges(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for each in text.split(","):
        first, colon, last = each.partition(":")
        ranges.append((read_number(first), read_number(last if colon else first)))
    return tuple(ranges)


def _mark(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    return read_number(value), read_number(mask) if slash else 0xFFFFFFFF


# Sets


class _Set:
    """A set as far as it has been read."""

    def __init__(self, kind: SetType) -> None:
        self.kind = kind
        self._entries: set[Entry] = set()
        self._addresses: set[int] = set()
        """The entries that are nothing else: most of a node's, and a fifth of the memory."""

    def clear(self) -> None:
        self._entries.clear()
        self._addresses.clear()

    def add(self, text: str, family: int) -> None:
        entry = parse_entry(text, self.kind, family)
        if self.kind is SetType.ADDRESSES:
            self._addresses.add(entry.address)
        else:
            self._entries.add(entry)

    def value(self, name: str, comment: str, family: int) -> AddressSet:
        addresses = tuple(format_address(family, address) for address in sorted(self._addresses))
        entries = tuple(format_entry(entry, family) for entry in sorted(self._entries))
        return AddressSet(name, self.kind, addresses or entries, comment)


def _read_set_line(verb: str, name: str, rest: list[str], family: int, sets: dict[str, _Set]) -> None:
    if verb == "create":
        sets.setdefault(name, _Set(_set_type(rest, family)))
        return
    if name not in sets:
        raise UnreadableError(f"set {name} is not created")
    match verb, rest:
        case "flush", []:
            sets[name].clear()
        case "add", [entry] | [entry, "-exist"]:
            sets[name].add(entry, family)
        case _:
            raise UnreadableError("only create, flush and add are read, and add without options")


_SET_TYPES = frozenset(str(kind) for kind in SetType)


def _set_type(words: list[str], family: int) -> SetType:
    """The type of a set to create; options that change what it matches (timeout, netmask) are refused."""
    match words:
        case [kind, "family", inet, *options] if kind in _SET_TYPES and inet == SET_FAMILIES[family]:
            unknown = {*options[::2]} - {"hashsize", "maxelem", "bucketsize", "initval", "-exist"}
            if not unknown:
                return SetType(kind)
    raise UnreadableError("this is no set podgate creates")
