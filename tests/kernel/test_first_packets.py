"""What policies mean, packet by packet: through real rules, on both backends, routed and bridged, in both families.

Each test puts a cluster that mirrors the lab on the nodes, and states which probes get through. Three judges must
say so: the policies' text, the simulated rules, and the kernel.
"""

import time
from typing import Any

import msgspec
import pytest

from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.objects.kinds import Protocol
from tests.kernel.conftest import PODS
from tests.kernel.flows import Talk
from tests.kernel.mirror import mirror
from tests.kernel.probing import Outcome, Probe
from tests.kernel.rules import Service
from tests.kernel.sockets import End
from tests.kernel.trial import Trial
from tests.kernel.wiring import OUTSIDE_BLOCKS, Topology

pytestmark = pytest.mark.kernel

TCP, UDP, SCTP = Protocol
ICMP = None
OUTSIDE = {4: "192.0.2.7", 6: "2001:db8::7"}
ALL_PODS = [pod for pods in PODS.values() for pod in pods]

EVERYTHING: dict[str, Any] = {}
ISOLATED: dict[str, Any] = {"policyTypes": ["Ingress", "Egress"]}


def probes(
    sources: str, destinations: str, *services: tuple[Protocol | None, int], family: int | None = None
) -> list[Probe]:
    """Every source to every destination, both in words, by TCP to port 80 or the services that are named."""
    return [
        Probe(source, destination, protocol, port, family)
        for source in sources.split()
        for destination in destinations.split()
        for protocol, port in services or [(TCP, 80)]
    ]


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": labels}}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(excepts)}}


def ports(*numbers: int | str, protocol: str = "TCP") -> list[dict[str, Any]]:
    return [{"port": number, "protocol": protocol} for number in numbers]


# Isolation


def test_without_policies_everybody_talks_to_everybody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).build())

    pairs = [
        (pod, other) for pod in ALL_PODS for other in (*ALL_PODS, *PODS, *OUTSIDE.values()) if pod != other
    ]
    trial.expect(
        allowed=[
            Probe(source, destination, protocol, 80)
            for pair in pairs
            for source, destination in (pair, pair[::-1])
            for protocol in (*Protocol, ICMP)
        ]
    )


def test_an_isolated_pod_is_reached_by_nobody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/deny", EVERYTHING).build())

    anything = [(TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0)]
    trial.expect(
        denied=[
            *probes("x/a x/c y/a y/c", "x/b", *anything),
            *probes(f"{OUTSIDE[4]} {OUTSIDE[6]}", "x/b", *anything),
        ],
        allowed=[*probes("x/b", "y/a y/c", *anything), *probes("x/b", " ".join(OUTSIDE.values()), *anything)],
    )


def test_a_pod_isolated_for_egress_reaches_nobody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/deny", {"policyTypes": ["Egress"]}).build())

    anything = [(TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0)]
    trial.expect(
        denied=[
            *probes("x/a", "x/b x/c y/a y/c", *anything),
            *probes("x/a", " ".join(OUTSIDE.values()), *anything),
        ],
        allowed=probes("y/a y/c", "x/a", *anything),
    )


def test_egress_of_one_pod_does_not_open_the_ingress_of_another(trial: Trial) -> None:
    """Rule 2.8, where both are judged on one node, and where each is on its own."""
    cluster = mirror(trial.lab).policy("x/out", pods(pod="a") | {"policyTypes": ["Egress"], "egress": [{}]})
    cluster = cluster.policy("x/closed-b", pods(pod="b")).policy("x/closed-c", pods(pod="c"))
    trial.enforce(cluster.build())

    trial.expect(denied=probes("x/a", "x/b x/c"), allowed=probes("x/a", "y/b x/d"))


def test_a_pod_reaches_itself_whatever_policies_say(trial: Trial) -> None:
    """Rule 2.44."""
    trial.enforce(mirror(trial.lab).policy("x/deny", ISOLATED).build())

    trial.expect(allowed=probes("x/a", "x/a", (TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0)))


def test_a_pod_that_has_finished_is_neither_isolated_nor_a_peer(trial: Trial) -> None:
    """Rule 2.54: its address may be somebody else's by now."""
    cluster = mirror(trial.lab)
    finished = trial.lab.plan.nodes[0].pods[1]
    cluster = cluster.pod(finished.name, ip=tuple(finished.addresses.values()), node=finished.node,
                          labels={"pod": "b"}, phase="Succeeded")  # fmt: skip
    cluster = cluster.policy("x/from-pods", {"ingress": [{"from": [{"podSelector": {}}]}]})
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("y/a", "x/b") + probes("x/c", "x/a"), denied=probes("x/b", "x/a x/c"))


