"""What the kernel tests need, and what of it this machine lacks, in words for the reason of a skip.

A module or an extension is there if a rule that uses it loads, so that is tried, in a namespace of its own.
"""

import functools
import os
import shutil
from pathlib import Path

from controller.dataplane.render import HAIRPIN_BYTECODE
from controller.dataplane.tools import Backend
from controller.lab.namespaces import CommandError, Namespace
from controller.lab.wiring import BRIDGE_SYSCTLS
from tests.kernel.namespaces import Namespaces
from tests.kernel.rules import TOOLS
from tests.kernel.wiring import Topology

_SETS = ("hash:ip", "hash:net", "hash:ip,port")

_MATCHES = {
    "xt_connmark": "-m connmark --mark 0x1/0x1 -j CONNMARK --set-xmark 0x0/0x1",
    "xt_conntrack": "-m conntrack --ctdir REPLY",
    "xt_multiport": "-p tcp -m multiport --dports 1,2",
    "xt_set": "-m set --match-set try{family} dst",
    "xt_comment": "-m comment --comment try",
    "xt_bpf": '-m bpf --bytecode "{bytecode}"',
}


@functools.cache
def missing(backend: Backend, topology: Topology) -> str:
    """What is not there for tests of a backend and topology; "" when everything is."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces of its own"
    tools = ["ip", "ipset", *(f"{tool}-{backend}-restore" for tool in TOOLS.values())]
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        return f"needs {', '.join(lacking)}"
    if topology is Topology.BRIDGE and not all(
        Path("/proc/sys/net", path).exists() for path in BRIDGE_SYSCTLS
    ):
        return "needs the kernel module br_netfilter"
    try:
        with Namespaces(["try"]) as namespaces:
            lacking = _lacking(namespaces["try"], backend)
    except (CommandError, OSError) as error:
        return f"cannot make network namespaces: {error}"
    return (
        f"needs {', '.join(lacking)}, of which this kernel or iptables-{backend} knows nothing"
        if lacking
        else ""
    )


def _lacking(namespace: Namespace, backend: Backend) -> list[str]:
    lacking = [f"ipset {kind}" for kind in _SETS if not _works(namespace, ["ipset", "create", "try", kind])]
    for family, tool in TOOLS.items():
        kind = {4: "inet", 6: "inet6"}[family]
        _works(namespace, ["ipset", "create", f"try{family}", "hash:ip", "family", kind])
        command = [f"{tool}-{backend}-restore", "--noflush"]
        rules = {
            name: f"-A FORWARD {text.format(family=family, bytecode=HAIRPIN_BYTECODE[family])}"
            for name, text in _MATCHES.items()
        }
        tables = {name: f"*mangle\n{rule}\nCOMMIT\n" for name, rule in rules.items()}
        tables["nat"] = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
        lacking += [
            f"{name} (IPv{family})" for name, text in tables.items() if not _works(namespace, command, text)
        ]
    return lacking


def _works(namespace: Namespace, command: list[str], text: str = "") -> bool:
    try:
        namespace.run(command, text)
    except CommandError:
        return False
    finally:
        if command[:3] == ["ipset", "create", "try"]:
            _works(namespace, ["ipset", "destroy", "try"])
    return True
