"""Rules and sets into the nodes of a lab, by the tools of either backend, and a kube-proxy in a few lines.

The text is that of `controller.dataplane.render`, and goes in the way it is meant to: `ipset restore`, then
`iptables-*-restore --noflush`, which here begins by emptying the table, so that each load starts clean.
All nodes and families are loaded at the same time.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import TABLE, Ruleset
from controller.dataplane.tools import Backend
from controller.dataplane.validity import ENTRY_CHAINS
from controller.lab.namespaces import Command, Namespace, run_all
from controller.objects.kinds import Protocol
from tests.kernel.ends import End

TOOLS = {4: "iptables", 6: "ip6tables"}

_MASQUERADE_MARK = "0x4000/0x4000"
"""The mark of kube-proxy."""


class Service(Struct, frozen=True):
    """A virtual address and port that lead to one pod, as by kube-proxy; `masquerade` hides every client."""

    address: str
    port: int
    backend: End
    backend_port: int
    protocol: Protocol = Protocol.TCP
    masquerade: bool = False


class RuleLoader:
    """What is loaded on the nodes of one lab, and the commands that change it."""

    def __init__(self, nodes: Mapping[str, Namespace], lock_folder: Path) -> None:
        self._nodes = nodes
        self._lock_folder = lock_folder
        self._loaded: dict[str, tuple[Ruleset, ...]] = {}
        self._backends: dict[str, Backend] = {}
        self._serving: Backend | None = None

    def load(self, rulesets: Mapping[str, Iterable[Ruleset]], backend: Backend) -> None:
        """Put rulesets on their nodes, in place of what was loaded there before. Raises CommandError."""
        self.clear(node for node in rulesets if self._backends.get(node, backend) is not backend)
        found = {node: tuple(each) for node, each in rulesets.items()}
        run_all(self._ipset(node, "".join(map(render_sets, each))) for node, each in found.items())
        run_all(self._commits(found, backend))
        self._drop_sets(found)
        self._loaded |= found
        self._backends |= dict.fromkeys(found, backend)

    def clear(self, nodes: Iterable[str] | None = None) -> None:
        """Remove the rules and sets that were loaded."""
        for node in [*(self._backends if nodes is None else nodes)]:
            nothing = {node: tuple(Ruleset(each.family) for each in self._loaded[node])}
            run_all(self._commits(nothing, self._backends[node]))
            self._drop_sets(nothing)
            del self._loaded[node], self._backends[node]

    def serve(self, services: Iterable[Service], backend: Backend) -> None:
        """Put Services on every node, in place of those before. Raises CommandError."""
        if self._serving not in {None, backend}:
            self.stop_serving()
        found = tuple(services)
        self._restore_nat(
            backend, {family: [each for each in found if each.backend.family == family] for family in TOOLS}
        )
        self._serving = backend

    def stop_serving(self) -> None:
        """Remove all Services."""
        if self._serving is not None:
            self._restore_nat(self._serving, {family: [] for family in TOOLS})
            self._serving = None

    def _restore_nat(self, backend: Backend, services: Mapping[int, list[Service]]) -> None:
        run_all(
            self._restore(node, backend, family, _nat(found, family))
            for node in self._nodes
            for family, found in services.items()
        )

    def _commits(self, rulesets: Mapping[str, tuple[Ruleset, ...]], backend: Backend) -> Iterator[Command]:
        for node, each in rulesets.items():
            for ruleset in each:
                text = _in_place_of(self._loaded.get(node, ()), ruleset)
                yield self._restore(node, backend, ruleset.family, text)

    def _drop_sets(self, rulesets: Mapping[str, tuple[Ruleset, ...]]) -> None:
        """Destroy the sets that were loaded and are in none of these, which no rule looks up any more."""
        lines: dict[str, str] = {}
        for node, each in rulesets.items():
            unused = _set_names(self._loaded.get(node, ())) - _set_names(each)
            lines[node] = "".join(f"destroy {name}\n" for name in sorted(unused))
        run_all(self._ipset(node, text) for node, text in lines.items() if text)

    def _ipset(self, node: str, text: str) -> Command:
        return Command(self._nodes[node], ["ipset", "restore"], text)

    def _restore(self, node: str, backend: Backend, family: int, text: str) -> Command:
        command = [f"{TOOLS[family]}-{backend}-restore", "--noflush", "--wait"]
        # The usual lock is the machine's; a node has its own.
        lock = {"XTABLES_LOCKFILE": str(self._lock_folder / f"{node}.lock")}
        return Command(self._nodes[node], command, text, lock)


def _in_place_of(old: Iterable[Ruleset], new: Ruleset) -> str:
    """One commit that takes all rules out of the table, removes chains that are no more, and adds the new.

    Only those: in iptables-nft 1.8.9, a commit that removes a chain and makes it again fails when another
    program commits to the same namespace meanwhile, as the other family does here (6 of 300 times).
    """
    there = {chain.name for each in old if each.family == new.family for chain in each.chains}
    kept = {*ENTRY_CHAINS, *(chain.name for chain in new.chains)}
    gone = "".join(f":{name} - [0:0]\n-X {name}\n" for name in sorted(there - kept))
    return render_rules(new).replace(f"*{TABLE}\n", f"*{TABLE}\n-F\n{gone}", 1)


def _set_names(rulesets: Iterable[Ruleset]) -> set[str]:
    return {each.name for ruleset in rulesets for each in ruleset.sets}


def _nat(services: list[Service], family: int) -> str:
    if not services:
        return "*nat\n-F\nCOMMIT\n"
    lines = ["*nat", "-F", ":SERVICES - [0:0]", ":MASQUERADE-MARK - [0:0]"]
    lines += [f"-A {hook} -j SERVICES" for hook in ("PREROUTING", "OUTPUT")]
    lines += [f"-A MASQUERADE-MARK -j MARK --set-xmark {_MASQUERADE_MARK}"]
    lines += [f"-A POSTROUTING -m mark --mark {_MASQUERADE_MARK} -j MASQUERADE"]
    for service in services:
        asked = f"-d {service.address} -p {service.protocol.name.lower()} --dport {service.port}"
        backend = service.backend.address if family == 4 else f"[{service.backend.address}]"
        hairpin = "" if service.masquerade else f"-s {service.backend.address} "
        lines.append(f"-A SERVICES {hairpin}{asked} -j MASQUERADE-MARK")
        lines.append(f"-A SERVICES {asked} -j DNAT --to-destination {backend}:{service.backend_port}")
    return "\n".join([*lines, "COMMIT", ""])
