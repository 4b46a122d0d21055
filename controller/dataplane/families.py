"""Whether this network namespace has a family at all: a node without IPv6 has nothing to enforce there.

Only the kernel's own word counts. A tool that fails proves nothing, and to take a family for absent that is
there would leave its pods open.
"""

from itertools import chain
from pathlib import Path

from controller.engine.rulesets import NodeView
from controller.objects.addresses import parse_address

INET6 = Path("/proc/net/if_inet6")
"""There exactly where the kernel has IPv6, and it was not switched off when it was started."""
DISABLED = tuple(Path(f"/proc/sys/net/ipv6/conf/{each}/disable_ipv6") for each in ("all", "default"))


def absence(family: int) -> str:
    """Why no packet of a family can reach a pod of this node; "" where one can."""
    if family == 6 and not INET6.exists():
        return f"this kernel has no IPv6 ({INET6} is missing)"
    return ""


def disuse(family: int, view: NodeView) -> str:
    """Why nothing of a family would be enforced now, if it is there at all; "" where something would.

    Its tables are written nevertheless where they are to be had, so that nobody is open when that changes.
    """
    if family == 6 and all(_is_one(path) for path in DISABLED):
        return "IPv6 is switched off on this node (sysctl net.ipv6.conf.all.disable_ipv6)"
    addresses = chain(view.known, *(pod.ips for pod in view.pods))
    if not any(parse_address(each)[0] == family for each in addresses) and not any(
        each.family == family for each in view.pod_cidrs
    ):
        return f"no pod of this node has an IPv{family} address"
    return ""


def _is_one(path: Path) -> bool:
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False
