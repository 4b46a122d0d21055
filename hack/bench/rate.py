"""`make bench-kernel`: what podgate costs the traffic of a node, beside a node with only a conntrack rule.

A client and a pod on either side of a node, each in a network namespace of its own. Two states of the node
take turns: one rule that returns what is established, or podgate's rules for 110 pods and 50 policies with
1,000 peers each. Needs root.

    sudo .venv/bin/python hack/bench/rate.py [--rounds 100] [--seconds 0.15] [--json rate.json]

Both ends run on one processor: on two, the rate is that of the wake-ups between them. They are written in
Python, which takes part of every connection's time itself, the same in both states: beside the ratio stands
the difference in microseconds, which it does not dilute. Rates are per second of processor time of both ends.
The kernel's work for their packets is part of it (unless built with IRQ_TIME_ACCOUNTING), and what else runs
on the machine is not; beside them stands the ratio by the clock on the wall.
"""

import argparse
import ctypes
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from msgspec import Struct

from controller.agent.netns import enter_network_namespace
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.resolve import Resolver
from hack.bench.node import NODE, base_cluster

CLIENT, POD, PORT = "10.144.0.5", "10.1.0.1", 8442
"""A peer of group 44, which policy 44 lets reach app 0 at the last of its three ports."""

CONNTRACK, PODGATE, AGAIN = "conntrack rule only", "podgate", "conntrack rule again"
"""The states; the last is the first once more, to see what ratio the machine's noise alone makes."""
_CLONE_NEWNET = 0x40000000
_CPUCLOCK_SCHED = 2
"""Of include/linux/posix-timers.h: the clock of a process by its id."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = bytes(256 * 1024)
_CONNTRACK_RULE = "-A FORWARD -m conntrack --ctstate ESTABLISHED -j RETURN"
_PREFIX = f"pgrate-{os.getpid()}"
_PLACES = {each: f"{_PREFIX}-{each}" for each in ("client", "node", "pod")}


class Round(Struct, frozen=True):
    """What was done, connections or Gbit, in how many seconds: of the processor, and by the clock."""

    done: float
    processor: float
    clock: float


class Series(Struct):
    """The rounds of one measurement on one backend, by state."""

    name: str
    unit: str
    backend: Backend
    rounds: dict[str, list[Round]]

    def rate(self, state: str) -> float:
        """The median, per second of the processor."""
        return statistics.median(self._rates(state))

    def noise(self, state: str) -> float:
        """Half the distance between the quartiles, in percent of the median."""
        low, middle, high = statistics.quantiles(self._rates(state), n=4)
        return 50 * (high - low) / middle

    def ratios(self) -> Iterator[float]:
        """Podgate's rate to the other's: of medians, of pairs, by the clock.

        And the first state to itself.
        """
        yield self.rate(PODGATE) / self.rate(CONNTRACK)
        pairs = [*zip(self.rounds[PODGATE], self.rounds[CONNTRACK], strict=True)]
        yield statistics.median(a.done / a.processor / (b.done / b.processor) for a, b in pairs)
        yield statistics.median(a.done / a.clock / (b.done / b.clock) for a, b in pairs)
        yield self.rate(AGAIN) / self.rate(CONNTRACK)

    def _rates(self, state: str) -> list[float]:
        return [each.done / each.processor for each in self.rounds[state]]


def main() -> None:
    """Measure both backends, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.15, help="of each round")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XTABLES_LOCKFILE"] = f"{folder}/lock"
        found = [
            series for backend in Backend for series in measure(backend, options.rounds, options.seconds)
        ]
    print_table(found)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def measure(backend: Backend, rounds: int, seconds: float) -> list[Series]:
    """Both measurements on one backend, in namespaces that end with them."""
    with _network(), _in("node"):
        node = NodeEnforcement(backend, LocalRunner(), families=[4])
        for each in node.apply(Resolver.of(base_cluster()).view(NODE)):
            if isinstance(each, FamilyFailure):
                raise SystemExit(each.reason)
        node.close()
        switch = _Switch(backend)
        with _one_processor(), _pod() as pod:
            return [
                Series(name, unit, backend, _take_turns(switch, rounds, lambda: run(pod, seconds)))  # noqa: B023
                for name, unit, run in MEASUREMENTS
            ]


@contextmanager
def _one_processor() -> Iterator[None]:
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def _take_turns(switch: "_Switch", rounds: int, run: Callable[[], Round]) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {CONNTRACK: [], PODGATE: [], AGAIN: []}
    for number in range(-1, rounds):
        # Who begins changes too, so that a machine that gets faster or slower favours nobody.
        order = [*found][number % 3 :] + [*found][: number % 3]
        for state in order if number % 2 else reversed(order):
            switch.to(state)
            measured = run()
            if number >= 0:  # the first is for warming up
                found[state].append(measured)
    return found


