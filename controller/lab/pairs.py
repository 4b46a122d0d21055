"""All pairs of a lab's pods, probed at once with real packets at every port they listen at."""

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from controller.lab.lab import Lab
from controller.lab.podspec import Pod, listening
from controller.lab.probing import PATIENCE, Outcome
from controller.lab.targets import Ends, TargetError
from controller.objects.kinds import Protocol


class PairProbe(Struct, frozen=True):
    """One probe: between which ends, at which port, and what came back."""

    source: str
    destination: str
    port: int
    protocol: Protocol
    outcome: Outcome


async def probe_pairs(  # noqa: PLR0913 - by name
    lab: Lab,
    pods: Sequence[Pod],
    *,
    sources: Collection[str] = (),
    destinations: Collection[str] = (),
    service: tuple[Protocol, int] | None = None,
    patience: float = PATIENCE,
) -> list[PairProbe]:
    """The outcomes of probes between ends: pods, nodes, `outside` and addresses; without names, all pods.

    Each destination is asked at the ports it listens at, or at `service` alone. Raises TargetError.
    """
    by_name = {pod.key: pod for pod in pods if pod.addresses and not pod.has_ended}
    ends = Ends(lab.names, by_name.values(), await lab.nodes())
    pairs = [
        (source, destination, port, protocol)
        for source in sources or by_name
        for destination in destinations or by_name
        if source != destination
        for protocol, port in _asked(by_name.get(destination), service)
    ]
    outcomes = await lab.fire([ends.shot(*pair) for pair in pairs], patience)
    return [PairProbe(*pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]


def _asked(pod: Pod | None, service: tuple[Protocol, int] | None) -> Iterable[tuple[Protocol, int]]:
    if service is not None:
        return [service]
    if pod is None:
        raise TargetError("a destination that is no pod needs a port: --port 443/TCP")
    return listening(pod)
