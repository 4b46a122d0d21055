"""A generated cluster of the shape that docs/scale.md describes, any size.

Per namespace: 75 pods in 10 apps, and five policies: default-deny for both directions, DNS egress, everything
inside the namespace, two app rules (a named port from another app, an ipBlock with except). One namespace in
ten also admits an app of its neighbour.
"""

from collections.abc import Iterator

from controller.objects.addresses import format_address, parse_cidr
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Direction,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import EVERYTHING, LabelSelector

PODS_PER_NAMESPACE = 75
APPS = 10
PODS_PER_NODE = 30
BOTH = (Direction.INGRESS, Direction.EGRESS)
_FIRST_ADDRESS = 0x0A000001
_PORTS = (ContainerPort("http", Protocol.TCP, 8080), ContainerPort("metrics", Protocol.TCP, 9090))


def cluster(pods: int, node_size: int = PODS_PER_NODE) -> Cluster:
    """About `pods` pods, in namespaces of 75, spread round robin over nodes of `node_size` pods."""
    namespaces = max(1, pods // PODS_PER_NAMESPACE)
    nodes = max(1, namespaces * PODS_PER_NAMESPACE // node_size)
    return Cluster(
        namespaces=(*map(namespace, range(namespaces)), _labelled("kube-system")),
        pods=tuple(pod for number in range(namespaces) for pod in pods_of(number, nodes)) + dns_pods(nodes),
        policies=tuple(policy for number in range(namespaces) for policy in policies_of(number)),
        nodes=tuple(
            Node(name=f"node-{number}", ips=(f"172.16.{number >> 8}.{number & 255}",))
            for number in range(nodes)
        ),
    )


def namespace(number: int) -> Namespace:
    """One namespace, with a team label shared by every tenth."""
    return _labelled(f"ns-{number}", team=f"team-{number % 10}")


def pods_of(number: int, nodes: int) -> Iterator[Pod]:
    """The pods of one namespace; replicas of an app carry equal labels."""
    for index in range(PODS_PER_NAMESPACE):
        serial = number * PODS_PER_NAMESPACE + index
        app = index % APPS
        yield Pod(
            namespace=f"ns-{number}",
            name=f"app-{app}-{index}",
            labels={
                "app": f"app-{app}",
                "tier": "web" if app < 3 else "back",
                "pod-template-hash": f"h{app}",
            },
            ips=(format_address(4, _FIRST_ADDRESS + serial),),
            node=f"node-{serial % nodes}",
            ports=_PORTS,
        )


def dns_pods(nodes: int) -> tuple[Pod, ...]:
    """Two kube-dns pods."""
    return tuple(
        Pod(
            namespace="kube-system",
            name=f"coredns-{index}",
            labels={"k8s-app": "kube-dns"},
            ips=(f"10.255.0.{index + 1}",),
            node=f"node-{index % nodes}",
            ports=(ContainerPort("dns", Protocol.UDP, 53),),
        )
        for index in range(2)
    )


def policies_of(number: int) -> Iterator[NetworkPolicy]:
    """The five policies of one namespace."""
    home = f"ns-{number}"
    yield NetworkPolicy(namespace=home, name="default-deny", directions=BOTH)
    dns = Peer(0, LabelSelector.of({"k8s-app": "kube-dns"}), _named("kube-system"))
    ports = (PolicyPort(0, Protocol.UDP, 53), PolicyPort(1, Protocol.TCP, 53))
    yield NetworkPolicy(
        namespace=home,
        name="allow-dns",
        directions=(Direction.EGRESS,),
        egress=(PolicyRule(0, (dns,), ports),),
    )
    inside = PolicyRule(0, (Peer(0, EVERYTHING),))
    yield NetworkPolicy(
        namespace=home, name="allow-same-namespace", directions=BOTH, ingress=(inside,), egress=(inside,)
    )
    web = Peer(0, LabelSelector.of({"tier": "web"}))
    neighbour = Peer(1, LabelSelector.of({"app": "app-0"}), _named(f"ns-{number + 1}"))
    callers = (web, neighbour) if number % 10 == 0 else (web,)
    yield NetworkPolicy(
        namespace=home,
        name="allow-web-to-app-5",
        pod_selector=LabelSelector.of({"app": "app-5"}),
        ingress=(
            PolicyRule(
                0, callers, (PolicyPort(0, Protocol.TCP, "http"), PolicyPort(1, Protocol.TCP, 8000, 8010))
            ),
        ),
    )
    block = IPBlock(parse_cidr("0.0.0.0/0"), (parse_cidr("10.0.0.0/8"), parse_cidr("172.16.0.0/12")))
    yield NetworkPolicy(
        namespace=home,
        name="allow-app-6-out",
        pod_selector=LabelSelector.of({"app": "app-6"}),
        directions=(Direction.EGRESS,),
        egress=(PolicyRule(0, (Peer(0, ip_block=block),), (PolicyPort(0, Protocol.TCP, 443),)),),
    )


def _named(name: str) -> LabelSelector:
    return LabelSelector.of({"kubernetes.io/metadata.name": name})


def _labelled(name: str, **labels: str) -> Namespace:
    return Namespace(name=name, labels={**labels, "kubernetes.io/metadata.name": name})
