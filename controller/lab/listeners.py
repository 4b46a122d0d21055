"""Who answers at the ports of pods, and for the world outside.

TCP: an HTTP request gets its status and the pod's name; whatever else is sent gets the name for each piece,
and a client that says nothing is told the name after a moment, so that `nc` shows it. UDP: the name, and what
was sent. Connections stay open until the client closes them.
"""

import asyncio
import socket
from contextlib import suppress

from controller.lab.namespaces import Namespace
from controller.lab.sockets import open_socket
from controller.objects.kinds import Protocol

_BACKLOG = 1024
_SILENCE = 0.2
"""Seconds after which a client that says nothing is told the name."""
_HTTP = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ")
_LARGEST = 65536
_AT_ONCE = 256


class Listener:
    """A name that answers at one address and port until it is closed. Of the running event loop."""

    def __init__(self, namespace: Namespace, address: str, protocol: Protocol, port: int, name: str) -> None:
        """Raises OSError, where the port is taken above all; ValueError for a protocol without sockets."""
        if protocol is Protocol.SCTP:
            raise ValueError("nobody listens on SCTP in a lab")
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        self._text = f"{name}\n".encode()
        self._socket = open_socket(namespace, address, kind, port=port)
        self._loop = asyncio.get_running_loop()
        self._transports: set[asyncio.BaseTransport] = set()
        self._accepting: asyncio.Task[None] | None = None
        if protocol is Protocol.TCP:
            self._socket.listen(_BACKLOG)
            self._accepting = self._loop.create_task(self._accept())
        else:
            self._loop.add_reader(self._socket, self._echo)

    def close(self) -> None:
        """Nobody is there any more; open connections are reset."""
        if self._accepting is None:
            self._loop.remove_reader(self._socket)
        else:
            self._accepting.cancel()
        self._socket.close()
        for transport in [*self._transports]:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    async def _accept(self) -> None:
        while True:
            connection, _ = await self._loop.sock_accept(self._socket)
            with suppress(OSError):  # the client is gone already
                await self._loop.connect_accepted_socket(
                    lambda: _Conversation(self._text, self._transports), connection
                )

    def _echo(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                octets, sender = self._socket.recvfrom(_LARGEST)
                self._socket.sendto((self._text + octets)[:_LARGEST], sender)
            except BlockingIOError:
                return
            except OSError:  # somebody who asked has gone, or cannot be reached any more
                continue


class _Conversation(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, text: bytes, transports: set[asyncio.BaseTransport]) -> None:
        self._text = text
        self._transports = transports
        self._transport: asyncio.Transport | None = None
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a stream")
        self._transport = transport
        self._transports.add(transport)
        self._silence = asyncio.get_running_loop().call_later(_SILENCE, self._write, self._text)

    def data_received(self, data: bytes) -> None:
        self._end_silence()
        if not data.startswith(_HTTP):
            self._write(self._text)
            return
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._text)}\r\nConnection: close\r\n\r\n"
        self._write(head.encode() + (b"" if data.startswith(b"HEAD ") else self._text))
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._end_silence()
        if self._transport is not None:
            self._transports.discard(self._transport)

    def _end_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _write(self, text: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(text)
