"""Audit mode in verdicts, by both ways: what only audited policies deny passes; what others deny does not."""

import pytest

from controller.engine.connections import EVERYTHING, NOTHING
from controller.engine.evaluate import Reason
from controller.objects.kinds import Mode
from tests.unit.builder import ClusterBuilder, Judge, labels, pods, port
from tests.unit.engine.shop import OPEN, accepting, sending

FROM_WEB = accepting({"from": [pods(app="web")], "ports": [port(80)]})
GUARDED = OPEN.policy("shop/p", FROM_WEB)
AUDITED = GUARDED.audit(policy="shop/p")


def test_what_an_audited_policy_does_not_allow_allowed(allowed: Judge) -> None:
    assert allowed(AUDITED, "shop/api", "shop/db")
    assert allowed(AUDITED, "shop/web", "shop/db", "81")
    assert not allowed(GUARDED, "shop/api", "shop/db")


def test_it_is_said_what_would_be_denied_and_by_whom() -> None:
    found = AUDITED.verdict("shop/api", "shop/db").ingress

    assert (found.allowed, found.reason, found.audited) == (True, Reason.AUDITED, True)
    assert [policy.name for policy in found.isolating] == ["p"]


def test_what_an_audited_policy_allows_is_allowed_by_its_rule() -> None:
    found = AUDITED.verdict("shop/web", "shop/db").ingress

    assert (found.reason, found.audited) == (Reason.RULE, True)


def test_beside_an_enforced_policy_the_rules_of_an_audited_one_do_not_count(allowed: Judge) -> None:
    built = AUDITED.policy("shop/q", accepting({"from": [pods(app="api")]}))

    assert allowed(built, "shop/api", "shop/db")
    assert not allowed(built, "shop/web", "shop/db")
    assert [each.name for each in built.verdict("shop/web", "shop/db").ingress.isolating] == ["q"]


def test_an_audited_egress_does_not_open_an_enforced_ingress(allowed: Judge) -> None:
    built = GUARDED.policy("shop/out", sending()).audit(policy="shop/out")

    assert allowed(built, "shop/web", "shop/db", "80")
    assert not allowed(built, "shop/web", "shop/db", "81")


def test_directions_are_audited_one_by_one() -> None:
    both = {"podSelector": labels(app="db"), "policyTypes": ["Ingress", "Egress"]}
    built = OPEN.policy("shop/both", both).audit(policy="shop/both").policy("shop/p", accepting())

    assert not built.verdict("shop/web", "shop/db").ingress.allowed
    assert built.verdict("shop/db", "shop/web").egress.reason is Reason.AUDITED


@pytest.mark.parametrize("operator", list(Mode))
@pytest.mark.parametrize("home", [None, *Mode])
@pytest.mark.parametrize("own", [None, *Mode])
def test_the_policy_is_asked_before_its_namespace_and_that_before_the_operator(
    allowed: Judge, operator: Mode, home: Mode | None, own: Mode | None
) -> None:
    built = GUARDED.in_mode(operator).in_mode(home, namespace="shop").in_mode(own, policy="shop/p")

    assert allowed(built, "shop/api", "shop/db") == ((own or home or operator) is Mode.AUDIT)


def test_the_mode_of_another_namespace_means_nothing_here(allowed: Judge) -> None:
    assert not allowed(GUARDED.audit(namespace="bank"), "shop/api", "shop/db")


ODD = OPEN.pod("shop/odd", quarantined=True)


# Nobody knows which policies select such a pod
@pytest.mark.parametrize(
    ("built", "isolated"),
    [
        (ODD, True),
        (ODD.policy("shop/p", FROM_WEB).audit(policy="shop/p"), True),
        (ODD.audit(namespace="shop"), True),
        (ODD.audit(), False),
        (ODD.audit().policy("shop/p", FROM_WEB), False),
        (ODD.audit().in_mode(Mode.ENFORCE, namespace="shop"), True),
        (ODD.audit().in_mode(Mode.ENFORCE, namespace="bank"), False),
        (ODD.audit().policy("shop/p", FROM_WEB).in_mode(Mode.ENFORCE, policy="shop/p"), True),
        (ODD.audit().policy("bank/p", FROM_WEB).in_mode(Mode.ENFORCE, policy="bank/p"), False),
    ],
)
def test_a_quarantined_pod_is_isolated_unless_all_is_audited_that_may_select_it(
    allowed: Judge, built: ClusterBuilder, *, isolated: bool
) -> None:
    assert allowed(built, "shop/web", "shop/odd") is not isolated
    assert allowed(built, "shop/odd", "shop/web") is not isolated


def test_all_connections_of_an_audited_direction_are_allowed() -> None:
    evaluator = AUDITED.evaluator()

    assert evaluator.connections(AUDITED.end("shop/api"), AUDITED.end("shop/db")) == EVERYTHING
    assert GUARDED.evaluator().connections(GUARDED.end("shop/api"), GUARDED.end("shop/db")) == NOTHING
