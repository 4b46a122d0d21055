"""Why a verdict is what it is, and all that may flow."""

from typing import Any

import msgspec
import pytest

from controller.engine.evaluate import Reason
from controller.objects.findings import Source
from controller.objects.kinds import Direction
from tests.unit.builder import (
    block,
    by_policies,
    namespaces,
    pods,
    port,
)
from tests.unit.engine.shop import NODE_1, NODE_2, OPEN, OUTSIDE, accepting, sending

# Why


@pytest.mark.parametrize(
    ("source", "destination", "direction", "reason"),
    [
        ("shop/web", "shop/db", Direction.INGRESS, Reason.RULE),
        ("shop/api", "shop/db", Direction.INGRESS, Reason.NO_RULE),
        ("shop/db", "shop/web", Direction.INGRESS, Reason.NOT_ISOLATED),
        ("shop/db", OUTSIDE, Direction.INGRESS, Reason.NOT_A_POD),
        (OUTSIDE, "shop/db", Direction.EGRESS, Reason.NOT_A_POD),
        (NODE_2, "shop/db", Direction.EGRESS, Reason.NOT_A_POD),
        ("shop/db", "shop/db", Direction.INGRESS, Reason.SELF),
        (NODE_1, "shop/db", Direction.INGRESS, Reason.OWN_NODE),
        ("shop/odd", "shop/web", Direction.EGRESS, Reason.QUARANTINED),
    ],
)
def test_each_end_says_why(source: str, destination: str, direction: Direction, reason: Reason) -> None:
    built = OPEN.pod("shop/odd", quarantined=True).policy("shop/p", accepting({"from": [pods(app="web")]}))

    verdict = built.verdict(source, destination)

    found = verdict.egress if direction is Direction.EGRESS else verdict.ingress
    assert (found.direction, found.reason) == (direction, reason)


def test_a_decision_names_the_rule_the_peer_and_the_port_that_matched() -> None:
    built = OPEN.policy(
        "shop/p",
        accepting(
            {"from": [pods(app="api")]},
            {"from": [block("192.0.2.0/24"), pods(app="web")], "ports": [port(53, "UDP"), port(80)]},
        ),
    )

    (match,) = built.verdict("shop/web", "shop/db").ingress.matches

    assert (match.namespace, match.name, match.rule) == ("shop", "p", "spec.ingress[1]")
    assert match.peer == "spec.ingress[1].from[1].podSelector"
    assert match.port == "spec.ingress[1].ports[1]"
    assert str(match) == "shop/p spec.ingress[1].from[1].podSelector"


@pytest.mark.parametrize(
    ("peer", "path"),
    [
        (block("10.0.2.0/24"), "spec.egress[0].to[0].ipBlock"),
        (pods(app="api"), "spec.egress[0].to[0].podSelector"),
        (namespaces(team="a"), "spec.egress[0].to[0].namespaceSelector"),
        (namespaces(team="a") | pods(app="api"), "spec.egress[0].to[0]"),
    ],
)
def test_the_path_of_a_peer_ends_at_what_was_written(peer: dict[str, Any], path: str) -> None:
    verdict = OPEN.policy("shop/p", sending({"to": [peer]})).verdict("shop/web", "shop/api")

    assert [match.peer for match in verdict.egress.matches] == [path]


def test_a_rule_for_everybody_has_no_peer_and_no_port_to_name() -> None:
    (match,) = OPEN.policy("shop/p", accepting({})).verdict("shop/web", "shop/db").ingress.matches

    assert (match.rule, match.peer, match.port) == ("spec.ingress[0]", "", "")
    assert str(match) == "shop/p spec.ingress[0]"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ({"spec.ingress[0].from[0]": 9, "spec.ingress[0]": 7}, 9),
        ({"spec.ingress[0]": 7, "spec": 2}, 7),
        ({"spec": 2}, 2),
        ({}, 1),
    ],
    ids=["the peer", "the rule", "the spec", "the document"],
)
def test_a_match_stands_at_the_line_of_the_closest_field_that_has_one(
    lines: dict[str, int], line: int
) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")]}))
    policy = msgspec.structs.replace(
        built.the_policy("shop/p"), lines=lines, source=Source(file="p.yaml", line=1)
    )

    verdict = msgspec.structs.replace(built, policies=(policy,)).verdict("shop/web", "shop/db")

    assert [match.line for match in verdict.ingress.matches] == [line]