# Peers


def test_labels_say_who_may_come(trial: Trial) -> None:
    ingress = [{"from": [pods(pod="a"), pods(pod="c")]}]
    cluster = mirror(trial.lab).policy("x/allow", pods(pod="b") | {"ingress": ingress})
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("x/a x/c", "x/b"), denied=probes("x/d y/a y/c", "x/b"))


def test_namespaces_say_who_may_come(trial: Trial) -> None:
    cluster = mirror(trial.lab)
    cluster = cluster.policy("x/allow-y", {"ingress": [{"from": [namespaces(ns="y") | pods(pod="a")]}]})
    cluster = cluster.policy("x/allow-d", {"ingress": [{"from": [namespaces(ns="x") | pods(pod="d")]}]})
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("y/a x/d", "x/b x/c"), denied=probes("y/b x/a y/d", "x/b x/c"))


def test_a_block_picks_pods_except_some(trial: Trial) -> None:
    peers = []
    for family, full in ((4, 32), (6, 128)):
        spared = f"{trial.lab.address('x/b', family)}/{full}"
        peers.append(block(trial.lab.plan.nodes[0].pod_blocks[family], spared))
    trial.enforce(mirror(trial.lab).policy("x/allow", {"ingress": [{"from": peers}]}).build())

    trial.expect(
        allowed=probes("x/a y/a y/b", "x/c") + probes("y/a", "x/a"), denied=probes("x/b x/d y/c", "x/c x/a")
    )


def test_a_block_picks_addresses_outside_except_some(trial: Trial) -> None:
    peers = [
        block("192.0.2.0/24", "192.0.2.128/25", "192.0.2.7/32"),
        block("2001:db8::/64", "2001:db8::8000/113"),
    ]
    cluster = mirror(trial.lab).policy("x/in", {"ingress": [{"from": peers}]})
    cluster = cluster.policy("x/out", {"policyTypes": ["Egress"], "egress": [{"to": peers}]})
    trial.enforce(cluster.build())

    inside = "192.0.2.6 192.0.2.8 192.0.2.127 2001:db8:: 2001:db8::7fff 2001:db8:0:0:ffff::"
    beyond = "192.0.2.7 192.0.2.128 192.0.2.255 198.51.100.1 2001:db8::8000 2001:db8::ffff 2001:db8:0:1::1"
    for pod in ("x/a", "x/c"):
        trial.expect(
            allowed=[*probes(inside, pod), *probes(pod, inside)],
            denied=[*probes(beyond, pod), *probes(pod, beyond)],
        )


@pytest.mark.parametrize(("cidr", "family"), [("0.0.0.0/0", 4), ("::/0", 6)])
def test_a_block_of_everything_is_everything_of_its_family(trial: Trial, cidr: str, family: int) -> None:
    """Rule 2.21. What ipset has no entry for is no match at all in the rules."""
    trial.enforce(mirror(trial.lab).policy("x/all", {"ingress": [{"from": [block(cidr)]}]}).build())

    other = 10 - family
    trial.expect(
        allowed=[*probes("x/a y/a y/c", "x/b", family=family), *probes(OUTSIDE[family], "x/b")],
        denied=[*probes("x/a y/a y/c", "x/b", family=other), *probes(OUTSIDE[other], "x/b")],
    )


@pytest.mark.parametrize(
    ("cidr", "hole", "spared"),
    [("0.0.0.0/0", "198.51.100.0/24", "198.51.100.9"), ("::/0", "2001:db8:0:1::/64", "2001:db8:0:1::9")],
)
def test_a_block_of_everything_has_its_excepts(trial: Trial, cidr: str, hole: str, spared: str) -> None:
    egress = [{"to": [block(cidr, hole)]}]
    trial.enforce(mirror(trial.lab).policy("x/out", {"policyTypes": ["Egress"], "egress": egress}).build())

    family = 6 if ":" in cidr else 4
    trial.expect(
        allowed=[*probes("x/a", OUTSIDE[family]), *probes("x/a", "y/c", family=family)],
        denied=probes("x/a", spared),
    )


# Ports and protocols


def test_a_named_port_is_another_number_for_another_pod(trial: Trial) -> None:
    """Rules 2.34 and 2.36."""
    names = {"x/b": ["http:80"], "x/c": ["http:8080"], "x/d": ["http:80/UDP"]}
    cluster = mirror(trial.lab, names).policy("x/http", {"ingress": [{"ports": ports("http")}]})
    trial.enforce(cluster.build())

    trial.expect(
        allowed=probes("y/a", "x/b", (TCP, 80)) + probes("y/a", "x/c", (TCP, 8080)),
        denied=[
            *probes("y/a", "x/b", (TCP, 8080), (UDP, 80)),
            *probes("y/a", "x/c", (TCP, 80)),
            *probes("y/a", "x/d", (TCP, 80), (UDP, 80)),
        ],
    )


