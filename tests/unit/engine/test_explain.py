"""What people are told: why it is so, and what would have to be different."""

from typing import Any

import pytest

from controller.engine.explain import MOST_NEAR_MISSES, Explanation, dns_is_reachable, explain
from controller.objects.kinds import Direction
from tests.unit.builder import (
    ClusterBuilder,
    block,
    cluster,
    labels,
    namespaces,
    parse_service,
    pods,
    port,
)
from tests.unit.engine.shop import NODE_2, OPEN, OUTSIDE, accepting, sending
from tests.work import calls_of


def explained(
    built: ClusterBuilder, source: str, destination: str, service: str | None = "80"
) -> Explanation:
    asked = None if service is None else parse_service(service)
    return explain(built.evaluator(), built.end(source), built.end(destination), asked)


def lacks(
    built: ClusterBuilder, source: str = "shop/api", destination: str = "shop/db", service: str = "80"
) -> list[tuple[str, ...]]:
    return [miss.lacks for miss in explained(built, source, destination, service).near_misses]


# The answer


def test_an_allowed_connection_has_no_near_misses() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")]}, {"from": [pods(app="x")]}))

    found = explained(built, "shop/web", "shop/db")

    assert (found.allowed, found.near_misses) == (True, ())


def test_with_a_port_the_answer_is_about_that_port_and_without_one_about_anything_at_all() -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port(80)]}))

    assert explained(built, "shop/web", "shop/db", "80").allowed
    assert not explained(built, "shop/web", "shop/db", "81").allowed
    assert explained(built, "shop/web", "shop/db", None).allowed
    assert explained(built, "shop/web", "shop/db", None).verdict is None


def test_without_anything_allowed_the_answer_is_no() -> None:
    assert not explained(OPEN.policy("shop/deny", {}), "shop/web", "shop/db", None).allowed


def test_each_rule_that_allows_something_says_what() -> None:
    built = OPEN.policy("shop/out", sending({})).policy(
        "shop/in",
        accepting(
            {"from": [pods(app="web")], "ports": [port("sql")]},
            {"from": [pods(app="nobody")]},
            {"ports": [port(53, "UDP")]},
        ),
    )

    found = explained(built, "shop/web", "shop/db").contributions

    assert [(str(each.match), str(each.connections)) for each in found] == [
        ("shop/out spec.egress[0]", "all"),
        ("shop/in spec.ingress[0]", "5432/TCP"),
        ("shop/in spec.ingress[2]", "53/UDP"),
    ]


def test_ends_that_no_policy_was_asked_about_contribute_nothing() -> None:
    built = OPEN.policy("shop/deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})

    assert explained(built, "shop/db", "shop/db").contributions == ()
    assert explained(built, OUTSIDE, NODE_2).contributions == ()


# Near misses: the peer


@pytest.mark.parametrize(
    ("expression", "wish"),
    [
        ({"operator": "In", "values": ["front"]}, "pod shop/api had label app=front"),
        ({"operator": "In", "values": ["a", "b"]}, "pod shop/api had label app with one of a, b"),
        ({"operator": "NotIn", "values": ["api"]}, "pod shop/api had another label app than api"),
        ({"operator": "DoesNotExist"}, "pod shop/api had no label app"),
    ],
    ids=["one value", "several", "not", "absent"],
)
def test_a_label_that_is_missing_is_named(expression: dict[str, Any], wish: str) -> None:
    selector = {"matchExpressions": [{"key": "app", **expression}]}

    assert lacks(OPEN.policy("shop/p", accepting({"from": [{"podSelector": selector}]}))) == [(wish,)]


def test_a_label_that_has_to_exist_is_named() -> None:
    selector = {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}

    assert lacks(OPEN.policy("shop/p", accepting({"from": [{"podSelector": selector}]}))) == [
        ("pod shop/api had a label tier",)
    ]


def test_a_label_of_the_namespace_is_told_from_one_of_the_pod() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [namespaces(team="b") | pods(app="web")]}))

    assert lacks(built) == [("namespace shop had label team=b", "pod shop/api had label app=web")]


# Rule 2.12
def test_a_pod_selector_that_looks_in_the_wrong_namespace_says_so() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")]}))

    ((wish,),) = lacks(built, "bank/web")
    assert wish.startswith("bank/web were in namespace shop: a podSelector without namespaceSelector")


# Rules 2.12, 2.43
@pytest.mark.parametrize(
    ("source", "wish"),
    [
        (OUTSIDE, f"{OUTSIDE} were a pod: selectors never match addresses outside the cluster"),
        (
            NODE_2,
            (
                f"node node-2 ({NODE_2}) were a pod: "
                "host-network traffic is its node's and only an ipBlock matches it"
            ),
        ),
    ],
)
def test_selectors_never_match_what_is_no_pod(source: str, wish: str) -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods()]}))

    assert lacks(built, source) == [(wish,)]


