"""The ends of a connection: a pod at one of its addresses, a node, or an address outside the cluster.

Policies name pods, packets carry addresses. An `Endpoint` is the bridge: one address, and who is known to
live there. Traffic of a hostNetwork pod is its node's traffic (rule 2.43), so such a pod is the same endpoint
as its node.
"""

from collections import defaultdict

from msgspec import Struct

from controller.objects.addresses import Cidr, format_address, parse_address
from controller.objects.kinds import Cluster, Pod


class Endpoint(Struct, frozen=True):
    """One address and its owner.

    `pods` are the live pods of the pod network with this address, usually one (rule 2.56); `node` is set for
    node traffic only, and where nothing is set the address is outside the cluster. `subjects` are those of
    `pods` whose node enforces for the endpoint.
    """

    family: int
    value: int
    pods: tuple[Pod, ...] = ()
    subjects: tuple[Pod, ...] = ()
    node: str = ""

    @property
    def address(self) -> str:
        """The address as canonical text."""
        return format_address(self.family, self.value)

    def is_in(self, block: Cidr) -> bool:
        """Whether the address is in a block; never across families (rule 2.21)."""
        return block.holds(self.family, self.value)

    def __str__(self) -> str:
        if self.subjects:
            return f"{self.subjects[0].namespace}/{self.subjects[0].name}"
        return f"node {self.node} ({self.address})" if self.node else self.address


class Addresses:
    """Who lives where: looks up endpoints of a cluster by pod or by address. O(pods + nodes) to build."""

    def __init__(self, cluster: Cluster) -> None:
        self._pods: dict[tuple[int, int], list[Pod]] = defaultdict(list)
        self._nodes: dict[tuple[int, int], str] = {}
        for node in cluster.nodes:
            self._nodes.update({parse_address(text): node.name for text in node.ips})
        for pod in cluster.pods:
            for text in pod.ips:
                if pod.is_policed:
                    self._pods[parse_address(text)].append(pod)
                elif not pod.is_finished:
                    self._nodes.setdefault(parse_address(text), pod.node)

    def of_pod(self, pod: Pod) -> tuple[Endpoint, ...]:
        """The endpoints of a pod, one per address.

        None for a pod that has finished (rule 2.54) or has no address yet.
        """
        if pod.is_finished:
            return ()
        if pod.host_network:
            return tuple(Endpoint(*parse_address(text), node=pod.node or "?") for text in pod.ips)
        return tuple(self._of_live_pod(pod, *parse_address(text)) for text in pod.ips)

    def at(self, address: str) -> Endpoint:
        """The endpoint at an address. Raises AddressError where the text is none."""
        family, value = parse_address(address)
        pods = self._pods.get((family, value))
        if pods:
            return self._of_live_pod(pods[0], family, value)
        return Endpoint(family, value, node=self._nodes.get((family, value), ""))

    def _of_live_pod(self, pod: Pod, family: int, value: int) -> Endpoint:
        pods = tuple(self._pods[family, value])
        subjects = tuple(
            sorted((other for other in pods if other.node == pod.node), key=lambda other: other != pod)
        )
        return Endpoint(family, value, pods, subjects)
