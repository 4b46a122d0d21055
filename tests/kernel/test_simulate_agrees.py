"""The simulator and the kernel judge alike: arbitrary rulesets, real packets, verdicts and connection marks.

Packets go over the loopback device of a namespace, so they meet the rules in INPUT. Their state is made, not
mocked: rules in OUTPUT exempt some from conntrack and mark the connections of others, a reply follows its
opener, a lone RST is INVALID.
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
from controller.objects.addresses import BITS, format_address
from tests.kernel.restore import BACKENDS, TOOLS, in_namespace, load_command, needs_kernel, write_texts
from tests.property.rulesets import SUBNET, rulesets, without_limits

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
NOTRACK, OPENER, OURS, NO_MARK = 0x10, 0x20, 0x100, 0xF
"""Bits of the skb mark, for the rules of `prepare`; the lowest digit is an index into MARKS."""

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
SYN, RST = 2, 4


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_verdicts_and_marks_are_the_same(
    family: int, backend: str, data: st.DataObject, random: Random
) -> None:
    ruleset = entered_by_input(without_limits(data.draw(rulesets(family))))
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
    protocol = random.choice([ICMP if family == 4 else ICMPV6, TCP, UDP, UDP, SCTP])
    states: list[Conntrack | NoConnection] = [NoConnection.UNTRACKED, Conntrack(mark=random.choice(MARKS))]
    if protocol == TCP:
        states.append(NoConnection.INVALID)
    if protocol == UDP:
        states.append(Conntrack(CtDirection.REPLY, random.choice(MARKS)))
    hosts = [random.choice([random.randint(1, 40), random.getrandbits(20)]) for _ in range(2)]
    source, destination = (SUBNET[family] | host for host in hosts)
    if random.randrange(8) == 0:
        destination = source  # a hairpin, which chance alone would hardly make
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
        test = f"-m mark --mark {OURS | index}/{OURS | 0xF}"
        lines.append(f"{tool} -t mangle -A OUTPUT {test} -j CONNMARK --set-xmark {mark}/0xffffffff")
    return "\n".join([*lines, ""])


def wire(packet: Packet, identifier: int) -> list[tuple[int, str, str]]:
    """(skb mark, destination, octets) of all to be sent; the id is the source port or ICMP identifier."""
    port, state = packet.destination_port or 0, packet.conntrack
    payload = transport(packet.protocol, identifier, port)
    match state:
        case NoConnection.UNTRACKED:
            return [octets(OURS | NOTRACK, packet, payload)]
        case NoConnection.INVALID:
            return [octets(OURS | NO_MARK, packet, tcp(identifier, port, RST))]
        case Conntrack(direction=CtDirection.ORIGINAL, mark=mark):
            return [octets(OURS | MARKS.index(mark), packet, payload)]
        case Conntrack(mark=mark):
            back = msgspec.structs.replace(packet, source=packet.destination, destination=packet.source)
            opener = octets(OURS | OPENER | MARKS.index(mark), back, udp(port, identifier))
            return [opener, octets(OURS | NO_MARK, packet, payload)]


def octets(mark: int, packet: Packet, payload: bytes) -> tuple[int, str, str]:
    size = BITS[packet.family] // 8
    addresses = packet.source.to_bytes(size, "big") + packet.destination.to_bytes(size, "big")
    if packet.protocol == ICMPV6:
        # The one checksum that a raw socket insists on.
        pseudo_header = addresses + struct.pack("!II", len(payload), ICMPV6)
        payload = payload[:2] + checksum(pseudo_header + payload) + payload[4:]
    if packet.family == 4:  # the kernel fills in the checksum
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, packet.protocol, 0)
    else:
        header = struct.pack("!IHBB", 6 << 28, len(payload), packet.protocol, 64)
    return mark, format_address(packet.family, packet.destination), (header + addresses + payload).hex()


def checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", total ^ 0xFFFF)


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
            return struct.pack("!BBHHH", 8 if protocol == ICMP else 128, 0, 0, identifier, 1)


def tcp(source: int, destination: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 1, 0, 5 << 4, flags, 1000, 0, 0)


def udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8, 0)


def identifier_of(protocol: int, header: bytes) -> int:
    place = 4 if protocol in {ICMP, ICMPV6} else 0
    return int.from_bytes(header[place : place + 2], "big")


def connection_mark(line: str) -> tuple[int, int]:
    """(id, mark) of a line of `conntrack -L`: the id is the higher of the ports."""
    numbers = map(int, re.findall(r"\b(?:sport|dport|id)=(\d+)", line))
    mark = re.search(r"\bmark=(\d+)", line)
    return max(numbers), int(mark[1]) if mark else 0
