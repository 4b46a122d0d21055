"""The simulator and the kernel judge alike: arbitrary rulesets, real packets, verdicts and connection marks.

Packets go over the loopback device of a namespace, so they meet the rules in INPUT. Their state is made, not mocked: rules in
OUTPUT exempt some from conntrack and mark the connections of others, a reply follows its opener, a lone RST is INVALID.
"""

import json
import re
import shutil
import struct
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.dataplane.ruleset import Chain, CtDirection, Jump, Rule, Ruleset
from controller.dataplane.simulate import Conntrack, Hook, NoConnection, Packet, Simulator, Verdict
from controller.objects.addresses import format_address
from tests.kernel.restore import BACKENDS, TOOLS, in_namespace, load_command, needs_kernel, write_texts
from tests.property.rulesets import SUBNET, rulesets

pytestmark = [
    *needs_kernel,
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="needs conntrack"),
    pytest.mark.parametrize("backend", BACKENDS),
    pytest.mark.parametrize("family", TOOLS),
]

INJECT = Path(__file__).with_name("inject.py")
PACKETS = 150
FIRST_ID = 40000
PORTS = (0, 53, 80, 81, 443, 8080)
MARKS = (0, 1, 0x10000, 0x20000, 0x1FFF0000, 0xFFFFFFFF)
NOTRACK, OPENER, OURS = 0x10, 0x20, 0x100
"""Bits of the skb mark: what the rules of `prepare` shall do with a packet. The lowest digit is an index into MARKS."""

TCP, UDP, SCTP, SYN, RST = 6, 17, 132, 2, 4
NAMES = {"icmp": 1, "icmpv6": 58, "tcp": TCP, "udp": UDP, "sctp": SCTP}


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_verdicts_and_marks_are_the_same(
    family: int, backend: str, data: st.DataObject, random: Random
) -> None:
    ruleset = entered_by_input(data.draw(rulesets(family)))
    packets = {FIRST_ID + n: random_packet(random, family) for n in range(PACKETS)}
    simulator = Simulator(ruleset)

    accepted, marks = run_in_kernel(ruleset, backend, packets)

    for identifier, packet in packets.items():
        outcome = simulator.run(packet)
        assert (identifier in accepted) == (outcome.verdict is Verdict.ACCEPT), (packet, outcome)
        if isinstance(packet.conntrack, Conntrack):
            assert marks[identifier] == outcome.mark, (packet, outcome)


def entered_by_input(ruleset: Ruleset) -> Ruleset:
    """The same rules, each chain entered from INPUT in turn."""
    own = tuple(chain for chain in ruleset.chains if chain.name.startswith("PODGATE"))
    entry = Chain("INPUT", tuple(Rule((), Jump(chain.name)) for chain in own))
    return msgspec.structs.replace(ruleset, chains=(entry, *own))


def random_packet(random: Random, family: int) -> Packet:
    protocol = random.choice([1 if family == 4 else 58, TCP, UDP, UDP, SCTP])
    states: list[Conntrack | NoConnection] = [NoConnection.UNTRACKED, Conntrack(mark=random.choice(MARKS))]
    if protocol == TCP:
        states.append(NoConnection.INVALID)
    if protocol == UDP:
        states.append(Conntrack(CtDirection.REPLY, random.choice(MARKS)))
    source, destination = (
        SUBNET[family] | random.choice([random.randint(1, 40), random.getrandbits(20)]) for _ in "12"
    )
    port = random.choice(PORTS) if protocol in {TCP, UDP, SCTP} else None
    return Packet(Hook.INPUT, family, source, destination, protocol, port, random.choice(states))


