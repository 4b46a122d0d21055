"""What a lab, and the rules in it, need of this machine, and what of it is missing, in words.

A module or an extension is there if a rule that uses it loads, so that is tried, in a namespace of its own.
"""

import functools
import os
import secrets
import shutil
import sys
from pathlib import Path

from controller.dataplane.render import HAIRPIN_BYTECODE
from controller.dataplane.tools import Backend, restore_command
from controller.lab.namespaces import CommandError, Namespace, add_namespaces, delete_namespaces
from controller.lab.processes import PATH, python
from controller.lab.unprivileged import go_into_new, hindrance, is_root
from controller.lab.wiring import BRIDGE_SYSCTLS, Cni

_SETS = ("hash:ip", "hash:net", "hash:ip,port")

_MATCHES = {
    "xt_connmark": "-m connmark --mark 0x1/0x1 -j CONNMARK --set-xmark 0x0/0x1",
    "xt_conntrack": "-m conntrack --ctdir REPLY",
    "xt_multiport": "-p tcp -m multiport --dports 1,2",
    "xt_set": "-m set --match-set try{family} dst",
    "xt_comment": "-m comment --comment try",
    "xt_bpf": '-m bpf --bytecode "{bytecode}"',
}
_NAT = {
    "xt_MASQUERADE": "-A POSTROUTING -j MASQUERADE",
    "xt_REDIRECT": "-A PREROUTING -p tcp -j REDIRECT --to-ports 7",
    "xt_statistic": "-A OUTPUT -m statistic --mode random --probability 0.5",
}


@functools.cache
def missing(backend: Backend, cni: Cni) -> str:
    """What is not there for a backend and a network; "" when everything is. 0.2 s, remembered."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces of its own"
    tools = ["ip", "ipset", *(restore_command(backend, family)[0] for family in (4, 6))]
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        return f"needs {', '.join(lacking)}"
    if cni is Cni.BRIDGE and not all(Path("/proc/sys/net", path).exists() for path in BRIDGE_SYSCTLS):
        return "needs the kernel module br_netfilter"
    name = f"pgtry-{os.getpid()}-{secrets.token_hex(2)}"
    try:
        add_namespaces([name])
        with Namespace(name) as namespace:
            lacking = _lacking(namespace, backend)
    except (CommandError, OSError) as error:
        return f"cannot make network namespaces: {error}"
    finally:
        delete_namespaces([name])
    return (
        f"needs {', '.join(lacking)}, of which this kernel or iptables-{backend} knows nothing"
        if lacking
        else ""
    )


def main() -> int:
    """Print what is missing for the lab that `podgate lab up` starts unless it is told otherwise."""
    os.environ["PATH"] = PATH
    if not is_root():
        lacking = f"needs root: {reason}" if (reason := hindrance()) else ""
        if not lacking:
            go_into_new(python("-m", "controller.lab.requirements"))
    else:
        lacking = missing(Backend.NFT, Cni.PTP)
    if lacking:
        sys.stdout.write(f"{lacking}\n")
    return int(bool(lacking))


def _lacking(namespace: Namespace, backend: Backend) -> list[str]:
    lacking = [f"ipset {kind}" for kind in _SETS if not _works(namespace, ["ipset", "create", "try", kind])]
    for family in (4, 6):
        kind = {4: "inet", 6: "inet6"}[family]
        _works(namespace, ["ipset", "create", f"try{family}", "hash:ip", "family", kind])
        rules = {
            name: f"-A FORWARD {text.format(family=family, bytecode=HAIRPIN_BYTECODE[family])}"
            for name, text in _MATCHES.items()
        }
        tables = {name: f"*mangle\n{rule}\nCOMMIT\n" for name, rule in rules.items()}
        tables |= {name: f"*nat\n{rule}\nCOMMIT\n" for name, rule in _NAT.items()}
        command = [*restore_command(backend, family)]
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


if __name__ == "__main__":
    sys.exit(main())
