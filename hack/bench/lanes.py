"""Lanes for traffic: client - node - pod, each a network namespace, routed by two pairs of veth.

Lanes are alike in all but what their node's hooks lead to, so that two states can be compared without
changing any rule in between: changing rules takes longer than a measurement, and disturbs the next one.
"""

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from controller.agent.netns import enter_network_namespace
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.rulesets import NodeView

CLIENT, POD, PORT = "10.144.0.5", "10.1.0.1", 8442
"""A peer of group 44, which policy 44 lets reach app 0 at the last of its three ports."""
CHUNK = 256 * 1024
_CLONE_NEWNET = 0x40000000
_HOOKS = ("FORWARD", "INPUT", "OUTPUT")
_CONNTRACK = ["-A FORWARD -m conntrack --ctstate ESTABLISHED -j RETURN"]


class Lane:
    """One of them, until `close`; its node holds podgate's chains and sets from the start."""

    def __init__(self, number: int, backend: Backend, view: NodeView) -> None:
        prefix = f"pgrate-{os.getpid()}-{number}"
        self._places = {each: f"{prefix}-{each}" for each in ("client", "node", "pod")}
        self._restore = (f"iptables-{backend}-restore", "--noflush", "--wait", "5")
        self._connect()
        with self.inside("node"):
            node = NodeEnforcement(backend, LocalRunner(), families=[4])
            for each in node.apply(view):
                if isinstance(each, FamilyFailure):
                    raise SystemExit(each.reason)
            node.close()
            saved = subprocess.check_output((f"iptables-{backend}-save", "-t", "mangle"), text=True)  # noqa: S603
        lines = saved.splitlines()
        self._podgate = [line for line in lines if line.startswith(tuple(f"-A {hook} " for hook in _HOOKS))]
        self.server = self._start_server()

    def lead(self, *, to_podgate: bool) -> None:
        """Have the hooks lead to podgate, or to one rule that returns what is established."""
        rules = self._podgate if to_podgate else _CONNTRACK
        text = "\n".join(["*mangle", *(f"-F {hook}" for hook in _HOOKS), *rules, "COMMIT", ""])
        with self.inside("node"):
            subprocess.run(self._restore, input=text, text=True, check=True)  # noqa: S603

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """This process in a namespace: its sockets, its children and its /proc/net."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter_network_namespace(self._places[place])
            yield
        finally:
            ctypes.CDLL(None, use_errno=True).setns(home, _CLONE_NEWNET)
            os.close(home)

    def close(self) -> None:
        """Remove it."""
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)
        for name in self._places.values():
            _run(f"ip netns del {name}")

    def _connect(self) -> None:
        for name in self._places.values():
            _run(f"ip netns add {name}")
        node = self._places["node"]
        for place, address in (("client", CLIENT), ("pod", POD)):
            there = self._places[place]
            _run(f"ip -n {node} link add {place} type veth peer name eth0 netns {there}")
            _run(f"ip -n {node} link set {place} up")
            _run(f"ip -n {node} address add 169.254.1.1/32 dev {place}")
            _run(f"ip -n {node} route add {address} dev {place}")
            _run(f"ip -n {there} link set eth0 up")
            _run(f"ip -n {there} address add {address}/32 dev eth0")
            _run(f"ip -n {there} route add 169.254.1.1 dev eth0")
            _run(f"ip -n {there} route add default via 169.254.1.1 dev eth0")
        _run(f"ip netns exec {node} sysctl -qw net.ipv4.ip_forward=1")
        # Connections that were reset are forgotten soon, so that rounds meet a table of the same size.
        _run(f"ip netns exec {node} sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1")

    def _start_server(self) -> int:
        """The process id of somebody who answers single octets, and swallows what is more."""
        with self.inside("pod"):
            listener = socket.create_server((POD, PORT), backlog=128)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK)
        child = os.fork()
        if child == 0:
            _answer(listener)
        listener.close()
        return child


def _answer(listener: socket.socket) -> NoReturn:
    """One connection after the other."""
    buffer = bytearray(4 * CHUNK)
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            while count := connection.recv_into(buffer):
                if count == 1:
                    connection.send(b"x")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)  # noqa: S603