def test_a_named_port_is_the_destinations_for_egress(trial: Trial) -> None:
    """Rule 2.35; and an address outside has no names (rule 2.24)."""
    names = {"x/a": ["http:1"], "x/b": ["http:80"], "y/c": ["http:8080"]}
    egress = [{"ports": ports("http")}]
    cluster = mirror(trial.lab, names).policy("x/http", {"policyTypes": ["Egress"], "egress": egress})
    trial.enforce(cluster.build())

    trial.expect(
        allowed=probes("x/a", "x/b", (TCP, 80)) + probes("x/a", "y/c", (TCP, 8080)),
        denied=[
            *probes("x/a", "x/b y/c", (TCP, 1)),
            *probes("x/a", "y/c y/d", (TCP, 80)),
            *probes("x/a", f"{OUTSIDE[4]} {OUTSIDE[6]}", (TCP, 80), (TCP, 8080)),
        ],
    )


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
def test_a_range_of_ports_has_both_its_ends(trial: Trial, protocol: Protocol) -> None:
    """Rule 2.33."""
    item = {"port": 1000, "endPort": 1010, "protocol": protocol.name}
    trial.enforce(mirror(trial.lab).policy("x/range", {"ingress": [{"ports": [item]}]}).build())

    within, beyond = (1000, 1005, 1010), (1, 999, 1011, 65535)
    trial.expect(
        allowed=probes("x/a y/c", "x/b", *((protocol, port) for port in within)),
        denied=probes("x/a y/c", "x/b", *((protocol, port) for port in beyond)),
    )


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
def test_a_port_of_one_protocol_opens_no_other(trial: Trial, protocol: Protocol) -> None:
    """Rule 2.38."""
    ingress = [{"ports": ports(80, protocol=protocol.name)}]
    trial.enforce(mirror(trial.lab).policy("x/one", {"ingress": ingress}).build())

    others = [(other, 80) for other in Protocol if other is not protocol]
    trial.expect(
        allowed=probes("x/a y/c", "x/b", (protocol, 80)),
        denied=probes("x/a y/c", "x/b", *others, (protocol, 81), (ICMP, 0)),
    )


def test_more_ports_than_one_rule_of_the_kernel_holds(trial: Trial) -> None:
    numbers = range(100, 140, 2)
    trial.enforce(mirror(trial.lab).policy("x/many", {"ingress": [{"ports": ports(*numbers)}]}).build())

    trial.expect(
        allowed=probes("x/a", "x/b", *((TCP, port) for port in numbers)),
        denied=probes("x/a", "x/b", *((TCP, port + 1) for port in numbers)),
    )


def test_a_rule_without_ports_allows_echo_too(trial: Trial) -> None:
    """Rule 2.39."""
    cluster = mirror(trial.lab).policy("x/any", {"ingress": [{"from": [pods(pod="a")]}]})
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("x/a", "x/b x/c", (ICMP, 0)), denied=probes("x/d y/a", "x/b x/c", (ICMP, 0)))


# Nodes


def test_a_node_reaches_its_own_pods_and_no_others(trial: Trial) -> None:
    """Rules 2.40 and 2.46: the kubelet's probes."""
    trial.enforce(mirror(trial.lab).policy("x/deny", ISOLATED).build())

    anything = [(TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0)]
    trial.expect(
        allowed=probes("node-1", "x/a x/b", *anything) + probes("node-2", "x/c", *anything),
        denied=probes("node-1", "x/c", *anything) + probes("node-2", "x/a", *anything),
    )


def test_egress_policies_hold_for_the_own_node_too(trial: Trial) -> None:
    """Rule 2.41."""
    trial.enforce(mirror(trial.lab).policy("x/deny", {"policyTypes": ["Egress"]}).build())

    anything = [(TCP, 80), (UDP, 53), (SCTP, 80), (ICMP, 0)]
    trial.expect(
        denied=probes("x/a", "node-1 node-2", *anything), allowed=probes("y/a", "node-1 node-2", *anything)
    )


def test_the_own_node_can_be_exempted_from_egress_policies(trial: Trial) -> None:
    cluster = mirror(trial.lab).policy("x/deny", {"policyTypes": ["Egress"]}).build()
    trial.compile(cluster)
    trial.enforce(cluster, Settings(own_node_egress_allowed=True))

    reached = trial.lab.probe_many(trial.in_families(probes("x/a", "node-1 node-2")))

    assert reached == [True, True, False, False]


