"""The JSON that other programs read: `ConnectivityMatrix` and `ConnectivityDiff`.

Both are contracts: `controller/cli/schemas` holds their schemas, docs/matrix.md and docs/diff.md explain
them. Fields are only added together with a new `apiVersion`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from controller.cli.output.changes import Reviewed
from controller.engine.causes import Cause
from controller.engine.connections import ConnectionSet
from controller.engine.difference import Difference
from controller.engine.externals import External
from controller.engine.matrix import Matrix, pod_id
from controller.objects.kinds import Pod, Protocol

API_VERSION = "podgate.dev/v1alpha1"


def matrix_json(matrix: Matrix) -> str:
    """The matrix as one JSON object, indented, ending in a newline."""
    return _text(
        {
            "apiVersion": API_VERSION,
            "kind": "ConnectivityMatrix",
            "endpoints": [_endpoint(pod) for pod in matrix.pods],
            "external": [_external(external) for external in matrix.externals],
            "connections": [
                {"from": source, "to": destination, **_connections(allowed)}
                for (source, destination), allowed in matrix.connections.items()
            ],
        }
    )


def difference_json(
    found: Difference,
    reviewed: Sequence[Reviewed],
    families: Sequence[tuple[int, Sequence[Reviewed]]] = (),
    rules: Mapping[str, str] | None = None,
) -> str:
    """The difference as one JSON object.

    `families` is what differs in one family alone; `rules` are unified diffs of rendered rules by file name.
    """
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "ConnectivityDiff",
        "summary": {
            "endpointsAdded": len(found.pods_added),
            "endpointsRemoved": len(found.pods_removed),
            "connectionsAdded": sum(bool(change.added) for change in found.changes),
            "connectionsRemoved": sum(bool(change.removed) for change in found.changes),
        },
        "endpoints": {
            "added": [_endpoint(pod) for pod in found.pods_added],
            "removed": [_endpoint(pod) for pod in found.pods_removed],
        },
        "external": [_external(external) for external in found.new.externals],
        "changes": [_change(each) for each in reviewed],
    }
    if families:
        document["families"] = [
            {"family": f"IPv{family}", "changes": [_change(each) for each in alone]}
            for family, alone in families
        ]
    if rules is not None:
        document["rules"] = [{"file": name, "diff": text} for name, text in rules.items()]
    return _text(document)


def _change(each: Reviewed) -> dict[str, Any]:
    return {
        "from": each.change.source,
        "to": each.change.destination,
        "added": {**_connections(each.change.added), "causes": _causes(each.added_by)},
        "removed": {**_connections(each.change.removed), "causes": _causes(each.removed_by)},
    }


def _text(document: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _endpoint(pod: Pod) -> dict[str, Any]:
    workload = pod.workload
    return {
        "id": pod_id(pod),
        "namespace": pod.namespace,
        "name": pod.name,
        "labels": dict(sorted(pod.labels.items())),
        "ips": list(pod.ips),
        "workload": {
            "kind": "Pod" if workload is None else workload.kind,
            "name": pod.name if workload is None else workload.name,
        },
        "hostNetwork": pod.host_network,
        "phase": pod.phase,
    }


def _external(external: External) -> dict[str, Any]:
    return {"id": external.id, "ranges": external.ranges}


def _connections(allowed: ConnectionSet) -> dict[str, Any]:
    return {
        "allowed": {protocol.name: allowed.ports(protocol).intervals for protocol in Protocol},
        "otherProtocols": allowed.other,
    }


def _causes(causes: Iterable[Cause]) -> list[dict[str, Any]]:
    return [
        {
            "policy": cause.policy,
            "edit": cause.edit,
            "act": cause.act,
            "path": cause.path,
            "file": cause.source.file,
            "line": cause.source.line,
        }
        for cause in causes
    ]
