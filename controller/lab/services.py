"""Services as NAT rules of a node, in the manner of kube-proxy. Pure.

A packet to a virtual address and port gets the address of one of the ready pods behind it, each as likely as
the others. A pod that reaches itself that way would answer itself directly, so its source address is hidden
behind the node's (hairpin). The chains are the lab's own, `LAB-...`; nothing else in the table is touched.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from controller.lab.addressing import family_of
from controller.lab.podspec import Pod, Service, ServicePort, port_number
from controller.objects.kinds import Protocol

SERVICES = "LAB-SERVICES"
HAIRPIN = "LAB-HAIRPIN"


class VirtualPort(Struct, frozen=True, order=True):
    """An address and port that lead to one of several others."""

    address: str
    protocol: Protocol
    port: int
    endpoints: tuple[tuple[str, int], ...]
    name: str


def virtual_ports(services: Iterable[Service], pods: Mapping[str, Sequence[Pod]]) -> list[VirtualPort]:
    """What the Services lead to; `pods` are the live ones by namespace. O(Services x pods of a namespace)."""
    found: list[VirtualPort] = []
    for service in services:
        backends = [pod for pod in pods.get(service.metadata.namespace, ()) if _is_behind(service, pod)]
        found += [
            _virtual_port(service, address, port, backends)
            for address in _addresses(service)
            for port in service.spec.ports or ()
        ]
    return sorted(found)


def nat_text(ports: Iterable[VirtualPort], family: int) -> str:
    """For iptables-restore --noflush: this and nothing else in the lab's chains."""
    return "\n".join([*_nat_lines([port for port in ports if family_of(port.address) == family]), ""])


def hook_text() -> str:
    """For iptables-restore --noflush, once for each node and family: the ways to the lab's chains."""
    chains = [f":{SERVICES} - [0:0]", f":{HAIRPIN} - [0:0]"]
    hooks = {"PREROUTING": SERVICES, "OUTPUT": SERVICES, "POSTROUTING": HAIRPIN}
    return "\n".join(
        ["*nat", *chains, *(f"-A {hook} -j {chain}" for hook, chain in hooks.items()), "COMMIT", ""]
    )


def _addresses(service: Service) -> list[str]:
    spec = service.spec
    found = spec.cluster_ips or [spec.cluster_ip or ""]
    return [address for address in found if address not in {"", "None"}]


def _is_behind(service: Service, pod: Pod) -> bool:
    selector = service.spec.selector
    if not selector or pod.is_terminating or not pod.addresses:
        return False
    ready = pod.is_ready or bool(service.spec.publish_not_ready_addresses)
    return ready and selector.items() <= pod.labels.items()


def _virtual_port(service: Service, address: str, port: ServicePort, backends: Iterable[Pod]) -> VirtualPort:
    protocol = Protocol[(port.protocol or "TCP").upper()]
    target = port.target_port or port.port
    endpoints = {
        (found, number)
        for pod in backends
        for found in pod.addresses
        if family_of(found) == family_of(address)
        and (number := port_number(pod, target, protocol)) is not None
    }
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    return VirtualPort(address, protocol, port.port, tuple(sorted(endpoints)), name)


def _nat_lines(ports: list[VirtualPort]) -> Iterator[str]:
    yield "*nat"
    yield f"-F {SERVICES}"
    yield f"-F {HAIRPIN}"
    for port in ports:
        asked = f"-d {port.address} -p {port.protocol.name.lower()} --dport {port.port}"
        comment = f'-m comment --comment "{port.name}"'
        for place, (endpoint, number) in enumerate(port.endpoints):
            left = len(port.endpoints) - place
            chance = f" -m statistic --mode random --probability {1 / left:.6f}" if left > 1 else ""
            target = f"{endpoint}:{number}" if family_of(endpoint) == 4 else f"[{endpoint}]:{number}"
            yield f"-A {SERVICES} {asked}{chance} {comment} -j DNAT --to-destination {target}"
    # Nothing else leaves a pod with its own address as the destination.
    for endpoint in sorted({endpoint for port in ports for endpoint, _ in port.endpoints}):
        yield f"-A {HAIRPIN} -s {endpoint} -d {endpoint} -j MASQUERADE"
    yield "COMMIT"
