"""The layout: which chains there are, what stands in them, and in which order (docs/dataplane.md)."""

import random
import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import pytest

from controller.dataplane.compile import compile_family, compile_node
from controller.dataplane.parse import parse
from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import (
    CHAIN_NAME_MAX,
    SET_NAME_MAX,
    Drop,
    Goto,
    Jump,
    Return,
    Ruleset,
    SetConnmark,
    SetType,
)
from controller.dataplane.settings import MarkLayout, Settings
from controller.engine.resolve import Resolver
from controller.engine.rulesets import LocalPod, NodeView
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import Cluster, Direction
from tests.unit.builder import (
    NODE,
    ClusterBuilder,
    block,
    cluster,
    labels,
    namespaces,
    pods,
    port,
)
from tests.unit.dataplane.compiled import (
    OUTSIDE,
    chain_names,
    isolated,
    lines,
    packet,
    passes,
    rules,
    view,
)

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
BOTH = (EGRESS, INGRESS)
Item = TypeVar("Item")

SHOP = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .node(NODE, "172.16.0.1", pods=["10.0.0.0/24", "fd00::/64"])
    .pod("shop/web", ip=("10.0.0.21", "fd00::21"), labels={"app": "web"})
    .pod("shop/web-2", ip=("10.0.0.22", "fd00::22"), labels={"app": "web"})
    .pod("shop/db", ip=("10.0.0.5", "fd00::5"), labels={"app": "db"}, ports=["sql:5432"])
    .pod("bank/web", ip=("10.0.1.7", "fd00::1:7"), labels={"app": "web"}, node="node-2", ports=["sql:1"])
    .policy("shop/deny", {"policyTypes": ["Ingress", "Egress"]})
    .policy(
        "shop/db",
        {
            "podSelector": labels(app="db"),
            "ingress": [
                {"from": [pods(app="web"), namespaces(team="b")], "ports": [port("sql"), port(53, "UDP")]},
                {"from": [block("192.0.2.0/24", "192.0.2.7/32"), block("2001:db8::/32")]},
            ],
        },
    )
    .policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces()], "ports": [port("sql"), port(1, end=99)]}],
        },
    )
)
EVERY_OPTION = Settings(
    generation=7,
    gates=(4, 6),
    unknown_pods_denied=True,
    hairpin_by_bpf=False,
    bucket_size=1,
    inline_blocks=1,
)


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


# Gates


def test_ipv6_has_a_gate_of_isolated_addresses_before_the_dispatch_of_each_direction() -> None:
    found = compile_family(view(isolated("a", "fd00::1"), isolated("b", "fd00::2", directions=[EGRESS])), 6)

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


# What holds for every ruleset


