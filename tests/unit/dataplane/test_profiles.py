"""Profiles: the rule list of a pod, its matches, the sets they look up, and who shares it."""

from typing import Any

import msgspec
import pytest

from controller.dataplane.ruleset import AddressSet, Ruleset, SetType
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.validity import MULTIPORT_SLOTS
from tests.unit.builder import (
    ClusterBuilder,
    block,
    cluster,
    labels,
    namespaces,
    pods,
    port,
)
from tests.unit.dataplane.compiled import OUTSIDE, chain_names, lines, packet, passes, rules, sets

DB, DB_6 = "10.0.0.1", "fd00::1"
SHOP = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .pod("shop/db", ip=(DB, DB_6), labels={"app": "db"}, ports=["sql:5432", "admin:8080"])
    .pod("shop/web", ip=("10.0.0.10", "fd00::10"), labels={"app": "web"}, node="node-2", ports=["http:80"])
    .pod("shop/web-2", ip=("10.0.0.9", "fd00::9"), labels={"app": "web"}, node="node-2", ports=["http:81"])
    .pod(
        "bank/web", ip=("10.0.1.1", "fd00::1:1"), labels={"app": "web"}, node="node-2", ports=["http:82/UDP"]
    )
)
DENY = "-g PODGATE-D"


def ingress(*accepted: dict[str, Any], built: ClusterBuilder = SHOP) -> ClusterBuilder:
    return built.policy("shop/p", {"podSelector": labels(app="db"), "ingress": list(accepted)})


def egress(*accepted: dict[str, Any]) -> ClusterBuilder:
    spec = {"podSelector": labels(app="db"), "policyTypes": ["Egress"], "egress": list(accepted)}
    return SHOP.policy("shop/p", spec)


def profile(found: Ruleset) -> list[str]:
    """The lines of the only profile, the names of sets shown by what they are."""
    (name,) = chain_names(found, "PODGATE-IP-") + chain_names(found, "PODGATE-EP-")
    text = "\n".join(lines(found, name))
    for each in found.sets:
        text = text.replace(each.name, f"<{each.type}>")
    return text.split("\n")


def matched(built: ClusterBuilder, family: int = 4, settings: Settings = DEFAULTS) -> list[str]:
    """What the accepting rules of the only profile match; each ends in RETURN, and a denial stands last."""
    *accepting, last = profile(built.rules(family, settings))
    assert last == DENY
    assert all(line.endswith("-j RETURN") for line in accepting)
    return [line.removesuffix("-j RETURN").strip() for line in accepting]


def only_set(built: ClusterBuilder, kind: SetType, family: int = 4) -> AddressSet:
    (found,) = sets(built.rules(family, Settings(gates=())), kind)
    return found


# Peers


# Rule 2.7
def test_a_pod_that_may_nothing_has_a_profile_that_denies_at_once() -> None:
    assert matched(ingress()) == []


# Rule 2.11
def test_a_rule_for_everybody_matches_without_any_test() -> None:
    assert matched(ingress({})) == [""]


def test_ingress_looks_at_the_source_and_egress_at_the_destination() -> None:
    assert matched(ingress({"from": [pods(app="web")]})) == ["-m set --match-set <hash:ip> src"]
    assert matched(egress({"to": [pods(app="web")]})) == ["-m set --match-set <hash:ip> dst"]
    assert matched(ingress({"from": [block("192.0.2.0/24")]})) == ["-s 192.0.2.0/24"]
    assert matched(egress({"to": [block("192.0.2.0/24")]})) == ["-d 192.0.2.0/24"]


def test_all_selectors_of_a_rule_are_one_set() -> None:
    built = ingress({"from": [pods(app="web"), namespaces(team="b")]})

    assert matched(built) == ["-m set --match-set <hash:ip> src"]
    assert only_set(built, SetType.ADDRESSES).entries == ("10.0.0.9", "10.0.0.10", "10.0.1.1")


