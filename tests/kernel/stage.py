"""A lab whose pods have given addresses: those that the scenarios of conformance suites are written with.

An ipBlock of a scenario means the pods it means because of their addresses, so pods get exactly these, in
addition to those of the lab. One place stands for one address, whatever the pod there is called and however
it is labelled, so one lab serves every scenario of every suite. Each address has its IPv6 image, as in the
layouts of the suites that are judged without packets.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import msgspec

from controller.lab.addressing import FULL
from tests.conformance.layouts import in_family, with_both_families
from tests.conformance.manifests import node
from tests.conformance.scenario import Manifest
from tests.kernel.netlab import Lab
from tests.kernel.wiring import OUTSIDE, NodePlace, PodPlace, Topology

NODES = ("node-1", "node-2")


class Stage(Lab):
    """Two nodes; neighbouring addresses are on different ones."""

    def __init__(self, addresses: Iterable[str], topology: Topology) -> None:
        found = sorted(set(addresses), key=lambda text: [int(part) for part in text.split(".")])
        self._nodes = {address: NODES[number % len(NODES)] for number, address in enumerate(found)}
        places = {name: [_place(each) for each in found if self._nodes[each] == name] for name in NODES}
        super().__init__(places, topology)
        self.plan = msgspec.structs.replace(self.plan, nodes=tuple(map(_moved, self.plan.nodes)))
        self._places = {place.name: place.addresses for place in self.plan.nodes}
        self._places |= {place.name: place.addresses for place in self.plan.pods}

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._configure({OUTSIDE: self._outside_lines()})
            self._configure({node.name: self._node_lines(node) for node in self.plan.nodes})
            self._configure({pod.name: self._pod_lines(pod) for pod in self.plan.pods})
            for address in self._nodes:
                self._places[_place(address)] = {
                    family: in_family(address, family) for family in self.plan.families
                }
            self._await_links()
        except BaseException:
            self.__exit__()
            raise
        return self

    def lay_out(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """The objects of a scenario as they are here: pods on nodes, and everything in both families."""
        nodes = [node(each.name, [*each.addresses.values()]) for each in self.plan.nodes]
        return [*nodes, *map(self._laid_out, manifests)]

    def _laid_out(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] == "NetworkPolicy":
            return {**manifest, "spec": with_both_families(manifest["spec"])}
        if manifest["kind"] != "Pod":
            return manifest
        address = manifest["status"]["podIP"]
        ips = [{"ip": in_family(address, family)} for family in self.plan.families]
        return {
            **manifest,
            "spec": {**manifest["spec"], "nodeName": self._nodes[address]},
            "status": {**manifest["status"], "podIPs": ips},
        }

    def _outside_lines(self) -> Iterator[str]:
        nodes = {each.name: each for each in self.plan.nodes}
        for address, name in self._nodes.items():
            for family, via in nodes[name].addresses.items():
                yield f"route add {in_family(address, family)}/{FULL[family]} via {via}"

    def _node_lines(self, here: NodePlace) -> Iterator[str]:
        devices = {pod.name: f"pod{number}" for number, pod in enumerate(here.pods)}
        for address, name in self._nodes.items():
            bridged = self.plan.topology is Topology.BRIDGE
            for family in self.plan.families:
                whole = f"{in_family(address, family)}/{FULL[family]}"
                if name == here.name:
                    yield f"route add {whole} dev {'cbr0' if bridged else devices[_place(address)]}"
                else:
                    other = next(each for each in self.plan.nodes if each.name == name)
                    yield f"route add {whole} via {other.addresses[family]}"

    def _pod_lines(self, pod: PodPlace) -> Iterator[str]:
        for address, name in self._nodes.items():
            for family in self.plan.families:
                whole = f"{in_family(address, family)}/{FULL[family]}"
                if _place(address) == pod.name:
                    yield f"address add {whole} dev eth0{' nodad' if family == 6 else ''}"
                elif self.plan.topology is Topology.BRIDGE and name == pod.node:
                    yield f"route add {whole} dev eth0"  # a neighbour on the same bridge


def _place(address: str) -> str:
    return f"pods/{address}"


def _moved(node: NodePlace) -> NodePlace:
    """A node whose own pod block is out of the way: the scenarios use the usual one."""
    pods = (msgspec.structs.replace(pod, addresses=_elsewhere(pod.addresses)) for pod in node.pods)
    return msgspec.structs.replace(
        node,
        gateways=_elsewhere(node.gateways),
        pod_blocks=_elsewhere(node.pod_blocks),
        pods=tuple(pods),
    )


def _elsewhere(addresses: Mapping[int, str]) -> dict[int, str]:
    return {family: address.replace("10.244.", "10.64.", 1) for family, address in addresses.items()}
