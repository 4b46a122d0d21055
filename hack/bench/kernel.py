"""`make bench-kernel`: what changes cost until the kernel enforces them, on a node of the design's size.

110 pods, 50 policies, 1,000 peers each, IPv4, both backends in turn, in a network namespace of its own.
Beside the changes stands one written as kube-router does it: save the whole table, edit the text, restore the
whole table. Needs root.

    sudo .venv/bin/python hack/bench/kernel.py [--rounds 30] [--json kernel.json]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec.structs import replace

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import Enforcer
from controller.dataplane.kernel import Kernel
from controller.dataplane.settings import Settings
from controller.dataplane.tools import Backend, LocalRunner
from controller.engine.resolve import Resolver
from controller.engine.rulesets import LocalPod, NodeView, PodGroup
from controller.objects.kinds import (
    Cluster,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)
from controller.objects.labels import LabelSelector

PODS, POLICIES, PEERS = 110, 50, 1000
NODE = "node"


def main() -> None:
    """Measure both backends, alternating, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "XTABLES_LOCKFILE": f"{folder}/lock"}
            command = ["unshare", "-n", sys.executable, __file__, "--inside", *sys.argv[1:]]
            raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603
    figures = {backend: Bench(backend).run(options.rounds) for backend in Backend}
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def base_cluster() -> Cluster:
    """Pods of 22 apps on the node; each policy admits 1,000 peers of its own to one app."""
    pods = [
        Pod(
            namespace="own",
            name=f"pod-{n}",
            labels={"app": f"app-{n % 22}"},
            ips=(f"10.1.0.{n + 1}",),
            node=NODE,
        )
        for n in range(PODS)
    ]
    peers = [
        Pod(
            namespace="peers",
            name=f"peer-{group}-{n}",
            labels={"group": f"g{group}"},
            ips=(f"10.{100 + group}.{n >> 8}.{n & 255}",),
            node="elsewhere",
        )
        for group in range(POLICIES)
        for n in range(PEERS)
    ]
    return Cluster(
        namespaces=(Namespace(name="own", labels={}), Namespace(name="peers", labels={"peers": "yes"})),
        pods=(*pods, *peers),
        policies=tuple(map(policy, range(POLICIES))),
    )


def policy(number: int) -> NetworkPolicy:
    """Three rules from one group of peers, as a policy of a real service has."""
    peer = Peer(0, LabelSelector.of({"group": f"g{number % POLICIES}"}), LabelSelector.of({"peers": "yes"}))
    rules = tuple(
        PolicyRule(index, (peer,), (PolicyPort(0, Protocol.TCP, 8000 + 10 * number + index),))
        for index in range(3)
    )
    selector = LabelSelector.of({"app": f"app-{number % 22}"})
    return NetworkPolicy(namespace="own", name=f"policy-{number}", pod_selector=selector, ingress=rules)


class Bench:
    """One backend, in the current network namespace."""

    def __init__(self, backend: Backend) -> None:
        self._runner = LocalRunner()
        self._kernel = Kernel(4, backend, self._runner)
        self._enforcer = Enforcer(self._kernel, Settings(gates=()), Conntrack(self._runner))
        self._backend = backend
        self._resolver = Resolver.of(base_cluster())
        self._view = self._resolver.view(NODE)

    def run(self, rounds: int) -> dict[str, float]:
        """Milliseconds, medians; the kernel is clean before and after."""
        found = {"first full build": self._timed(lambda: self._enforcer.apply(self._view))}
        view = self._view
        found["peer added"], found["peer removed"] = self._alternate(rounds, _with_peer(view), view)
        found["pod added, profile known"], found["pod removed"] = self._alternate(
            rounds, _with_pod(view), view
        )
        more = self._with_policy()
        found["policy added"], found["policy removed"] = self._alternate(max(5, rounds // 3), more, view)
        found["agent path peak RSS MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found["one rule, whole table saved and restored"] = self._whole_table(max(5, rounds // 3))
        self._kernel.clear_rules()
        self._kernel.clear_sets()
        return found

    def _alternate(self, rounds: int, other: NodeView, view: NodeView) -> tuple[float, float]:
        there: list[float] = []
        back: list[float] = []
        for _ in range(rounds):
            there.append(self._timed(lambda: self._enforcer.apply(other)))
            back.append(self._timed(lambda: self._enforcer.apply(view)))
        return statistics.median(there), statistics.median(back)

    def _with_policy(self) -> NodeView:
        self._resolver.put_policy(replace(policy(7), name="one-more", ingress=policy(8).ingress))
        view = self._resolver.view(NODE)
        self._resolver.remove_policy(("own", "one-more"))
        groups = {ref: self._view.groups.get(ref, members) for ref, members in view.groups.items()}
        return replace(view, groups=groups)

    def _whole_table(self, rounds: int) -> float:
        save, restore = f"iptables-{self._backend}-save", f"iptables-{self._backend}-restore"

        def rewrite() -> None:
            text = subprocess.run([save, "-t", "mangle"], capture_output=True, check=True).stdout  # noqa: S603
            sets = subprocess.run(["ipset", "save"], capture_output=True, check=True).stdout  # noqa: S607
            edited = text.replace(b"\nCOMMIT", b"\n-A PODGATE-D -j DROP\nCOMMIT", 1)
            subprocess.run(["ipset", "restore", "-exist"], input=sets, check=True)  # noqa: S607
            subprocess.run([restore], input=edited, check=True)  # noqa: S603

        return statistics.median(self._timed(rewrite) for _ in range(rounds))

    def _timed(self, action: Callable[[], object]) -> float:
        started = time.perf_counter()
        action()
        return (time.perf_counter() - started) * 1000


def _with_peer(view: NodeView) -> NodeView:
    group = min(view.groups)
    return replace(view, groups={**view.groups, group: view.groups[group] | {"10.99.9.9"}})


def _with_pod(view: NodeView) -> NodeView:
    replica: LocalPod = view.pods[0]
    pod = replace(replica, name="one-more", ips=("10.1.0.200",))
    groups: dict[PodGroup, frozenset[str]] = dict(view.groups)
    return replace(
        view, pods=tuple(sorted((*view.pods, pod))), groups=groups, known=(*view.known, "10.1.0.200")
    )


def print_table(figures: dict[Backend, dict[str, float]]) -> None:
    """Markdown, a row a change."""
    print("| change (ms until the kernel has it) | nft | legacy |\n|---|---:|---:|")
    for name in figures[Backend.NFT]:
        print(f"| {name} | " + " | ".join(f"{figures[backend][name]:.1f}" for backend in Backend) + " |")


if __name__ == "__main__":
    main()
