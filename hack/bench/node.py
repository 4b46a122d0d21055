"""The node that the kernel benchmarks measure, and the changes they make to it.

110 pods of 22 apps, 50 policies, each of which admits 1,000 peers of its own to one app: the size that the
figures of docs/dataplane.md are for.
"""

from msgspec.structs import replace

from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.objects.kinds import (
    Cluster,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import LabelSelector

PODS, POLICIES, PEERS = 110, 50, 1000
NODE = "node"


def base_cluster() -> Cluster:
    """The node's pods, and their peers elsewhere."""
    pods = [
        Pod(
            namespace="own",
            name=f"pod-{n}",
            labels={"app": f"app-{n % 22}"},
            ips=(f"10.1.0.{n + 1}",),
            node=NODE,
        )
        for n in range(PODS)
    ]
    peers = [
        Pod(
            namespace="peers",
            name=f"peer-{group}-{n}",
            labels={"group": f"g{group}"},
            ips=(f"10.{100 + group}.{n >> 8}.{n & 255}",),
            node="elsewhere",
        )
        for group in range(POLICIES)
        for n in range(PEERS)
    ]
    return Cluster(
        namespaces=(Namespace(name="own", labels={}), Namespace(name="peers", labels={"peers": "yes"})),
        pods=(*pods, *peers),
        policies=tuple(map(policy, range(POLICIES))),
    )


def policy(number: int) -> NetworkPolicy:
    """Three rules from one group of peers, as a policy of a real service has."""
    peer = Peer(0, LabelSelector.of({"group": f"g{number % POLICIES}"}), LabelSelector.of({"peers": "yes"}))
    rules = tuple(
        PolicyRule(index, (peer,), (PolicyPort(0, Protocol.TCP, 8000 + 10 * number + index),))
        for index in range(3)
    )
    selector = LabelSelector.of({"app": f"app-{number % 22}"})
    return NetworkPolicy(namespace="own", name=f"policy-{number}", pod_selector=selector, ingress=rules)


def views() -> tuple[NodeView, dict[str, NodeView]]:
    """The node as it is, and as it is after each change; what a change does not touch is the same object."""
    resolver = Resolver.of(base_cluster())
    view = resolver.view(NODE)
    return view, {
        "peer": _with_peer(view),
        "pod of a known profile": _with_pod(view),
        "policy": _with_policy(resolver, view),
    }


def _with_peer(view: NodeView) -> NodeView:
    group = min(view.groups)
    return replace(view, groups={**view.groups, group: view.groups[group] | {"10.99.9.9"}})


def _with_pod(view: NodeView) -> NodeView:
    pod = replace(view.pods[0], name="one-more", ips=("10.1.0.200",))
    return replace(view, pods=tuple(sorted((*view.pods, pod))), known=(*view.known, "10.1.0.200"))


def _with_policy(resolver: Resolver, view: NodeView) -> NodeView:
    """One that admits peers of a group in use to another app: it comes with chains, and no new set."""
    resolver.put_policy(replace(policy(7), name="one-more", ingress=policy(8).ingress))
    found = resolver.view(NODE)
    resolver.remove_policy(("own", "one-more"))
    groups = {ref: view.groups.get(ref, members) for ref, members in found.groups.items()}
    return replace(found, groups=groups)
