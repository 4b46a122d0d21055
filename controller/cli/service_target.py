"""A destination of `explain` that is a Service, by name or by address, as a question about its pods."""

from collections import Counter
from typing import NamedTuple

from controller.cli.failure import CommandError
from controller.cli.output.escapes import plain
from controller.engine.services import pods_behind, port_of, service_at, target
from controller.objects.addresses import AddressError, format_address, parse_address, parse_cidr
from controller.objects.kinds import Cluster, Pod, Protocol, Service, ServicePort
from controller.objects.names import counted

_KINDS = frozenset({"svc", "service", "services"})
_PRIVATE = tuple(
    map(parse_cidr, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""Where Services have their addresses."""

_CAVEAT = (
    "if this is a Service's address, ask about the Service or its pods: kube-proxy translates it before "
    "policies are asked; with the Services among the manifests, or -f cluster:, this is done here"
)

_NAMED = 3
Asked = tuple[Protocol | None, int | None]


class Behind(NamedTuple):
    """The pods of a Service with the port to ask of each, and what to say about it."""

    pods: tuple[tuple[Pod, Asked | None], ...]
    notes: tuple[str, ...]


def behind(cluster: Cluster, text: str, asked: Asked | None) -> Behind | None:
    """What a text means that names a Service; None for any other.

    Raises CommandError where it leads to no pod, or to no port.
    """
    service = _named(cluster, text)
    if service is None:
        return None
    name = plain(f"{service.namespace}/{service.name}")
    pods = pods_behind(cluster, service)
    if not pods:
        why = "it selects no pods that are there" if service.selector else "it has no selector"
        raise CommandError(f"Service {name}: {why}; ask about an address of its EndpointSlices")
    says = f"{plain(text)} is Service {name}: kube-proxy sends its packets to"
    if asked is None:
        ports = ", ".join(map(_port_text, service.ports)) or "no port"
        note = f"{says} its {counted(len(pods), 'pod')}, of {ports} only; these answer"
        return Behind(tuple((pod, None) for pod in pods), (note,))
    protocol, number = asked
    if protocol is None or number is None:
        raise CommandError(f"Service {name}: a Service has TCP, UDP and SCTP ports, ask for one of those")
    port = port_of(service, protocol, number)
    if port is None:
        there = ", ".join(f"{each.port}/{each.protocol.name}" for each in service.ports)
        raise CommandError(f"Service {name} has no port {number}/{protocol.name}: it has {there or 'none'}")
    return _behind_port(port, pods, name, says)


def _behind_port(port: ServicePort, pods: tuple[Pod, ...], name: str, says: str) -> Behind:
    numbers = [(pod, target(port, pod)) for pod in pods]
    known = [(pod, number) for pod, number in numbers if number is not None]
    if not known:
        raise CommandError(f"Service {name}: none of its pods has a port named {plain(str(port.target))}")
    notes = [f"{says} {_places_text(port, Counter(number for _, number in known))}; these answer"]
    without = [f"{pod.namespace}/{pod.name}" for pod, number in numbers if number is None]
    if without:
        names = ", ".join(map(plain, without[:_NAMED])) + (", ..." if len(without) > _NAMED else "")
        notes.append(f"nothing from the Service, as they have no port {plain(str(port.target))}: {names}")
    return Behind(tuple((pod, (port.protocol, number)) for pod, number in known), tuple(notes))


def _places_text(port: ServicePort, counts: Counter[int]) -> str:
    """`port 80/TCP of its 2 pods`; of several numbers each."""
    texts = (
        f"port {at}/{port.protocol.name} of {'its ' if len(counts) == 1 else ''}{counted(count, 'pod')}"
        for at, count in sorted(counts.items())
    )
    return " and ".join(texts)


def caveat(cluster: Cluster, text: str) -> tuple[str, ...]:
    """What to say of an address that may be a Service's, where no Services are known."""
    try:
        family, value = parse_address(text)
    except AddressError:
        return ()
    is_private = any(block.holds(family, value) for block in _PRIVATE)
    return (_CAVEAT,) if is_private and not cluster.services else ()


def _named(cluster: Cluster, text: str) -> Service | None:
    try:
        return service_at(cluster, format_address(*parse_address(text)))
    except AddressError:
        pass
    match text.split("/"):
        case [kind, namespace, name] if kind in _KINDS:
            key = namespace, name
        case [namespace, kind, name] if kind in _KINDS:
            key = namespace, name
        case _:
            return None
    found = next((each for each in cluster.services if (each.namespace, each.name) == key), None)
    if found is None:
        raise CommandError(f"no Service '{plain('/'.join(key))}' in the manifests")
    return found


def _port_text(port: ServicePort) -> str:
    return f"{port.port}/{port.protocol.name} (port {plain(str(port.target))} there)"
