"""`make bench-kernel`: what podgate costs the traffic of a node, beside a node with only a conntrack rule.

Three lanes, each a client, a node and a pod in network namespaces of their own. The hooks of one node lead to
podgate's rules for 110 pods and 50 policies with 1,000 peers each; those of the two others to one rule that
returns what is established: the second of them tells what ratio the method makes of two equal states. Every
lane has every role in turn, as lanes differ a little by where their memory happens to be. Needs root.

    sudo .venv/bin/python hack/bench/rate.py [--rounds 300] [--json rate.json]

One round is a small fixed amount of work through each lane, one right after the other, without any rule
being changed: what disturbs the machine for longer than that disturbs all three alike. It costs the processor
time of both ends, all on one processor, with the kernel's work for their packets as part of it (unless built
with IRQ_TIME_ACCOUNTING); what else runs on the machine is not counted. The figure is the median over the
rounds of how much cheaper the other lane was in the same round, with the interval that holds it with 95 %
confidence (bootstrap). Both ends are Python, which takes part of the time itself, the same in all: beside the
ratio stands the difference in microseconds, which it does not dilute.
"""

import argparse
import fcntl
import os
import random
import socket
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from msgspec import Struct

from controller.dataplane.tools import Backend
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from hack.bench.lanes import CHUNK, CLIENT, POD, PORT, Lane
from hack.bench.node import NODE, base_cluster

CONNTRACK, PODGATE, AGAIN = "conntrack rule only", "podgate", "conntrack rule again"
_CPUCLOCK_SCHED = 2
"""Of include/linux/posix-timers.h: the clock of a process by its id."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CONNECTIONS, PACKETS, CHUNKS = 60, 1500, 32
"""The work of one lane in one round: some 5 ms."""
DATAGRAM = 1400
"""Octets: one packet."""
_WARM_UP = 5
_RESAMPLES = 1000


class Series(Struct):
    """One measurement on one backend: seconds of the processor for a unit of work, by state and round."""

    name: str
    unit: str
    backend: Backend
    seconds: dict[str, list[float]]

    def cost(self, state: str) -> float:
        """The median."""
        return statistics.median(self.seconds[state])

    def ratio(self, state: str) -> tuple[float, float, float]:
        """How many times as fast as the conntrack rule a state is: low, middle and high."""
        pairs = zip(self.seconds[CONNTRACK], self.seconds[state], strict=True)
        ratios = [reference / cost for reference, cost in pairs]
        chance = random.Random(1)  # noqa: S311 - the same figures from the same rounds
        middles = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
        return middles[_RESAMPLES // 40], statistics.median(ratios), middles[-_RESAMPLES // 40]


def main() -> None:
    """Measure both backends, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300, help="for each of the three assignments of roles")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    view = Resolver.of(base_cluster()).view(NODE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XTABLES_LOCKFILE"] = f"{folder}/lock"
        found = [series for backend in Backend for series in measure(backend, options.rounds, view)]
    print_table(found)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def measure(backend: Backend, rounds: int, view: NodeView) -> list[Series]:
    """Both measurements on one backend, in lanes that end with them."""
    with ExitStack() as leaving:
        leaving.enter_context(_one_processor())
        lanes = []
        for number in range(3):
            lanes.append(Lane(number, backend, view))
            leaving.callback(lanes[-1].close)
        found = [
            Series(name, unit, backend, {state: [] for state in (CONNTRACK, PODGATE, AGAIN)})
            for name, unit, _ in MEASUREMENTS
        ]
        for turn in range(3):
            roles = dict(zip((CONNTRACK, PODGATE, AGAIN), lanes[turn:] + lanes[:turn], strict=True))
            for state, lane in roles.items():
                lane.lead(to_podgate=state == PODGATE)
            for series, (_, _, started) in zip(found, MEASUREMENTS, strict=True):
                with ExitStack() as ending:
                    works = {state: ending.enter_context(started(lane)) for state, lane in roles.items()}
                    _take_turns(works, roles, rounds, series.seconds)
        return found


Work = Callable[[], float]
"""Does its share through one lane, and returns how many units that were."""


def _take_turns(
    works: dict[str, Work], roles: dict[str, Lane], rounds: int, seconds: dict[str, list[float]]
) -> None:
    for number in range(-_WARM_UP, rounds):
        order = [*works][number % 3 :] + [*works][: number % 3]
        for state in order if number % 2 else reversed(order):
            server = roles[state].server
            before = _processor_time(server)
            done = works[state]()
            if number >= 0:
                seconds[state].append((_processor_time(server) - before) / done)


@contextmanager
def _connections(lane: Lane) -> Iterator[Work]:
    """Connect, one octet each way, reset; one after the other."""

    def work() -> float:
        with lane.inside("client"):
            for _ in range(CONNECTIONS):
                with socket.socket() as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    client.connect((POD, PORT))
                    client.send(b"x")
                    client.recv(1)
        return CONNECTIONS

    yield work


@contextmanager
def _stream(lane: Lane) -> Iterator[Work]:
    """MiB through one connection that stays open, until the last of them has arrived."""
    with lane.inside("client"), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        # A buffer that grows as it goes makes every connection a little different.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
        client.connect((POD, PORT))
        chunk = bytes(CHUNK)

        def work() -> float:
            for _ in range(CHUNKS):
                client.sendall(chunk)
            while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))[0]:
                time.sleep(0.0001)  # the other end's turn
            return CHUNKS * CHUNK / 2**20

        yield work


@contextmanager
def _packets(lane: Lane) -> Iterator[Work]:
    """Datagrams of an established flow, from the pod, as its policies say nothing about egress.

    All of their way is part of sending them, up to the receiving socket, which nobody reads: no other process
    has to have its turn, so that this tells more exactly than a stream what a packet costs.
    """
    with ExitStack() as leaving:
        ends = []
        for place, address in (("pod", POD), ("client", CLIENT)):
            with lane.inside(place):
                ends.append(leaving.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            ends[-1].bind((address, PORT))
            ends[-1].settimeout(5)
        pod, client = ends
        pod.connect((CLIENT, PORT))
        client.connect((POD, PORT))
        for source, destination in ((pod, client), (client, pod)):  # one each way establishes it
            source.send(b"x")
            destination.recv(1)
        datagram = bytes(DATAGRAM)

        def work() -> float:
            for _ in range(PACKETS):
                pod.send(datagram)
            return PACKETS

        yield work


MEASUREMENTS = (
    ("new connections", "connection", _connections),
    ("established flow", "packet", _packets),
    ("one TCP stream", "MiB", _stream),
)


@contextmanager
def _one_processor() -> Iterator[None]:
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def _processor_time(server: int) -> float:
    """Of this process and a pod's, in seconds."""
    return time.process_time() + time.clock_gettime(~server << 3 | _CPUCLOCK_SCHED)


def print_table(found: list[Series]) -> None:
    """Markdown, a row for each measurement and backend."""
    print("| | backend | us of the processor, conntrack rule only | podgate | difference ", end="")
    print("| speed with podgate (95 %) | of two equal states |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for each in found:
        without, with_us = (1e6 * each.cost(state) for state in (CONNTRACK, PODGATE))
        ratios = [_interval(*each.ratio(state)) for state in (PODGATE, AGAIN)]
        cells = [f"a {each.unit}: {without:.2f}", f"{with_us:.2f}", f"{with_us - without:+.2f}", *ratios]
        print(f"| {each.name} | {each.backend} | {' | '.join(cells)} |")


def _interval(low: float, middle: float, high: float) -> str:
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
