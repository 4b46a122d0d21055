"""Ends of probes: pods, nodes, the world outside and addresses, by the names people give them. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from controller.lab.addressing import FABRIC_ADDRESSES, NodePlace, family_of
from controller.lab.network import Names
from controller.lab.podspec import Pod
from controller.lab.probing import Shot
from controller.objects.kinds import Protocol

OUTSIDE = "outside"


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
        self._ends = {OUTSIDE: End(OUTSIDE, names.fabric, FABRIC_ADDRESSES)}
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
        """A pod `namespace/name`, a node, or `outside`. Raises TargetError."""
        try:
            return self._ends[name]
        except KeyError:
            raise TargetError(f"{name}: no running pod, no node (and not {OUTSIDE}) in this lab") from None

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
