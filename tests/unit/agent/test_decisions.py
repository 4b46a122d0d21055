"""What an operator is told of a new target: policies, not members."""

from controller.agent.decisions import Decision, decisions
from controller.agent.subscription import Subscription, Target
from tests.unit.agent.published import MORE_POLICIES, SHOP, policy, slices
from tests.unit.builder import NODE, ClusterBuilder, labels, pods


def targets(*built: ClusterBuilder) -> list[Target]:
    """One target after the other, of the same agent."""
    subscription = Subscription(NODE, 0.0)
    found = []
    for number, each in enumerate(built):
        for part in slices(each):
            subscription.put_slice(part, number)
        subscription.put_policy(policy(each), number)
        target = subscription.take(number)
        assert target is not None
        found.append(target)
    return found


def test_at_first_every_policy_is_applied() -> None:
    (target,) = targets(MORE_POLICIES)

    assert decisions(None, target) == [
        Decision("shop/db", pods=1, chains=1, addresses=1),
        Decision("shop/web", pods=1, chains=1, addresses=0),
    ]


def test_only_a_policy_that_came_is_told() -> None:
    before, after = targets(SHOP, MORE_POLICIES)

    assert [each.policy for each in decisions(before, after)] == ["shop/web"]


def test_a_policy_that_went_was_removed() -> None:
    before, after = targets(MORE_POLICIES, SHOP)

    assert decisions(before, after) == [Decision("shop/web", removed=True)]


def test_members_are_no_decision() -> None:
    more = SHOP.pod("shop/web-2", ip="10.0.9.2", labels={"app": "web"}, node="elsewhere")
    before, after = targets(SHOP, more)

    assert decisions(before, after) == []


def test_a_pod_that_comes_is_told_with_its_policies() -> None:
    before, after = targets(
        MORE_POLICIES, MORE_POLICIES.pod("shop/db-2", ip="10.0.0.9", labels={"app": "db"})
    )

    assert decisions(before, after) == [Decision("shop/db", pods=2, chains=1, addresses=1)]


def test_rules_that_change_are_told() -> None:
    both = {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web"), pods(app="db")]}]}
    before, after = targets(SHOP, SHOP.policy("shop/db", both))

    assert decisions(before, after) == [Decision("shop/db", pods=1, chains=1, addresses=2)]


def test_pods_with_other_policies_besides_have_lists_of_their_own() -> None:
    built = SHOP.pod("shop/db-2", ip="10.0.0.9", labels={"app": "db", "extra": "yes"}).policy(
        "shop/extra", {"podSelector": labels(extra="yes"), "ingress": [{"from": [pods(app="web")]}]}
    )
    (target,) = targets(built)

    assert decisions(None, target)[0] == Decision("shop/db", pods=2, chains=2, addresses=1)


def test_a_decision_reads_as_a_sentence() -> None:
    applied = Decision("shop/allow-web", pods=3, chains=2, addresses=41)

    assert applied.sentence("node-2", 0.0031) == (
        "policy shop/allow-web applied on node-2: 3 pods, 2 chains, 41 addresses, 3.1 ms"
    )
    assert Decision("shop/db", pods=1, chains=1, addresses=1).sentence("n", 0.001) == (
        "policy shop/db applied on n: 1 pod, 1 chain, 1 address, 1.0 ms"
    )
    assert Decision("shop/db", removed=True).sentence("n", 0.001) == "policy shop/db removed from n: 1.0 ms"


def test_a_policy_in_audit_mode_is_not_called_applied() -> None:
    before, after = targets(SHOP, SHOP.audit(policy="shop/db"))

    (found,) = decisions(before, after)

    assert found == Decision("shop/db", pods=1, chains=1, addresses=1, audited=True)
    assert found.sentence("node-1", 0.001).startswith("policy shop/db audited on node-1: 1 pod")
