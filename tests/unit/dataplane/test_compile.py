"""The layout: which chains there are, what stands in them, and in which order (docs/dataplane.md)."""

import pytest

from controller.dataplane.compile import compile_family, compile_node
from controller.dataplane.ruleset import (
    CHAIN_NAME_MAX,
)
from controller.dataplane.settings import MarkLayout, Settings
from controller.engine.rulesets import LocalPod, NodeView
from controller.objects.kinds import Direction
from tests.unit.builder import (
    cluster,
    labels,
    pods,
    port,
)
from tests.unit.dataplane.compiled import (
    OUTSIDE,
    SHOP,
    chain_names,
    isolated,
    lines,
    packet,
    passes,
    view,
)

EGRESS = Direction.EGRESS


# Entry


def test_ipv4_is_judged_in_the_order_of_the_layout() -> None:
    assert lines(SHOP.rules(4), "PODGATE") == [
        "-m connmark --mark 0x20000/0x1fff0000 -j RETURN",
        "-m conntrack --ctdir REPLY -m connmark ! --mark 0x30000/0x1fff0000 -j RETURN",
        "-m conntrack --ctdir REPLY -j DROP",
        "-j PODGATE-E",
        "-j PODGATE-I",
        "-j CONNMARK --set-xmark 0x20000/0x1fff0000",
    ]


# Rule 2.39: neighbour discovery of bridged pods is untracked
def test_ipv6_lets_neighbour_discovery_pass_behind_the_fast_path() -> None:
    ipv4, ipv6 = (lines(SHOP.rules(family), "PODGATE") for family in (4, 6))

    assert ipv6[1] == "-p ipv6-icmp -m conntrack --ctstate UNTRACKED -j RETURN"
    assert [ipv6[0], *ipv6[2:]] == ipv4


# Rule 2.41
@pytest.mark.parametrize(
    ("family", "neighbours"),
    [(4, []), (6, ["-p ipv6-icmp -m conntrack --ctstate UNTRACKED -j RETURN"])],
)
def test_what_pods_send_to_their_own_node_is_judged_by_egress_alone(
    family: int, neighbours: list[str]
) -> None:
    assert lines(SHOP.rules(family), "PODGATE-IN") == [
        "-m connmark --mark 0x20000/0x1fff0000 -j RETURN",
        *neighbours,
        "-m conntrack --ctdir REPLY -j RETURN",
        "-j PODGATE-E",
        "-j CONNMARK --set-xmark 0x20000/0x1fff0000",
    ]


def test_the_kernels_own_chains_get_one_jump_each() -> None:
    found = SHOP.rules()

    assert (lines(found, "FORWARD"), lines(found, "INPUT")) == (["-j PODGATE"], ["-j PODGATE-IN"])


# Rule 2.40: the own node is never kept from its pods, as nothing looks at what it sends
def test_nothing_is_hooked_into_output() -> None:
    assert not {"OUTPUT", "PREROUTING", "POSTROUTING"} & set(chain_names(SHOP.rules()))


# Rule 2.41: the opt-out
@pytest.mark.parametrize("family", [4, 6])
def test_with_egress_to_the_own_node_exempted_nothing_is_hooked_into_input(family: int) -> None:
    found = SHOP.rules(family, Settings(own_node_egress_allowed=True))

    assert not {"INPUT", "PODGATE-IN"} & set(chain_names(found))
    assert lines(found, "PODGATE") == lines(SHOP.rules(family), "PODGATE")


@pytest.mark.parametrize("family", [4, 6])
def test_a_denied_packet_marks_its_connection_unless_it_is_the_pods_own(family: int) -> None:
    hairpin, *rest = lines(SHOP.rules(family), "PODGATE-D")

    assert hairpin.startswith("-m bpf --bytecode ")
    assert hairpin.endswith("-j RETURN")
    assert rest == ["-j CONNMARK --set-xmark 0x30000/0x1fff0000", "-j DROP"]