@pytest.mark.parametrize("settings", [Settings(), EVERY_OPTION], ids=["default", "every option"])
@pytest.mark.parametrize("family", [4, 6])
class TestEverywhere:
    def test_names_are_short_enough(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        assert max(map(len, chain_names(found))) <= CHAIN_NAME_MAX
        assert max(len(each.name) for each in found.sets) <= SET_NAME_MAX

    def test_chains_and_sets_are_sorted_and_there_once(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        for names in (chain_names(found), [each.name for each in found.sets]):
            assert names == sorted(set(names))

    # A foreign rule behind ours is never skipped, and no egress verdict answers for ingress (rule 2.8).
    def test_nothing_is_ever_accepted(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        targets = {type(rule.target) for chain in found.chains for rule in chain.rules}
        assert targets <= {Jump, Goto, Return, Drop, SetConnmark}
        assert "ACCEPT" not in render_rules(found)

    def test_packets_are_dropped_at_two_places_alone(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        drops = {
            chain.name for chain in found.chains for rule in chain.rules if isinstance(rule.target, Drop)
        }
        assert drops == {"PODGATE", "PODGATE-D"}

    def test_every_rule_says_what_it_is_for(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        silent = [chain.name for chain in found.chains for rule in chain.rules if not rule.comment]
        assert silent == []
        assert [each.name for each in found.sets if not each.comment] == []

    def test_it_is_its_own_text_read_back(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        assert parse(render_rules(found), render_sets(found), family) == found

    def test_every_chain_is_reached_and_every_set_is_used(self, family: int, settings: Settings) -> None:
        found = SHOP.rules(family, settings)

        entered = {"FORWARD", "INPUT"} | {
            rule.target.chain
            for chain in found.chains
            for rule in chain.rules
            if isinstance(rule.target, Jump | Goto)
        }
        text = render_rules(found)
        assert set(chain_names(found)) == entered
        assert [each.name for each in found.sets if f"--match-set {each.name} " not in text] == []

    def test_the_order_of_objects_and_of_their_parts_does_not_show(
        self, family: int, settings: Settings
    ) -> None:
        expected = texts_of(SHOP.rules(family, settings))

        for seed in range(10):
            mixed = Resolver.of(shuffled(SHOP.build(), random.Random(seed))).view(NODE)  # noqa: S311
            assert texts_of(compile_family(mixed, family, settings)) == expected

    def test_the_order_of_pods_in_a_view_does_not_show(self, family: int, settings: Settings) -> None:
        node = SHOP.view()
        backwards = msgspec.structs.replace(
            node, pods=node.pods[::-1], known=node.known[::-1], pod_cidrs=node.pod_cidrs[::-1]
        )

        assert compile_family(backwards, family, settings) == compile_family(node, family, settings)


def texts_of(found: Ruleset) -> tuple[str, str]:
    return render_rules(found), render_sets(found)


def shuffled(found: Cluster, chance: random.Random) -> Cluster:
    """The same cluster in another order: objects, labels, peers and ports."""

    def mix(items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(chance.sample(items, len(items)))

    policies = [
        msgspec.structs.replace(
            policy,
            ingress=tuple(
                msgspec.structs.replace(
                    rule,
                    peers=None if rule.peers is None else mix(rule.peers),
                    ports=None if rule.ports is None else mix(rule.ports),
                )
                for rule in policy.ingress
            ),
        )
        for policy in found.policies
    ]
    pods = [
        msgspec.structs.replace(
            pod, labels=dict(mix([*pod.labels.items()])), ips=mix(pod.ips), ports=mix(pod.ports)
        )
        for pod in found.pods
    ]
    return Cluster(
        namespaces=mix(found.namespaces), pods=mix(pods), policies=mix(policies), nodes=mix(found.nodes)
    )


# What changes, and what does not


def test_a_peer_that_comes_changes_entries_of_sets_and_no_rule() -> None:
    later = SHOP.pod("bank/new", ip="10.0.1.99", node="node-2")

    assert later.rules().chains == SHOP.rules().chains
    assert [each.name for each in later.rules().sets] == [each.name for each in SHOP.rules().sets]
    assert later.rules().sets != SHOP.rules().sets


def test_a_replica_adds_its_dispatch_and_nothing_else() -> None:
    later = SHOP.pod("shop/web-3", ip=("10.0.0.37", "fd00::37"), labels={"app": "web"}).rules()

    before = {chain.name: chain for chain in SHOP.rules().chains}
    changed = [chain.name for chain in later.chains if before.get(chain.name) != chain]
    assert changed == ["PODGATE-E5", "PODGATE-I5"]


def test_an_edited_policy_leaves_the_chains_of_others_alone() -> None:
    later = SHOP.policy("shop/web", {"podSelector": labels(app="web"), "policyTypes": ["Egress"]}).rules()

    kept = set(chain_names(SHOP.rules(), "PODGATE-IP-"))
    assert kept == set(chain_names(later, "PODGATE-IP-"))
    assert set(chain_names(SHOP.rules(), "PODGATE-EP-")) != set(chain_names(later, "PODGATE-EP-"))


def test_a_raised_generation_changes_the_entries_alone() -> None:
    before = {chain.name: chain for chain in SHOP.rules().chains}

    later = SHOP.rules(4, Settings(generation=2)).chains

    assert [chain.name for chain in later if before[chain.name] != chain] == [
        "PODGATE",
        "PODGATE-D",
        "PODGATE-IN",
    ]


# Names of objects in comments

HOSTILE = [
    'x" -j ACCEPT',
    "x\nCOMMIT\n*filter",
    "x\\",
    "x'; rm -rf /",
    "-j ACCEPT",
    "é\u2028\x00\x1b[31m",
    "$(reboot)`id`",
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_within_its_comment(name: str) -> None:
    found = hostile(name).rules()

    text = render_rules(found)
    assert without_comments(text) == without_comments(render_rules(hostile("tame").rules()))
    assert parse(text, render_sets(found), 4) == found


def without_comments(text: str) -> str:
    """Rules without what they say; the names of profiles, which are hashes of it too, become one."""
    return re.sub(r"-IP-[a-z2-7]{16}", "-IP-x", re.sub(r'-m comment --comment "[^"\n]*"', "", text))


def hostile(name: str) -> ClusterBuilder:
    base = cluster().pod("shop/web", ip="10.0.0.1")
    policy = base.policy("shop/p", {"ingress": [{"ports": [port(80)]}]}).policies[0]
    pod = msgspec.structs.replace(base.pods[0], name=name)
    return msgspec.structs.replace(base, pods=(pod,), policies=(msgspec.structs.replace(policy, name=name),))


def test_dispatch_names_the_pod() -> None:
    (rule,) = rules(SHOP.rules(), "PODGATE-I6")

    assert rule.comment == "shop/web-2"
