"""Log lines of denied packets: one for each connection that is tried in vain, and how often it was.

The kernel copies some packets a second to here (`--log-drops`). A connection, that is pod, direction, peer,
protocol and port, is told of at once, and again after two minutes with the packets since then.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from controller.agent.denial import Denial, Denials
from controller.agent.metrics import AgentMetrics
from controller.agent.packet import Packet, decode
from controller.agent.packet_log import Logged, PacketLog
from controller.dataplane import names
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from controller.telemetry.logs import Logger, logger

DROPPED = "packet dropped"
AUDITED = "packet would be dropped"
"""The messages of the lines: `podgate drops` looks for them."""

AGAIN = 120.0
"""Seconds between two lines of one connection."""

_REMEMBERED = 4096
"""Connections; the one that was not heard of for longest is forgotten first."""
_LOOK = 10.0
"""Seconds between two looks for connections whose time is over."""

_AUDITED: Mapping[str, Direction] = {
    names.LOG_PREFIXES[chain]: direction for direction, chain in names.AUDIT.items()
}
"""The direction that is only audited, by what its packets carry."""


class _Key(NamedTuple):
    """What one line is about."""

    is_audited: bool
    pod: str
    direction: str
    peer: str
    protocol: str
    port: int | None


class _Told(Struct):
    """When a connection was last told of, what is to be said, and the packets since."""

    at: float
    denial: Denial
    count: int = 0


class DropLines:
    """Puts together what is one connection. Pure but for the log; bounded whatever arrives."""

    def __init__(self, log: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: OrderedDict[_Key, _Told] = OrderedDict()

    def take(self, packet: Packet, denial: Denial, *, is_audited: bool) -> None:
        """A packet that was denied, or would have been."""
        key = _Key(is_audited, denial.pod, denial.direction, denial.peer, packet.protocol_name, packet.port)
        known = self._told.get(key)
        if known is not None:
            self._told.move_to_end(key)
            known.count += 1
            known.denial = denial
            return
        while len(self._told) >= _REMEMBERED:
            self._tell(*self._told.popitem(last=False))
        known = self._told[key] = _Told(self._clock(), denial, 1)
        self._tell(key, known)
        known.count = 0

    def look(self) -> None:
        """Tell of those whose time is over, and forget those that were silent. O(connections)."""
        now = self._clock()
        for key, told in [*self._due(now)]:
            if told.count:
                self._tell(key, told)
                told.at, told.count = now, 0
            else:
                del self._told[key]

    def flush(self) -> None:
        """Tell of all that was not told yet."""
        while self._told:
            self._tell(*self._told.popitem(last=False))

    def _due(self, now: float) -> Iterator[tuple[_Key, _Told]]:
        return ((key, told) for key, told in self._told.items() if now - told.at >= AGAIN)

    def _tell(self, key: _Key, told: _Told) -> None:
        if not told.count:
            return
        denial = told.denial
        namespace, _, pod = denial.pod.partition("/")
        self._log.info(
            AUDITED if key.is_audited else DROPPED,
            namespace=namespace,
            pod=pod,
            direction=denial.direction.lower(),
            peer=denial.peer,
            peer_pod=denial.peer_pod,
            protocol=key.protocol,
            port=key.port,
            policies=list(denial.policies),
            reason=denial.reason.value,
            count=told.count,
        )


class DropLog:
    """Reads what the kernel logs until it is closed; `view` is what is enforced."""

    def __init__(
        self, source: PacketLog, view: Callable[[], NodeView | None], lines: DropLines, metrics: AgentMetrics
    ) -> None:
        self._source = source
        self._view = view
        self._lines = lines
        self._metrics = metrics
        self._log = logger("agent")
        self._denials: Denials | None = None

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._source.fileno(), self._read)
        try:
            while True:
                await asyncio.sleep(_LOOK)
                self._lines.look()
        finally:
            loop.remove_reader(self._source.fileno())
            self._read()
            self._lines.flush()
            self._source.close()

    def _read(self) -> None:
        try:
            self._metrics.drop_log_lost.inc(self._source.read(self.take))
        except OSError as error:
            asyncio.get_running_loop().remove_reader(self._source.fileno())
            self._log.error(f"denied packets are not logged any more: {error}; enforcement goes on")

    def take(self, logged: Logged) -> None:
        """One packet as the kernel logged it."""
        packet, view = decode(logged.octets), self._view()
        if packet is None or view is None or logged.prefix not in names.LOG_PREFIXES.values():
            self._metrics.drop_log_lost.inc()
            return
        if self._denials is None or self._denials.view is not view:
            self._denials = Denials(view)
        audited = _AUDITED.get(logged.prefix)
        self._metrics.drops_logged.labels("audit" if audited else "drop").inc()
        self._lines.take(packet, self._denials.of(packet, audited), is_audited=audited is not None)
