"""What counts as a difference of two clusters, and which policies it is put down to."""

from controller.engine.causes import Act, Cause, Causes, Edit
from controller.engine.connections import EVERYTHING, NOTHING, ConnectionSet
from controller.engine.difference import Change, Difference, difference, of_one_family
from controller.objects.kinds import Protocol
from tests.unit.builder import ClusterBuilder, block, cluster, in_namespace, labels, port
from tests.work import calls_of

OPEN = cluster().ns("shop").pod("shop/web", labels={"app": "web"}).pod("shop/db", labels={"app": "db"})
DENY = {"podSelector": labels(app="db"), "policyTypes": ["Ingress"]}
TCP_80 = ConnectionSet.of([(Protocol.TCP, 80, 80)])


def allow(*ports: int) -> dict[str, object]:
    return {"podSelector": labels(app="db"), "ingress": [{"ports": [port(number) for number in ports]}]}


def differ(old: ClusterBuilder, new: ClusterBuilder) -> Difference:
    return difference(old.build(), new.build())


def changes(old: ClusterBuilder, new: ClusterBuilder) -> dict[tuple[str, str], Change]:
    return {(each.source, each.destination): each for each in differ(old, new).changes}


def causes(
    old: ClusterBuilder, new: ClusterBuilder, pair: tuple[str, str] = ("shop/web", "shop/db")
) -> list[Cause]:
    before, after = old.build(), new.build()
    found = difference(before, after)
    change = next(each for each in found.changes if (each.source, each.destination) == pair)
    looked_up = Causes(before, after, found)
    return [*looked_up.of_removed(change), *looked_up.of_added(change)]


def said(found: list[Cause]) -> list[tuple[str, Edit, Act, str]]:
    return [(cause.policy, cause.edit, cause.act, cause.path) for cause in found]


# What differs


def test_equal_clusters_do_not_differ() -> None:
    assert not differ(OPEN.policy("shop/in", allow(80)), OPEN.policy("shop/in", allow(80)))


def test_other_policies_that_mean_the_same_are_no_difference() -> None:
    wordy = {**allow(80), "policyTypes": ["Ingress"]}
    assert not differ(OPEN.policy("shop/in", allow(80)), OPEN.policy("shop/renamed", wordy))


def test_a_pair_can_gain_some_ports_and_lose_others() -> None:
    change = changes(OPEN.policy("shop/in", allow(80)), OPEN.policy("shop/in", allow(81)))[
        "shop/web", "shop/db"
    ]
    assert (str(change.added), str(change.removed)) == ("81/TCP", "80/TCP")


def test_isolation_takes_away_what_its_rules_do_not_allow() -> None:
    found = differ(OPEN, OPEN.policy("shop/in", allow(80)))
    assert (found.adds, found.removes) == (False, True)
    assert all(change.removed == EVERYTHING - TCP_80 for change in found.changes)


def test_changes_are_sorted_like_a_matrix() -> None:
    built = OPEN.ns("bank").pod("bank/a")
    pairs = [
        (each.source, each.destination) for each in differ(built, built.policy("shop/deny", DENY)).changes
    ]
    assert pairs == [("bank/a", "shop/db"), ("shop/web", "shop/db"), ("0.0.0.0/0", "shop/db")]


def test_the_way_of_a_pod_to_itself_is_no_change() -> None:  # rule 2.44
    assert all(pair[0] != pair[1] for pair in changes(OPEN, OPEN.pod("shop/new")))


def test_a_pod_on_one_side_only_is_named_and_its_connections_count() -> None:
    found = differ(OPEN.policy("shop/deny", DENY), OPEN.policy("shop/deny", DENY).pod("shop/new"))
    assert [pod.name for pod in found.pods_added] == ["new"]
    assert {(each.source, each.destination) for each in found.changes} == {
        ("shop/new", "shop/web"),
        ("shop/web", "shop/new"),
        ("shop/db", "shop/new"),
        ("shop/new", "0.0.0.0/0"),
        ("0.0.0.0/0", "shop/new"),
    }


def test_an_isolated_pod_that_comes_is_a_difference_without_changes() -> None:
    deny_all = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    found = differ(OPEN.policy("shop/deny", deny_all), OPEN.policy("shop/deny", deny_all).pod("shop/new"))
    assert found
    assert not found.adds
    assert not found.removes


def test_ranges_are_cut_by_the_blocks_of_both_sides() -> None:
    def into(cidr: str) -> ClusterBuilder:
        return OPEN.policy("shop/in", {"podSelector": labels(app="db"), "ingress": [{"from": [block(cidr)]}]})

    found = changes(into("203.0.113.0/24"), into("203.0.113.128/25"))
    assert found["203.0.113.0/25", "shop/db"].removed == EVERYTHING
    assert ("203.0.113.128/25", "shop/db") not in found


# Where it comes from


def test_a_new_policy_that_isolates_is_the_cause() -> None:
    assert said(causes(OPEN, OPEN.policy("shop/deny", DENY))) == [("shop/deny", Edit.ADDED, Act.ISOLATES, "")]


def test_a_policy_that_is_gone_no_longer_isolates() -> None:
    assert said(causes(OPEN.policy("shop/deny", DENY), OPEN)) == [
        ("shop/deny", Edit.REMOVED, Act.NO_LONGER_ISOLATES, "")
    ]


def test_a_rule_that_allows_more_is_the_cause_and_not_the_policy_that_isolates() -> None:
    old, new = (OPEN.policy("shop/deny", DENY).policy("shop/in", allow(*ports)) for ports in ([80], [80, 81]))
    assert said(causes(old, new)) == [("shop/in", Edit.CHANGED, Act.ALLOWS, "spec.ingress[0]")]


