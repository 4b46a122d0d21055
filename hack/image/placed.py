"""The shop as a cluster shows it: for its workloads pods, with the addresses that verbs on manifests make up.

A kernel is programmed for addresses that objects name, and manifests of workloads name none.

    python hack/image/placed.py examples/shop > shop.yaml
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from controller.objects.kinds import Pod
from controller.objects.read import read
from controller.objects.workloads import WORKLOAD_GROUPS


def placed(folder: Path) -> Iterator[dict[str, Any]]:
    """Every object of a folder but its workloads, and their pods."""
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document and document["kind"] not in WORKLOAD_GROUPS:
                yield document
    yield from (_manifest(pod) for pod in read([str(folder)]).cluster.pods if pod.synthetic)


def _manifest(pod: Pod) -> dict[str, Any]:
    ports = [
        {"name": port.name, "containerPort": port.port, "protocol": port.protocol.name} for port in pod.ports
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": dict(pod.labels)},
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": pod.host_network,
            "containers": [{"name": "main", "image": "x", "ports": ports}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": text} for text in pod.ips]},
    }


if __name__ == "__main__":
    yaml.safe_dump_all(placed(Path(sys.argv[1])), sys.stdout)
