"""What policies mean, packet by packet: on both backends, routed and bridged, in both families.

Each test puts a cluster that mirrors the lab on the nodes, and states which probes get through. Three judges
must say so: the policies, the simulated rules, and the kernel.
"""

import pytest

from controller.dataplane.settings import Settings
from controller.objects.kinds import Protocol
from tests.kernel.conftest import PODS
from tests.kernel.mirror import mirror
from tests.kernel.probing import Probe
from tests.kernel.trial import Trial
from tests.kernel.wording import (
    ANYTHING,
    BOTH,
    EGRESS,
    EVERYWHERE_OUTSIDE,
    ICMP,
    OUTSIDE,
    TCP,
    UDP,
    block,
    egress,
    ingress,
    namespaces,
    pods,
    ports,
    probes,
)

pytestmark = pytest.mark.kernel

each_protocol = pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)


# Isolation


def test_without_policies_everybody_talks_to_everybody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).build())

    every_pod = [pod for found in PODS.values() for pod in found]
    others = [*every_pod, *PODS, *OUTSIDE.values()]
    trial.expect(
        allowed=[
            Probe(source, destination, protocol, 80)
            for pod in every_pod
            for other in others
            for source, destination in ((pod, other), (other, pod))
            for protocol in (*Protocol, ICMP)
        ]
    )


def test_an_isolated_pod_is_reached_by_nobody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/deny", {}).build())

    trial.expect(
        denied=probes(f"x/a x/c y/a y/c {EVERYWHERE_OUTSIDE}", "x/b", *ANYTHING),
        allowed=probes("x/b", f"y/a y/c {EVERYWHERE_OUTSIDE}", *ANYTHING),
    )