def test_every_rule_that_allows_is_named_and_every_policy_that_isolates() -> None:
    built = (
        OPEN.policy("shop/deny", {})
        .policy("shop/one", accepting({"from": [pods(app="web")]}, {"ports": [port(80)]}))
        .policy("shop/other-direction", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]})
    )

    decision = built.verdict("shop/web", "shop/db").ingress

    assert [match.rule for match in decision.matches] == ["spec.ingress[0]", "spec.ingress[1]"]
    assert [policy.name for policy in decision.isolating] == ["deny", "one"]


def test_a_denial_names_the_policies_that_isolate_and_no_match() -> None:
    decision = OPEN.policy("shop/deny", {}).verdict("shop/web", "shop/db").ingress

    assert (decision.allowed, decision.matches) == (False, ())
    assert [policy.name for policy in decision.isolating] == ["deny"]


# Rule 2.56
def test_of_two_pods_with_one_address_the_one_that_denies_is_heard() -> None:
    built = OPEN.pod("bank/a", ip="10.0.1.9").pod("shop/z", ip="10.0.1.9").policy("shop/deny", {})

    assert built.verdict(OUTSIDE, "10.0.1.9").ingress.reason is Reason.NO_RULE


# Rules 2.42, 2.54
@pytest.mark.parametrize(
    "other",
    [{"phase": "Succeeded"}, {"phase": "Failed"}, {"host_network": True}, {"quarantined": True}],
    ids=str,
)
def test_policies_apply_to_live_pods_of_the_pod_network_that_could_be_read(other: dict[str, Any]) -> None:
    built = OPEN.pod("shop/odd", **other).policy("shop/deny", {})

    asked = built.evaluator().applying
    assert [policy.name for policy in asked(built.the_pod("shop/web"), Direction.INGRESS)] == ["deny"]
    assert asked(built.the_pod("shop/odd"), Direction.INGRESS) == ()


# All that may flow


def test_what_may_flow_is_what_both_ends_allow() -> None:
    built = OPEN.policy("shop/out", sending({"ports": [port(1, end=100), port(53, "UDP")]})).policy(
        "shop/in", accepting({"ports": [port(80, end=200), port("sql")]})
    )

    found = built.evaluator().connections(built.end("shop/web"), built.end("shop/db"))

    assert str(found) == "80-100/TCP"


def test_nothing_flows_between_two_families() -> None:
    built = OPEN.pod("shop/six", ip="fd00::6")

    assert not built.evaluator().connections(built.end("shop/web"), built.end("shop/six"))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "all"),
        ({"from": [pods(app="web")], "ports": [port("sql"), port(80)]}, "80,5432/TCP"),
        ({"from": [pods(app="nobody")]}, "none"),
        ({"ports": [port(protocol="UDP")]}, "UDP"),
    ],
)
def test_one_end_alone_says_what_it_allows(rule: dict[str, Any], text: str) -> None:
    built = OPEN.policy("shop/p", accepting(rule))

    found = built.evaluator().direction_connections(
        Direction.INGRESS, built.end("shop/db"), built.end("shop/web")
    )

    assert str(found) == text


def test_the_two_statements_of_the_engine_agree_on_what_is_left() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")], "ports": [port(80)]}))

    assert by_policies(built, "shop/web", "shop/db", "80")
    assert not by_policies(built, "shop/web", "shop/db", "81")
