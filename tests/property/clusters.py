"""Strategies for random clusters and policies, small and colliding on purpose.

Few names, labels, ports and addresses, so that selectors hit, ranges overlap and blocks cut through pods.
"""

from hypothesis import strategies as st

from controller.objects.addresses import BITS, Cidr, format_address, parse_address, parse_cidr
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Direction,
    IPBlock,
    Mode,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import LabelSelector, Operator, Requirement

NAMESPACES = ("shop", "ops")
NODES = ("node-1", "node-2")
KEYS = ("app", "tier")
VALUES = ("a", "b", "")
PORTS = (53, 80, 81, 443, 1000, 65535)
NAMES = ("http", "dns", "metrics")
OUTSIDE = ("192.0.2.1", "10.0.9.9", "2001:db8::1", "fd00::9:9")

protocols = st.sampled_from(list(Protocol))
modes = st.sampled_from([None, None, None, Mode.AUDIT, Mode.AUDIT, Mode.ENFORCE])
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(list(Operator)))
    values: tuple[str, ...] = ()
    if operator in {Operator.IN, Operator.NOT_IN}:
        values = tuple(draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2)))
    return Requirement(draw(st.sampled_from(KEYS)), operator, values)


@st.composite
def selectors(draw: st.DrawFn) -> LabelSelector:
    if draw(st.booleans()):
        return LabelSelector()
    return LabelSelector.of(draw(labels), draw(st.lists(requirements(), max_size=1)))


@st.composite
def namespace_selectors(draw: st.DrawFn) -> LabelSelector:
    if draw(st.booleans()):
        return LabelSelector.of({"kubernetes.io/metadata.name": draw(st.sampled_from(NAMESPACES))})
    return draw(selectors())


@st.composite
def cidrs(draw: st.DrawFn) -> Cidr:
    if draw(st.booleans()):
        address = draw(st.sampled_from(["10.0.0.0", "10.0.1.0", "10.0.0.7", "192.0.2.0", "0.0.0.0"]))
        return parse_cidr(f"{address}/{draw(st.sampled_from([8, 16, 24, 28, 30, 31, 32, 1, 0]))}")
    address = draw(st.sampled_from(["fd00::1:0", "fd00::2:7", "2001:db8::", "::"]))
    return parse_cidr(f"{address}/{draw(st.sampled_from([8, 32, 64, 112, 124, 126, 127, 128, 1, 0]))}")


@st.composite
def ip_blocks(draw: st.DrawFn) -> IPBlock:
    cidr = draw(cidrs())
    inside = cidrs().filter(lambda hole: cidr.contains(hole) and hole.prefix > cidr.prefix)
    host = Cidr(cidr.family, cidr.last, 32 if cidr.family == 4 else 128)
    holes = st.just(host) if host.prefix > cidr.prefix else st.nothing()
    some = host.prefix > cidr.prefix and draw(st.booleans())
    excepts = draw(st.lists(st.one_of(inside, holes), min_size=1, max_size=2)) if some else []
    return IPBlock(cidr, tuple(excepts))


@st.composite
def peers(draw: st.DrawFn, index: int) -> Peer:
    kind = draw(st.sampled_from(["pods", "namespaces", "both", "block"]))
    if kind == "block":
        return Peer(index, ip_block=draw(ip_blocks()))
    pods = draw(selectors()) if kind != "namespaces" else None
    return Peer(index, pods, draw(namespace_selectors()) if kind != "pods" else None)


@st.composite
def policy_ports(draw: st.DrawFn, index: int) -> PolicyPort:
    kind = draw(st.sampled_from(["any", "number", "number", "range", "name"]))
    protocol = draw(protocols)
    if kind == "any":
        return PolicyPort(index, protocol)
    if kind == "name":
        return PolicyPort(index, protocol, draw(st.sampled_from(NAMES)))
    port = draw(st.sampled_from(PORTS))
    end = draw(st.sampled_from([found for found in PORTS if found >= port])) if kind == "range" else None
    return PolicyPort(index, protocol, port, end)


item_counts = st.sampled_from([1, 2, 3, 1, 0])


