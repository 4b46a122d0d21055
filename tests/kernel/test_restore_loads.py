"""The kernel takes what render writes and gives the same ruleset back, in both backends and families."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.dataplane.parse import parse
from controller.dataplane.render import canonical_order
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
from controller.objects.addresses import BITS
from tests.kernel.restore import BACKENDS, TOOLS, in_namespace, load_command, needs_kernel, write_texts
from tests.property.rulesets import SUBNET, rulesets

pytestmark = [*needs_kernel, pytest.mark.parametrize("backend", BACKENDS)]
families = pytest.mark.parametrize("family", TOOLS)

ENTRIES = {
    (SetType.ADDRESSES, 4): ("10.0.0.1", "10.0.0.2", "10.0.0.10"),
    (SetType.ADDRESSES, 6): ("::ffff:10.0.0.1", "fd00::1", "fd00::10"),
    (SetType.NETWORKS, 4): ("0.0.0.0/1", "10.0.0.0/8", "10.0.0.0/25", "10.0.0.7", "128.0.0.0/1"),
    (SetType.NETWORKS, 6): ("::/1", "fd00::/64", "fd00::7"),
    (SetType.ENDPOINTS, 4): ("10.0.0.1,tcp:80", "10.0.0.1,tcp:443", "10.0.0.1,udp:0", "10.0.0.1,sctp:65535"),
    (SetType.ENDPOINTS, 6): ("fd00::1,tcp:80", "fd00::1,udp:53", "fd00::1,sctp:9"),
}


def everything(family: int) -> Ruleset:
    """Every match, target and set type, and what is odd about each."""
    sets = tuple(
        AddressSet(f"pg{family}-{_name(kind)}", kind, ENTRIES[kind, family])
        for kind in sorted(SetType, key=_name)
    )
    chains = (
        Chain("FORWARD", (Rule((), Jump("PODGATE"), "podgate"),)),
        Chain("INPUT", (Rule((CtDirectionMatch(CtDirection.ORIGINAL),), Goto("PODGATE-IN")),)),
        Chain("PODGATE", tuple(Rule((), target) for target in _targets())),
        Chain("PODGATE-D", (Rule((), Drop()),)),
        Chain("PODGATE-EP-abcdefghijklmnop"),
        Chain("PODGATE-IN", tuple(Rule(matches, Return()) for matches in _matches(family))),
    )
    comments = tuple(Rule((), Return(), comment) for comment in _comments())
    return Ruleset(family, (*chains, Chain("PODGATE-IP-abcdefghijklmnop", comments)), sets)


def _name(kind: SetType) -> str:
    return kind.name.lower()


def _targets() -> list[Target]:
    return [
        Jump("PODGATE-EP-abcdefghijklmnop"),
        SetConnmark(0x20000, 0x1FFF0000),
        SetConnmark(0xFFFFFFFF, 0xFFFFFFFF),
        SetConnmark(0, 0),
        Goto("PODGATE-D"),
    ]


def _comments() -> list[str]:
    return [
        "plain",
        "two  spaces",
        "shop/allow-web ingress[1]",
        "a,b=c:d+e@f#g",
        "<*> (x)",
        "a -j DROP",
        "x" * 255,
    ]


def _matches(family: int) -> list[tuple[Match, ...]]:
    bits = BITS[family]
    full = (1 << bits) - 1
    source = [
        (SUBNET[family] | 1, full),
        (5, 15),
        (0x50, 0xF0),
        (1 << (bits - 1), 1 << (bits - 1)),
        (0, full - 1),
    ]
    ports = [
        ((80, 80),),
        ((0, 0),),
        ((0, 65535),),
        ((1000, 2000),),
        tuple((port, port) for port in range(15)),
        (*((port, port) for port in range(13)), (100, 65535)),
        ((443, 443), (80, 80), (0, 65535)),
    ]
    return [
        *((AddressMatch(Side.SOURCE, value, mask),) for value, mask in source),
        (AddressMatch(Side.SOURCE, 5, 15), AddressMatch(Side.DESTINATION, SUBNET[family], 255 << (bits - 8))),
        *((ProtocolMatch(number),) for number in (1, 6, 17, 58, 132)),
        *((ProtocolMatch(number), PortMatch(ranges)) for number in (6, 17, 132) for ranges in ports),
        (UntrackedMatch(), CtDirectionMatch(CtDirection.REPLY), ConnmarkMatch(1, 3, negated=True)),
        (ConnmarkMatch(0xFFFFFFFF, 0xFFFFFFFF),),
        (ConnmarkMatch(0, 0),),
        (HairpinMatch(),),
        (
            SetMatch(f"pg{family}-addresses", (Side.SOURCE,)),
            SetMatch(f"pg{family}-networks", (Side.DESTINATION,)),
        ),
        (SetMatch(f"pg{family}-endpoints", (Side.DESTINATION, Side.DESTINATION), negated=True),),
        (SetMatch(f"pg{family}-endpoints", (Side.SOURCE, Side.DESTINATION)),),
        canonical_order(
            [
                SetMatch(f"pg{family}-addresses", (Side.SOURCE,)),
                HairpinMatch(),
                PortMatch(((80, 80), (443, 443))),
                ProtocolMatch(6),
                AddressMatch(Side.DESTINATION, 5, 15),
            ]
        ),
    ]


def load_and_read_back(ruleset: Ruleset, backend: str, before: str = "") -> Ruleset:
    save = f"{TOOLS[ruleset.family]}-{backend}-save"
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(ruleset, folder)
        in_namespace(
            f"{before}\n{load_command(ruleset, backend)}{save} -c > rules.saved\nipset save > sets.saved",
            folder,
        )
        rules, sets = ((folder / f"{kind}.saved").read_text() for kind in ("rules", "sets"))
    return parse(rules, sets, ruleset.family)


def as_kept(ruleset: Ruleset) -> Ruleset:
    """Without the comments of sets, which ipset has no place for."""
    return msgspec.structs.replace(
        ruleset, sets=tuple(msgspec.structs.replace(each, comment="") for each in ruleset.sets)
    )


@families
def test_every_match_target_and_set_type_comes_back_as_it_went(family: int, backend: str) -> None:
    ruleset = everything(family)

    assert load_and_read_back(ruleset, backend) == as_kept(ruleset)


@families
def test_other_peoples_rules_and_sets_do_not_disturb(family: int, backend: str) -> None:
    tool = f"{TOOLS[family]}-{backend}"
    foreign = f"""
        ipset create kube-nodes hash:ip timeout 300
        {tool} -t nat -N KUBE-SERVICES
        {tool} -t mangle -N PODGATEWAY
        {tool} -t mangle -A PODGATEWAY -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
        {tool} -t mangle -A FORWARD -m comment --comment '"quoted" -j PODGATE' -j PODGATEWAY
        {tool} -t mangle -A FORWARD -i eth+ -j ACCEPT
    """

    assert load_and_read_back(everything(family), backend, foreign) == as_kept(everything(family))


@families
def test_loading_again_replaces_own_chains_and_sets(family: int, backend: str) -> None:
    ruleset = everything(family)
    again = msgspec.structs.replace(
        ruleset, chains=ruleset.chains[2:]
    )  # FORWARD and INPUT are only ever added to

    with TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(ruleset, folder)
        (folder / "first").mkdir()
        for kind in ("rules", "sets"):
            (folder / kind).rename(folder / "first" / kind)
        write_texts(again, folder)
        load = load_command(again, backend)
        tool = f"{TOOLS[family]}-{backend}"
        saved = in_namespace(
            f"(cd first\n{load})\n{load}{tool}-save -t mangle\nipset save > sets.saved", folder
        )
        read = parse(saved, (folder / "sets.saved").read_text(), family)

    assert read == as_kept(ruleset)


@families
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(data=st.data())
def test_arbitrary_rulesets_come_back_as_they_went(family: int, backend: str, data: st.DataObject) -> None:
    ruleset = data.draw(rulesets(family))

    assert load_and_read_back(ruleset, backend) == as_kept(ruleset)


def test_both_families_live_side_by_side(backend: str, tmp_path: Path) -> None:
    script = ""
    for family in TOOLS:
        (tmp_path / str(family)).mkdir()
        write_texts(everything(family), tmp_path / str(family))
        script += f"(cd {family}\n{load_command(everything(family), backend)})\n"

    sets = in_namespace(f"{script}ipset save", tmp_path)

    for family in TOOLS:
        assert parse("", sets, family).sets == as_kept(everything(family)).sets
