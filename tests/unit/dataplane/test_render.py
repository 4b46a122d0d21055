"""The text of rules and sets, as it is piped to iptables-restore and ipset restore."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.render import (
    HAIRPIN_BYTECODE,
    canonical_order,
    render_rules,
    render_sets,
    rule_text,
    safe_comment,
    safe_line,
)
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
from controller.dataplane.validity import RulesetError

HOST = 0xFFFFFFFF
HOST6 = (1 << 128) - 1
TCP = ProtocolMatch(6)
RETURN = Return()
PEERS = SetMatch("pg4-peers", (Side.SOURCE,))


def text(*matches: Match, target: Target = RETURN, comment: str = "", family: int = 4) -> str:
    return rule_text(Rule(matches, target, comment), family)


def source(value: int, mask: int) -> AddressMatch:
    return AddressMatch(Side.SOURCE, value, mask)


def destination(value: int, mask: int) -> AddressMatch:
    return AddressMatch(Side.DESTINATION, value, mask)


@pytest.mark.parametrize(
    ("family", "match", "expected"),
    [
        (4, destination(0x0A000001, HOST), "-d 10.0.0.1/32"),
        (4, source(0x0A000000, 0xFF000000), "-s 10.0.0.0/8"),
        (4, source(0x80000000, 0x80000000), "-s 128.0.0.0/1"),
        (4, source(5, 15), "-s 0.0.0.5/0.0.0.15"),
        (4, destination(0x50, 0xF0), "-d 0.0.0.80/0.0.0.240"),
        (6, destination(0xFD << 120 | 1, HOST6), "-d fd00::1/128"),
        (6, source(0xFD << 120, 0xFF << 120), "-s fd00::/8"),
        (6, source(5, 15), "-s ::5/::f"),
        (4, TCP, "-p tcp"),
        (6, ProtocolMatch(58), "-p ipv6-icmp"),
        (4, PEERS, "-m set --match-set pg4-peers src"),
        (4, SetMatch("pg4-e", (Side.DESTINATION, Side.DESTINATION)), "-m set --match-set pg4-e dst,dst"),
        (4, SetMatch("pg4-p", (Side.SOURCE,), negated=True), "-m set ! --match-set pg4-p src"),
        (4, ConnmarkMatch(0x20000, 0x1FFF0000), "-m connmark --mark 0x20000/0x1fff0000"),
        (4, ConnmarkMatch(1, 1, negated=True), "-m connmark ! --mark 0x1/0x1"),
        (4, CtDirectionMatch(CtDirection.REPLY), "-m conntrack --ctdir REPLY"),
        (4, UntrackedMatch(), "-m conntrack --ctstate UNTRACKED"),
        (4, HairpinMatch(), f'-m bpf --bytecode "{HAIRPIN_BYTECODE[4]}"'),
        (6, HairpinMatch(), f'-m bpf --bytecode "{HAIRPIN_BYTECODE[6]}"'),
    ],
)
def test_every_match_has_one_text(family: int, match: Match, expected: str) -> None:
    assert text(match, family=family) == f"{expected} -j RETURN"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Jump("PODGATE-E"), "-j PODGATE-E"),
        (Goto("PODGATE-D"), "-g PODGATE-D"),
        (Return(), "-j RETURN"),
        (Drop(), "-j DROP"),
        (SetConnmark(0x30000, 0x1FFF0000), "-j CONNMARK --set-xmark 0x30000/0x1fff0000"),
    ],
)
def test_every_target_has_one_text(target: Target, expected: str) -> None:
    assert text(target=target) == expected


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (((80, 80),), "-m tcp --dport 80"),
        (((1000, 2000),), "-m tcp --dport 1000:2000"),
        (((80, 80), (443, 443), (1000, 2000)), "-m multiport --dports 80,443,1000:2000"),
    ],
)
def test_several_ranges_share_one_multiport(ranges: tuple[tuple[int, int], ...], expected: str) -> None:
    assert text(TCP, PortMatch(ranges)) == f"-p tcp {expected} -j RETURN"


def test_tests_stand_from_cheap_to_costly_and_the_comment_last() -> None:
    rendered = text(
        PEERS,
        PortMatch(((80, 80),)),
        TCP,
        destination(1, HOST),
        source(5, 15),
        comment="shop/allow-web ingress[0]",
    )

    assert rendered == (
        "-s 0.0.0.5/0.0.0.15 -d 0.0.0.1/32 -p tcp -m tcp --dport 80 -m set --match-set pg4-peers src "
        '-m comment --comment "shop/allow-web ingress[0]" -j RETURN'
    )


def test_set_lookups_keep_their_order() -> None:
    other = SetMatch("pg4-a", (Side.SOURCE,))

    assert canonical_order([PEERS, other]) == (PEERS, other)
    assert canonical_order([other, PEERS]) == (other, PEERS)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("shop/allow-web ingress[1]", "shop/allow-web ingress[1]"),
        ("app in (a,b) #1 <x> *", "app in (a,b) #1 <x> *"),
        ('a"; -j ACCEPT', "a__ -j ACCEPT"),
        ("a\n-A PODGATE -j RETURN", "a_-A PODGATE -j RETURN"),
        ("naïve\\", "na_ve_"),
        ("-t nat", "_t nat"),
        ("  spaces  ", "spaces"),
        ("x" * 256, "x" * 252 + "..."),
    ],
)
def test_a_comment_is_made_of_safe_characters(comment: str, expected: str) -> None:
    assert safe_comment(comment) == expected


def test_the_comment_of_a_set_is_any_printable_line() -> None:
    assert safe_line('pods {app=web, tier!=db} in "shop"; more\nadd é') == (
        'pods {app=web, tier!=db} in "shop"; more_add _'
    )


def test_rules_are_one_commit_of_own_chains_in_the_mangle_table() -> None:
    ruleset = Ruleset(
        4,
        (
            Chain("FORWARD", (Rule((), Jump("PODGATE"), "podgate"),)),
            Chain("PODGATE", (Rule((PEERS,), Return()), Rule((), Drop()))),
        ),
        (AddressSet("pg4-peers", SetType.ADDRESSES),),
    )

    assert render_rules(ruleset).splitlines() == [
        "*mangle",
        ":PODGATE - [0:0]",
        '-A FORWARD -m comment --comment "podgate" -j PODGATE',
        "-A PODGATE -m set --match-set pg4-peers src -j RETURN",
        "-A PODGATE -j DROP",
        "COMMIT",
    ]


def test_sets_are_created_if_missing_then_emptied_then_filled() -> None:
    endpoints = AddressSet("pg6-web", SetType.ENDPOINTS, ("fd00::1,tcp:80", "fd00::1,udp:53"), "port web")

    assert render_sets(Ruleset(6, (), (endpoints,))).splitlines() == [
        "# pg6-web: port web",
        "create pg6-web hash:ip,port family inet6 hashsize 64 maxelem 1048576 -exist",
        "flush pg6-web",
        "add pg6-web fd00::1,tcp:80 -exist",
        "add pg6-web fd00::1,udp:53 -exist",
    ]


@pytest.mark.parametrize(
    ("count", "size"), [(0, 64), (256, 64), (257, 128), (1000, 256), (1024, 256), (1025, 512)]
)
def test_a_set_starts_with_a_bucket_for_every_four_entries(count: int, size: int) -> None:
    entries = tuple(f"10.0.{n >> 8}.{n & 255}" for n in range(count))

    assert f" hashsize {size} " in render_sets(
        Ruleset(4, (), (AddressSet("pg4-a", SetType.ADDRESSES, entries),))
    )


def test_a_ruleset_without_anything_is_an_empty_commit() -> None:
    assert render_rules(Ruleset(4)) == "*mangle\nCOMMIT\n"
    assert render_sets(Ruleset(4)) == ""


@pytest.mark.parametrize("entry", ["10.0.0.1\nflush pg4-b", "10.0.0.1 timeout 1", "", "10.0.0.1-10.0.0.9"])
def test_an_entry_that_is_more_than_an_entry_is_refused(entry: str) -> None:
    with pytest.raises(RulesetError):
        render_sets(Ruleset(4, (), (AddressSet("pg4-a", SetType.ADDRESSES, (entry,)),)))


def test_more_entries_than_a_set_can_hold_are_refused() -> None:
    entries = ("10.0.0.1",) * (1048576 + 1)

    with pytest.raises(RulesetError, match="1048577 entries"):
        render_sets(Ruleset(4, (), (AddressSet("pg4-a", SetType.ADDRESSES, entries),)))


# The hairpin programs, run on an interpreter of the eight instructions of classic BPF that they use


def run_bpf(bytecode: str, packet: bytes) -> int:
    count, *lines = bytecode.split(",")
    program = [tuple(map(int, line.split())) for line in lines]
    assert len(program) == int(count)
    accumulator = index = place = 0
    memory: dict[int, int] = {}
    while True:
        code, if_true, if_false, k = program[place]
        place += 1
        match code:
            case 0x20:  # ld [k]
                accumulator = int.from_bytes(packet[k : k + 4], "big")
            case 0x02:  # st M[k]
                memory[k] = accumulator
            case 0x61:  # ldx M[k]
                index = memory[k]
            case 0x07:  # tax
                index = accumulator
            case 0x1D:  # jeq x
                place += if_true if accumulator == index else if_false
            case 0x06:  # ret k
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


def header(family: int, source: int, destination: int) -> bytes:
    size = {4: 4, 6: 16}[family]
    before = {4: 12, 6: 8}[family]
    return b"\x99" * before + source.to_bytes(size, "big") + destination.to_bytes(size, "big")


@given(st.integers(0, 127), st.integers(0, HOST6))
def test_the_ipv6_hairpin_program_sees_every_bit_of_the_addresses(bit: int, address: int) -> None:
    other = address ^ 1 << bit

    assert run_bpf(HAIRPIN_BYTECODE[6], header(6, address, address)) == 65535
    assert run_bpf(HAIRPIN_BYTECODE[6], header(6, address, other)) == 0


@given(st.integers(0, 31), st.integers(0, HOST))
def test_the_ipv4_hairpin_program_sees_every_bit_of_the_addresses(bit: int, address: int) -> None:
    other = address ^ 1 << bit

    assert run_bpf(HAIRPIN_BYTECODE[4], header(4, address, address)) == 65535
    assert run_bpf(HAIRPIN_BYTECODE[4], header(4, address, other)) == 0