@st.composite
def rules(draw: st.DrawFn, index: int) -> PolicyRule:
    found_peers = None
    if draw(st.sampled_from([True, True, True, False])):
        found_peers = tuple(draw(peers(place)) for place in range(draw(item_counts)))
    found_ports = None
    if draw(st.sampled_from([True, True, False])):
        found_ports = tuple(draw(policy_ports(place)) for place in range(draw(item_counts)))
    return PolicyRule(index, found_peers, found_ports)


rule_counts = st.sampled_from([1, 2, 1, 0])


@st.composite
def policies(draw: st.DrawFn, name: str) -> NetworkPolicy:
    return NetworkPolicy(
        namespace=draw(st.sampled_from(NAMESPACES)),
        name=name,
        pod_selector=draw(selectors()),
        directions=draw(
            st.sampled_from(
                [
                    (Direction.INGRESS,),
                    (Direction.EGRESS,),
                    (Direction.INGRESS, Direction.EGRESS),
                ]
            )
        ),
        ingress=tuple(draw(rules(place)) for place in range(draw(rule_counts))),
        egress=tuple(draw(rules(place)) for place in range(draw(rule_counts))),
        mode=draw(modes),
    )


@st.composite
def pods(draw: st.DrawFn, name: str) -> Pod:
    node = draw(st.sampled_from(NODES))
    host = draw(st.integers(0, 9)) == 9
    number = draw(st.integers(1, 12))  # few numbers: some pods share an address (rule 2.56)
    addresses = [f"10.0.{NODES.index(node)}.{number}", f"fd00::{NODES.index(node) + 1}:{number:x}"]
    if host:
        addresses = list(node_ips(node))
    return Pod(
        namespace=draw(st.sampled_from(NAMESPACES)),
        name=name,
        labels=draw(labels),
        ips=tuple(addresses[: draw(st.sampled_from([2, 2, 1]))]),
        node=node,
        phase=draw(st.sampled_from(["Running"] * 5 + ["Pending", "Succeeded"])),
        host_network=host,
        ports=tuple(
            draw(
                st.lists(
                    st.builds(ContainerPort, st.sampled_from(NAMES), protocols, st.sampled_from(PORTS)),
                    max_size=2,
                    unique=True,
                )
            )
        ),
        quarantined=draw(st.integers(0, 14)) == 14,
    )


def node_ips(node: str) -> tuple[str, str]:
    number = NODES.index(node) + 1
    return (f"172.16.0.{number}", f"fd01::{number}")


@st.composite
def namespaces(draw: st.DrawFn, name: str) -> Namespace:
    found = {**draw(labels), "kubernetes.io/metadata.name": name}
    return Namespace(name=name, labels=found, mode=draw(modes))


@st.composite
def clusters(draw: st.DrawFn, max_pods: int = 6, max_policies: int = 4) -> Cluster:
    return Cluster(
        namespaces=tuple(draw(namespaces(name)) for name in NAMESPACES if draw(st.integers(0, 14)) != 14),
        pods=tuple(draw(pods(f"pod-{place}")) for place in range(draw(st.integers(2, max_pods)))),
        policies=tuple(
            draw(policies(f"policy-{place}")) for place in range(draw(st.integers(1, max_policies)))
        ),
        nodes=tuple(
            Node(name=name, ips=node_ips(name), pod_cidrs=(parse_cidr(f"10.0.{NODES.index(name)}.0/24"),))
            for name in NODES
        ),
        mode=draw(st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT])),
    )


def addresses_of_interest(cluster: Cluster) -> list[str]:
    """Every address of the cluster, and the edges of every block of its policies."""
    found = {address for pod in cluster.pods for address in pod.ips} | set(OUTSIDE)
    found |= {address for node in cluster.nodes for address in node.ips}
    for policy in cluster.policies:
        for rule in policy.ingress + policy.egress:
            for peer in rule.peers or ():
                if peer.ip_block is not None:
                    for block in (peer.ip_block.cidr, *peer.ip_block.excepts):
                        found |= set(_edges(block))
    return sorted(found, key=parse_address)


def _edges(block: Cidr) -> list[str]:
    values = {
        block.first,
        block.last,
        max(block.first - 1, 0),
        min(block.last + 1, 2 ** BITS[block.family] - 1),
    }
    return [format_address(block.family, value) for value in values]