class _Switch:
    """What the hooks of the node lead to; podgate's chains and sets stay where they are."""

    def __init__(self, backend: Backend) -> None:
        self._restore = f"iptables-{backend}-restore"
        save = [f"iptables-{backend}-save", "-t", "mangle"]
        saved = subprocess.run(save, capture_output=True, text=True, check=True).stdout  # noqa: S603
        hooks = ("-A FORWARD ", "-A INPUT ", "-A OUTPUT ")
        self._lines = {
            CONNTRACK: [_CONNTRACK_RULE],
            AGAIN: [_CONNTRACK_RULE],
            PODGATE: [line for line in saved.splitlines() if line.startswith(hooks)],
        }
        if not self._lines[PODGATE]:
            raise SystemExit("podgate is not in force")

    def to(self, state: str) -> None:
        """Have one state hold. One transaction."""
        text = "\n".join(
            ["*mangle", "-F FORWARD", "-F INPUT", "-F OUTPUT", *self._lines[state], "COMMIT", ""]
        )
        subprocess.run([self._restore, "--noflush", "--wait", "5"], input=text, text=True, check=True)  # noqa: S603


def _connections(pod: int, seconds: float) -> Round:
    """Connect, one octet each way, reset; one after the other."""

    def once() -> float:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.connect((POD, PORT))
            client.send(b"x")
            client.recv(1)
        return 1

    with _in("client"):
        return _repeat(once, pod, seconds)


def _stream(pod: int, seconds: float) -> Round:
    """As many Gbit as go through one connection."""
    with _in("client"), socket.create_connection((POD, PORT)) as client:
        return _repeat(lambda: 8e-9 * client.send(_CHUNK), pod, seconds)


def _repeat(once: Callable[[], float], pod: int, seconds: float) -> Round:
    done, processor, clock = 0.0, _processor_time(pod), time.perf_counter()
    while time.perf_counter() - clock < seconds:
        done += once()
    return Round(done, _processor_time(pod) - processor, time.perf_counter() - clock)


def _processor_time(pod: int) -> float:
    """Of this process and the pod's, in seconds."""
    return time.process_time() + time.clock_gettime(~pod << 3 | _CPUCLOCK_SCHED)


@contextmanager
def _pod() -> Iterator[int]:
    """The process id of somebody who answers single octets, and swallows what is more."""
    with _in("pod"):
        listener = socket.create_server((POD, PORT), backlog=128)
    child = os.fork()
    if child == 0:
        _answer(listener)
    listener.close()
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(listener: socket.socket) -> NoReturn:
    buffer = bytearray(4 * len(_CHUNK))
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            while count := connection.recv_into(buffer):
                if count == 1:
                    connection.send(b"x")


MEASUREMENTS = (("new connections", "conn/s", _connections), ("one TCP stream", "Gbit/s", _stream))


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with _in("pod"):
        listener = socket.create_server((POD, PORT), backlog=128)
    with listener:
        yield listener


@contextmanager
def _network() -> Iterator[None]:
    """Client - node - pod, routed, by two veth pairs."""
    try:
        for name in _PLACES.values():
            _run(f"ip netns add {name}")
        for place, address in (("client", CLIENT), ("pod", POD)):
            there, node = _PLACES[place], _PLACES["node"]
            _run(f"ip -n {node} link add {place} type veth peer name eth0 netns {there}")
            _run(f"ip -n {node} link set {place} up")
            _run(f"ip -n {node} address add 169.254.1.1/32 dev {place}")
            _run(f"ip -n {node} route add {address} dev {place}")
            _run(f"ip -n {there} link set eth0 up")
            _run(f"ip -n {there} address add {address}/32 dev eth0")
            _run(f"ip -n {there} route add 169.254.1.1 dev eth0")
            _run(f"ip -n {there} route add default via 169.254.1.1 dev eth0")
        _run(f"ip netns exec {_PLACES['node']} sysctl -qw net.ipv4.ip_forward=1")
        # Connections that were reset are forgotten soon, so that rounds meet a table of the same size.
        _run(f"ip netns exec {_PLACES['node']} sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1")
        yield
    finally:
        for name in _PLACES.values():
            subprocess.run(["ip", "netns", "del", name], check=False)  # noqa: S603, S607


@contextmanager
def _in(place: str) -> Iterator[None]:
    """This process in a namespace: its sockets, its children and its /proc/net."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network_namespace(_PLACES[place])
        yield
    finally:
        ctypes.CDLL(None, use_errno=True).setns(home, _CLONE_NEWNET)
        os.close(home)


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)  # noqa: S603


def print_table(found: list[Series]) -> None:
    """Markdown, a row for each measurement and backend."""
    print(f"| median (± half the quartiles' distance) | backend | {CONNTRACK} | {PODGATE} ", end="")
    print("| ratio | of pairs | by the clock | of one state to itself | a connection |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for each in found:
        rates = [
            f"{each.rate(state):,.4g} {each.unit} ±{each.noise(state):.1f} %"
            for state in (CONNTRACK, PODGATE)
        ]
        ratios = [f"{ratio:.3f}" for ratio in each.ratios()]
        print(f"| {' | '.join([each.name, each.backend, *rates, *ratios, _more_time(each)])} |")


def _more_time(series: Series) -> str:
    if series.unit != "conn/s":
        return ""
    without, with_us = 1e6 / series.rate(CONNTRACK), 1e6 / series.rate(PODGATE)
    return f"{without:.1f} us {with_us - without:+.1f} us"


if __name__ == "__main__":
    main()
