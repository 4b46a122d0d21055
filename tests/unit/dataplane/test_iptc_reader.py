"""What python-iptables finds becomes the values that iptables-save's text becomes, or is refused."""

import pytest
from msgspec.structs import replace

from controller.dataplane.iptc_dump import (
    DumpedChain,
    DumpedRule,
    Extension,
    Reading,
    Undecoded,
    dump_text,
    read_dump,
    read_rule,
)
from controller.dataplane.parse import parse_rules
from controller.dataplane.readback import SPOILT
from controller.dataplane.render import HAIRPIN_BYTECODE
from controller.dataplane.ruleset import Chain, Jump, Rule
from controller.dataplane.words import UnreadableError

ANY = {4: ("0.0.0.0", "0.0.0.0"), 6: ("::", "::")}
GOTO = {4: 0x2, 6: 0x4}
families = pytest.mark.parametrize("family", [4, 6])


def header(
    family: int = 4,
    target: Extension | None = None,
    source: tuple[str, str] | None = None,
    destination: tuple[str, str] | None = None,
    protocol: int = 0,
    flags: int | None = None,
    matches: tuple[Extension, ...] = (),
) -> DumpedRule:
    """A rule that tests nothing and returns, but for what is given."""
    if flags is None:
        flags = int(family == 6 and protocol > 0)
    return DumpedRule(
        source=source or ANY[family],
        destination=destination or ANY[family],
        protocol=protocol,
        flags=flags,
        inverted=0,
        interfaces=False,
        target=target or Extension("RETURN"),
        matches=matches,
    )


def match(name: str, **options: tuple[str, ...]) -> Extension:
    return Extension(name, {option.replace("_", "-"): values for option, values in options.items()})


def parsed(text: str, family: int) -> Rule:
    """The rule that iptables-save prints so."""
    chains = parse_rules(f"*mangle\n:PODGATE - [0:0]\n-A PODGATE {text}\nCOMMIT\n", family)
    return chains[0].rules[0]


MATCHES = [
    ("-p tcp -m tcp --dport 80", 6, [match("tcp", dport=("80",))]),
    ("-p udp -m udp --dport 1000:2000", 17, [match("udp", dport=("1000:2000",))]),
    ("-p tcp -m tcp", 6, [match("tcp")]),
    ("-p sctp -m sctp --dport 0:65535", 132, [match("sctp", dport=("0:65535",))]),
    (
        "-p tcp -m multiport --dports 80,443,1000:2000",
        6,
        [match("multiport", dports=("80,443,1000:2000",))],
    ),
    ("-m connmark --mark 0x1/0x3", 0, [match("connmark", mark=("0x1/0x3",))]),
    ("-m connmark ! --mark 0x1/0x3", 0, [match("connmark", mark=("!", "0x1/0x3"))]),
    ("-m connmark --mark 0xffffffff", 0, [match("connmark", mark=("0xffffffff",))]),
    ("-m conntrack --ctstate UNTRACKED", 0, [match("conntrack", ctstate=("UNTRACKED",))]),
    ("-m conntrack --ctdir REPLY", 0, [match("conntrack", ctdir=("REPLY",))]),
    (
        '-m set --match-set pg4-a src -m set ! --match-set pg4-b dst,dst -m comment --comment "x y"',
        0,
        [
            match("set", match_set=("pg4-a", "src")),
            match("set", match_set=("!", "pg4-b", "dst,dst")),
            match("comment", comment=("x y",)),
        ],
    ),
]


@pytest.mark.parametrize(("text", "protocol", "matches"), MATCHES)
def test_a_match_is_what_iptables_save_says_it_is(text: str, protocol: int, matches: list[Extension]) -> None:
    dumped = header(protocol=protocol, matches=tuple(matches))

    assert read_rule(dumped, 4) == parsed(f"{text} -j RETURN", 4)


@families
def test_the_hairpin_program_is_recognised(family: int) -> None:
    dumped = header(family, matches=(match("bpf", bytecode=(HAIRPIN_BYTECODE[family],)),))

    assert read_rule(dumped, family) == parsed(
        f'-m bpf --bytecode "{HAIRPIN_BYTECODE[family]}" -j RETURN', family
    )


@pytest.mark.parametrize(
    ("family", "source", "text"),
    [
        (4, ("10.0.0.0", "255.0.0.0"), "10.0.0.0/8"),
        (4, ("0.0.0.5", "0.0.0.15"), "0.0.0.5/0.0.0.15"),
        (6, ("fd00::", "ffff::"), "fd00::/16"),
        (6, ("::5", "::f"), "::5/::f"),
    ],
)
def test_a_mask_may_have_gaps(family: int, source: tuple[str, str], text: str) -> None:
    assert read_rule(header(family, source=source), family) == parsed(f"-s {text} -j RETURN", family)


def test_source_and_destination_are_told_apart() -> None:
    dumped = header(destination=("10.0.0.1", "255.255.255.255"))

    assert read_rule(dumped, 4) == parsed("-d 10.0.0.1/32 -j RETURN", 4)


