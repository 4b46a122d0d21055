"""What a node enforces, from NodePolicies and slices as they arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.agent.peer_groups import NEVER
from controller.agent.subscription import LIST_PATIENCE, Subscription, Target
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from controller.objects.resources import NodePolicy, NodePolicySpec, Rule, Ruleset, SliceEndpoint
from tests.unit.agent.published import MORE_POLICIES, SHOP, group, new_groups, peer_slice, policy, slices
from tests.unit.builder import NODE, ClusterBuilder, cluster, labels, pods

PATIENCE = 1.0
MORE_PEERS = SHOP.pod("shop/web-2", ip="10.0.9.2", labels={"app": "web"}, node="elsewhere")
NAMED = (
    cluster()
    .pod("shop/web", ip="10.0.0.4", labels={"app": "web"})
    .pod("shop/db", ip="10.0.0.3", labels={"app": "db"}, ports=["sql:5432"])
    .policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [pods(app="db")], "ports": [{"port": "sql"}]}],
        },
    )
)


def told(built: ClusterBuilder, subscription: Subscription | None = None, now: float = 0.0) -> Subscription:
    """A subscription that heard all of a cluster, slices first."""
    found = subscription or Subscription(NODE, PATIENCE)
    for each in slices(built):
        found.put_slice(each, now)
    found.put_policy(policy(built), now)
    return found


def enforced(built: ClusterBuilder) -> tuple[Subscription, Target]:
    found = told(built)
    target = found.take(0.0)
    assert target is not None
    return found, target


def taken(subscription: Subscription, now: float) -> Target:
    target = subscription.take(now)
    assert target is not None, "nothing is to be done"
    return target


def pending(target: Target) -> list[str]:
    return ["/".join(pod) for pod in target.pending]


# From what arrives to a view


def test_nothing_is_enforced_before_anything_is_known() -> None:
    assert Subscription(NODE, PATIENCE).take(0.0) is None


def test_slices_without_a_node_policy_are_not_enforced() -> None:
    subscription = Subscription(NODE, PATIENCE)
    for each in slices(SHOP):
        subscription.put_slice(each, 0.0)

    assert subscription.take(5.0) is None


@pytest.mark.parametrize("built", [SHOP, MORE_POLICIES, NAMED])
def test_the_view_is_what_resolve_gives(built: ClusterBuilder) -> None:
    _, target = enforced(built)

    assert target.view == built.view()
    assert target.digest == policy(built).spec.digest


@given(st.data())
def test_the_order_of_arrival_does_not_matter(data: st.DataObject) -> None:
    arriving: list[NodePolicy | int] = [policy(MORE_PEERS), *range(len(slices(MORE_PEERS)))]
    subscription = Subscription(NODE, PATIENCE)
    target = None

    for each in data.draw(st.permutations(arriving)):
        if isinstance(each, int):
            subscription.put_slice(slices(MORE_PEERS)[each], 0.0)
        else:
            subscription.put_policy(each, 0.0)
        target = subscription.take(0.0) or target

    assert target is not None
    assert target.view == MORE_PEERS.view()


def test_what_was_taken_is_not_given_again() -> None:
    subscription, _ = enforced(SHOP)

    assert subscription.take(0.0) is None


def test_the_same_node_policy_again_is_nothing_new() -> None:
    subscription, _ = enforced(SHOP)

    again = subscription.put_policy(replace(policy(SHOP), status=None), 1.0)

    assert not again
    assert subscription.take(1.0) is None


def test_a_member_that_comes_leaves_everything_else_the_same_object() -> None:
    subscription, before = enforced(SHOP)

    for each in slices(MORE_PEERS):
        subscription.put_slice(each, 1.0)

    after = taken(subscription, 1.0)
    assert after.view.rulesets is before.view.rulesets
    assert after.view.pods is before.view.pods
    assert sum(map(len, after.view.groups.values())) == sum(map(len, before.view.groups.values())) + 1


def test_groups_whose_members_stay_are_the_same_object_in_the_next_node_policy() -> None:
    subscription, before = enforced(SHOP)

    told(MORE_POLICIES, subscription, 1.0)

    after = taken(subscription, 1.0)
    assert all(after.view.groups[ref] is members for ref, members in before.view.groups.items())
    assert all(after.view.rulesets[key] is ruleset for key, ruleset in before.view.rulesets.items())


def test_a_member_that_comes_and_goes_before_it_is_taken_is_nothing_to_do() -> None:
    subscription, _ = enforced(SHOP)
    for each in slices(MORE_PEERS):
        subscription.put_slice(each, 1.0)
    for each in slices(SHOP):
        subscription.put_slice(each, 1.0)

    found = subscription.take(1.0)

    assert found is None or found.view == SHOP.view()


# Completeness


def test_a_new_node_policy_waits_for_its_groups() -> None:
    subscription, _ = enforced(SHOP)

    subscription.put_policy(policy(MORE_POLICIES), 10.0)
    waiting = subscription.take(10.5)
    for each in slices(MORE_POLICIES):
        subscription.put_slice(each, 10.6)

    assert waiting is None
    assert taken(subscription, 10.6).view == MORE_POLICIES.view()


def test_members_reach_the_old_policies_while_the_new_ones_wait() -> None:
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(MORE_POLICIES), 10.0)

    for each in slices(MORE_PEERS):
        subscription.put_slice(each, 10.1)

    assert taken(subscription, 10.1).view == MORE_PEERS.view()


def test_after_the_wait_only_pods_with_incomplete_groups_are_without_rules() -> None:
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(MORE_POLICIES), 10.0)

    target = taken(subscription, 11.0)

    by_name = {pod.name: pod for pod in target.view.pods}
    assert pending(target) == ["shop/web"]
    assert by_name["web"].isolated == (Direction.INGRESS,)
    assert by_name["web"].rulesets == ()
    assert by_name["db"] == next(pod for pod in SHOP.view().pods if pod.name == "db")
    assert {*target.incomplete} == new_groups(SHOP, MORE_POLICIES)


def test_the_end_of_the_wait_is_a_deadline() -> None:
    subscription, _ = enforced(SHOP)

    subscription.put_policy(policy(MORE_POLICIES), 10.0)

    assert subscription.deadline(10.0) == 11.0


def test_without_anything_to_wait_for_there_is_no_deadline() -> None:
    subscription, _ = enforced(SHOP)

    assert subscription.deadline(5.0) == NEVER


def test_a_stream_of_node_policies_does_not_put_off_the_first() -> None:
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(MORE_POLICIES), 10.0)
    later = MORE_POLICIES.policy(
        "shop/more", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="other")]}]}
    )

    subscription.put_policy(policy(later), 10.9)

    assert taken(subscription, 11.0).digest == policy(later).spec.digest


def test_a_pod_has_its_rules_when_its_group_becomes_complete() -> None:
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(MORE_POLICIES), 10.0)
    taken(subscription, 11.0)

    for each in slices(MORE_POLICIES):
        subscription.put_slice(each, 20.0)

    assert taken(subscription, 20.0).view == MORE_POLICIES.view()


def test_a_group_that_loses_a_slice_keeps_its_members_and_then_isolates() -> None:
    subscription, _ = enforced(SHOP)
    subscription.remove_slice(f"pg-{group(SHOP)}-0", 10.0)

    during = subscription.take(10.5)
    after = taken(subscription, 11.0)

    assert during is None
    assert pending(after) == ["shop/db"]


def test_a_group_that_is_broken_for_long_delays_no_later_node_policy() -> None:
    subscription, _ = enforced(SHOP)
    subscription.remove_slice(f"pg-{group(SHOP)}-0", 10.0)
    taken(subscription, 11.0)

    subscription.put_policy(policy(SHOP.pod("shop/db-2", ip="10.0.0.9", labels={"app": "db"})), 50.0)

    assert pending(taken(subscription, 50.0)) == ["shop/db", "shop/db-2"]


def test_rules_that_deny_are_never_dropped_from_a_pod_that_is_not_isolated() -> None:
    spec = policy(SHOP).spec
    denying = Ruleset(
        id="Admin:1:deny/Ingress",
        tier="Admin",
        name="deny",
        priority=1,
        direction="Ingress",
        rules=(Rule(path="spec.ingress[0]", action="Deny", groups=(group(SHOP),), any_port=True),),
    )
    open_pod = replace(spec.pods[0], isolated=(), rulesets=(denying.id,))
    subscription = Subscription(NODE, PATIENCE)

    changed = replace(spec, pods=(open_pod,), rulesets=(denying,), requires=("tiers",))
    subscription.put_policy(replace(policy(SHOP), spec=changed), 0.0)

    assert [pod.isolated for pod in taken(subscription, 1.0).view.pods] == [(Direction.INGRESS,)]


@pytest.mark.parametrize("built", [SHOP, NAMED])
def test_members_of_the_wrong_kind_make_a_group_incomplete(built: ClusterBuilder) -> None:
    subscription = Subscription(NODE, 0.0)
    for each in slices(built):
        is_address = bool(each.spec.addresses)
        wrong = replace(
            each.spec,
            addresses=() if is_address else ("10.0.0.1",),
            endpoints=(SliceEndpoint("10.0.0.1", "TCP", 80),) if is_address else (),
        )
        subscription.put_slice(peer_slice(each.metadata.labels["podgate.dev/group"], wrong), 0.0)
    subscription.put_policy(policy(built), 0.0)

    target = taken(subscription, 0.0)

    assert target.pending
    assert not any(target.view.groups.values())
    assert not any(target.view.named_ports.values())


# What is wrong with a NodePolicy


def test_one_that_cannot_be_understood_leaves_the_last_one_in_force() -> None:
    subscription, _ = enforced(SHOP)
    spec = replace(policy(MORE_POLICIES).spec, requires=("time-travel",))

    subscription.put_policy(replace(policy(SHOP), spec=spec), 1.0)

    assert subscription.take(5.0) is None
    assert [each.reason for each in subscription.problems()] == ["NodePolicyUnreadable"]
    assert "time-travel" in subscription.problems()[0].message


def test_members_go_on_changing_under_the_last_one_in_force() -> None:
    subscription, _ = enforced(SHOP)
    subscription.refuse_policy("Expected `object`")

    for each in slices(MORE_PEERS):
        subscription.put_slice(each, 1.0)

    assert taken(subscription, 1.0).view == MORE_PEERS.view()


def test_one_that_is_readable_again_is_no_problem_any_more() -> None:
    subscription, _ = enforced(SHOP)
    subscription.refuse_policy("Expected `object`")

    is_news = subscription.put_policy(policy(SHOP), 1.0)

    assert is_news
    assert subscription.problems() == []


def test_a_group_that_a_rule_needs_and_nobody_lists_is_not_understood() -> None:
    spec = replace(policy(NAMED).spec, named_port_groups=())
    subscription = Subscription(NODE, PATIENCE)

    subscription.put_policy(replace(policy(NAMED), spec=spec), 0.0)

    assert subscription.take(5.0) is None
    assert "needs a group that is not listed" in subscription.problems()[0].message


def test_a_digest_that_does_not_fit_is_told_and_the_content_enforced() -> None:
    subscription = told(SHOP)
    spec = replace(policy(SHOP).spec, digest="made-up")

    subscription.put_policy(replace(policy(SHOP), spec=spec), 1.0)

    assert taken(subscription, 1.0).digest == "made-up"
    assert [each.reason for each in subscription.problems()] == ["DigestMismatch"]


# Deleted


def test_a_deleted_node_policy_stays_in_force() -> None:
    subscription, _ = enforced(SHOP)

    subscription.remove_policy()

    assert subscription.is_gone
    assert subscription.take(5.0) is None


def test_groups_that_go_after_the_node_policy_keep_their_members_for_ever() -> None:
    subscription, _ = enforced(SHOP)
    subscription.remove_policy()

    for each in slices(SHOP):
        subscription.remove_slice(each.metadata.name, 1.0)

    assert subscription.take(1e6) is None


def test_a_node_policy_that_comes_back_counts_again() -> None:
    subscription, _ = enforced(SHOP)
    subscription.remove_policy()

    told(MORE_POLICIES, subscription, 2.0)

    assert not subscription.is_gone
    assert taken(subscription, 2.0).view == MORE_POLICIES.view()


# Going on from an earlier run


def restored(usable_at: float) -> Subscription:
    """One that goes on from what another enforced."""
    before, _ = enforced(SHOP)
    snapshot = before.snapshot
    assert snapshot is not None
    subscription = Subscription(NODE, PATIENCE, awaits_list=True)
    subscription.restore(snapshot, 0.0, usable_at)
    return subscription


def test_what_was_restored_is_enforced_at_its_time() -> None:
    subscription = restored(usable_at=3.0)

    early = subscription.take(2.9)

    assert early is None
    assert subscription.deadline(2.9) == 3.0
    assert taken(subscription, 3.0).view == SHOP.view()


def test_what_was_restored_needs_no_slices() -> None:
    assert taken(restored(usable_at=0.0), 0.0).pending == ()


def test_nothing_newer_is_enforced_before_everything_was_listed() -> None:
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)

    early = subscription.take(50.0)
    told(MORE_POLICIES, subscription, 50.0)
    subscription.slices_listed(50.0)

    assert early is None
    assert taken(subscription, 50.0).view == MORE_POLICIES.view()


def test_new_isolation_does_not_wait_for_a_list_that_never_comes() -> None:
    """An agent that may not list slices kept the rules of an earlier run for ever."""
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)
    late = 1.0 + LIST_PATIENCE

    early = subscription.take(late - 0.1)

    assert (early, subscription.deadline(late - 0.1)) == (None, late)
    target = taken(subscription, late)
    assert pending(target) == ["shop/web"]
    assert target.view.groups.items() >= SHOP.view().groups.items()
    assert subscription.problems()[0].reason == "SlicesNotListed"


def test_members_that_are_known_count_until_a_list_says_otherwise() -> None:
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)
    taken(subscription, 1.0 + LIST_PATIENCE)

    much_later = subscription.take(10_000.0)

    assert much_later is None


def test_when_the_list_did_not_come_once_the_next_policy_waits_no_longer_than_usual() -> None:
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)
    taken(subscription, 1.0 + LIST_PATIENCE)

    subscription.put_policy(policy(SHOP), 100.0)

    assert taken(subscription, 100.0 + PATIENCE).view == SHOP.view()


def test_a_list_that_comes_after_all_ends_the_problem() -> None:
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)
    taken(subscription, 1.0 + LIST_PATIENCE)

    told(MORE_POLICIES, subscription, 200.0)
    subscription.slices_listed(200.0)

    assert taken(subscription, 200.0).view == MORE_POLICIES.view()
    assert subscription.problems() == []


def test_after_the_list_the_wait_for_groups_begins() -> None:
    subscription = restored(usable_at=0.0)
    taken(subscription, 0.0)
    subscription.put_policy(policy(MORE_POLICIES), 1.0)
    for each in slices(SHOP):
        subscription.put_slice(each, 1.0)

    subscription.slices_listed(50.0)

    assert subscription.take(50.9) is None
    assert pending(taken(subscription, 51.0)) == ["shop/web"]


def test_the_list_makes_what_was_restored_usable_at_once() -> None:
    subscription = restored(usable_at=3.0)
    told(SHOP, subscription, 0.5)

    subscription.slices_listed(0.5)

    assert taken(subscription, 0.5).view == SHOP.view()


def test_a_snapshot_holds_what_is_enforced() -> None:
    subscription, target = enforced(MORE_POLICIES)

    snapshot = subscription.snapshot

    assert snapshot is not None
    assert snapshot.spec == policy(MORE_POLICIES).spec
    assert {*snapshot.members.values()} == {*target.view.groups.values()}


# What is wanted, and what is new


def test_groups_of_both_policies_are_wanted_until_the_new_one_is_in_force() -> None:
    subscription, _ = enforced(MORE_POLICIES)
    before = subscription.wanted

    subscription.put_policy(policy(SHOP), 1.0)
    during = subscription.wanted
    subscription.take(1.0)

    assert during == before
    assert subscription.wanted == {group(SHOP)}


def test_news_come_with_the_target_that_takes_account_of_them() -> None:
    subscription, _ = enforced(SHOP)
    later = "2026-05-01T10:00:00.5Z"

    for each in slices(MORE_PEERS, trigger=later):
        subscription.put_slice(each, 7.0)
    subscription.put_policy(policy(MORE_POLICIES, trigger="2026-05-01T10:00:00Z"), 8.0)
    first = taken(subscription, 8.0)
    second = taken(subscription, 9.0)

    assert [(each.received, each.trigger) for each in first.news] == [(7.0, later)]
    assert [(each.received, each.trigger) for each in second.news] == [(8.0, "2026-05-01T10:00:00Z")]


def test_an_empty_node_policy_is_enforced() -> None:
    subscription = Subscription(NODE, PATIENCE)

    subscription.put_policy(replace(policy(SHOP), spec=NodePolicySpec(digest="")), 0.0)

    assert taken(subscription, 0.0).view == NodeView(NODE)


# Audit mode


def test_an_incomplete_group_of_a_policy_in_audit_mode_isolates_nobody() -> None:
    audited = MORE_POLICIES.audit(policy="shop/web")
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(audited), 10.0)

    target = taken(subscription, 11.0)

    web = next(pod for pod in target.view.pods if pod.name == "web")
    assert (web.isolated, web.audited, web.rulesets, pending(target)) == ((), (), (), [])
    assert {*target.incomplete} == new_groups(SHOP, MORE_POLICIES)


def test_it_takes_nothing_from_what_is_enforced_for_the_pod() -> None:
    out = {
        "podSelector": labels(app="db"),
        "policyTypes": ["Egress"],
        "egress": [{"to": [pods(app="cache")]}],
    }
    subscription, before = enforced(SHOP)
    subscription.put_policy(policy(SHOP.policy("shop/out", out).audit(policy="shop/out")), 10.0)

    target = taken(subscription, 11.0)

    assert (target.view.pods, pending(target)) == (before.view.pods, [])


def test_an_incomplete_group_that_is_enforced_leaves_audited_directions_open() -> None:
    out = {"podSelector": labels(app="web"), "policyTypes": ["Egress"]}
    built = MORE_POLICIES.policy("shop/out", out).audit(policy="shop/out")
    subscription, _ = enforced(SHOP)
    subscription.put_policy(policy(built), 10.0)

    target = taken(subscription, 11.0)

    web = next(pod for pod in target.view.pods if pod.name == "web")
    assert (web.isolated, web.audited, web.rulesets) == ((Direction.INGRESS,), (), ())
    assert pending(target) == ["shop/web"]
