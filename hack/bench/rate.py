"""`make bench-kernel`: what podgate costs the traffic of a node, beside a node with only a conntrack rule.

A client and a pod on either side of a node, each in a network namespace of its own. Two states of the node take turns:
one rule that returns what is established, or podgate's rules for 110 pods and 50 policies with 1,000 peers each. Needs root.

    sudo .venv/bin/python hack/bench/rate.py [--rounds 40] [--seconds 0.5] [--json rate.json]

One process is both ends, on one processor: with two, the rate is that of the wake-ups between them. It is written in
Python, which takes part of every connection's time itself, the same in both states: beside the ratio stands the
difference in microseconds, which it does not dilute.
"""

import argparse
import ctypes
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec import Struct

from controller.agent.netns import enter_network_namespace
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.resolve import Resolver
from hack.bench.kernel import NODE, base_cluster

CLIENT, POD, PORT = "10.144.0.5", "10.1.0.1", 8442
"""A peer of group 44, which policy 44 lets reach app 0 at the last of its three ports."""

CONNTRACK, PODGATE = "conntrack rule only", "podgate"
_CLONE_NEWNET = 0x40000000
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = bytes(256 * 1024)
_PREFIX = f"pgrate-{os.getpid()}"
_PLACES = {each: f"{_PREFIX}-{each}" for each in ("client", "node", "pod")}


class Series(Struct):
    """The rounds of one measurement on one backend, by state."""

    name: str
    unit: str
    backend: Backend
    rounds: dict[str, list[float]]

    @property
    def ratios(self) -> list[float]:
        """Podgate's to the other's, round by round."""
        return [with_us / without for without, with_us in zip(*self.rounds.values(), strict=True)]

    def noise(self, state: str) -> float:
        """Half the distance between the quartiles, in percent of the median."""
        low, middle, high = statistics.quantiles(self.rounds[state], n=4)
        return 50 * (high - low) / middle


def main() -> None:
    """Measure both backends, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XTABLES_LOCKFILE"] = f"{folder}/lock"
        found = [
            series for backend in Backend for series in measure(backend, options.rounds, options.seconds)
        ]
    print_table(found)
    if options.json:
        rows = [{"name": each.name, "backend": each.backend, **each.rounds} for each in found]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(backend: Backend, rounds: int, seconds: float) -> list[Series]:
    """Both measurements on one backend, in namespaces that end with them."""
    with _network(), _in("node"):
        node = NodeEnforcement(backend, LocalRunner(), families=[4])
        failures = [
            each
            for each in node.apply(Resolver.of(base_cluster()).view(NODE))
            if isinstance(each, FamilyFailure)
        ]
        assert not failures, failures
        node.close()
        switch = _Switch(backend)
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(processors)})
        try:
            return [
                _series("new connections", "conn/s", backend, switch, rounds, lambda: _connections(seconds)),
                _series("one TCP stream", "Gbit/s", backend, switch, rounds, lambda: _stream(seconds)),
            ]
        finally:
            os.sched_setaffinity(0, processors)


def _series(
    name: str, unit: str, backend: Backend, switch: "_Switch", rounds: int, run: Callable[[], float]
) -> Series:
    found: dict[str, list[float]] = {CONNTRACK: [], PODGATE: []}
    for number in range(-1, rounds):
        # Who begins changes too, so that a machine that gets faster or slower favours nobody.
        for state in sorted(found, reverse=number % 2 == 0):
            switch.to(state)
            rate = run()
            if number >= 0:  # the first is for warming up
                found[state].append(rate)
    return Series(name, unit, backend, found)


class _Switch:
    """What the hooks of the node lead to; podgate's chains and sets stay where they are."""

    def __init__(self, backend: Backend) -> None:
        self._restore = f"iptables-{backend}-restore"
        saved = subprocess.run(
            [f"iptables-{backend}-save", "-t", "mangle"], capture_output=True, text=True, check=True
        )  # noqa: S603
        hooks = ("-A FORWARD ", "-A INPUT ", "-A OUTPUT ")
        self._lines = {
            CONNTRACK: ["-A FORWARD -m conntrack --ctstate ESTABLISHED -j RETURN"],
            PODGATE: [line for line in saved.stdout.splitlines() if line.startswith(hooks)],
        }
        assert self._lines[PODGATE], "podgate is not in force"

    def to(self, state: str) -> None:
        """Have one state hold. One transaction."""
        text = "\n".join(
            ["*mangle", "-F FORWARD", "-F INPUT", "-F OUTPUT", *self._lines[state], "COMMIT", ""]
        )
        subprocess.run([self._restore, "--noflush", "--wait", "5"], input=text, text=True, check=True)  # noqa: S603


def _connections(seconds: float) -> float:
    """Connect, one octet, reset; one after the other. Connections a second."""
    with _listener() as listener, _in("client"):
        count, begun = 0, time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.connect((POD, PORT))
            server, _ = listener.accept()
            client.send(b"x")
            server.recv(1)
            client.close()
            server.close()
            count += 1
        return count / (now - begun)


def _stream(seconds: float) -> float:
    """As much as goes through one connection. Gbit/s."""
    with _listener() as listener, _in("client"), socket.create_connection((POD, PORT)) as client:
        server, _ = listener.accept()
        with server:
            client.setblocking(False)
            server.setblocking(False)
            buffer = bytearray(4 * len(_CHUNK))
            octets, begun = 0, time.perf_counter()
            while (now := time.perf_counter()) - begun < seconds:
                _if_ready(lambda: client.send(_CHUNK))
                octets += _if_ready(lambda: server.recv_into(buffer))
            return 8e-9 * octets / (now - begun)


def _if_ready(action: Callable[[], int]) -> int:
    try:
        return action()
    except BlockingIOError:
        return 0


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
    """Markdown, a row for each measurement and backend; noise is half the distance between the quartiles."""
    print(
        f"| measurement | backend | {CONNTRACK} | {PODGATE} | ratio (medians) | ratio (pairs) | per connection |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    for each in found:
        medians = {state: statistics.median(rounds) for state, rounds in each.rounds.items()}
        cells = [f"{medians[state]:,.4g} {each.unit} ±{each.noise(state):.1f} %" for state in medians]
        print(
            f"| {each.name} | {each.backend} | {' | '.join(cells)} | {medians[PODGATE] / medians[CONNTRACK]:.3f} "
            f"| {statistics.median(each.ratios):.3f} | {_more_time(each, medians)} |"
        )


def _more_time(series: Series, medians: Mapping[str, float]) -> str:
    if series.unit != "conn/s":
        return ""
    return f"{1e6 / medians[CONNTRACK]:.1f} us {1e6 / medians[PODGATE] - 1e6 / medians[CONNTRACK]:+.1f} us"


if __name__ == "__main__":
    main()
