"""Which nodes and hooks a packet meets on its way, and where it ends."""

import pytest

from controller.dataplane.settings import Settings
from controller.dataplane.simulate import Hook, Verdict
from controller.dataplane.walk import Network, Walk, crossings
from tests.unit.builder import ClusterBuilder, block, cluster, labels, pods

NODE_1, NODE_2, OUTSIDE = "172.16.0.1", "172.16.0.2", "192.0.2.1"
FORWARD, INPUT, OUTPUT = Hook.FORWARD, Hook.INPUT, Hook.OUTPUT
OPEN = (
    cluster()
    .node("node-1", NODE_1)
    .node("node-2", NODE_2)
    .pod("shop/web", ip=("10.0.1.1", "fd00::1:1"), labels={"app": "web"})
    .pod("shop/db", ip=("10.0.1.2", "fd00::1:2"), labels={"app": "db"})
    .pod("shop/api", ip=("10.0.2.1", "fd00::2:1"), labels={"app": "api"}, node="node-2")
    .pod("shop/agent", ip=NODE_1, host_network=True)
    .pod("shop/job", ip="10.0.1.9", phase="Succeeded")
)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("shop/web", "shop/db", [("node-1", FORWARD)]),
        ("shop/web", "shop/api", [("node-1", FORWARD), ("node-2", FORWARD)]),
        ("shop/web", OUTSIDE, [("node-1", FORWARD)]),
        (OUTSIDE, "shop/web", [("node-1", FORWARD)]),
        ("shop/web", NODE_1, [("node-1", INPUT)]),
        ("shop/web", NODE_2, [("node-1", FORWARD)]),
        (NODE_1, "shop/web", [("node-1", OUTPUT)]),
        (NODE_2, "shop/web", [("node-1", FORWARD)]),
        ("shop/web", "shop/agent", [("node-1", INPUT)]),
        ("shop/api", "shop/agent", [("node-2", FORWARD)]),
        ("shop/agent", "shop/web", [("node-1", OUTPUT)]),
        ("shop/web", "shop/web", [("node-1", FORWARD)]),
        (NODE_1, NODE_2, []),
        (OUTSIDE, "10.0.1.9", []),
        (OUTSIDE, NODE_1, []),
    ],
)
def test_a_packet_meets_the_nodes_of_its_ends(
    source: str, destination: str, expected: list[tuple[str, Hook]]
) -> None:
    assert list(crossings(OPEN.end(source), OPEN.end(destination))) == expected


def walk(
    built: ClusterBuilder, source: str, destination: str, port: int = 80, settings: Settings | None = None
) -> Walk:
    network = Network(built.resolver(), settings or Settings())
    return network.walk(built.end(source), built.end(destination), 6, port)


def test_a_packet_that_arrives_was_accepted_everywhere() -> None:
    found = walk(OPEN, "shop/web", "shop/api")

    assert found.allowed
    assert [(passage.node, passage.outcome.verdict) for passage in found.passages] == [
        ("node-1", Verdict.ACCEPT),
        ("node-2", Verdict.ACCEPT),
    ]


# Rule 2.8
def test_a_packet_that_its_own_node_drops_goes_no_further() -> None:
    built = OPEN.policy("shop/p", {"podSelector": labels(app="web"), "policyTypes": ["Egress"]})

    found = walk(built, "shop/web", "shop/api")

    assert not found.allowed
    assert [(passage.node, passage.outcome.verdict) for passage in found.passages] == [
        ("node-1", Verdict.DROP)
    ]


# Rule 2.8
def test_a_packet_can_be_dropped_by_the_last_node() -> None:
    built = OPEN.policy("shop/p", {"podSelector": labels(app="api")})

    found = walk(built, "shop/web", "shop/api")

    assert [(passage.node, passage.outcome.verdict) for passage in found.passages] == [
        ("node-1", Verdict.ACCEPT),
        ("node-2", Verdict.DROP),
    ]


def test_a_packet_that_crosses_no_node_of_ours_is_allowed() -> None:
    found = walk(OPEN.policy("shop/deny", {}), OUTSIDE, "198.51.100.1")

    assert (found.allowed, found.passages) == (True, ())


def test_the_trace_of_a_passage_names_the_rule_that_decided() -> None:
    built = OPEN.policy(
        "shop/p", {"podSelector": labels(app="api"), "ingress": [{"from": [pods(app="web")]}]}
    )

    (_, passage) = walk(built, "shop/web", "shop/api").passages

    assert "shop/p spec.ingress[0]" in [step.rule.comment for step in passage.outcome.trace]


def test_the_connection_is_new_on_every_node() -> None:
    found = walk(OPEN, "shop/web", "shop/api", settings=Settings(generation=5))

    assert [passage.outcome.mark for passage in found.passages] == [5 * 0x20000, 5 * 0x20000]


# Rule 2.21
def test_no_packet_goes_from_one_family_to_the_other() -> None:
    network = Network(OPEN.resolver())

    with pytest.raises(ValueError, match=r"no packet goes from 10\.0\.1\.1 to fd00::2:1"):
        network.walk(OPEN.end("shop/web"), OPEN.end("shop/api", 6), 6, 80)


@pytest.mark.parametrize("family", [4, 6])
def test_one_network_answers_for_many_packets_of_both_families(family: int) -> None:
    built = OPEN.policy("shop/p", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
    network = Network(built.resolver())
    web, db, api = (built.end(key, family) for key in ("shop/web", "shop/db", "shop/api"))

    assert network.walk(web, db, 6, 80).allowed
    assert not network.walk(api, db, 6, 80).allowed
    assert network.walk(web, db, 17, 53).allowed


# Rule 2.41
def test_the_settings_are_those_the_nodes_are_compiled_with() -> None:
    built = OPEN.policy("shop/p", {"policyTypes": ["Egress"], "egress": [{"to": [block("192.0.2.0/24")]}]})

    assert not walk(built, "shop/web", NODE_1).allowed
    assert walk(built, "shop/web", NODE_1, settings=Settings(own_node_egress_allowed=True)).allowed


# Rule 2.56
def test_an_address_of_pods_on_two_nodes_is_judged_by_the_node_of_the_pod_asked_for() -> None:
    built = OPEN.pod("shop/twin", ip="10.0.1.2", node="node-2")

    assert list(crossings(built.end(OUTSIDE), built.end("shop/twin"))) == [("node-2", FORWARD)]
    assert list(crossings(built.end(OUTSIDE), built.end("shop/db"))) == [("node-1", FORWARD)]


# Pods without a node, as in manifests without Node objects, are taken to share one
def test_pods_that_no_node_runs_yet_are_judged_once() -> None:
    built = cluster().pod("shop/a", node="").pod("shop/b", node="")

    assert list(crossings(built.end("shop/a"), built.end("shop/b"))) == [("", FORWARD)]
    assert list(crossings(built.end(OUTSIDE), built.end("shop/a"))) == [("", FORWARD)]
    assert list(crossings(built.end("shop/a"), built.end(OUTSIDE))) == [("", FORWARD)]
