"""`make bench`: what the engine and the compiler cost on generated clusters of three sizes.

Each size runs in a process of its own, so that its peak memory is its own. Prints a table and writes JSON.

    python hack/bench/engine.py [--sizes 1000,10000,150000] [--json bench.json]
"""

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec.structs import replace

from controller.dataplane.compile import compile_node
from controller.dataplane.render import render_rules, render_sets
from controller.engine.resolve import Resolver
from controller.objects.kinds import Namespace
from hack.bench import population

DENSE_NODE = 110
ROUNDS = 200


def main() -> None:
    """Run every size and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1000,10000,150000")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    results = [_run_alone(int(size)) for size in options.sizes.split(",")]
    _print_table(results)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")


def _run_alone(size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(size)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603
    return found


def measure(size: int) -> dict[str, float]:
    """All figures for one size: seconds, milliseconds and MiB as the names say."""
    found: dict[str, float] = {"pods_wanted": size}
    cluster = population.cluster(size)
    found.update(pods=len(cluster.pods), policies=len(cluster.policies), namespaces=len(cluster.namespaces))
    found["input_rss_mib"] = _rss_mib()
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    resolver = Resolver.of(cluster)
    found["resolve_s"] = time.perf_counter() - started
    found["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["groups"] = len(resolver.groups())
    gc.collect()
    gc.freeze()
    pod, policy = cluster.pods[0], cluster.policies[3]
    moved = replace(pod, ips=("10.254.0.1",))
    found["pod_change_ms"] = _alternate(
        resolver, lambda: resolver.put_pod(moved), lambda: resolver.put_pod(pod)
    )
    edited = replace(policy, ingress=())
    found["policy_change_ms"] = _alternate(
        resolver, lambda: resolver.put_policy(edited), lambda: resolver.put_policy(policy)
    )
    home = cluster.namespaces[1]
    relabelled = Namespace(name=home.name, labels={**home.labels, "kubernetes.io/metadata.name": "elsewhere"})
    found["namespace_relabel_ms"] = _alternate(
        resolver, lambda: resolver.put_namespace(relabelled), lambda: resolver.put_namespace(home)
    )
    found["node_110_ms"] = _dense_node_ms()
    return found


def _alternate(resolver: Resolver, change: Callable[[], None], restore: Callable[[], None]) -> float:
    """Median of one change and its reporting, in milliseconds, over changes there and back."""
    times: list[float] = []
    for _ in range(ROUNDS):
        for action in (change, restore):
            started = time.perf_counter()
            action()
            changes = resolver.take_changes()
            times.append(time.perf_counter() - started)
            if not changes:
                raise SystemExit("the change changed nothing: the benchmark is wrong")
    return statistics.median(times) * 1000


def _dense_node_ms() -> float:
    """Compile and render both families of one node with 110 pods of 11 namespaces, in milliseconds.

    Median of 11.
    """
    cluster = population.cluster(DENSE_NODE * 11, node_size=DENSE_NODE)
    resolver = Resolver.of(cluster)
    times: list[float] = []
    for _ in range(11):
        started = time.perf_counter()
        for ruleset in compile_node(resolver.view("node-0")):
            render_sets(ruleset)
            render_rules(ruleset)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def machine() -> dict[str, str | int | None]:
    """What the figures were measured on."""
    return {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}


_COLUMNS = {
    "pods": "pods",
    "policies": "policies",
    "groups": "groups",
    "resolve_s": "cold resolve s",
    "input_rss_mib": "input RSS MiB",
    "peak_rss_mib": "peak RSS MiB",
    "pod_change_ms": "pod change ms",
    "policy_change_ms": "policy change ms",
    "namespace_relabel_ms": "namespace relabel ms",
    "node_110_ms": "110-pod node compile+render ms",
}


def _print_table(results: list[dict[str, float]]) -> None:
    print("| " + " | ".join(_COLUMNS.values()) + " |")
    print("|" + "---:|" * len(_COLUMNS))
    for result in results:
        cells = (result[name] for name in _COLUMNS)
        print("| " + " | ".join(f"{cell:.3f}" if cell % 1 else str(int(cell)) for cell in cells) + " |")


if __name__ == "__main__":
    main()
