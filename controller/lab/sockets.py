"""Sockets in namespaces: opened there, used from here."""

import socket

from controller.lab.addressing import family_of
from controller.lab.namespaces import Namespace

AF = {4: socket.AF_INET, 6: socket.AF_INET6}

_FREEBIND = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""Allows to bind to any address that is routed here, as those of the world outside are."""


def open_socket(
    namespace: Namespace, address: str, kind: int, protocol: int = 0, port: int = 0
) -> socket.socket:
    """A non-blocking socket with an address of a namespace. `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_RAW.

    Raises OSError.
    """
    family = family_of(address)
    with namespace.entered():
        found = socket.socket(AF[family], kind, protocol)
    try:
        found.setblocking(False)  # noqa: FBT003 - its only argument
        found.setsockopt(*_FREEBIND[family], 1)
        if address == "::":  # both families have sockets of their own
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
    except BaseException:
        found.close()
        raise
    return found
