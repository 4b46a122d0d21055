"""The script that wires a node of a kind cluster, run in a network namespace instead of on a node."""

import json
import subprocess
import sys
from pathlib import Path

from controller.dataplane.tools import Backend
from tests.kernel.host import Host, needs_host

pytestmark = needs_host

ROOT = Path(__file__).parents[2]


def node(number: int) -> dict[str, object]:
    return {
        "metadata": {"name": f"node-{number}"},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"172.18.0.{number}"},
                {"type": "InternalIP", "address": f"fd00:18::{number}"},
            ]
        },
    }


def test_a_node_knows_the_way_to_the_others_and_may_be_wired_twice(tmp_path: Path) -> None:
    script = subprocess.run(
        [sys.executable, ROOT / "hack/kind/wiring.py", "node-1"],
        input=json.dumps({"items": [node(1), node(2)]}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.replace("/etc/cni", str(tmp_path / "cni"))
    with Host(Backend.NFT, tmp_path) as host:
        for command in (
            "ip link add eth0 type veth peer name eth1",
            "ip link set eth0 up",
            "ip link set eth1 up",
            "ip address add 172.18.0.1/16 dev eth0",
            "ip address add fd00:18::1/64 dev eth0 nodad",
        ):
            host.run(*command.split())

        for _ in range(2):
            host.run("sh", "-c", script)

        routes = host.run("ip", "route") + host.run("ip", "-6", "route")
        rules = host.run("iptables-save", "-t", "nat")
    assert "10.244.2.0/24 via 172.18.0.2 dev eth0" in routes
    assert "fd00:10:244:2::/64 via fd00:18::2 dev eth0" in routes
    assert rules.count("-A POSTROUTING -s 10.244.1.0/24 -j KIND-PTP") == 1
    assert [path.name for path in tmp_path.glob("cni/net.d/*")] == ["10-podgate-ptp.conflist"]