def test_the_traffic_of_host_network_pods_is_their_nodes(trial: Trial) -> None:
    """Rules 2.42 and 2.43: a block picks it, a selector does not, and no policy isolates it."""
    node = trial.lab.plan.nodes[0]
    cluster = mirror(trial.lab).pod(
        "x/host", ip=tuple(node.addresses.values()), node=node.name, host_network=True
    )
    cluster = cluster.policy("x/deny", ISOLATED)
    cluster = cluster.policy("y/pods", {"ingress": [{"from": [{"namespaceSelector": {}}]}]})
    allowed = [block(f"{address}/{32 if family == 4 else 128}") for family, address in node.addresses.items()]
    cluster = cluster.policy("y/node", pods(pod="d") | {"ingress": [{"from": allowed}]})
    trial.enforce(cluster.build())

    trial.expect(
        denied=probes("node-1", "y/c x/c"), allowed=probes("node-1", "y/d node-2") + probes("y/c", "node-1")
    )


# Services


def virtual(trial: Trial, backend: str, port: int) -> list[Service]:
    """A Service on port 80 of 10.96.0.10 and fd00:10:96::a."""
    return [
        Service(address, 80, End(backend, trial.lab.address(backend, family)), port)
        for family, address in ((4, "10.96.0.10"), (6, "fd00:10:96::a"))
    ]


VIRTUAL = "10.96.0.10 fd00:10:96::a"


def test_a_service_is_judged_by_the_pod_behind_it(trial: Trial) -> None:
    """Rule 2.48, at both ends: the port is the pod's, the peer is the pod."""
    trial.serve(*virtual(trial, "y/b", 8080))
    egress = [{"to": [namespaces(ns="y")], "ports": ports(8080)}]
    cluster = mirror(trial.lab).policy("x/out", {"policyTypes": ["Egress"], "egress": egress})
    cluster = cluster.policy("y/in", {"ingress": [{"from": [pods(pod="a") | namespaces(ns="x")]}]})
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("x/a", VIRTUAL), denied=probes("x/b x/c", VIRTUAL))


def test_the_port_of_a_service_means_nothing_to_a_policy(trial: Trial) -> None:
    trial.serve(*virtual(trial, "x/b", 8080))
    trial.enforce(mirror(trial.lab).policy("x/in", {"ingress": [{"ports": ports(80)}]}).build())

    trial.expect(denied=probes("x/a x/c", VIRTUAL))


@pytest.mark.parametrize("by_bpf", [True, False], ids=["bpf", "rule-per-pod"])
def test_a_pod_reaches_itself_through_its_service(trial: Trial, by_bpf: bool) -> None:
    """Rule 2.45."""
    trial.serve(*virtual(trial, "x/a", 8080))
    cluster = mirror(trial.lab).policy("x/deny", ISOLATED).build()
    trial.enforce(cluster, Settings(hairpin_by_bpf=by_bpf))

    trial.expect(allowed=probes("x/a", VIRTUAL), denied=probes("x/b y/a", VIRTUAL))


# What is not a connection


def forget_neighbours(trial: Trial) -> None:
    for place in trial.lab.plan.places:
        trial.lab.run(
            place, ["ip", "-batch", "-"], "neighbour flush all\nneighbour flush all nud permanent\n"
        )


def test_neighbours_find_each_other_under_deny(trial: Trial) -> None:
    """Rule 2.39: on a bridge, solicitations between pods pass FORWARD."""
    cluster = mirror(trial.lab).policy("x/deny", ISOLATED)
    egress = {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": ports(80)}],
        "egress": [{"ports": ports(80)}],
    }
    trial.enforce(cluster.policy("x/web", egress).build())
    forget_neighbours(trial)

    trial.expect(allowed=probes("x/a", "x/b") + probes("y/a", "x/b"), denied=probes("x/b", "x/a", (TCP, 81)))


def test_without_its_rule_neighbours_on_a_bridge_are_lost(trial: Trial) -> None:
    """So the test above sees what it is meant to see."""
    if trial.lab.plan.topology is not Topology.BRIDGE:
        pytest.skip("routed pods have their node for a neighbour")
    cluster = mirror(trial.lab).policy(
        "x/web", ISOLATED | {"ingress": [{"ports": ports(80)}], "egress": [{"ports": ports(80)}]}
    )
    rulesets = trial.compile(cluster.build())
    trial.lab.load_all(
        {
            node: [without_rule(each, "neighbour discovery") for each in found]
            for node, found in rulesets.items()
        },
        trial.backend,
    )
    forget_neighbours(trial)

    reached = trial.lab.probe_many(trial.in_families(probes("x/a", "x/b")))

    assert reached == [True, False]


