"""Which end said no to a packet, and why."""

import pytest
from msgspec.structs import replace

from controller.agent.denial import Denial, Denials, Reason
from controller.agent.packet import Packet
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from tests.unit.builder import NODE, block, cluster, labels, namespaces, pods, port

WEB, DB, OTHER = "10.0.0.21", "10.0.0.5", "10.0.0.9"
OUTSIDE, REMOTE = "192.0.2.1", "10.0.1.7"
SHOP = (
    cluster()
    .ns("shop", team="a")
    .node(NODE, "172.16.0.1", pods=["10.0.0.0/24"])
    .pod("shop/web", ip=WEB, labels={"app": "web"})
    .pod("shop/db", ip=DB, labels={"app": "db"}, ports=["sql:5432"])
    .pod("shop/other", ip=OTHER)
    .pod("shop/far", ip=REMOTE, node="node-2", ports=["sql:7"])
    .policy(
        "shop/db",
        {
            "podSelector": labels(app="db"),
            "ingress": [
                {"from": [pods(app="web")], "ports": [port("sql")]},
                {"from": [block("192.0.2.0/24", "192.0.2.7/32")], "ports": [port(53, "UDP")]},
            ],
        },
    )
    .policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces()], "ports": [port("sql")]}],
        },
    )
)


def denial(
    source: str, destination: str, number: int, protocol: int = 6, view: NodeView | None = None
) -> Denial:
    packet = Packet(4, source, destination, protocol, number)
    return Denials(view or SHOP.view()).of(packet)


def test_ingress_of_a_local_pod_is_denied_to_whom_no_rule_names() -> None:
    assert denial(OTHER, DB, 5432) == Denial(
        "shop/db", Direction.INGRESS, OTHER, "", ("shop/db",), Reason.NO_RULE_MATCHED
    )


def test_a_peer_at_another_port_is_told_so_and_egress_is_asked_first() -> None:
    assert denial(WEB, DB, 81) == Denial(
        "shop/web", Direction.EGRESS, DB, "shop/db", ("shop/web",), Reason.PORT_MISMATCH
    )


def test_egress_to_a_port_by_name_is_the_number_of_the_peer() -> None:
    assert denial(WEB, REMOTE, 7).reason is Reason.RULES_CHANGED
    assert denial(WEB, REMOTE, 5432).reason is Reason.PORT_MISMATCH


def test_where_egress_allows_it_was_ingress() -> None:
    both = SHOP.policy("shop/db", {"podSelector": labels(app="db")})

    assert denial(WEB, DB, 5432, view=both.view()) == Denial(
        "shop/db", Direction.INGRESS, WEB, "shop/web", ("shop/db",), Reason.NO_RULE_MATCHED
    )


@pytest.mark.parametrize(
    ("source", "protocol", "reason"),
    [
        (OUTSIDE, 6, Reason.PORT_MISMATCH),
        (OUTSIDE, 1, Reason.PORT_MISMATCH),
        ("192.0.2.7", 17, Reason.NO_RULE_MATCHED),
        (OUTSIDE, 17, Reason.RULES_CHANGED),
    ],
)
def test_blocks_are_peers_without_their_excepts(source: str, protocol: int, reason: Reason) -> None:
    assert denial(source, DB, 53, protocol).reason is reason


def test_a_pod_that_is_isolated_without_rules_is_in_quarantine() -> None:
    view = SHOP.view()
    bare = replace(view, pods=tuple(replace(pod, rulesets=()) for pod in view.pods))

    found = denial(OUTSIDE, DB, 53, 17, bare)

    assert (found.pod, found.policies, found.reason) == ("shop/db", (), Reason.QUARANTINED)


def test_an_address_of_this_node_that_no_pod_has_is_an_unknown_pod() -> None:
    found = denial("10.0.0.77", OUTSIDE, 80)

    assert (found.pod, found.direction, found.reason) == ("", Direction.EGRESS, Reason.UNKNOWN_POD)


def test_what_concerns_no_pod_here_is_attributed_to_none() -> None:
    found = denial(OUTSIDE, "192.0.2.2", 80)

    assert (found.pod, found.reason) == ("", Reason.RULES_CHANGED)


def test_a_packet_of_the_audit_chain_is_judged_by_what_is_only_audited() -> None:
    view = SHOP.view()
    audited = replace(view, pods=tuple(replace(pod, isolated=(), audited=pod.isolated) for pod in view.pods))

    found = Denials(audited).of(Packet(4, OTHER, DB, 6, 80), Direction.INGRESS)

    assert (found.pod, found.policies, found.reason) == ("shop/db", ("shop/db",), Reason.NO_RULE_MATCHED)


def test_of_two_ends_that_are_audited_the_one_is_named_that_the_kernel_counted() -> None:
    view = SHOP.view()
    audited = replace(view, pods=tuple(replace(pod, isolated=(), audited=pod.isolated) for pod in view.pods))
    packet = Packet(4, WEB, DB, 6, 81)

    found = [Denials(audited).of(packet, direction) for direction in (Direction.EGRESS, Direction.INGRESS)]

    assert [each.pod for each in found] == ["shop/web", "shop/db"]
    assert [each.direction for each in found] == [Direction.EGRESS, Direction.INGRESS]