def test_the_generation_and_the_mask_are_those_of_the_settings() -> None:
    found = SHOP.rules(4, Settings(generation=3, marks=MarkLayout(0xF0)))

    assert lines(found, "PODGATE")[0] == "-m connmark --mark 0x60/0xf0 -j RETURN"
    assert lines(found, "PODGATE")[1].endswith("! --mark 0x70/0xf0 -j RETURN")
    assert lines(found, "PODGATE")[-1] == "-j CONNMARK --set-xmark 0x60/0xf0"
    assert lines(found, "PODGATE-D")[1] == "-j CONNMARK --set-xmark 0x70/0xf0"


def test_a_generation_that_the_mask_cannot_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match="generation 4"):
        SHOP.rules(4, Settings(generation=4, marks=MarkLayout(0x7)))


def test_a_node_without_isolated_pods_has_the_entries_which_carry_the_generation() -> None:
    found = compile_family(NodeView("empty"), 4)

    assert chain_names(found) == [
        "FORWARD", "INPUT", "PODGATE", "PODGATE-D", "PODGATE-E", "PODGATE-I", "PODGATE-IN",
    ]  # fmt: skip
    assert found.sets == ()
    assert passes(found, packet("10.0.0.1", "10.0.0.2"))


def test_both_families_are_compiled_ipv4_first() -> None:
    node = SHOP.view()

    assert compile_node(node) == (compile_family(node, 4), compile_family(node, 6))


def test_each_family_holds_its_own_addresses_alone() -> None:
    ipv4, ipv6 = compile_node(SHOP.view())

    assert not any(":" in entry for found in ipv4.sets for entry in found.entries if "," not in entry)
    assert all(":" in entry.partition(",")[0] for found in ipv6.sets for entry in found.entries)
    assert {found.name[:4] for found in ipv4.sets} == {"pg4-"}
    assert {found.name[:4] for found in ipv6.sets} == {"pg6-"}


# Dispatch


def ending_in_1(count: int) -> list[LocalPod]:
    """Pods at 10.0.0.1, 10.0.0.17, 10.0.0.33, ..."""
    return [isolated(f"p{number}", f"10.0.{number // 16}.{number % 16 * 16 + 1}") for number in range(count)]


def test_pods_are_found_by_the_last_digit_of_their_address_and_then_by_all_of_it() -> None:
    found = compile_family(
        view(isolated("a", "10.0.0.21"), isolated("b", "10.0.0.37"), isolated("c", "10.0.0.10")), 4
    )

    assert lines(found, "PODGATE-I") == [
        "-d 0.0.0.5/0.0.0.15 -g PODGATE-I5",
        "-d 0.0.0.10/0.0.0.15 -g PODGATE-IA",
    ]
    (profile,) = chain_names(found, "PODGATE-IP-")
    assert lines(found, "PODGATE-I5") == [f"-d 10.0.0.21/32 -g {profile}", f"-d 10.0.0.37/32 -g {profile}"]
    assert lines(found, "PODGATE-E") == []


def test_egress_looks_at_the_source() -> None:
    found = compile_family(view(isolated("a", "10.0.0.21", directions=[EGRESS])), 4)

    assert lines(found, "PODGATE-E") == ["-s 0.0.0.5/0.0.0.15 -g PODGATE-E5"]
    assert lines(found, "PODGATE-E5")[0].startswith("-s 10.0.0.21/32 -g PODGATE-EP-")
    assert lines(found, "PODGATE-I") == []


def test_ipv6_pods_are_found_in_the_same_way() -> None:
    found = compile_family(view(isolated("a", "fd00::2f")), 6, Settings(gates=()))

    assert lines(found, "PODGATE-I") == ["-d ::f/::f -g PODGATE-IF"]
    assert lines(found, "PODGATE-IF")[0].startswith("-d fd00::2f/128 -g PODGATE-IP-")


def test_a_pod_has_a_rule_for_each_of_its_addresses() -> None:
    found = compile_family(view(isolated("a", "10.0.0.1", "10.0.0.2", "fd00::3")), 4)

    assert chain_names(found, "PODGATE-I")[1:3] == ["PODGATE-I1", "PODGATE-I2"]


def test_a_bucket_as_full_as_it_may_be_is_one_chain() -> None:
    found = compile_family(view(*ending_in_1(2)), 4, Settings(bucket_size=2))

    assert len(lines(found, "PODGATE-I1")) == 2


