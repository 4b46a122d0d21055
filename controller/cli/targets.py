"""What users write for an end of a connection: `shop/web`, `shop/deploy/web`, `10.0.0.1`, `web`."""

import difflib

from controller.cli.failure import CommandError
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator
from controller.objects.addresses import AddressError
from controller.objects.kinds import Cluster, Pod, Protocol

_KINDS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "sts": "StatefulSet",
    "statefulset": "StatefulSet",
    "ds": "DaemonSet",
    "daemonset": "DaemonSet",
    "rs": "ReplicaSet",
    "replicaset": "ReplicaSet",
    "rc": "ReplicationController",
    "replicationcontroller": "ReplicationController",
    "job": "Job",
    "cj": "CronJob",
    "cronjob": "CronJob",
}


def endpoints_of(evaluator: Evaluator, text: str) -> tuple[Endpoint, ...]:
    """The endpoints a text names, one per address.

    Raises CommandError where it names none, with suggestions.
    """
    try:
        return (evaluator.addresses.at(text),)
    except AddressError:
        pod = find_pod(evaluator.cluster, text)
    found = evaluator.addresses.of_pod(pod)
    if pod.is_finished:
        raise CommandError(
            f"pod {pod.namespace}/{pod.name} has {pod.phase.lower()}: it has no traffic any more"
        )
    if not found:
        raise CommandError(f"pod {pod.namespace}/{pod.name} has no address yet")
    return found


def find_pod(cluster: Cluster, text: str) -> Pod:
    """The pod a text names; of a workload with several pods, the first. Raises CommandError."""
    parts = [part for part in text.removeprefix("pod/").split("/") if part != "pod"]
    match parts:
        case [namespace, kind, name] if kind.lower() in _KINDS:
            found = _of_workload(cluster, namespace, _KINDS[kind.lower()], name)
        case [namespace, name]:
            found = [pod for pod in cluster.pods if pod.key == (namespace, name)]
            found = found or _of_workload(cluster, namespace, None, name)
        case [name]:
            found = [pod for pod in cluster.pods if pod.name == name]
            found = found or _of_workload(cluster, None, None, name)
        case _:
            raise CommandError(f"{text!r} is none of NAMESPACE/POD, NAMESPACE/KIND/NAME and an IP address")
    namespaces = sorted({pod.namespace for pod in found})
    if len(namespaces) > 1:
        choices = ", ".join(f"{namespace}/{parts[-1]}" for namespace in namespaces)
        raise CommandError(f"{text!r} is in several namespaces: say which of {choices}")
    if not found:
        raise CommandError(f"no pod or workload {text!r} in the manifests{_suggest(cluster, text)}")
    return found[0]


def parse_service(text: str) -> tuple[Protocol | None, int | None]:
    """`80`, `80/TCP`, `53/udp`, `icmp`: a protocol (None for any other than TCP, UDP, SCTP) and a port."""
    if text.lower() in {"icmp", "icmpv6"}:
        return None, None
    port, _, name = text.partition("/")
    name = name.upper() or "TCP"
    if name not in Protocol.__members__:
        raise CommandError(f"--port {text}: protocol {name!r} is none of TCP, UDP, SCTP (or say just icmp)")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise CommandError(f"--port {text}: {port!r} is not a port number from 1 to 65535")
    return Protocol[name], int(port)


def _of_workload(cluster: Cluster, namespace: str | None, kind: str | None, name: str) -> list[Pod]:
    return [
        pod
        for pod in cluster.pods
        if pod.workload is not None
        and pod.workload.name == name
        and namespace in {None, pod.namespace}
        and kind in {None, pod.workload.kind}
    ]


def _suggest(cluster: Cluster, text: str) -> str:
    names = [f"{pod.namespace}/{pod.name}" for pod in cluster.pods]
    close = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    close = close or [name for name in names if name.endswith("/" + text.rpartition("/")[2])][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
