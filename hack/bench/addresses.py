"""Why podgate has an address algebra of its own: measured against netaddr and the standard library.

    .venv/bin/python hack/bench/addresses.py

Prints the best of five runs in milliseconds, as the Markdown table of docs/dependencies.md. Before it times a
subtraction it checks that all ways give the same blocks.
"""

import ipaddress
import platform
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence

import netaddr

from controller.engine.intervals import IntervalSet, to_prefixes
from controller.objects.addresses import Cidr, format_address, parse_address, parse_cidr

RUNS = 5
ADDRESSES = 100_000
MERGED_BLOCKS = 20_000
EXCEPTED_BLOCKS = 200

Row = tuple[str, dict[str, Callable[[], object]]]


def main() -> None:
    """Print the table for this machine."""
    print(f"Python {platform.python_version()}, netaddr {netaddr.__version__}, {platform.machine()}\n")
    names = ["own", "netaddr", "ipaddress", "inet_pton"]
    print(f"| job | {' | '.join(names)} |")
    print("| --- |" + " ---: |" * len(names))
    for title, ways in rows():
        cells = (f"{best_of(ways[name]):.1f}" if name in ways else "" for name in names)
        print(f"| {title} | {' | '.join(cells)} |")


def rows() -> Sequence[Row]:
    """The jobs, each with the ways to do it, by library."""
    rng = random.Random(1)  # noqa: S311 - a fixed seed makes the runs comparable
    v4 = [socket.inet_ntop(socket.AF_INET, rng.randbytes(4)) for _ in range(ADDRESSES)]
    v6 = [socket.inet_ntop(socket.AF_INET6, rng.randbytes(16)) for _ in range(ADDRESSES)]
    blocks = [f"10.{number >> 8}.{number & 255}.0/24" for number in rng.sample(range(1 << 16), MERGED_BLOCKS)]
    return [
        parse_row(f"parse {ADDRESSES:,} IPv4 addresses", v4, socket.AF_INET),
        parse_row(f"parse {ADDRESSES:,} IPv6 addresses", v6, socket.AF_INET6),
        merge_row(blocks),
        subtract_row(blocks[:EXCEPTED_BLOCKS]),
        one_by_one_row(blocks[:EXCEPTED_BLOCKS]),
    ]


def parse_row(title: str, texts: Sequence[str], family: socket.AddressFamily) -> Row:
    """Every text to an address."""
    return title, {
        "own": lambda: [parse_address(text) for text in texts],
        "netaddr": lambda: [netaddr.IPAddress(text) for text in texts],
        "ipaddress": lambda: [ipaddress.ip_address(text) for text in texts],
        "inet_pton": lambda: [socket.inet_pton(family, text) for text in texts],
    }


def merge_row(blocks: Sequence[str]) -> Row:
    """Blocks, already parsed, to the fewest that cover the same addresses."""
    own = [parse_cidr(block) for block in blocks]
    theirs = [netaddr.IPNetwork(block) for block in blocks]
    standard = [ipaddress.IPv4Network(block) for block in blocks]
    return f"merge {len(blocks):,} /24", {
        "own": lambda: texts_of(IntervalSet((block.first, block.last) for block in own)),
        "netaddr": lambda: netaddr.cidr_merge(theirs),
        "ipaddress": lambda: list(ipaddress.collapse_addresses(standard)),
    }


def subtract_row(excepted: Sequence[str]) -> Row:
    """10.0.0.0/8 without blocks, as an ipBlock with `except` asks; IPSet is the faster of netaddr's ways."""
    whole = "10.0.0.0/8"
    own_whole, own = parse_cidr(whole), [parse_cidr(block) for block in excepted]
    theirs = [netaddr.IPNetwork(block) for block in excepted]

    def own_way() -> list[str]:
        return texts_of(interval(own_whole) - IntervalSet((block.first, block.last) for block in own))

    def netaddr_way() -> netaddr.IPSet:
        return netaddr.IPSet([whole]) - netaddr.IPSet(theirs)

    def standard_way() -> list[ipaddress.IPv4Network]:
        return without(ipaddress.IPv4Network(whole), [ipaddress.IPv4Network(block) for block in excepted])

    expected = [str(block) for block in netaddr_way().iter_cidrs()]
    if own_way() != expected or [str(block) for block in sorted(standard_way())] != expected:
        sys.exit("the ways to subtract do not agree")
    return f"10.0.0.0/8 without {len(excepted)} /24", {
        "own": own_way,
        "netaddr": netaddr_way,
        "ipaddress": standard_way,
    }


def one_by_one_row(excepted: Sequence[str]) -> Row:
    """The same by `cidr_exclude`, the way of netaddr that needs no IPSet."""

    def exclude() -> list[netaddr.IPNetwork]:
        left = [netaddr.IPNetwork("10.0.0.0/8")]
        for block in excepted:
            left = [part for whole in left for part in netaddr.cidr_exclude(whole, block)]
        return left

    return "the same, by netaddr.cidr_exclude", {"netaddr": exclude}


def without(
    whole: ipaddress.IPv4Network, excepted: Sequence[ipaddress.IPv4Network]
) -> list[ipaddress.IPv4Network]:
    """Exclude one block after the other, which is all that `ipaddress` offers."""
    left = [whole]
    for block in excepted:
        place = next(index for index, part in enumerate(left) if block.subnet_of(part))
        left[place : place + 1] = left[place].address_exclude(block)
    return left


def interval(block: Cidr) -> IntervalSet:
    """The addresses of one block."""
    return IntervalSet([(block.first, block.last)])


def texts_of(addresses: IntervalSet) -> list[str]:
    """The fewest blocks, as texts, that cover IPv4 addresses."""
    return [
        f"{format_address(4, network)}/{prefix}"
        for first, last in addresses
        for network, prefix in to_prefixes(first, last, 32)
    ]


def best_of(job: Callable[[], object]) -> float:
    """Milliseconds of the fastest of several runs."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


if __name__ == "__main__":
    main()
