"""The small world of the failure tests: who may talk to the server, and who must never.

Each of the three is on another node. The server is isolated in both directions; what goes on beside it must
never show in who reaches it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.system.system import Manifest, System, namespace, pod, policy, selected
from tests.e2e.system.vigil import Vigil, Way

_PEERS = [{"podSelector": selected(role="client")}]
_LABELS = {"server": "server", "client": "client", "intruder": "intruder"}


class Shop:
    """One namespace with a server, a client and an intruder."""

    def __init__(self, system: System, name: str) -> None:
        self.system = system
        self.name = name

    @property
    def objects(self) -> list[Manifest]:
        """All there is in it."""
        pods = [
            pod(f"{self.name}/{name}", {"role": role}, node=f"node-{number}")
            for number, (name, role) in enumerate(_LABELS.items(), 1)
        ]
        isolation = policy(
            f"{self.name}/isolated",
            podSelector=selected(role="server"),
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": _PEERS, "ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}],
        )
        return [namespace(self.name), isolation, *pods]

    def vigil(self, *, opened: bool = True) -> Vigil:
        """Over the ways that must stay closed, and, if asked, those that must stay open."""
        return Vigil(self.system.lab, closed=self.closed, opened=self.opened if opened else ())

    @property
    def closed(self) -> list[Way]:
        """In by somebody who may not, in both families, and out to anybody."""
        server, intruder = f"{self.name}/server", f"{self.name}/intruder"
        return [Way(intruder, server, 4), Way(intruder, server, 6), Way(server, intruder, 4)]

    @property
    def opened(self) -> list[Way]:
        """In by the client."""
        return [Way(f"{self.name}/client", f"{self.name}/server", family) for family in (4, 6)]


@asynccontextmanager
async def shop(system: System, name: str) -> AsyncIterator[Shop]:
    """A shop that is open for business, for as long as this lasts."""
    found = Shop(system, name)
    await system.apply(*found.objects)
    try:
        await system.settled()
        yield found
    finally:
        await system.clear([name])
