"""The cluster that a lab is: a pod object for each pod place, with the addresses it really has."""

from collections.abc import Mapping, Sequence

from tests.kernel.netlab import Lab
from tests.unit.builder import ClusterBuilder, cluster


def mirror(lab: Lab, ports: Mapping[str, Sequence[str]] | None = None) -> ClusterBuilder:
    """The nodes and pods of a lab, to add policies to.

    Pods are labelled `pod: NAME`, namespaces `ns: NAME`. `ports` are the named ones of a pod: `http:8080`,
    `dns:53/UDP`.
    """
    found = cluster()
    for namespace in {pod.name.split("/")[0] for pod in lab.plan.pods}:
        found = found.ns(namespace, ns=namespace)
    for node in lab.plan.nodes:
        found = found.node(node.name, *node.addresses.values(), pods=[*node.pod_blocks.values()])
    for pod in lab.plan.pods:
        found = found.pod(
            pod.name,
            ip=tuple(pod.addresses.values()),
            node=pod.node,
            labels={"pod": pod.name.split("/")[1]},
            ports=(ports or {}).get(pod.name, ()),
        )
    return found
