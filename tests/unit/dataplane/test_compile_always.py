"""What holds for every ruleset, what a change changes, and what hostile names cannot do."""

import random
import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import pytest

from controller.dataplane.compile import compile_family
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
)
from controller.dataplane.settings import Settings
from controller.engine.resolve import Resolver
from controller.objects.kinds import Cluster
from tests.unit.builder import NODE, ClusterBuilder, cluster, labels, pods, port
from tests.unit.dataplane.compiled import (
    SHOP,
    chain_names,
    rules,
)

Item = TypeVar("Item")

EVERY_OPTION = Settings(
    generation=7,
    gates=(4, 6),
    unknown_pods_denied=True,
    hairpin_by_bpf=False,
    bucket_size=1,
    inline_blocks=1,
)


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

    def test_every_rule_says_what_it_is_for_but_those_that_every_packet_goes_through(
        self, family: int, settings: Settings
    ) -> None:
        """On iptables-nft a packet is compared with a comment too, which takes as long as with a mark."""
        found = SHOP.rules(family, settings)

        silent = [
            (chain.name, number)
            for chain in found.chains
            for number, rule in enumerate(chain.rules)
            if not rule.comment
        ]
        own_node = [] if settings.own_node_egress_allowed else [("INPUT", 0), ("PODGATE-IN", 0)]
        assert silent == sorted([("FORWARD", 0), ("PODGATE", 0), *own_node])
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


# Rules that were read back and differ would be written again for ever.
@pytest.mark.parametrize("settings", [Settings(), EVERY_OPTION], ids=["default", "every option"])
def test_the_longest_names_are_read_back_as_they_were_written(settings: Settings) -> None:
    namespace, name = "n" * 63, "p" * 253
    built = (
        cluster()
        .pod(f"{namespace}/{name}")
        .policy(
            f"{namespace}/{name}",
            {
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [pods(**{"k" * 63: "v" * 63}), pods(**{"l" * 63: "w" * 63})]}],
                "egress": [
                    {"to": [pods(**{"k" * 63: "v" * 63})], "ports": [port("http"), port("dns", "UDP")]}
                ],
            },
        )
    )

    found = built.rules(4, settings)

    assert parse(render_rules(found), render_sets(found), 4) == found


def test_dispatch_names_the_pod() -> None:
    (rule,) = rules(SHOP.rules(), "PODGATE-I6")

    assert rule.comment == "shop/web-2"