def test_a_rule_that_allows_less_is_the_cause() -> None:
    old, new = (OPEN.policy("shop/in", allow(*ports)) for ports in ([80, 81], [80]))
    assert said(causes(old, new)) == [("shop/in", Edit.CHANGED, Act.NO_LONGER_ALLOWS, "spec.ingress[0]")]


def test_only_the_end_that_changed_its_mind_is_asked() -> None:
    out = {"podSelector": labels(app="web"), "policyTypes": ["Egress"], "egress": [{"ports": [port(80)]}]}
    old = OPEN.policy("shop/out", out).policy("shop/deny", DENY)
    assert said(causes(old, old.policy("shop/in", allow(80)))) == [
        ("shop/in", Edit.ADDED, Act.ALLOWS, "spec.ingress[0]")
    ]


def test_where_labels_changed_the_policies_are_named_as_unchanged() -> None:
    old = OPEN.policy("shop/deny", DENY)
    new = old.pod("shop/db", labels={"app": "other"})
    assert said(causes(old, new)) == [("shop/deny", Edit.UNCHANGED, Act.NO_LONGER_ISOLATES, "")]


def test_a_trial_that_ends_is_named_wherever_that_was_said() -> None:
    enforced = OPEN.policy("shop/deny", DENY)
    for audited in (enforced.audit(policy="shop/deny"), enforced.audit(namespace="shop"), enforced.audit()):
        assert said(causes(audited, enforced)) == [("shop/deny", Edit.MODE, Act.ISOLATES, "")]
        assert said(causes(enforced, audited)) == [("shop/deny", Edit.MODE, Act.NO_LONGER_ISOLATES, "")]


def test_a_pod_that_comes_says_it_all() -> None:
    old = OPEN.policy("shop/deny", {"podSelector": labels(app="new"), "ingress": [{}]})
    assert causes(old, old.pod("shop/new", labels={"app": "new"}), ("shop/web", "shop/new")) == []


def test_a_namespace_that_is_relabelled_points_at_the_rule_that_lost_it() -> None:
    built = (
        OPEN.ns("bank")
        .pod("bank/a")
        .policy("shop/in", {"podSelector": labels(app="db"), "ingress": [{"from": [in_namespace("bank")]}]})
    )
    found = causes(built, built.without_ns("bank"), ("bank/a", "shop/db"))
    assert said(found) == [
        ("shop/in", Edit.UNCHANGED, Act.NO_LONGER_ALLOWS, "spec.ingress[0].from[0].namespaceSelector")
    ]


def test_nothing_is_between_pods_that_share_no_side() -> None:
    found = changes(OPEN.pod("shop/old"), OPEN.pod("shop/new"))
    assert ("shop/old", "shop/new") not in found
    assert found["shop/old", "shop/web"].added == NOTHING


# One family alone

DUAL = (
    cluster()
    .ns("shop")
    .pod("shop/web", labels={"app": "web"}, ip=("10.0.0.1", "fd00::1"))
    .pod("shop/db", labels={"app": "db"}, ip=("10.0.0.2", "fd00::2"))
)
BY_LABEL: dict[str, object] = {"podSelector": labels(app="web")}
BY_IPV4 = block("10.0.0.1/32")
BY_IPV6 = block("fd00::1/128")


def from_peers(*peers: dict[str, object]) -> dict[str, object]:
    return {"podSelector": labels(app="db"), "ingress": [{"from": list(peers)}]}


def alone(old: ClusterBuilder, new: ClusterBuilder) -> dict[int, list[Change]]:
    before, after = old.build(), new.build()
    found = of_one_family(before, after, difference(before, after))
    return {part.family: list(part.found.changes) for part in found}


def test_what_one_family_loses_is_seen_though_the_pods_are_still_connected() -> None:
    old, new = DUAL.policy("shop/in", from_peers(BY_LABEL)), DUAL.policy("shop/in", from_peers(BY_IPV4))

    assert ("shop/web", "shop/db") not in changes(old, new)
    assert Change("shop/web", "shop/db", NOTHING, EVERYTHING) in alone(old, new)[6]
    assert Change("shop/web", "shop/db", EVERYTHING, NOTHING) in alone(new, old)[6]


def test_what_goes_over_from_one_family_to_the_other_is_a_change_of_both() -> None:
    old, new = DUAL.policy("shop/in", from_peers(BY_IPV4)), DUAL.policy("shop/in", from_peers(BY_IPV6))
    pair = ("shop/web", "shop/db")

    found = {
        family: [
            (bool(each.added), bool(each.removed)) for each in part if (each.source, each.destination) == pair
        ]
        for family, part in alone(old, new).items()
    }
    assert found == {4: [(False, True)], 6: [(True, False)]}


def test_what_both_families_do_alike_is_told_once() -> None:
    old, new = DUAL.policy("shop/in", from_peers(BY_LABEL)), DUAL.policy("shop/in", DENY)

    assert differ(old, new).removes
    assert alone(old, new) == {}


def test_what_only_one_family_ever_had_is_told_once() -> None:
    old, new = DUAL.policy("shop/in", from_peers(BY_IPV4)), DUAL.policy("shop/in", DENY)

    assert differ(old, new).removes
    assert alone(old, new) == {}


def test_pods_of_one_family_each_cost_nothing_more() -> None:
    single = OPEN.pod("shop/six", ip="fd00::9")
    before, after = single.build(), single.policy("shop/in", DENY).build()
    found = difference(before, after)

    assert calls_of(lambda: of_one_family(before, after, found)) < 100
