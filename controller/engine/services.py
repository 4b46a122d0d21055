"""From a Service to the pods and ports behind it: what policies see of a packet to its address.

kube-proxy translates the address and port before policies are asked, so a question about a Service is one
about its pods.
"""

from controller.objects.kinds import Cluster, Pod, Protocol, Service, ServicePort


def service_at(cluster: Cluster, address: str) -> Service | None:
    """The Service with a ClusterIP, in canonical form. O(Services)."""
    return next((each for each in cluster.services if address in each.addresses), None)


def pods_behind(cluster: Cluster, service: Service) -> tuple[Pod, ...]:
    """The live pods that a Service selects, ready or not. O(pods)."""
    return tuple(
        pod
        for pod in cluster.pods
        if service.selector
        and pod.namespace == service.namespace
        and not pod.is_finished
        and all(pod.labels.get(key) == value for key, value in service.selector.items())
    )


def port_of(service: Service, protocol: Protocol, port: int) -> ServicePort | None:
    """The port of a Service."""
    return next((each for each in service.ports if (each.protocol, each.port) == (protocol, port)), None)


def target(port: ServicePort, pod: Pod) -> int | None:
    """The number that a port of a Service has at a pod; None at one that has no port of its name.

    Each pod has its own (rules 2.31, 2.48); of several of one name the lowest.
    """
    if isinstance(port.target, int):
        return port.target
    named = (each for each in pod.ports if (each.name, each.protocol) == (port.target, port.protocol))
    return min((each.port for each in named), default=None)
