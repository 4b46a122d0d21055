"""All pairs of a lab's pods, to be probed at every port they listen at. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec import Struct

from controller.lab.podspec import Pod, listening
from controller.lab.probing import Outcome, Shot
from controller.lab.targets import Ends, TargetError
from controller.objects.kinds import Protocol

Service = tuple[Protocol, int]


class Pair(Struct, frozen=True):
    """A probe to be made: between which ends, at which port, by which packet."""

    source: str
    destination: str
    port: int
    protocol: Protocol
    shot: Shot


class PairProbe(Struct, frozen=True):
    """A probe that was made, and what came back."""

    pair: Pair
    outcome: Outcome

    def __str__(self) -> str:
        pair, shot = self.pair, self.pair.shot
        ends = f"{pair.source} ({shot.source}) -> {pair.destination} ({shot.address})"
        return f"{ends} {pair.port}/{pair.protocol.name}: {self.outcome}"


def pairs_of(  # noqa: PLR0913 - by name
    ends: Ends,
    pods: Iterable[Pod],
    *,
    sources: Collection[str] = (),
    destinations: Collection[str] = (),
    service: Service | None = None,
    family: int = 0,
) -> list[Pair]:
    """Who is to ask whom: pods, nodes, `outside`, as destinations addresses; without names, all pods.

    Each destination is asked at the ports it listens at, or at `service` alone; `family` 0 is the first that
    both ends have. Raises TargetError. O(pods^2 x ports).
    """
    by_name = {pod.key: pod for pod in pods if pod.addresses and not pod.has_ended}
    return [
        Pair(source, destination, port, protocol, ends.shot(source, destination, port, protocol, family))
        for source, destination in _couples(sources or by_name, destinations or by_name)
        for protocol, port in _asked(by_name, destination, service)
    ]


def _couples(sources: Iterable[str], destinations: Collection[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for destination in destinations:
            if source != destination:
                yield source, destination


def _asked(pods: Mapping[str, Pod], destination: str, service: Service | None) -> Iterable[Service]:
    if service is not None:
        return [service]
    if destination not in pods:
        raise TargetError(f"{destination} is no pod, so it takes a port: --port 443/TCP")
    return listening(pods[destination])