def run_in_kernel(
    ruleset: Ruleset, backend: str, packets: dict[int, Packet]
) -> tuple[set[int], dict[int, int]]:
    """The ids of the packets that got through, and the marks of connections afterwards by id."""
    family = ruleset.family
    order = {
        "family": family,
        "protocols": sorted({packet.protocol for packet in packets.values()}),
        "packets": [each for identifier, packet in packets.items() for each in wire(packet, identifier)],
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(ruleset, folder)
        (folder / "order").write_text(json.dumps(order))
        listing = f"conntrack -L -f ipv{family} > connections 2> /dev/null"
        prepared = f"{prepare(family, backend)}{load_command(ruleset, backend)}"
        output = in_namespace(f"{prepared}{sys.executable} {INJECT} < order\n{listing}", folder)
        connections = (folder / "connections").read_text()
    accepted = {identifier_of(protocol, bytes.fromhex(data)) for protocol, data in json.loads(output)}
    return accepted & packets.keys(), dict(map(connection_mark, connections.splitlines()))


def prepare(family: int, backend: str) -> str:
    """Shell: every address is local, nobody but us talks, and the skb mark of a packet decides its state."""
    tool = f"{TOOLS[family]}-{backend}"
    subnet = f"{format_address(family, SUBNET[family])}/8"
    lines = [
        "ip link set lo up",
        f"ip -{family} route add local {subnet} dev lo",
        f"{tool} -t raw -A OUTPUT -m mark --mark 0/{OURS} -j DROP",
        f"{tool} -t raw -A OUTPUT -m mark --mark {NOTRACK}/{NOTRACK} -j CT --notrack",
        f"{tool} -t mangle -A INPUT -m mark --mark {OPENER}/{OPENER} -j ACCEPT",
    ]
    for index, mark in enumerate(MARKS):
        test = f"-m mark --mark {OURS | index}/{OURS | 15}"
        lines.append(f"{tool} -t mangle -A OUTPUT {test} -j CONNMARK --set-xmark {mark}/0xffffffff")
    return "\n".join([*lines, ""])


def wire(packet: Packet, identifier: int) -> list[tuple[int, str, str]]:
    """(skb mark, destination, octets) of what has to be sent; the id is the source port or the ICMP identifier."""
    family, port, state = packet.family, packet.destination_port or 0, packet.conntrack
    there = (family, packet.source, packet.destination)
    back = (family, packet.destination, packet.source)
    match state:
        case NoConnection.UNTRACKED:
            return [
                octets(OURS | NOTRACK, *there, packet.protocol, transport(packet.protocol, identifier, port))
            ]
        case NoConnection.INVALID:
            return [octets(OURS | 15, *there, TCP, tcp(identifier, port, RST))]
        case Conntrack(direction=CtDirection.ORIGINAL, mark=mark):
            payload = transport(packet.protocol, identifier, port)
            return [octets(OURS | MARKS.index(mark), *there, packet.protocol, payload)]
        case Conntrack(mark=mark):
            opener = octets(OURS | OPENER | MARKS.index(mark), *back, UDP, udp(port, identifier))
            return [opener, octets(OURS | 15, *there, UDP, udp(identifier, port))]


def octets(
    mark: int, family: int, source: int, destination: int, protocol: int, payload: bytes
) -> tuple[int, str, str]:
    text = format_address(family, destination)
    if family == 4:  # the kernel fills in the checksum
        first = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    else:
        first = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    size = 4 if family == 4 else 16
    header = first + source.to_bytes(size, "big") + destination.to_bytes(size, "big")
    return mark, text, (header + payload).hex()


def transport(protocol: int, identifier: int, port: int) -> bytes:
    match protocol:
        case 6:
            return tcp(identifier, port, SYN)
        case 17:
            return udp(identifier, port)
        case 132:  # a packet with one INIT chunk
            init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
            return struct.pack("!HHII", identifier, port, 0, 0) + init
        case _:  # echo request
            return struct.pack("!BBHHH", 8 if protocol == 1 else 128, 0, 0, identifier, 1)


def tcp(source: int, destination: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 1, 0, 5 << 4, flags, 1000, 0, 0)


def udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8, 0)


def identifier_of(protocol: int, header: bytes) -> int:
    place = 4 if protocol in {1, 58} else 0
    return int.from_bytes(header[place : place + 2], "big")


def connection_mark(line: str) -> tuple[int, int]:
    """(id, mark) of a line of `conntrack -L`: the id is one of the ports, whichever way the connection was opened."""
    numbers = map(int, re.findall(r"\b(?:sport|dport|id)=(\d+)", line))
    mark = re.search(r"\bmark=(\d+)", line)
    return max(numbers), int(mark[1]) if mark else 0