# Rule 2.57
def test_a_set_holds_the_addresses_of_its_family_in_their_numeric_order() -> None:
    built = ingress({"from": [pods(app="web")]})

    assert only_set(built, SetType.ADDRESSES).entries == ("10.0.0.9", "10.0.0.10")
    assert only_set(built, SetType.ADDRESSES, 6).entries == ("fd00::9", "fd00::10")


def test_a_set_of_nobody_is_there_and_empty() -> None:
    assert only_set(ingress({"from": [pods(app="nobody")]}), SetType.ADDRESSES).entries == ()


def test_a_set_says_whom_it_holds() -> None:
    built = ingress({"from": [namespaces(team="b") | pods(app="web"), pods()]})

    assert only_set(built, SetType.ADDRESSES).comment == "pods app=web in namespaces team=b; pods {} in shop"


# Rule 2.15: no peer is left of `from: [{}]`
def test_a_rule_without_any_valid_peer_becomes_no_rule() -> None:
    built = SHOP.flawed_policy("shop/p", {"podSelector": labels(app="db"), "ingress": [{"from": [{}]}]})

    assert matched(built) == []


# Blocks


# Rule 2.21
def test_a_block_is_a_rule_of_its_own_family_alone() -> None:
    built = ingress({"from": [block("192.0.2.0/24"), block("2001:db8::/32")]})

    assert matched(built, 4) == ["-s 192.0.2.0/24"]
    assert matched(built, 6) == ["-s 2001:db8::/32"]
    assert matched(ingress({"from": [block("192.0.2.0/24")]}), 6) == []


# Rule 2.23
@pytest.mark.parametrize(("cidr", "family"), [("0.0.0.0/0", 4), ("::/0", 6)])
def test_the_block_of_everything_needs_no_test_and_holds_in_its_family_alone(cidr: str, family: int) -> None:
    built = ingress({"from": [block(cidr)]})

    assert matched(built, family) == [""]
    assert matched(built, 10 - family) == []


@pytest.mark.parametrize(
    ("cidr", "text"),
    [
        ("0.0.0.0/1", "-s 0.0.0.0/1"),
        ("128.0.0.0/1", "-s 128.0.0.0/1"),
        ("0.0.0.0/2", "-s 0.0.0.0/2"),
        ("0.0.0.0/32", "-s 0.0.0.0/32"),
        ("255.255.255.255/32", "-s 255.255.255.255/32"),
    ],
)
def test_any_other_block_is_tested(cidr: str, text: str) -> None:
    assert matched(ingress({"from": [block(cidr)]})) == [text]


# Rule 2.23: ipset refuses /0
@pytest.mark.parametrize("inline", [0, 1, 4])
@pytest.mark.parametrize(
    "blocks",
    [
        [block("0.0.0.0/0"), block("::/0")],
        [block("0.0.0.0/1"), block("128.0.0.0/1"), block("::/1"), block("8000::/1")],
        [block("0.0.0.0/0", "10.0.0.0/8"), block("10.0.0.0/7"), block("::/0")],
    ],
)
@pytest.mark.parametrize("family", [4, 6])
def test_a_prefix_of_length_0_never_enters_a_set(
    inline: int, blocks: list[dict[str, Any]], family: int
) -> None:
    found = ingress({"from": blocks}).rules(family, Settings(inline_blocks=inline))

    assert [entry for each in found.sets for entry in each.entries if entry.endswith("/0")] == []
    assert passes(found, packet({4: OUTSIDE, 6: "2001:db8::1"}[family], {4: DB, 6: DB_6}[family]))


def test_up_to_four_blocks_are_compared_in_place_and_five_are_a_set() -> None:
    four = [block(f"192.0.{2 * number}.0/24") for number in range(4)]

    assert matched(ingress({"from": four})) == [f"-s 192.0.{2 * number}.0/24" for number in range(4)]
    assert matched(ingress({"from": [*four, block("198.51.100.0/24")]})) == [
        "-m set --match-set <hash:net> src"
    ]


