"""Whether kube-proxy runs in a mode in which packets pass podgate's rules otherwise than they should.

In ipvs mode a packet to a Service is delivered by the node itself, with the interface `kube-ipvs0` holding
the Service's address: it never passes FORWARD on its way in.
"""

from pathlib import Path

from controller.agent.subscription import Problem

IPVS_INTERFACE = "kube-ipvs0"
_DEVICES = Path("/proc/net/dev")


def ipvs_problem(devices: Path = _DEVICES) -> tuple[Problem, ...]:
    """What is wrong for it, if the interface is in this network namespace. 0.1 ms."""
    try:
        lines = devices.read_text().splitlines()
    except OSError:
        return ()
    if not any(line.partition(":")[0].strip() == IPVS_INTERFACE for line in lines):
        return ()
    return (
        Problem(
            "KubeProxyIPVS",
            f"kube-proxy runs in ipvs mode ({IPVS_INTERFACE} exists), in which connections to Services may "
            "pass the rules by; run kube-proxy in iptables or nftables mode",
        ),
    )
