"""The pod network of the kind clusters, as the script that a node runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WIRING = Path(__file__).parents[3] / "hack" / "kind" / "wiring.py"


def node(name: str, *ranges: str, addresses: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDRs": list(ranges)} if ranges else {},
        "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses]},
    }


ONE = node("one", "10.244.0.0/24", "fd00:10:244::/64", addresses=("172.18.0.2", "fc00::2"))
TWO = node("two", "10.244.1.0/24", "fd00:10:244:1::/64", addresses=("172.18.0.3", "fc00::3"))


def wired(name: str, *nodes: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, WIRING, name],
        input=json.dumps({"items": nodes}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_pods_get_addresses_of_each_range_of_their_node() -> None:
    script = wired("one", ONE, TWO).stdout

    written = json.loads(script.partition("<<'CONFIGURATION'\n")[2].partition("CONFIGURATION\n")[0])
    link = written["plugins"][0]
    assert (link["type"], link["ipMasq"]) == ("ptp", False)
    assert link["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:10:244::/64"}]]
    assert link["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_the_pods_of_another_node_are_behind_its_address() -> None:
    routes = [line for line in wired("one", ONE, TWO).stdout.splitlines() if " route " in line]

    assert routes == [
        "ip -4 route replace 10.244.1.0/24 via 172.18.0.3",
        "ip -6 route replace fd00:10:244:1::/64 via fc00::3",
    ]


def test_between_pods_no_address_is_changed() -> None:
    lines = [line for line in wired("one", ONE, TWO).stdout.splitlines() if "--append KIND-PTP" in line]

    assert lines == [
        "iptables --wait --table nat --append KIND-PTP --destination 10.244.0.0/24 --jump RETURN",
        "iptables --wait --table nat --append KIND-PTP --destination 10.244.1.0/24 --jump RETURN",
        "iptables --wait --table nat --append KIND-PTP --jump MASQUERADE",
        "ip6tables --wait --table nat --append KIND-PTP --destination fd00:10:244::/64 --jump RETURN",
        "ip6tables --wait --table nat --append KIND-PTP --destination fd00:10:244:1::/64 --jump RETURN",
        "ip6tables --wait --table nat --append KIND-PTP --jump MASQUERADE",
    ]


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([TWO], "no node one; there are: two"),
        ([node("one"), TWO], "one has no podCIDRs yet"),
        ([ONE, node("two", "10.244.1.0/24", addresses=("fc00::3",))], "two has no IPv4 address"),
    ],
    ids=["another node", "no ranges", "no address"],
)
def test_what_cannot_be_wired_is_said(nodes: list[dict[str, Any]], problem: str) -> None:
    done = wired("one", *nodes)

    assert done.returncode == 1
    assert problem in done.stderr