def test_blocks_are_counted_after_they_were_joined() -> None:
    eight_that_are_one = [block(f"192.0.{number}.0/24") for number in range(8)]

    assert matched(ingress({"from": eight_that_are_one})) == ["-s 192.0.0.0/21"]


# Rule 2.20
def test_an_except_leaves_a_hole_and_takes_nothing_from_other_blocks() -> None:
    built = ingress({"from": [block("192.0.2.0/24", "192.0.2.0/26"), block("192.0.2.32/28")]})

    assert matched(built) == ["-s 192.0.2.32/28", "-s 192.0.2.64/26", "-s 192.0.2.128/25"]


# Rule 2.20
def test_a_set_of_blocks_is_the_union_of_each_block_without_its_own_excepts() -> None:
    built = ingress(
        {"from": [block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.9.9/32"), block("10.0.0.0/12")]}
    )

    found = built.rules()
    asked = ["10.1.9.9", "10.1.2.3", "10.15.0.1", "10.16.0.1", "11.0.0.1"]
    assert [passes(found, packet(address, DB)) for address in asked] == [True, True, True, True, False]


# Rule 2.20: most specific prefix wins in the kernel, which is not what a union is
def test_sets_hold_no_exceptions() -> None:
    holes = [f"192.0.2.{16 * number}/30" for number in range(8)]

    found = only_set(ingress({"from": [block("192.0.2.0/24", *holes)]}), SetType.NETWORKS)

    assert [entry for entry in found.entries if "nomatch" in entry] == []
    assert not set(holes) & set(found.entries)


def test_an_address_in_a_set_of_blocks_is_written_without_its_prefix_length() -> None:
    hosts = [block(f"192.0.2.{2 * number}/32") for number in range(6)]

    assert only_set(ingress({"from": hosts}), SetType.NETWORKS).entries[0] == "192.0.2.0"


def test_sets_of_other_blocks_have_other_names_and_of_equal_blocks_the_same() -> None:
    hosts = [block(f"192.0.2.{2 * number}/32") for number in range(7)]

    built = ingress({"from": hosts}, {"from": hosts[::-1]}, {"from": hosts[:6]}, {"from": hosts[1:]})

    assert len(sets(built.rules(), SetType.NETWORKS)) == 3


def test_selectors_and_blocks_of_one_rule_are_alternatives() -> None:
    assert matched(ingress({"from": [pods(app="web"), block("192.0.2.0/24")], "ports": [port(80)]})) == [
        "-p tcp -m tcp --dport 80 -m set --match-set <hash:ip> src",
        "-s 192.0.2.0/24 -p tcp -m tcp --dport 80",
    ]


# Ports


@pytest.mark.parametrize(
    ("items", "tests"),
    [
        ([port(80)], ["-p tcp -m tcp --dport 80"]),
        ([port(80, "UDP")], ["-p udp -m udp --dport 80"]),
        ([port(80, "SCTP")], ["-p sctp -m sctp --dport 80"]),
        ([port(80, end=90)], ["-p tcp -m tcp --dport 80:90"]),
        ([port()], ["-p tcp"]),
        ([port(protocol="UDP"), port(53, "UDP")], ["-p udp"]),
        ([port(80), port(443)], ["-p tcp -m multiport --dports 80,443"]),
        ([port(80), port(81)], ["-p tcp -m tcp --dport 80:81"]),
        ([port(80), port(90, end=99)], ["-p tcp -m multiport --dports 80,90:99"]),
        ([port(80), port(80, "UDP")], ["-p tcp -m tcp --dport 80", "-p udp -m udp --dport 80"]),
        ([port("sql")], ["-p tcp -m tcp --dport 5432"]),
        ([port("sql"), port(80)], ["-p tcp -m multiport --dports 80,5432"]),
        ([port("sql"), port(5000, end=6000)], ["-p tcp -m tcp --dport 5000:6000"]),
        ([port("nothing")], []),
        ([port("sql", "UDP")], []),
        ([port("nothing"), port(80)], ["-p tcp -m tcp --dport 80"]),
    ],
    ids=str,
)
def test_ports_are_tested_by_protocol_with_as_few_matches_as_there_can_be(
    items: list[dict[str, Any]], tests: list[str]
) -> None:
    assert matched(ingress({"ports": items})) == tests


def test_a_protocol_test_stands_before_a_set_lookup() -> None:
    assert matched(ingress({"from": [pods()], "ports": [port(80)]})) == [
        "-p tcp -m tcp --dport 80 -m set --match-set <hash:ip> src"
    ]


def test_an_address_test_stands_before_a_port_test() -> None:
    assert matched(ingress({"from": [block("192.0.2.0/24")], "ports": [port(80)]})) == [
        "-s 192.0.2.0/24 -p tcp -m tcp --dport 80"
    ]


# The kernel takes 15 ports in a multiport match; a range counts for two.
@pytest.mark.parametrize(
    ("singles", "ranges", "slots"),
    [
        (15, 0, [15]),
        (16, 0, [15, 1]),
        (0, 7, [14]),
        (0, 8, [14, 2]),
        (13, 1, [15]),
        (14, 1, [14, 2]),
        (45, 0, [15, 15, 15]),
        (1, 0, [1]),
    ],
)
def test_ports_are_dealt_out_in_groups_of_15_slots(singles: int, ranges: int, slots: list[int]) -> None:
    items = [port(2 * number + 1) for number in range(singles)]
    items += [port(1000 + 10 * number, end=1005 + 10 * number) for number in range(ranges)]

    texts = [line.rpartition(" ")[2] for line in matched(ingress({"ports": items}))]

    assert [sum(2 if ":" in word else 1 for word in text.split(",")) for text in texts] == slots
    assert max(slots) <= MULTIPORT_SLOTS


def test_every_one_of_many_ports_is_open_and_none_between() -> None:
    items = [port(number) for number in range(1, 100, 2)] + [
        port(1000 * number, end=1000 * number + 5) for number in range(1, 30)
    ]
    found = ingress({"ports": items}).rules()

    for number in (1, 29, 31, 99, 1000, 1005, 29005):
        assert passes(found, packet(OUTSIDE, DB, number))
    for number in (2, 30, 101, 999, 1006, 29006):
        assert not passes(found, packet(OUTSIDE, DB, number))


# A product of peers and ports must not grow with their number.
def test_many_peers_and_many_ports_are_few_rules() -> None:
    peers = [pods(app=f"app-{number}") for number in range(200)]
    peers += [block(f"192.{number}.0.0/16") for number in range(0, 200, 2)]
    items = [port(2 * number + 1) for number in range(150)]

    found = matched(ingress({"from": peers, "ports": items}))

    assert len(found) == 10 * 2


# Named ports


# Rule 2.34
def test_ingress_names_become_the_numbers_of_the_pod() -> None:
    built = SHOP.pod("shop/db", labels={"app": "db"}, ports=["sql:5432", "sql:6543", "sql:9/UDP"])

    assert matched(ingress({"ports": [port("sql")]}, built=built)) == [
        "-p tcp -m multiport --dports 5432,6543"
    ]


# Rule 2.36
def test_a_rule_opens_a_name_for_the_protocol_it_says_even_where_another_rule_says_another() -> None:
    built = SHOP.pod("shop/db", labels={"app": "db"}, ports=["dns:53", "dns:5353/UDP"])

    found = ingress(
        {"from": [block("192.0.2.0/24")], "ports": [port("dns")]},
        {"from": [block("198.51.100.0/24")], "ports": [port("dns", "UDP")]},
        built=built,
    )

    assert matched(found) == [
        "-s 192.0.2.0/24 -p tcp -m tcp --dport 53",
        "-s 198.51.100.0/24 -p udp -m udp --dport 5353",
    ]


# Rule 2.35
def test_egress_names_are_one_lookup_of_address_and_port() -> None:
    built = egress({"to": [pods(app="web")], "ports": [port("http")]})

    assert matched(built) == ["-p tcp -m set --match-set <hash:ip,port> dst,dst"]
    assert only_set(built, SetType.ENDPOINTS).entries == ("10.0.0.9,tcp:81", "10.0.0.10,tcp:80")
    assert only_set(built, SetType.ENDPOINTS, 6).entries == ("fd00::9,tcp:81", "fd00::10,tcp:80")


# Rule 2.35
def test_egress_names_to_anybody_are_looked_up_among_the_pods_of_all_namespaces() -> None:
    built = egress({"ports": [port("http"), port("http", "UDP")]})

    assert matched(built) == ["-m set --match-set <hash:ip,port> dst,dst"]
    assert only_set(built, SetType.ENDPOINTS).entries == (
        "10.0.0.9,tcp:81",
        "10.0.0.10,tcp:80",
        "10.0.1.1,udp:82",
    )


# Rule 2.24
def test_egress_names_to_a_block_need_both_the_block_and_a_pod() -> None:
    assert matched(egress({"to": [block("10.0.0.0/24")], "ports": [port("http")]})) == [
        "-d 10.0.0.0/24 -p tcp -m set --match-set <hash:ip,port> dst,dst"
    ]


# Rule 2.24
def test_egress_names_to_a_set_of_blocks_need_both_lookups() -> None:
    blocks = [block(f"10.{number}.0.0/24") for number in range(0, 10, 2)]

    assert matched(egress({"to": blocks, "ports": [port("http")]})) == [
        "-p tcp -m set --match-set <hash:net> dst -m set --match-set <hash:ip,port> dst,dst"
    ]


# Rule 2.24
def test_a_block_of_the_other_family_opens_no_name_here() -> None:
    assert matched(egress({"to": [block("10.0.0.0/8")], "ports": [port("http")]}), 6) == []


def test_egress_numbers_and_names_of_a_rule_are_alternatives() -> None:
    assert matched(egress({"to": [pods()], "ports": [port("http"), port(53, "UDP")]})) == [
        "-p udp -m udp --dport 53 -m set --match-set <hash:ip> dst",
        "-p tcp -m set --match-set <hash:ip,port> dst,dst",
    ]


# Rule 2.36
def test_a_name_that_no_pod_has_looks_into_an_empty_set() -> None:
    assert only_set(egress({"ports": [port("nothing")]}), SetType.ENDPOINTS).entries == ()


def test_a_set_of_endpoints_says_what_it_holds() -> None:
    found = only_set(egress({"to": [pods(app="web")], "ports": [port("http")]}), SetType.ENDPOINTS)

    assert found.comment == "port http/TCP of pods app=web in shop"


# Sharing


def ingress_profiles(built: ClusterBuilder) -> int:
    return len(chain_names(built.rules(), "PODGATE-IP-"))


REPLICAS = SHOP.pod("shop/db-2", labels={"app": "db"}, ports=["sql:5432", "admin:9090"])


def test_replicas_share_a_profile() -> None:
    assert ingress_profiles(ingress({"from": [pods(app="web")]}, built=REPLICAS)) == 1


# Rule 2.34
def test_pods_with_other_numbers_for_a_name_that_is_used_do_not_share() -> None:
    assert ingress_profiles(ingress({"ports": [port("admin")]}, built=REPLICAS)) == 2


# Rule 2.34
def test_pods_with_other_numbers_for_a_name_that_is_not_used_share() -> None:
    assert ingress_profiles(ingress({"ports": [port("sql")]}, built=REPLICAS)) == 1


def test_pods_of_different_policies_do_not_share_even_where_the_rules_look_alike() -> None:
    built = ingress({"ports": [port(80)]}).policy(
        "shop/q", {"podSelector": labels(app="web"), "ingress": [{"ports": [port(80)]}]}
    )
    near = built.pod("shop/web", ip="10.0.0.10", labels={"app": "web"})

    assert ingress_profiles(near) == 2


def test_a_profile_is_the_rules_of_all_policies_of_the_pod() -> None:
    built = ingress({"ports": [port(80)]}).policy("shop/q", {"ingress": [{"ports": [port(81)]}]})

    assert matched(built) == ["-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 81"]


# Rule 2.7
def test_the_order_of_policies_does_not_make_another_profile() -> None:
    one = ingress({"ports": [port(80)]}).policy("shop/q", {"ingress": [{"ports": [port(81)]}]})
    other = msgspec.structs.replace(one, policies=one.policies[::-1])

    assert one.rules() == other.rules()


def test_rules_that_name_the_same_peers_share_a_set_across_rules_policies_and_directions() -> None:
    peers = [pods(app="web"), namespaces(team="b")]
    built = ingress({"from": peers, "ports": [port(80)]}, {"from": peers[::-1], "ports": [port(81)]}).policy(
        "shop/out", {"policyTypes": ["Egress"], "egress": [{"to": peers}]}
    )

    assert len(sets(built.rules(), SetType.ADDRESSES)) == 1


def test_other_peers_are_another_set() -> None:
    peers = [pods(app="a"), pods(app="b"), pods(app="c")]

    built = ingress(*({"from": list(some)} for some in (peers[:1], peers[:2], peers[1:], peers[::2], peers)))

    assert len(sets(built.rules(), SetType.ADDRESSES)) == 5


# Rules 2.35, 2.36
def test_other_names_protocols_or_peers_are_another_set_of_endpoints() -> None:
    built = egress(
        {"to": [pods(app="a")], "ports": [port("http")]},
        {"to": [pods(app="a"), pods(app="b")], "ports": [port("http")]},
        {"to": [pods(app="a")], "ports": [port("http", "UDP")]},
        {"to": [pods(app="a")], "ports": [port("http"), port("sql")]},
        {"ports": [port("http")]},
    )

    assert len(sets(built.rules(), SetType.ENDPOINTS)) == 5


def test_equal_selectors_of_two_namespaces_are_two_sets() -> None:
    both = SHOP.pod("bank/db", ip="10.0.1.9", labels={"app": "db"})
    spec = {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]}

    found = sets(both.policy("shop/p", spec).policy("bank/p", spec).rules(), SetType.ADDRESSES)

    assert sorted(each.entries for each in found) == [("10.0.0.9", "10.0.0.10"), ("10.0.1.1",)]


# Comments


def test_every_accepting_rule_names_its_policy_and_its_place_there() -> None:
    found = ingress({"ports": [port(80)]}, {"from": [pods(), block("192.0.2.0/24")]}).rules()

    (name,) = chain_names(found, "PODGATE-IP-")
    assert [rule.comment for rule in rules(found, name)] == [
        "shop/p spec.ingress[0]",
        "shop/p spec.ingress[1]",
        "shop/p spec.ingress[1]",
        "isolated",
    ]


# The longest names that Kubernetes allows
def test_the_place_in_the_policy_is_not_cut_off_a_long_comment() -> None:
    namespace, name = "n" * 63, "p" * 253
    built = (
        cluster().pod(f"{namespace}/web").policy(f"{namespace}/{name}", {"ingress": [{"ports": [port(80)]}]})
    )

    found = built.rules()

    (profile_name,) = chain_names(found, "PODGATE-IP-")
    comment = rules(found, profile_name)[0].comment
    assert len(comment) <= 255
    assert comment.endswith("spec.ingress[0]")


def test_a_block_of_the_other_family_asks_for_no_set_of_named_ports() -> None:
    """A set that no rule asks would be made by a first compilation and not by a later one."""
    built = egress({"to": [block("10.0.0.0/8")], "ports": [port("sql")]})

    asked = {family: len(sets(built.rules(family), SetType.ENDPOINTS)) for family in (4, 6)}

    assert asked == {4: 1, 6: 0}
