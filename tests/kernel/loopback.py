"""Connections inside one network namespace: between local addresses they pass INPUT, and conntrack.

So addresses on the loopback device stand for a pod and for those it talks to, and egress rules judge real
packets without another namespace. A datagram has arrived, or not, when `send` returns.
"""

import contextlib
import socket
from types import TracebackType
from typing import Self

from tests.kernel.host import Host

_AF = {4: socket.AF_INET, 6: socket.AF_INET6}


def own(host: Host, *addresses: str) -> None:
    """Give the host addresses."""
    for address in addresses:
        length = 128 if ":" in address else 32
        host.run(
            "ip", "address", "add", f"{address}/{length}", "dev", "lo", *(["nodad"] if length == 128 else [])
        )


class UdpFlow:
    """One UDP connection, from one local address to another, for as long as it is entered."""

    def __init__(self, source: str, destination: str) -> None:
        self._ends = source, destination

    def __enter__(self) -> Self:
        self._client, self._server = (
            socket.socket(_AF[6 if ":" in end else 4], socket.SOCK_DGRAM) for end in self._ends
        )
        for each, end in zip((self._client, self._server), self._ends, strict=True):
            each.bind((end, 0))
            each.setblocking(False)  # noqa: FBT003  its only argument
        self._client.connect(self._server.getsockname())
        self._server.connect(self._client.getsockname())
        self.port: int = self._client.getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.close()

    def asks(self) -> bool:
        """Whether a datagram of the client gets through."""
        return _arrives(self._client, self._server)

    def drain(self) -> None:
        """Throw away what has arrived."""
        with contextlib.suppress(BlockingIOError):
            while self._server.recv(16):
                pass


class TcpFlow:
    """One TCP connection between local addresses, for as long as it is entered."""

    def __init__(self, source: str, destination: str) -> None:
        self._ends = source, destination

    def __enter__(self) -> Self:
        with socket.socket() as listener:
            listener.bind((self._ends[1], 0))
            listener.listen()
            self._client = socket.create_connection(
                listener.getsockname(), timeout=2, source_address=(self._ends[0], 0)
            )
            self._server = listener.accept()[0]
        self._server.settimeout(0.3)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.close()

    def carries(self, octets: bytes = b"x") -> bool:
        """Whether what the client sends arrives, retransmissions of 0.3 s included."""
        self._client.sendall(octets)
        try:
            return len(self._server.recv(65536)) > 0
        except TimeoutError:
            return False


def _arrives(sender: socket.socket, receiver: socket.socket) -> bool:
    sender.send(b"x")
    try:
        return receiver.recv(16) == b"x"
    except BlockingIOError:
        return False