# Rules 2.19, 2.20
def test_a_block_says_whether_the_address_is_outside_or_excepted() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [block("192.0.2.0/24", "192.0.2.0/28")]}))

    assert lacks(built, "192.0.2.1") == [("192.0.2.1 were not in its except 192.0.2.0/28",)]
    assert lacks(built, "198.51.100.1") == [("198.51.100.1 were in 192.0.2.0/24",)]


def test_no_address_can_be_brought_into_a_block_of_the_other_family() -> None:
    built = OPEN.policy("shop/db", accepting({"from": [block("0.0.0.0/0")]}))

    ((wish,),) = lacks(built, "2001:db8::1")

    assert wish == "there were an ipBlock of IPv6 beside 0.0.0.0/0, which holds no such address"


def test_a_quarantined_peer_is_told() -> None:
    built = OPEN.pod("shop/odd", quarantined=True).policy("shop/p", accepting({"from": [pods()]}))

    assert lacks(built, "shop/odd") == [("shop/odd could be read: it is quarantined, a peer of nobody",)]


# Near misses: the port


@pytest.mark.parametrize(
    ("items", "wish"),
    [
        ([port(443)], "the port were 443/TCP instead of 80/TCP"),
        ([port(443), port(8000, end=8080)], "the port were 443/TCP or 8000-8080/TCP instead of 80/TCP"),
        ([port(80, "UDP")], "the port were 80/UDP instead of 80/TCP"),
        ([port(protocol="UDP")], "the port were any UDP port instead of 80/TCP"),
        ([port("http")], "the port were http (8080/TCP at shop/db) instead of 80/TCP"),
        (
            [port("http", "UDP")],
            "the port were http/UDP (which is 8080/TCP at shop/db) instead of 80/TCP",
        ),
        ([port("web")], "the port were web/TCP (which shop/db does not define) instead of 80/TCP"),
    ],
    ids=[
        "number",
        "several",
        "protocol",
        "any of another protocol",
        "name",
        "name's protocol",
        "no such name",
    ],
)
def test_a_port_that_is_another_is_named(items: list[dict[str, Any]], wish: str) -> None:
    assert lacks(OPEN.policy("shop/p", accepting({"ports": items}))) == [(wish,)]


# Rule 2.35
def test_an_egress_name_is_explained_by_the_destination() -> None:
    built = OPEN.policy("shop/p", sending({"to": [namespaces()], "ports": [port("http")]}))

    assert lacks(built, "shop/web", "bank/web", "8080") == [
        ("the port were http (9090/TCP at bank/web) instead of 8080/TCP",)
    ]


# Rule 2.24
def test_an_egress_name_to_an_outside_address_is_one_that_only_pods_have() -> None:
    built = OPEN.policy("shop/p", sending({"to": [block("0.0.0.0/0")], "ports": [port("http")]}))

    assert lacks(built, "shop/web", OUTSIDE) == [
        ("the port were http/TCP (a name only pods can have) instead of 80/TCP",)
    ]


# Rule 2.39
def test_other_protocols_are_told_that_ports_shut_them_out() -> None:
    built = OPEN.policy("shop/p", accepting({"ports": [port(80)]}))

    ((wish,),) = lacks(built, service="ICMP")
    assert wish.startswith("the rule named no ports")


# Near misses: which


def test_the_closest_rule_comes_first() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="x", tier="y")]}, {"from": [pods(app="x")]}))

    found = explained(built, "shop/api", "shop/db").near_misses

    assert [(miss.distance, miss.path) for miss in found] == [
        (1, "spec.ingress[1].from[0].podSelector"),
        (2, "spec.ingress[0].from[0].podSelector"),
    ]


def test_a_near_miss_reads_as_a_sentence() -> None:
    built = OPEN.policy("shop/p", accepting({"from": [pods(app="web")], "ports": [port(443)]}))

    (miss,) = explained(built, "shop/api", "shop/db").near_misses

    assert str(miss) == (
        "shop/p spec.ingress[0].from[0].podSelector would allow it if pod shop/api had label app=web"
        " and the port were 443/TCP instead of 80/TCP"
    )


def test_near_misses_are_of_the_directions_that_deny_alone() -> None:
    built = OPEN.policy("shop/out", sending({"to": [pods(app="db")]})).policy(
        "shop/in", accepting({"from": [pods(app="api")]})
    )

    found = explained(built, "shop/web", "shop/db").near_misses

    assert {miss.direction for miss in found} == {Direction.INGRESS}


def test_a_handful_of_near_misses_is_enough() -> None:
    built = OPEN.policy("shop/p", accepting(*({"ports": [port(number)]} for number in range(1000, 1020))))

    assert len(lacks(built)) == MOST_NEAR_MISSES


def test_a_policy_without_rules_has_no_near_miss() -> None:
    assert lacks(OPEN.policy("shop/deny", {})) == []


# Notes

DNS = OPEN.pod("kube-system/dns", ip="10.0.2.53", node="node-2", labels={"k8s-app": "kube-dns"})
TO_DNS = {"to": [namespaces() | {"podSelector": labels()}], "ports": [port(53, "UDP")]}


