"""A pod network that connects and enforces nothing: prints the script that makes a kind node's part of it.

kubectl get nodes -o json | python3 hack/kind/wiring.py NODE | docker exec -i NODE sh

The ptp plugin gives each pod a point-to-point link and host-local an address of the node's own ranges; routes
lead to the other nodes' ranges, and what leaves the cluster gets the node's address. kindnet, which this
replaces, enforces NetworkPolicy itself by now. Needs nothing but Python.
"""

import ipaddress
import json
import sys
from collections.abc import Iterator
from typing import Any

CONFIGURATION = "/etc/cni/net.d/10-podgate-ptp.conflist"
TOOLS = {4: ("ip -4", "iptables"), 6: ("ip -6", "ip6tables")}


def main() -> None:
    """Standard input: a NodeList; the argument: which of them. Exits with a message where that fails."""
    if len(sys.argv) != 2:
        sys.exit("usage: wiring.py NODE < NODES.json")
    nodes = {node["metadata"]["name"]: node for node in json.load(sys.stdin)["items"]}
    if sys.argv[1] not in nodes:
        sys.exit(f"wiring: no node {sys.argv[1]}; there are: {', '.join(sorted(nodes)) or 'none'}")
    own = nodes.pop(sys.argv[1])
    print("\n".join(script(own, list(nodes.values()))))


def script(own: dict[str, Any], others: list[dict[str, Any]]) -> Iterator[str]:
    """The lines; they can be run again."""
    yield "set -eu"
    yield f"mkdir -p {CONFIGURATION.rpartition('/')[0]}"
    yield f"cat > {CONFIGURATION} <<'CONFIGURATION'"
    yield json.dumps(configuration(own), indent=2)
    yield "CONFIGURATION"
    for block in ranges(own):
        yield from _masquerade(block, [each for node in (own, *others) for each in ranges(node)])
    for node in others:
        yield from _routes(node)


def configuration(node: dict[str, Any]) -> dict[str, Any]:
    """The CNI configuration. No ipMasq: it would hide the address of a pod from the pods of other nodes."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": str(block)}] for block in ranges(node)],
        "routes": [{"dst": "0.0.0.0/0" if block.version == 4 else "::/0"} for block in ranges(node)],
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {
        "cniVersion": "0.3.1",
        "name": "podgate-ptp",
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}, ports],
    }


Block = ipaddress.IPv4Network | ipaddress.IPv6Network


def ranges(node: dict[str, Any]) -> list[Block]:
    """The node's pod ranges. Exits where the control plane has given it none yet."""
    blocks = node["spec"].get("podCIDRs")
    if not blocks:
        sys.exit(f"wiring: {node['metadata']['name']} has no podCIDRs yet")
    return [ipaddress.ip_network(block) for block in blocks]


def _routes(node: dict[str, Any]) -> Iterator[str]:
    addresses = [
        ipaddress.ip_address(each["address"])
        for each in node["status"]["addresses"]
        if each["type"] == "InternalIP"
    ]
    for block in ranges(node):
        via = next((each for each in addresses if each.version == block.version), None)
        if via is None:
            sys.exit(f"wiring: {node['metadata']['name']} has no IPv{block.version} address for {block}")
        yield f"{TOOLS[block.version][0]} route replace {block} via {via}"


def _masquerade(block: Block, pods: list[Block]) -> Iterator[str]:
    """A chain of its own: what goes to pods returns, all else is masqueraded."""
    tool = f"{TOOLS[block.version][1]} --wait --table nat"
    jump = f"POSTROUTING --source {block} --jump KIND-PTP"
    yield f"{tool} --new-chain KIND-PTP 2>/dev/null || {tool} --flush KIND-PTP"
    for each in pods:
        if each.version == block.version:
            yield f"{tool} --append KIND-PTP --destination {each} --jump RETURN"
    yield f"{tool} --append KIND-PTP --jump MASQUERADE"
    yield f"{tool} --check {jump} 2>/dev/null || {tool} --append {jump}"


if __name__ == "__main__":
    main()
