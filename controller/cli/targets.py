"""What users write for an end of a connection: `shop/web`, `shop/deploy/web`, `10.0.0.1`, `web`."""

import difflib
from collections.abc import Iterable, Iterator

from controller.cli.failure import CommandError
from controller.cli.output.escapes import plain
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator
from controller.objects.addresses import AddressError
from controller.objects.kinds import Cluster, Pod, Protocol
from controller.objects.names import shown_text

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

_PORT_DIGITS = 20
"""More are no number to convert: Python refuses thousands of them."""

_SHOWN = 40
"""How much of a wrong port a message repeats, in characters."""


def endpoints_of(evaluator: Evaluator, text: str) -> tuple[tuple[Endpoint, ...], ...]:
    """The endpoints a text names, one per address: those of every pod it stands for, first pod first.

    Finished pods, and pods without an address, count only where there are no others. Raises CommandError
    where the text names no endpoint, with suggestions.
    """
    try:
        return ((evaluator.addresses.at(text),),)
    except AddressError:
        pods = find_pods(evaluator.cluster, text)
    if pods[0].is_finished:
        raise CommandError(f"pod {_name(pods[0])} has {pods[0].phase.lower()}: it has no traffic any more")
    found = tuple(filter(None, map(evaluator.addresses.of_pod, pods)))
    if not found:
        raise CommandError(f"pod {_name(pods[0])} has no address yet")
    return found


def find_pods(cluster: Cluster, text: str) -> tuple[Pod, ...]:
    """The live pods a text stands for, several for a workload; finished ones where none is alive.

    A text is taken literally first, for a pod or a namespace may be called `pod`; only where that finds
    nothing, `pod` is the kind. Raises CommandError where no reading finds a pod of one namespace.
    """
    readings = tuple(_readings(text))
    if not readings:
        raise CommandError(f"'{plain(text)}' is none of NAMESPACE/POD, NAMESPACE/KIND/NAME and an IP address")
    found = next(filter(None, (_matching(cluster, reading) for reading in readings)), ())
    if not found:
        raise CommandError(f"no pod or workload '{plain(text)}' in the manifests{_suggest(cluster, text)}")
    live = tuple(pod for pod in found if not pod.is_finished) or tuple(found)
    namespaces = sorted({pod.namespace for pod in live})
    if len(namespaces) > 1:
        choices = ", ".join(plain(f"{namespace}/{readings[-1][-1]}") for namespace in namespaces)
        raise CommandError(f"'{plain(text)}' is in several namespaces: say which of {choices}")
    return live


def node_names(nodes: Iterable[str]) -> str:
    """Node names for a message, printable whoever wrote them; pods without a node are at `(none)`."""
    return ", ".join(plain(node) or "(none)" for node in nodes)


def parse_service(text: str) -> tuple[Protocol | None, int | None]:
    """`80`, `80/TCP`, `53/udp`, `icmp`: a protocol (None for any other than TCP, UDP, SCTP) and a port."""
    if text.lower() in {"icmp", "icmpv6"}:
        return None, None
    port, _, name = text.partition("/")
    name = name.upper() or "TCP"
    asked = f"--port {shown_text(text, _SHOWN)}"
    if name not in Protocol.__members__:
        wrong = shown_text(name, _SHOWN)
        raise CommandError(f"{asked}: protocol '{wrong}' is none of TCP, UDP, SCTP (or say just icmp)")
    if not (port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and 1 <= int(port) <= 65535):
        raise CommandError(f"{asked}: '{shown_text(port, _SHOWN)}' is not a port number from 1 to 65535")
    return Protocol[name], int(port)


def _readings(text: str) -> Iterator[tuple[str, ...]]:
    """What a text may mean, literal meaning first: (name,), (namespace, name), (namespace, kind, name)."""
    parts = tuple(text.split("/"))
    if len(parts) <= 2 or (len(parts) == 3 and parts[1].lower() in _KINDS):
        yield parts
    if len(parts) == 3 and parts[1] == "pod":
        yield (parts[0], parts[2])
    if len(parts) > 1 and parts[0] == "pod":
        yield from _readings("/".join(parts[1:]))


def _matching(cluster: Cluster, reading: tuple[str, ...]) -> list[Pod]:
    match reading:
        case [namespace, kind, name]:
            return _of_workload(cluster, namespace, _KINDS[kind.lower()], name)
        case [namespace, name]:
            found = [pod for pod in cluster.pods if pod.key == (namespace, name)]
            return found or _of_workload(cluster, namespace, None, name)
        case _:
            found = [pod for pod in cluster.pods if pod.name == reading[0]]
            return found or _of_workload(cluster, None, None, reading[0])


def _of_workload(cluster: Cluster, namespace: str | None, kind: str | None, name: str) -> list[Pod]:
    return [
        pod
        for pod in cluster.pods
        if pod.workload is not None
        and pod.workload.name == name
        and namespace in {None, pod.namespace}
        and kind in {None, pod.workload.kind}
    ]


def _name(pod: Pod) -> str:
    return plain(f"{pod.namespace}/{pod.name}")


def _suggest(cluster: Cluster, text: str) -> str:
    names = [_name(pod) for pod in cluster.pods]
    close = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    close = close or [name for name in names if name.endswith("/" + text.rpartition("/")[2])][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