def without_rule(ruleset: Ruleset, comment: str) -> Ruleset:
    chains = (
        msgspec.structs.replace(chain, rules=tuple(rule for rule in chain.rules if rule.comment != comment))
        for chain in ruleset.chains
    )
    return msgspec.structs.replace(ruleset, chains=tuple(chains))


def unanswered(source: str, destination: str, port: int) -> list[Probe]:
    return [Probe(source, destination, UDP, port, listening=False)]


def test_the_news_that_nobody_listens_comes_back(trial: Trial) -> None:
    """Rule 2.39: an ICMP error about an allowed packet, into an isolated pod and out of one."""
    cluster = mirror(trial.lab).policy(
        "x/out", ISOLATED | {"egress": [{"ports": ports(4444, protocol="UDP")}]}
    )
    cluster = cluster.policy("y/in", ISOLATED | {"ingress": [{"ports": ports(4444, protocol="UDP")}]})
    trial.enforce(cluster.build())

    asked = unanswered("x/a", "y/b", 4444) + unanswered("x/a", "y/d", 4444)
    outcomes = trial.lab.outcomes(trial.in_families(asked))

    assert outcomes == [Outcome.REFUSED] * 4


def test_no_news_comes_back_about_what_is_denied(trial: Trial) -> None:
    cluster = mirror(trial.lab).policy(
        "x/out", ISOLATED | {"egress": [{"ports": ports(4444, protocol="UDP")}]}
    )
    trial.enforce(cluster.build())

    asked = unanswered("x/a", "y/b", 4445) + unanswered("y/a", "x/a", 4444)
    outcomes = trial.lab.outcomes(trial.in_families(asked))

    assert outcomes == [Outcome.SILENT] * 4


@pytest.mark.parametrize("family", [4, 6])
def test_a_narrow_link_makes_itself_known_to_an_isolated_pod(trial: Trial, family: int) -> None:
    """Rule 2.39: the other node says that packets must be smaller, which FORWARD of this one has to let in."""
    policy = pods(pod="a") | ISOLATED | {"egress": [{"ports": ports(5000)}]}
    trial.enforce(mirror(trial.lab).policy("x/out", policy).build())
    link = ["ip", "link", "set", "pod0", "mtu"]
    trial.lab.run("node-2", [*link, "1300"])
    try:
        with trial.lab.flow("x/a", "x/c", 5000, family=family) as flow:
            while flow.heard < 500_000 and flow.goes_on():
                pass
            route = trial.lab.run("x/a", ["ip", "route", "get", trial.lab.address("x/c", family)])
    finally:
        trial.lab.run("node-2", [*link, "1500"])

    assert "mtu 1300" in route
    assert flow.heard >= 500_000


# Connections that are there when the rules change


def only_port(number: int) -> dict[str, Any]:
    return ISOLATED | {"ingress": [{"ports": ports(number)}], "egress": [{"ports": ports(number)}]}


def test_a_connection_that_is_still_allowed_is_not_disturbed(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/web", only_port(5000)).build())
    with trial.lab.flow("x/a", "x/c", 5000) as near, trial.lab.flow("x/d", "x/b", 5000, family=6) as far:
        for name in ("x/one", "x/two", "x/three"):
            trial.enforce(mirror(trial.lab).policy(name, only_port(5000)).build())

            assert near.goes_on()
            assert far.goes_on()
        assert (near.ended, far.ended) == ("", "")


@pytest.mark.parametrize("talk", [Talk.UPLOAD, Talk.DOWNLOAD, Talk.ECHO])
@pytest.mark.parametrize("destination", ["x/b", "x/c"], ids=["same-node", "other-node"])
def test_a_connection_that_is_no_longer_allowed_falls_silent(
    trial: Trial, destination: str, talk: Talk
) -> None:
    ports_5000 = [*ports(5000), *ports(5000, protocol="UDP")]
    cluster = mirror(trial.lab)
    trial.enforce(
        cluster.policy("x/web", ISOLATED | {"ingress": [{"ports": ports_5000}], "egress": [{}]}).build()
    )
    open_flow = trial.lab.udp_flow if talk is Talk.ECHO else trial.lab.flow
    with open_flow("x/a", destination, 5000, talk) as flow:
        assert flow.goes_on()

        trial.enforce(cluster.policy("x/web", ISOLATED | {"egress": [{}]}).build())

        time.sleep(0.1)
        assert not flow.goes_on(within=0.5)
