"""Modes in what a node enforces, and that they may change at any time and alone."""

import pytest
from msgspec.structs import replace

from controller.engine.local_pods import BOTH
from controller.engine.resolve import Resolver
from controller.engine.rulesets import LocalPod
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Direction, Mode, Namespace
from controller.objects.mode import INVALID_MODE
from tests.unit.builder import cluster, labels, pods

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
SHOP = (
    cluster()
    .ns("shop")
    .pod("shop/web", labels={"app": "web"})
    .pod("shop/db", labels={"app": "db"}, node="node-2")
    .policy("shop/p", {"podSelector": labels(app="web"), "ingress": [{"from": [pods(app="db")]}]})
)


def web(resolver: Resolver) -> LocalPod:
    return next(pod for pod in resolver.share("node-1").pods if pod.name == "web")


def namespace(mode: Mode | None) -> Namespace:
    return Namespace(name="shop", labels={"kubernetes.io/metadata.name": "shop"}, mode=mode)


def test_an_audited_direction_is_not_isolated_and_has_its_rulesets() -> None:
    pod = web(SHOP.audit(policy="shop/p").resolver())

    assert (pod.isolated, pod.audited) == ((), (INGRESS,))
    assert [str(ruleset) for ruleset in pod.rulesets] == ["shop/p ingress"]


def test_where_a_policy_is_enforced_the_rulesets_of_audited_ones_are_left_out() -> None:
    both = {"policyTypes": ["Ingress", "Egress"]}
    built = SHOP.policy("shop/trial", both).audit(policy="shop/trial")

    view = built.view("node-1")

    (pod,) = view.pods
    assert (pod.isolated, pod.audited) == ((INGRESS,), (EGRESS,))
    assert [str(ruleset) for ruleset in pod.rulesets] == ["shop/p ingress", "shop/trial egress"]
    assert [str(ruleset) for ruleset in view.rulesets] == ["shop/p ingress", "shop/trial egress"]


@pytest.mark.parametrize("mode", [Mode.AUDIT, Mode.ENFORCE])
def test_a_policy_that_changes_its_mode_alone_concerns_the_nodes_of_its_pods(mode: Mode) -> None:
    resolver = SHOP.in_mode(mode, policy="shop/p").resolver()
    other = Mode.ENFORCE if mode is Mode.AUDIT else Mode.AUDIT

    resolver.put_policy(SHOP.in_mode(other, policy="shop/p").the_policy("shop/p"))

    changes = resolver.take_changes()
    assert (changes.nodes, changes.pods) == ({"node-1"}, {("shop", "web")})
    assert not changes.members
    assert web(resolver).audited == ((INGRESS,) if other is Mode.AUDIT else ())


def test_a_namespace_that_changes_its_mode_concerns_pods_of_policies_that_say_nothing() -> None:
    resolver = SHOP.resolver()

    resolver.put_namespace(namespace(Mode.AUDIT))

    assert resolver.take_changes().nodes == {"node-1"}
    assert web(resolver).audited == (INGRESS,)


def test_and_no_others() -> None:
    resolver = SHOP.in_mode(Mode.ENFORCE, policy="shop/p").resolver()

    resolver.put_namespace(namespace(Mode.AUDIT))

    assert not resolver.take_changes()
    assert web(resolver).isolated == (INGRESS,)


def test_to_say_what_was_so_anyway_changes_nothing_on_nodes() -> None:
    resolver = SHOP.resolver()

    resolver.put_namespace(namespace(Mode.ENFORCE))

    assert not resolver.take_changes()


def test_a_policy_that_says_something_wrong_is_told_even_without_pods() -> None:
    built = cluster().ns("shop").policy("shop/p", {})
    resolver, policy = built.resolver(), built.the_policy("shop/p")
    wrong = Finding(
        code=INVALID_MODE, severity=Severity.WARNING, object="NetworkPolicy shop/p", message="is no mode"
    )

    resolver.put_policy(replace(policy, mode=Mode.ENFORCE, findings=(wrong,)))

    assert {ruleset.namespace for ruleset in resolver.take_changes().rulesets} == {"shop"}


def test_a_namespace_that_goes_takes_its_mode_along() -> None:
    resolver = SHOP.audit(namespace="shop").resolver()

    resolver.remove_namespace("shop")

    assert web(resolver).isolated == (INGRESS,)


def test_quarantined_pods_of_an_audited_cluster_follow_what_is_enforced_in_their_namespace() -> None:
    odd = SHOP.pod("shop/odd", quarantined=True).audit()
    resolver = odd.resolver()

    def state() -> tuple[tuple[Direction, ...], tuple[Direction, ...]]:
        found = next(pod for pod in resolver.share("node-1").pods if pod.name == "odd")
        return found.isolated, found.audited

    assert state() == ((), BOTH)
    resolver.put_policy(odd.in_mode(Mode.ENFORCE, policy="shop/p").the_policy("shop/p"))
    assert ("shop", "odd") in resolver.take_changes().pods
    assert state() == (BOTH, ())
    resolver.remove_policy(("shop", "p"))
    assert ("shop", "odd") in resolver.take_changes().pods
    assert state() == ((), BOTH)


def test_a_view_says_the_mode_of_its_operator() -> None:
    assert SHOP.audit().view().mode is Mode.AUDIT
