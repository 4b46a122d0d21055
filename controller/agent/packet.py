"""The first octets of an IP packet: from whom to whom, by which protocol, to which port.

Packets are made by whoever wants to be seen or not to be: whatever is short, nested or nonsense is `None`
here, and never an exception. Pure.
"""

import socket
from typing import NamedTuple

_PORTS = frozenset({6, 17, 132})
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _DESTINATION})
_EXTENSIONS_MAX = 8
_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


class Packet(NamedTuple):
    """A packet's header. `port` is None where the protocol has none, or it stands in another fragment."""

    family: int
    source: str
    destination: str
    protocol: int
    port: int | None = None

    @property
    def protocol_name(self) -> str:
        """`TCP`, or the number of a protocol without a name here."""
        return _NAMES.get(self.protocol, str(self.protocol))


def decode(octets: bytes) -> Packet | None:
    """The header of an IPv4 or IPv6 packet, or of its beginning; None where it cannot be read."""
    version = octets[0] >> 4 if octets else 0
    if version == 4:
        return _ipv4(octets)
    return _ipv6(octets) if version == 6 else None


def _ipv4(octets: bytes) -> Packet | None:
    length = (octets[0] & 15) * 4
    if length < 20 or len(octets) < 20:
        return None
    is_first = not int.from_bytes(octets[6:8], "big") & 0x1FFF
    source, destination = (socket.inet_ntop(socket.AF_INET, octets[at : at + 4]) for at in (12, 16))
    return _with_port(Packet(4, source, destination, octets[9]), octets[length:] if is_first else b"")


def _ipv6(octets: bytes) -> Packet | None:
    if len(octets) < 40:
        return None
    source, destination = (socket.inet_ntop(socket.AF_INET6, octets[at : at + 16]) for at in (8, 24))
    protocol, rest = _upper_layer(octets[6], octets[40:])
    return _with_port(Packet(6, source, destination, protocol), rest)


def _upper_layer(protocol: int, rest: bytes) -> tuple[int, bytes]:
    """The protocol behind the extension headers and its octets, as far as they can be followed."""
    for _ in range(_EXTENSIONS_MAX):
        if len(rest) < 8:
            break
        if protocol == _FRAGMENT:
            if int.from_bytes(rest[2:4], "big") & 0xFFF8:
                return rest[0], b""
            length = 8
        elif protocol in _EXTENSIONS:
            length = (rest[1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            length = (rest[1] + 2) * 4
        else:
            break
        protocol, rest = rest[0], rest[length:]
    return protocol, rest


def _with_port(packet: Packet, rest: bytes) -> Packet:
    if packet.protocol not in _PORTS or len(rest) < 4:
        return packet
    return packet._replace(port=int.from_bytes(rest[2:4], "big"))