def test_a_pod_isolated_for_egress_reaches_nobody(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/deny", EGRESS).build())

    trial.expect(
        denied=probes("x/a", f"x/b x/c y/a y/c {EVERYWHERE_OUTSIDE}", *ANYTHING),
        allowed=probes(f"y/a y/c {EVERYWHERE_OUTSIDE}", "x/a", *ANYTHING),
    )


def test_egress_of_one_pod_does_not_open_the_ingress_of_another(trial: Trial) -> None:
    """Rule 2.8, where both are judged on one node, and where each is on its own."""
    cluster = mirror(trial.lab).policy("x/out", pods(pod="a") | egress())
    cluster = cluster.policy("x/closed-b", pods(pod="b")).policy("x/closed-c", pods(pod="c"))
    trial.enforce(cluster.build())

    trial.expect(denied=probes("x/a", "x/b x/c"), allowed=probes("x/a", "y/b x/d"))


def test_a_pod_reaches_itself_whatever_policies_say(trial: Trial) -> None:
    """Rule 2.44."""
    trial.enforce(mirror(trial.lab).policy("x/deny", BOTH).build())

    trial.expect(allowed=probes("x/a", "x/a", *ANYTHING))


def test_a_pod_that_has_finished_is_neither_isolated_nor_a_peer(trial: Trial) -> None:
    """Rule 2.54: its address may be somebody else's by now."""
    finished = trial.lab.plan.nodes[0].pods[1]
    cluster = mirror(trial.lab).pod(
        "x/b",
        ip=tuple(finished.addresses.values()),
        node=finished.node,
        labels={"pod": "b"},
        phase="Succeeded",
    )
    trial.enforce(cluster.policy("x/from-x", ingress(pods())).build())

    trial.expect(allowed=probes("y/a", "x/b") + probes("x/c", "x/a"), denied=probes("x/b", "x/a x/c"))


# Peers


def test_labels_say_who_may_come(trial: Trial) -> None:
    allow = pods(pod="b") | ingress(pods(pod="a"), pods(pod="c"))
    trial.enforce(mirror(trial.lab).policy("x/allow", allow).build())

    trial.expect(allowed=probes("x/a x/c", "x/b"), denied=probes("x/d y/a y/c", "x/b"))


def test_namespaces_say_who_may_come(trial: Trial) -> None:
    cluster = mirror(trial.lab).policy("x/allow-y", ingress(namespaces(ns="y") | pods(pod="a")))
    cluster = cluster.policy("x/allow-d", ingress(namespaces(ns="x") | pods(pod="d")))
    trial.enforce(cluster.build())

    trial.expect(allowed=probes("y/a x/d", "x/b x/c"), denied=probes("y/b x/a y/d", "x/b x/c"))


def test_a_block_picks_pods_except_some(trial: Trial) -> None:
    node = trial.lab.plan.nodes[0]
    peers = [
        block(node.pod_blocks[family], f"{trial.lab.address('x/b', family)}/{bits}")
        for family, bits in ((4, 32), (6, 128))
    ]
    trial.enforce(mirror(trial.lab).policy("x/allow", ingress(*peers)).build())

    trial.expect(
        allowed=probes("x/a y/a y/b", "x/c") + probes("y/a", "x/a"), denied=probes("x/b x/d y/c", "x/c x/a")
    )


def test_a_block_picks_addresses_outside_except_some(trial: Trial) -> None:
    peers = (
        block("192.0.2.0/24", "192.0.2.128/25", "192.0.2.7/32"),
        block("2001:db8::/64", "2001:db8::8000/113"),
    )
    cluster = mirror(trial.lab).policy("x/in", ingress(*peers)).policy("x/out", egress(*peers))
    trial.enforce(cluster.build())

    within = "192.0.2.6 192.0.2.8 192.0.2.127 2001:db8:: 2001:db8::7fff 2001:db8:0:0:ffff::"
    beyond = "192.0.2.7 192.0.2.128 192.0.2.255 198.51.100.1 2001:db8::8000 2001:db8::ffff 2001:db8:0:1::1"
    trial.expect(
        allowed=probes(within, "x/a x/c") + probes("x/a x/c", within),
        denied=probes(beyond, "x/a x/c") + probes("x/a x/c", beyond),
    )


@pytest.mark.parametrize(("cidr", "family"), [("0.0.0.0/0", 4), ("::/0", 6)])
def test_a_block_of_everything_is_everything_of_its_family(trial: Trial, cidr: str, family: int) -> None:
    """Rule 2.21. What ipset has no entry for is no match at all in the rules."""
    trial.enforce(mirror(trial.lab).policy("x/all", ingress(block(cidr))).build())

    other = 10 - family
    trial.expect(
        allowed=probes("x/a y/a y/c", "x/b", family=family) + probes(OUTSIDE[family], "x/b"),
        denied=probes("x/a y/a y/c", "x/b", family=other) + probes(OUTSIDE[other], "x/b"),
    )


@pytest.mark.parametrize(
    ("family", "cidr", "hole", "spared"),
    [
        (4, "0.0.0.0/0", "198.51.100.0/24", "198.51.100.9"),
        (6, "::/0", "2001:db8:0:1::/64", "2001:db8:0:1::9"),
    ],
)
def test_a_block_of_everything_has_its_excepts(
    trial: Trial, family: int, cidr: str, hole: str, spared: str
) -> None:
    """Rule 2.23."""
    trial.enforce(mirror(trial.lab).policy("x/out", egress(block(cidr, hole))).build())

    trial.expect(
        allowed=probes("x/a", OUTSIDE[family]) + probes("x/a", "y/c", family=family),
        denied=probes("x/a", spared),
    )


# Ports and protocols


def test_a_named_port_is_another_number_for_another_pod(trial: Trial) -> None:
    """Rules 2.34 and 2.36."""
    names = {"x/b": ["http:80"], "x/c": ["http:8080"], "x/d": ["http:80/UDP"]}
    trial.enforce(mirror(trial.lab, names).policy("x/http", ingress(ports=ports("http"))).build())

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
    trial.enforce(mirror(trial.lab, names).policy("x/http", egress(ports=ports("http"))).build())

    trial.expect(
        allowed=probes("x/a", "x/b", (TCP, 80)) + probes("x/a", "y/c", (TCP, 8080)),
        denied=[
            *probes("x/a", "x/b y/c", (TCP, 1)),
            *probes("x/a", "y/c y/d", (TCP, 80)),
            *probes("x/a", EVERYWHERE_OUTSIDE, (TCP, 80), (TCP, 8080)),
        ],
    )


@each_protocol
def test_a_range_of_ports_has_both_its_ends(trial: Trial, protocol: Protocol) -> None:
    """Rule 2.33."""
    range_of_ports = {"port": 1000, "endPort": 1010, "protocol": protocol.name}
    trial.enforce(mirror(trial.lab).policy("x/range", ingress(ports=[range_of_ports])).build())

    within, beyond = (1000, 1005, 1010), (1, 999, 1011, 65535)
    trial.expect(
        allowed=probes("x/a y/c", "x/b", *((protocol, port) for port in within)),
        denied=probes("x/a y/c", "x/b", *((protocol, port) for port in beyond)),
    )


@each_protocol
def test_a_port_of_one_protocol_opens_no_other(trial: Trial, protocol: Protocol) -> None:
    """Rules 2.38 and 2.39."""
    trial.enforce(mirror(trial.lab).policy("x/one", ingress(ports=ports(80, protocol=protocol))).build())

    others = [(other, 80) for other in Protocol if other is not protocol]
    trial.expect(
        allowed=probes("x/a y/c", "x/b", (protocol, 80)),
        denied=probes("x/a y/c", "x/b", *others, (protocol, 81), (ICMP, 0)),
    )


def test_more_ports_than_one_rule_of_the_kernel_holds(trial: Trial) -> None:
    numbers = range(100, 140, 2)
    trial.enforce(mirror(trial.lab).policy("x/many", ingress(ports=ports(*numbers))).build())

    trial.expect(
        allowed=probes("x/a", "x/b", *((TCP, port) for port in numbers)),
        denied=probes("x/a", "x/b", *((TCP, port + 1) for port in numbers)),
    )


def test_a_rule_without_ports_allows_echo_too(trial: Trial) -> None:
    """Rule 2.39."""
    trial.enforce(mirror(trial.lab).policy("x/any", ingress(pods(pod="a"))).build())

    trial.expect(allowed=probes("x/a", "x/b x/c", (ICMP, 0)), denied=probes("x/d y/a", "x/b x/c", (ICMP, 0)))


# Nodes


def test_a_node_reaches_its_own_pods_and_no_others(trial: Trial) -> None:
    """Rules 2.40 and 2.46: the kubelet's probes."""
    trial.enforce(mirror(trial.lab).policy("x/deny", BOTH).build())

    trial.expect(
        allowed=probes("node-1", "x/a x/b", *ANYTHING) + probes("node-2", "x/c", *ANYTHING),
        denied=probes("node-1", "x/c", *ANYTHING) + probes("node-2", "x/a", *ANYTHING),
    )


def test_egress_policies_hold_for_the_own_node_too(trial: Trial) -> None:
    """Rule 2.41."""
    trial.enforce(mirror(trial.lab).policy("x/deny", EGRESS).build())

    trial.expect(
        denied=probes("x/a", "node-1 node-2", *ANYTHING), allowed=probes("y/a", "node-1 node-2", *ANYTHING)
    )


def test_the_own_node_can_be_exempted_from_egress_policies(trial: Trial) -> None:
    cluster = mirror(trial.lab).policy("x/deny", EGRESS).build()
    trial.enforce(cluster, Settings(own_node_egress_allowed=True))

    reached = trial.lab.probe_many(trial.in_families(probes("x/a", "node-1 node-2")))

    assert reached == [True, True, False, False]


def test_the_traffic_of_host_network_pods_is_their_nodes(trial: Trial) -> None:
    """Rules 2.42 and 2.43: a block picks it, a selector does not, and no policy isolates it."""
    node = trial.lab.plan.nodes[0]
    own = [block(f"{address}/{32 if family == 4 else 128}") for family, address in node.addresses.items()]
    cluster = mirror(trial.lab).pod(
        "x/host", ip=tuple(node.addresses.values()), node=node.name, host_network=True
    )
    cluster = cluster.policy("x/deny", BOTH).policy("y/all-pods", ingress(namespaces()))
    trial.enforce(cluster.policy("y/node", pods(pod="d") | ingress(*own)).build())

    trial.expect(
        denied=probes("node-1", "y/c x/c"), allowed=probes("node-1", "y/d node-2") + probes("y/c", "node-1")
    )


def test_addresses_of_the_node_that_are_no_pods_can_be_cut_off(trial: Trial) -> None:
    """Rule 2.53: a pod that is not known yet. Its own node still reaches it."""
    cluster = mirror(trial.lab).without_pod("x/b").build()
    trial.enforce(cluster, Settings(unknown_pods_denied=True))

    cut_off = trial.in_families(probes("x/a y/c", "x/b") + probes("x/b", "x/a y/c"))
    still_there = trial.in_families(probes("node-1", "x/b") + probes("x/a", "y/a y/c"))

    assert not any(trial.lab.probe_many(cut_off))
    assert all(trial.lab.probe_many(still_there))