def test_a_bucket_that_is_too_full_is_split_by_the_digit_before() -> None:
    found = compile_family(view(*ending_in_1(3)), 4, Settings(bucket_size=2))

    assert lines(found, "PODGATE-I1") == [
        "-d 0.0.0.0/0.0.0.240 -g PODGATE-I10",
        "-d 0.0.0.16/0.0.0.240 -g PODGATE-I11",
        "-d 0.0.0.32/0.0.0.240 -g PODGATE-I12",
    ]
    assert [len(lines(found, f"PODGATE-I1{digit}")) for digit in "012"] == [1, 1, 1]


def test_a_bucket_is_split_again_where_the_next_digit_is_not_enough() -> None:
    addresses = ["10.0.0.1", "10.0.1.1", "10.0.2.1"]
    found = compile_family(view(*(isolated(text, text) for text in addresses)), 4, Settings(bucket_size=2))

    assert lines(found, "PODGATE-I10") == [
        "-d 0.0.0.0/0.0.15.0 -g PODGATE-I100",
        "-d 0.0.1.0/0.0.15.0 -g PODGATE-I101",
        "-d 0.0.2.0/0.0.15.0 -g PODGATE-I102",
    ]


@pytest.mark.parametrize("size", [1, 2, 64])
def test_however_buckets_are_split_exactly_the_isolated_pods_are_found(size: int) -> None:
    found = compile_family(view(*ending_in_1(40)), 4, Settings(bucket_size=size))

    asked = {f"10.0.{third}.{last}" for third in range(4) for last in (1, 2, 17, 225)}
    denied = {text for text in asked if not passes(found, packet(OUTSIDE, text))}
    assert denied == asked & {address for pod in ending_in_1(40) for address in pod.ips}


# Pods whose addresses only differ in front, as where every pod has a prefix of its own.
@pytest.mark.parametrize("size", [1, 64])
def test_pods_that_share_a_long_end_of_their_addresses_do_not_make_names_too_long(size: int) -> None:
    alike = view(*(isolated(f"p{number}", f"fd00:0:{number + 1:x}::1") for number in range(65)))

    found = compile_family(alike, 6, Settings(bucket_size=size))

    assert max(map(len, chain_names(found))) <= CHAIN_NAME_MAX
    assert not passes(found, packet("2001:db8::1", "fd00:0:41::1"))
    assert passes(found, packet("2001:db8::1", "fd00:0:42::1"))


# Rule 2.56
def test_pods_with_one_address_count_once_when_buckets_are_split() -> None:
    twins = (isolated(f"p{number}", "10.0.0.1") for number in range(5))

    found = compile_family(view(*twins), 4, Settings(bucket_size=1))

    assert len(lines(found, "PODGATE-I1")) == 5


# Rule 2.56
def test_all_profiles_of_an_address_that_two_pods_have_are_asked() -> None:
    built = (
        cluster()
        .pod("shop/a", ip="10.0.0.1", labels={"app": "a"})
        .pod("shop/b", ip="10.0.0.1", labels={"app": "b"})
        .policy("shop/a", {"podSelector": labels(app="a"), "ingress": [{"ports": [port(80)]}]})
        .policy("shop/b", {"podSelector": labels(app="b"), "ingress": [{"ports": [port(81)]}]})
    )

    first, last = lines(built.rules(), "PODGATE-I1")

    assert first.startswith("-d 10.0.0.1/32 -j PODGATE-IP-")
    assert last.startswith("-d 10.0.0.1/32 -g PODGATE-IP-")


def test_an_ipv6_address_with_dots_is_none_of_ipv4() -> None:
    built = (
        cluster()
        .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"}, ports=["sql:5432"])
        .pod("shop/web", ip=("10.0.0.4", "::10.0.0.4"), labels={"app": "web"}, ports=["sql:5432"])
        .policy(
            "shop/db",
            {
                "podSelector": labels(app="db"),
                "ingress": [{"from": [pods(app="web")]}],
                "egress": [{"to": [pods(app="web")], "ports": [port("sql")]}],
            },
        )
    )

    ipv4, ipv6 = compile_node(built.view())

    assert {entry for each in ipv4.sets for entry in each.entries} == {"10.0.0.4", "10.0.0.4,tcp:5432"}
    assert {"::10.0.0.4", "::10.0.0.4,tcp:5432"} <= {entry for each in ipv6.sets for entry in each.entries}
