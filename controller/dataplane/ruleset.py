"""Chains, rules and sets as values: what the kernel shall hold, for one address family.

Every match and target that podgate ever writes has a type here; nothing else can be expressed, rendered,
parsed or simulated. Masks may be non-contiguous (`0.0.0.5/0.0.0.15` is how pods are dispatched), so addresses
are (value, mask) pairs.
"""

from enum import StrEnum

from msgspec import Struct

TABLE = "mangle"
"""The one table podgate writes: cheap legacy commits, and no foreign ACCEPT can pre-empt a DROP."""

CHAIN_NAME_MAX = 28
SET_NAME_MAX = 31


class Side(StrEnum):
    """Which address of the packet."""

    SOURCE = "src"
    DESTINATION = "dst"


class CtDirection(StrEnum):
    """Whether a packet goes the way its connection was opened, or back."""

    ORIGINAL = "ORIGINAL"
    REPLY = "REPLY"


class AddressMatch(Struct, frozen=True, tag="address"):
    """`-s`/`-d`: (packet address & mask) == value."""

    side: Side
    value: int
    mask: int


class ProtocolMatch(Struct, frozen=True, tag="protocol"):
    """`-p`: IP protocol by number (6, 17, 132; 58 for ICMPv6)."""

    number: int


class PortMatch(Struct, frozen=True, tag="ports"):
    """`--dport` or `-m multiport --dports`: destination port in one of the ranges, first..last inclusive.

    Needs a ProtocolMatch before it in the rule. One range is a plain `--dport`; several cost one multiport
    slot each, two for a real range, 15 slots at most.
    """

    ranges: tuple[tuple[int, int], ...]


class SetMatch(Struct, frozen=True, tag="set"):
    """`-m set [!] --match-set name dst[,dst]`: the packet's address(es, ports) are (not) in the set."""

    name: str
    sides: tuple[Side, ...]
    negated: bool = False


class ConnmarkMatch(Struct, frozen=True, tag="connmark"):
    """`-m connmark [!] --mark value/mask`: (connection mark & mask) == value.

    A packet without a connection never matches.
    """

    value: int
    mask: int
    negated: bool = False


class CtDirectionMatch(Struct, frozen=True, tag="ctdir"):
    """`-m conntrack --ctdir`: direction inside its connection; no connection, no match."""

    direction: CtDirection


class UntrackedMatch(Struct, frozen=True, tag="untracked"):
    """`-m conntrack --ctstate UNTRACKED`: neighbour discovery, which conntrack leaves alone."""


class HairpinMatch(Struct, frozen=True, tag="hairpin"):
    """`-m bpf`: source address == destination address (rule 2.45)."""


class LimitMatch(Struct, frozen=True, tag="limit"):
    """`-m limit`: a token bucket, `burst` deep, filled with `per_second`; one for all packets of the rule."""

    per_second: int
    burst: int


Match = (
    AddressMatch
    | ProtocolMatch
    | PortMatch
    | SetMatch
    | ConnmarkMatch
    | CtDirectionMatch
    | UntrackedMatch
    | HairpinMatch
    | LimitMatch
)


class Jump(Struct, frozen=True, tag="jump"):
    """`-j chain`: evaluate it and come back."""

    chain: str


class Goto(Struct, frozen=True, tag="goto"):
    """`-g chain`: evaluate it; RETURN there returns from here."""

    chain: str


class Return(Struct, frozen=True, tag="return"):
    """`-j RETURN`: allowed by this chain."""


class Drop(Struct, frozen=True, tag="drop"):
    """`-j DROP`."""


class SetConnmark(Struct, frozen=True, tag="set-connmark"):
    """`-j CONNMARK --set-xmark value/mask`: replace the masked bits, keep everybody else's."""

    value: int
    mask: int


class Log(Struct, frozen=True, tag="log"):
    """`-j NFLOG`: a copy of the packet to whoever listens to the group; decides nothing."""

    group: int
    prefix: str


Target = Jump | Goto | Return | Drop | SetConnmark | Log


class Rule(Struct, frozen=True):
    """One rule; `comment` is for people: which policy and rule path, or what the rule is for."""

    matches: tuple[Match, ...]
    target: Target
    comment: str = ""


class Chain(Struct, frozen=True):
    """A chain and its rules in order.

    FORWARD and INPUT belong to everybody: only our rules of them are listed here.
    """

    name: str
    rules: tuple[Rule, ...] = ()


class SetType(StrEnum):
    """ipset types in use (docs/dataplane.md)."""

    ADDRESSES = "hash:ip"
    NETWORKS = "hash:net"
    ENDPOINTS = "hash:ip,port"


class AddressSet(Struct, frozen=True):
    """An ipset.

    Entries are canonical ipset texts, sorted by address: `10.0.0.1`, `10.0.0.0/25`, `10.0.0.1,tcp:80`.
    `comment` says what is in it, for people; ipset itself does not store it.
    """

    name: str
    type: SetType
    entries: tuple[str, ...] = ()
    comment: str = ""


class Ruleset(Struct, frozen=True):
    """All of podgate in one family's kernel: chains and sets sorted by name.

    Equal input gives equal bytes.
    """

    family: int
    chains: tuple[Chain, ...] = ()
    sets: tuple[AddressSet, ...] = ()
