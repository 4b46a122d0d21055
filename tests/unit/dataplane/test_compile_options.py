"""What the options of a node change: gates, pods that nobody knows, and hairpins without xt_bpf."""

import msgspec
import pytest

from controller.dataplane.compile import compile_family
from controller.dataplane.render import render_rules
from controller.dataplane.ruleset import (
    SetType,
)
from controller.dataplane.settings import Settings
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import Direction
from tests.unit.dataplane.compiled import (
    OUTSIDE,
    SHOP,
    isolated,
    lines,
    packet,
    passes,
    view,
)

BOTH = (Direction.EGRESS, Direction.INGRESS)


# Gates


def test_ipv6_has_a_gate_of_isolated_addresses_before_the_dispatch_of_each_direction() -> None:
    found = compile_family(
        view(isolated("a", "fd00::1"), isolated("b", "fd00::2", directions=[Direction.EGRESS])), 6
    )

    assert lines(found, "PODGATE-I")[0] == "-m set ! --match-set pg6-iso-i dst -j RETURN"
    assert lines(found, "PODGATE-E")[0] == "-m set ! --match-set pg6-iso-e src -j RETURN"
    assert {each.name: each.entries for each in found.sets} == {
        "pg6-iso-e": ("fd00::2",),
        "pg6-iso-i": ("fd00::1",),
    }


def test_ipv4_has_no_gate_unless_it_is_asked_for() -> None:
    node = view(isolated("a", "10.0.0.1"))

    assert compile_family(node, 4).sets == ()
    assert lines(compile_family(node, 4, Settings(gates=(4,))), "PODGATE-I")[0] == (
        "-m set ! --match-set pg4-iso-i dst -j RETURN"
    )


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("gates", [(), (4, 6)])
def test_a_gate_changes_no_verdict(family: int, gates: tuple[int, ...]) -> None:
    found = SHOP.rules(family, Settings(gates=gates))
    pod, other, outside = {
        4: ("10.0.0.5", "10.0.0.99", "198.51.100.1"),
        6: ("fd00::5", "fd00::99", "2001:db9::1"),
    }[family]

    assert not passes(found, packet(outside, pod))
    assert passes(found, packet(outside, other))
    assert not passes(found, packet(pod, outside))


# Pods that nobody knows

UNKNOWN = Settings(unknown_pods_denied=True, gates=())
GATED = Settings(unknown_pods_denied=True, gates=(4, 6))
NETWORK = msgspec.structs.replace(
    view(isolated("a", "10.0.0.5", "fd00::5", directions=BOTH), known=("10.0.0.6", "fd00::6")),
    pod_cidrs=(parse_cidr("10.0.0.0/24"), parse_cidr("fd00::/64")),
)


def test_unknown_pods_are_let_through_unless_the_option_is_set() -> None:
    assert passes(compile_family(NETWORK, 4), packet(OUTSIDE, "10.0.0.21"))
    assert not [found for found in compile_family(NETWORK, 4).sets if "known" in found.name]


@pytest.mark.parametrize("settings", [UNKNOWN, GATED], ids=["without gate", "with gate"])
@pytest.mark.parametrize("outwards", [False, True], ids=["ingress", "egress"])
@pytest.mark.parametrize(
    ("host", "let_through"),
    [(6, True), (21, False), (22, False), (5, False)],
    ids=["known", "unknown in the bucket of an isolated pod", "unknown in no bucket", "isolated"],
)
@pytest.mark.parametrize("family", [4, 6])
def test_with_the_option_addresses_of_the_pod_blocks_that_belong_to_no_known_pod_are_cut_off(
    settings: Settings, outwards: bool, host: int, let_through: bool, family: int
) -> None:
    # fd00::15 ends in the same digit as fd00::5, as 10.0.0.21 does as 10.0.0.5
    pod = f"10.0.0.{host}" if family == 4 else f"fd00::{host:x}"
    outside = OUTSIDE if family == 4 else "2001:db8::1"
    ends = (pod, outside) if outwards else (outside, pod)

    assert passes(compile_family(NETWORK, family, settings), packet(*ends)) is let_through


@pytest.mark.parametrize("settings", [UNKNOWN, GATED], ids=["without gate", "with gate"])
def test_with_the_option_addresses_outside_of_the_pod_blocks_are_let_through(settings: Settings) -> None:
    found = compile_family(NETWORK, 4, settings)

    assert passes(found, packet(OUTSIDE, "10.0.1.21"))
    assert passes(found, packet("10.0.1.21", OUTSIDE))


# A Node object can say that.
@pytest.mark.parametrize("gates", [(), (4, 6)])
@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_block_of_everything_can_be_loaded(family: int, gates: tuple[int, ...]) -> None:
    everything = tuple(map(parse_cidr, ["0.0.0.0/0", "::/0"]))
    node = msgspec.structs.replace(NETWORK, pod_cidrs=everything)

    found = compile_family(node, family, Settings(unknown_pods_denied=True, gates=gates))

    assert render_rules(found)


def test_the_set_of_known_addresses_holds_those_of_one_family_sorted() -> None:
    (known,) = (each for each in compile_family(NETWORK, 4, UNKNOWN).sets if each.name == "pg4-known")

    assert (known.type, known.entries) == (SetType.ADDRESSES, ("10.0.0.5", "10.0.0.6"))


# Hairpin


# Rules 2.44, 2.45
@pytest.mark.parametrize("by_bpf", [True, False])
@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_reaches_itself_through_a_service_with_and_without_xt_bpf(by_bpf: bool, family: int) -> None:
    node = view(
        isolated("a", "10.0.0.5", "fd00::5", directions=BOTH),
        isolated("b", "10.0.0.21", "fd00::15", directions=BOTH),
    )
    one, other = {4: ("10.0.0.5", "10.0.0.21"), 6: ("fd00::5", "fd00::15")}[family]

    found = compile_family(node, family, Settings(hairpin_by_bpf=by_bpf))

    assert passes(found, packet(one, one))
    assert not passes(found, packet(one, other))


def test_without_xt_bpf_a_rule_before_that_of_the_pod_lets_it_reach_itself() -> None:
    found = compile_family(view(isolated("a", "10.0.0.5")), 4, Settings(hairpin_by_bpf=False))

    assert lines(found, "PODGATE-D") == ["-j CONNMARK --set-xmark 0x30000/0x1fff0000", "-j DROP"]
    assert lines(found, "PODGATE-I5")[0] == "-s 10.0.0.5/32 -d 10.0.0.5/32 -j RETURN"
    assert lines(found, "PODGATE-I5")[1].startswith("-d 10.0.0.5/32 -g ")


# Rules 2.45, 2.56
def test_without_xt_bpf_an_address_of_two_pods_has_one_such_rule() -> None:
    twins = view(isolated("a", "10.0.0.5"), isolated("b", "10.0.0.5"))

    found = lines(compile_family(twins, 4, Settings(hairpin_by_bpf=False)), "PODGATE-I5")

    assert len([line for line in found if line.startswith("-s ")]) == 1
