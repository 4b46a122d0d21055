"""Sends raw packets to this network namespace itself and prints which of them got past its INPUT chain.

A program to run inside a namespace. Reads JSON: {"family", "protocols", "packets": [[skb mark, destination,
packet in hex], ...]}. Prints JSON: [[protocol, first 8 octets of the transport header in hex], ...], of every
packet that INPUT let through. Raw sockets receive those whether or not anybody listens.
"""

import json
import socket
import sys

SO_MARK = 36
IPV6_HDRINCL = 36
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def receive_all(receiver: socket.socket, family: int) -> list[str]:
    found: list[str] = []
    while True:
        try:
            data = receiver.recv(2048)
        except BlockingIOError:
            return found
        header = 20 if family == 4 else 0  # IPv6 raw sockets hand over what follows the header
        found.append(data[header : header + 8].hex())


def main() -> None:
    order = json.load(sys.stdin)
    family = order["family"]
    receivers = {each: socket.socket(FAMILIES[family], socket.SOCK_RAW, each) for each in order["protocols"]}
    for receiver in receivers.values():
        receiver.setblocking(False)  # noqa: FBT003
    sender = socket.socket(FAMILIES[family], socket.SOCK_RAW, socket.IPPROTO_RAW)
    if family == 6:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
    for mark, destination, packet in order["packets"]:
        sender.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        sender.sendto(bytes.fromhex(packet), (destination, 0))
    # Over the loopback device a packet has arrived, or not, when sendto returns.
    found = [(each, data) for each, one in receivers.items() for data in receive_all(one, family)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
