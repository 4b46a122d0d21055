"""The API server at 127.0.0.1:6443 of every node, so that agents need no network that rules could cut.

Each connection that is made there is carried on to the API server of the lab, whichever that is.
"""

import asyncio
import logging
import socket
from contextlib import suppress

from controller.lab.namespaces import Namespace
from controller.lab.sockets import open_socket

_log = logging.getLogger(__name__)

NODE_PORT = 6443
_LOOPBACK = "127.0.0.1"
_PIECE = 1 << 16
_BACKLOG = 1024


class Gateway:
    """Listens in the namespaces of nodes. Of one event loop."""

    def __init__(self, port: int) -> None:
        """`port`: where the API server listens, here on the loopback."""
        self._port = port
        self._listening: dict[str, asyncio.Task[None]] = {}

    def open(self, node: str, namespace: Namespace) -> None:
        """Listen in a node; once is enough. Raises OSError."""
        if node not in self._listening:
            listener = open_socket(namespace, _LOOPBACK, socket.SOCK_STREAM, port=NODE_PORT)
            listener.listen(_BACKLOG)
            self._listening[node] = asyncio.create_task(self._serve(listener))

    def close(self, node: str) -> None:
        """Stop listening there, and cut what is open."""
        task = self._listening.pop(node, None)
        if task is not None:
            task.cancel()

    def close_all(self) -> None:
        """Everywhere."""
        for node in [*self._listening]:
            self.close(node)

    async def _serve(self, listener: socket.socket) -> None:
        connections: set[asyncio.StreamWriter] = set()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            try:
                await self._carry(reader, writer)
            finally:
                connections.discard(writer)
                writer.close()

        server = await asyncio.start_server(carry, sock=listener)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for writer in [*connections]:
                writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(_LOOPBACK, self._port)
        except OSError as error:
            _log.debug("the API server takes no connection: %s", error)
            return
        try:
            await asyncio.gather(_pump(reader, forth), _pump(back, writer))
        finally:
            forth.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one end closes; then the other direction ends too."""
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()
