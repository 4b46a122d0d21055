"""What a person waits for: whole `podgate` calls, start-up included, on a folder of 500 objects.

python hack/bench/cli.py [--objects 500] [--rounds 7]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PADDING = {f"example.com/note-{number}": "x" * 60 for number in range(20)}
"""Annotations: what `kubectl get -o yaml` prints is mostly not about policies."""


def main() -> None:
    """Write the folder, time the calls, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count, size = write_folder(Path(folder), options.objects)
        print(f"{count} objects, {size / 1024:.0f} KiB\n\n| call | median s | max s |\n|---|---:|---:|")
        for call in (
            ["explain", "ns-0/app-0-0", "ns-0/app-5-5", "--port", "8080/TCP"],
            ["matrix", "-o", "json"],
            ["lint"],
            ["render", "--node", "node-0"],
        ):
            times = [_seconds([*call, "-f", folder]) for _ in range(options.rounds)]
            print(f"| {call[0]} | {statistics.median(times):.2f} | {max(times):.2f} |")


def write_folder(folder: Path, objects: int) -> tuple[int, int]:
    """10 pods of 3 KiB and 5 policies a namespace, one file each namespace; (objects, bytes) written."""
    count = size = 0
    for number in range(max(1, objects // 16)):
        documents = list(_namespace(f"ns-{number}"))
        text = yaml.safe_dump_all(documents, sort_keys=False)
        (folder / f"ns-{number}.yaml").write_text(text)
        count += len(documents)
        size += len(text)
    return count, size


def _namespace(name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
    found += [_pod(name, app) for app in range(10)]
    every: dict[str, object] = {"podSelector": {}}
    dns = [{"ports": [{"port": 53, "protocol": "UDP"}]}]
    block = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}
    specs: dict[str, dict[str, object]] = {
        "deny": {**every, "policyTypes": ["Ingress", "Egress"]},
        "same": {**every, "ingress": [{"from": [every]}], "egress": [{"to": [every]}]},
        "dns": {**every, "egress": dns},
        "web": {"podSelector": _app(5), "ingress": [{"ports": [{"port": "http"}]}]},
        "out": {"podSelector": _app(6), "egress": [{"to": [{"ipBlock": block}]}]},
    }
    found += [_policy(name, policy, spec) for policy, spec in specs.items()]
    return found


def _app(number: int) -> dict[str, object]:
    return {"matchLabels": {"app": f"app-{number}"}}


def _pod(namespace: str, app: int) -> dict[str, object]:
    ports = [{"name": "http", "containerPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app-{app}-{app}",
            "namespace": namespace,
            "labels": {"app": f"app-{app}"},
            "annotations": PADDING,
        },
        "spec": {
            "nodeName": f"node-{app % 3}",
            "containers": [{"name": "main", "image": "app:1", "ports": ports}],
        },
    }


def _policy(namespace: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _seconds(call: list[str]) -> float:
    command = [sys.executable, "-c", "from controller.cli.main import main; main()", *call]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603
    if done.returncode > 1:
        raise SystemExit(done.stderr.decode())
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