def notes(built: ClusterBuilder, source: str = "shop/web", destination: str = "shop/db") -> tuple[str, ...]:
    return explained(built, source, destination).notes


def test_an_egress_policy_that_cuts_dns_is_noted_by_name() -> None:
    (note,) = notes(DNS.policy("shop/p", sending({"to": [pods(app="db")]})))

    assert note == "DNS egress to kube-dns is cut for shop/web (shop/p): names will not resolve"


def test_an_egress_policy_that_lets_dns_through_is_not_noted() -> None:
    assert notes(DNS.policy("shop/p", sending({"to": [pods(app="db")]}, TO_DNS))) == ()


def test_one_dns_pod_that_can_be_asked_is_enough() -> None:
    built = DNS.pod("kube-system/dns-2", ip="10.0.2.54", labels={"k8s-app": "kube-dns"}).policy(
        "shop/p", sending({"to": [block("10.0.2.54/32")]})
    )

    assert dns_is_reachable(built.evaluator(), built.end("shop/web"))


def test_dns_over_tcp_alone_is_not_enough() -> None:
    built = DNS.policy("shop/p", sending({"to": [namespaces()], "ports": [port(53)]}))

    assert not dns_is_reachable(built.evaluator(), built.end("shop/web"))


def test_where_no_dns_pod_is_known_nothing_is_said() -> None:
    assert notes(OPEN.policy("shop/p", sending())) == ()


# A policy cuts; an address family that the DNS pods do not have is nobody's doing.
def test_without_a_policy_no_dns_is_cut_whatever_its_family() -> None:
    built = OPEN.pod("shop/dual", ip=("10.0.1.7", "fd00::7")).pod(
        "kube-system/dns", ip="10.0.2.53", labels={"k8s-app": "kube-dns"}
    )

    found = explain(built.evaluator(), built.end("shop/dual", 6), built.end("2001:db8::1"))

    assert found.notes == ()


# Rule 2.54
def test_a_dns_pod_that_has_finished_is_not_asked() -> None:
    built = OPEN.pod("kube-system/dns", labels={"k8s-app": "kube-dns"}, phase="Failed")

    assert notes(built.policy("shop/p", sending())) == ()


# Rule 2.56
def test_an_address_of_several_pods_is_noted() -> None:
    built = OPEN.pod("bank/twin", ip="10.0.1.2")

    (note,) = notes(built)
    assert note.startswith("10.0.1.2 belongs to several live pods (bank/twin, shop/db)")


def test_a_pod_that_could_not_be_read_is_noted() -> None:
    (note,) = notes(OPEN.pod("shop/db", quarantined=True))

    assert note == "shop/db could not be read in full, so it is isolated and a peer of nobody"


def test_without_policies_there_is_nothing_to_note() -> None:
    assert notes(cluster().pod("shop/web").pod("shop/db")) == ()


# Audit mode


AUDITED = OPEN.policy("shop/p", accepting({"from": [pods(app="web")], "ports": [port(80)]})).audit(
    policy="shop/p"
)


def test_what_would_be_denied_is_allowed_and_told_what_would_have_to_be_different() -> None:
    found = explained(AUDITED, "shop/api", "shop/db")

    assert found.allowed
    assert [miss.lacks for miss in found.near_misses] == [("pod shop/api had label app=web",)]
    assert found.notes == (
        "ingress of shop/db is only audited (shop/p): all of it passes, what no rule allows is counted",
    )


def test_no_rule_is_named_for_what_passes_anyway() -> None:
    assert explained(AUDITED, "shop/web", "shop/db", None).contributions == ()


def test_a_policy_that_has_no_say_beside_an_enforced_one_is_noted() -> None:
    found = explained(AUDITED.policy("shop/q", accepting()), "shop/web", "shop/db")

    assert not found.allowed
    assert found.notes == (
        "in audit mode, and so without a say beside policies that are enforced: shop/p (ingress of shop/db)",
    )


def test_a_quarantined_pod_that_is_only_audited_is_not_called_isolated() -> None:
    found = explained(OPEN.pod("shop/odd", quarantined=True).audit(), "shop/web", "shop/odd")

    assert found.allowed
    assert (
        "shop/odd could not be read in full, so it is a peer of nobody; enforced, it is isolated"
        in found.notes
    )


def test_many_ports_for_many_peers_are_looked_at_once() -> None:
    def work(count: int) -> int:
        peers = [block(f"192.0.{number}.0/24") for number in range(count)]
        ports = [port(2 * number + 1) for number in range(count)]
        built = OPEN.policy("shop/p", accepting({"from": peers, "ports": ports}))
        evaluator, source, destination = built.evaluator(), built.end(OUTSIDE), built.end("shop/db")
        return calls_of(lambda: explain(evaluator, source, destination, parse_service("80")))

    assert work(200) < 3 * work(100)
