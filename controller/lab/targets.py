"""Ends of probes: pods, nodes, the world outside and addresses, by the names people give them. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from controller.lab.addressing import NodePlace, family_of, is_outside
from controller.lab.network import Names
from controller.lab.podspec import Pod
from controller.lab.probing import Shot
from controller.objects.kinds import Protocol

OUTSIDE = "outside"
_OUTSIDE_ADDRESSES = {4: "203.0.113.1", 6: "2001:db8::1"}
"""Some of the many that it answers at."""


class TargetError(Exception):
    """An end of a probe that is not in the lab; the message names it."""


class End(Struct, frozen=True):
    """Somebody who can send: the network namespace, and the addresses by family."""

    name: str
    namespace: str
    addresses: Mapping[int, str]


class Ends:
    """Everybody in the lab by name."""

    def __init__(self, names: Names, pods: Iterable[Pod], nodes: Iterable[NodePlace]) -> None:
        places = {node.name: node for node in nodes}
        self._ends = {OUTSIDE: End(OUTSIDE, names.fabric, _OUTSIDE_ADDRESSES)}
        for node in places.values():
            self._ends[node.name] = End(node.name, names.node(node.name), node.addresses)
        for pod in pods:
            if pod.addresses and not pod.has_ended and pod.node in places:
                place = names.pod(pod.metadata.namespace, pod.metadata.name)
                if pod.spec.host_network:
                    place = names.node(pod.node)
                addresses = {family_of(address): address for address in pod.addresses}
                self._ends[pod.key] = End(pod.key, place, addresses)

    def find(self, name: str) -> End:
        """A pod `namespace/name`, a node, `outside` or an address there. Raises TargetError."""
        found = self._ends.get(name)
        if found is None and _is_address(name) and is_outside(name):
            return End(name, self._ends[OUTSIDE].namespace, {family_of(name): name})
        if found is None:
            raise TargetError(f"{name}: no running pod, no node and no outside address of this lab")
        return found

    def shot(
        self, source: str, destination: str, port: int, protocol: Protocol | None, family: int = 0
    ) -> Shot:
        """A packet from one to the other; the destination may be an address. Raises TargetError.

        `family` 0 is the first that both have.
        """
        start = self.find(source)
        address = destination
        if destination in self._ends or not _is_address(destination):
            there = self.find(destination).addresses
            both = [each for each in start.addresses if each in there and family in {0, each}]
            if not both:
                raise TargetError(f"{source} and {destination} have no address of one family to talk by")
            address = there[both[0]]
        own = start.addresses.get(family_of(address))
        if own is None:
            raise TargetError(f"{source} has no IPv{family_of(address)} address")
        return Shot(start.namespace, own, address, port, protocol)


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def named_by(text: str, pods: Iterable[Pod], nodes: Iterable[str]) -> list[str]:
    """The ends that a text of a user means: a pod, a workload's pods, a namespace's, a node, or an address.

    Raises TargetError where it means nobody.
    """
    running = [pod for pod in pods if pod.addresses and not pod.has_ended]
    if text == OUTSIDE or text in nodes or _is_address(text):
        return [text]
    namespace, _, rest = text.partition("/")
    name = rest.rpartition("/")[2]  # shop/deploy/cart: the kind may be there
    for meant in (
        [pod.key for pod in running if pod.key == text],
        [pod.key for pod in running if pod.metadata.namespace == namespace and workload_name(pod) == name],
        [pod.key for pod in running if not rest and pod.metadata.namespace == namespace],
    ):
        if meant:
            return sorted(meant)
    raise TargetError(f"{text}: no running pod, workload, namespace or node of this lab")


def workload_name(pod: Pod) -> str:
    """The name of its workload, or its own."""
    owner = pod.controller
    return owner.name if owner else pod.metadata.name
