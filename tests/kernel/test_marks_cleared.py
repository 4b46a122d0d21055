"""Marks are taken off however many connections there are; conntrack's own `-U` gives up after 256."""

import re
import socket
import subprocess
import sys
from collections import Counter

import pytest

from controller.dataplane.tools import Backend
from tests.kernel.requirements import missing
from tests.kernel.wiring import Topology

_MISSING = missing(Backend.NFT, Topology.PTP)
pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(_MISSING), reason=_MISSING)]

SCRIPT = """
import socket, subprocess
from controller.agent.conntrack import Conntrack
from controller.dataplane.tools import LocalRunner

def sh(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout

sh("ip link set lo up")
for tool in ("iptables-nft", "ip6tables-nft"):
    sh(tool + " -t mangle -A INPUT -j CONNMARK --set-xmark 0x20005/0xffffffff")
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    sender = socket.socket(family, socket.SOCK_DGRAM)
    for port in range(2000, 2600):
        sender.sendto(b"x", (address, port))
for family in (4, 6):
    Conntrack(LocalRunner()).clear_marks(family, 0x1FFF0000)
    print(sh("conntrack -L -f ipv" + str(family)))
"""


def test_the_marks_of_more_connections_than_conntrack_can_update_are_cleared_and_foreign_bits_kept() -> None:
    assert socket.has_ipv6
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert Counter(re.findall(r"mark=\d+", done.stdout)) == {"mark=5": 1200}