@families
@pytest.mark.parametrize(
    ("target", "goto", "text"),
    [
        (Extension("RETURN"), False, "-j RETURN"),
        (Extension("DROP"), False, "-j DROP"),
        (Extension("PODGATE-IN"), False, "-j PODGATE-IN"),
        (Extension("PODGATE-IN"), True, "-g PODGATE-IN"),
        (
            match("CONNMARK", set_xmark=("0x10000/0x1fff0000",)),
            False,
            "-j CONNMARK --set-xmark 0x10000/0x1fff0000",
        ),
    ],
)
def test_a_target_is_what_iptables_save_says_it_is(
    family: int, target: Extension, goto: bool, text: str
) -> None:
    dumped = header(family, target, flags=GOTO[family] if goto else 0)

    assert read_rule(dumped, family) == parsed(text, family)


REFUSED = [
    header(flags=0x1),  # fragments
    replace(header(), inverted=0x8),  # ! -s
    replace(header(), interfaces=True),
    header(source=("10.0.0.1", "255.0.0.0")),  # matches nothing
    header(source=("10.0.0.1", "0.0.0.0")),
    header(protocol=47),
    header(6, protocol=6, flags=0),
    header(protocol=17, matches=(match("tcp", dport=("80",)),)),
    header(protocol=6, matches=(match("tcp", dport=("!", "80")),)),
    header(protocol=6, matches=(match("tcp", sport=("80",)),)),
    header(protocol=6, matches=(match("tcp", dport=("80",), sport=("1",)),)),
    header(protocol=6, matches=(match("multiport", ports=("80,81",)),)),
    header(matches=(match("multiport", dports=("80,81",)),)),
    header(matches=(match("conntrack", ctstate=("NEW",)),)),
    header(matches=(match("conntrack", ctstate=("UNTRACKED",), ctdir=("REPLY",)),)),
    header(matches=(match("conntrack", ctdir=("SIDEWAYS",)),)),
    header(matches=(match("set", match_set=("foreign", "src")),)),
    header(matches=(match("set", match_set=("pg4-a", "up")),)),
    header(matches=(match("set", match_set=("pg4-a", "src"), return_nomatch=()),)),
    header(matches=(match("connmark", mark=("0x3/0x1",)),)),
    header(matches=(match("bpf", bytecode=("1,6 0 0 65535",)),)),
    header(matches=(match("limit", limit=("1/sec",)),)),
    header(matches=(match("comment", comment=("a",)), match("comment", comment=("b",)))),
    header(matches=(match("comment", comment=()),)),
    header(target=Extension("ACCEPT")),
    header(target=Extension("RETURN"), flags=GOTO[4]),
    header(target=Extension("PODGATEWAY")),
    header(target=match("CONNMARK", restore_mark=())),
    header(target=match("PODGATE-IN", set_xmark=("0x1/0x1",))),
]


@pytest.mark.parametrize("dumped", REFUSED)
def test_what_podgate_never_writes_is_refused(dumped: DumpedRule) -> None:
    family = 6 if dumped.source[0] == "::" else 4

    with pytest.raises(UnreadableError):
        read_rule(dumped, family)


def read(*chains: DumpedChain, family: int = 4) -> Reading:
    return read_dump(dump_text(chains).decode(), family)


def test_chains_come_sorted_and_an_entry_without_our_rules_is_left_out() -> None:
    found = read(DumpedChain("PODGATE-IN", ()), DumpedChain("PODGATE", ()), DumpedChain("FORWARD", ()))

    assert found == Reading((Chain("PODGATE"), Chain("PODGATE-IN")))


def test_one_foreign_rule_spoils_its_chain_only() -> None:
    found = read(
        DumpedChain("PODGATE", (header(), Undecoded("target NFLOG is nothing podgate writes"))),
        DumpedChain("PODGATE-IN", (header(),)),
    )

    assert found == Reading((Chain("PODGATE", SPOILT), Chain("PODGATE-IN", (parsed("-j RETURN", 4),))))


def test_a_foreign_rule_that_leads_to_us_is_a_fault() -> None:
    jump = header(target=Extension("PODGATE"))
    found = read(DumpedChain("FORWARD", (jump, replace(jump, interfaces=True))))

    assert found.chains == (Chain("FORWARD", (Rule((), Jump("PODGATE")),)),)
    assert found.faults == (
        "a rule of FORWARD that is not podgate's leads into its chains: the header tests an interface",
    )


def test_a_foreign_rule_above_ours_is_a_fault() -> None:
    found = read(DumpedChain("INPUT", (header(target=Extension("PODGATE")),), foreign_first=True))

    assert found.faults == ("a foreign rule stands above podgate's in INPUT",)


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"name": "PODGATE"}]', '[{"name": 1, "rules": []}]'])
def test_a_text_that_is_no_dump_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError, match="no list of chains"):
        read_dump(text, 4)
