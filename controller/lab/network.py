"""The network of one lab: makes and removes its fabric, nodes and pods, in batches. Blocking; root.

A pod takes three `ip` processes, so those of a burst share them: one batch for all namespaces, one for each
node, and one for each pod, those of a kind at the same time.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from msgspec import Struct

from controller.dataplane.tools import Backend, restore_command
from controller.lab import wiring
from controller.lab.addressing import NodePlace
from controller.lab.namespaces import (
    Command,
    CommandError,
    Namespace,
    add_namespaces,
    delete_namespaces,
    named,
    run_all,
)
from controller.lab.wiring import Attachment, Cni

LAB_NAME = re.compile(r"[a-z0-9]{1,20}")
"""No dashes: the namespaces of lab `a` could be those of lab `a-b`."""

OUTSIDE_PORT = 7
"""Where the fabric answers whatever is sent to the world outside."""

_LONGEST_NAME = 200
"""Characters: those of files end at 255, those of pods with their namespaces later."""
_TOGETHER = 40
"""Processes started at the same time."""


class Names(Struct, frozen=True):
    """What the namespaces of a lab are called."""

    lab: str

    @property
    def prefix(self) -> str:
        """What all of them begin with, and no other."""
        return f"pg-{self.lab}-"

    @property
    def fabric(self) -> str:
        """The router; so no node can have this name."""
        return f"{self.prefix}fabric"

    def node(self, node: str) -> str:
        """A node's."""
        return f"{self.prefix}{node}"

    def pod(self, namespace: str, name: str) -> str:
        """A pod's. The colon tells it from every node's."""
        found = f"{self.prefix}{namespace}:{name}"
        if len(found) <= _LONGEST_NAME:
            return found
        return f"{found[:_LONGEST_NAME]}-{hashlib.sha256(found.encode()).hexdigest()[:16]}"


class PodLink(Struct, frozen=True):
    """A pod to be attached: its network namespace, its node and its link there."""

    namespace: str
    node: NodePlace
    attachment: Attachment


class Network:
    """Makes and removes. It keeps nothing: what exists is what the kernel has."""

    def __init__(self, names: Names, cni: Cni, backend: Backend) -> None:
        self.names = names
        self.cni = cni
        self.backend = backend

    def add_fabric(self, families: Sequence[int]) -> None:
        """The router. Raises CommandError."""
        add_namespaces([self.names.fabric])
        with Namespace(self.names.fabric) as fabric:
            fabric.set_sysctls({**wiring.SYSCTLS, **wiring.FORWARDING})
            _configure([(fabric, wiring.fabric_lines(families))])
            for family in families:
                rules = wiring.outside_rules(family, OUTSIDE_PORT)
                fabric.run(restore_command(self.backend, family), rules)

    def add_node(self, node: NodePlace) -> None:
        """A node on the fabric, its uplink in use. Raises CommandError."""
        name = self.names.node(node.name)
        add_namespaces([name])
        with Namespace(self.names.fabric) as fabric, Namespace(name) as inside:
            inside.set_sysctls({**wiring.SYSCTLS, **wiring.FORWARDING})
            if self.cni is Cni.BRIDGE:
                inside.set_sysctls(wiring.BRIDGE_SYSCTLS)
            _configure([(fabric, wiring.uplink_lines(node, name))])
            _configure([(inside, wiring.node_lines(node, self.cni))])
            fabric.set_sysctls(wiring.impatience(wiring.uplink_device(node)))
            inside.set_sysctls(wiring.impatience("uplink"))
            fabric.await_links([wiring.uplink_device(node)])
            inside.await_links(["uplink"])
            for family in node.families:
                inside.run(restore_command(self.backend, family), wiring.HINTS)

    def remove_node(self, node: NodePlace) -> None:
        """Take it off the fabric; its pods must be gone."""
        with Namespace(self.names.fabric) as fabric:
            _remove_link(fabric, wiring.uplink_device(node))
        delete_namespaces([self.names.node(node.name)])

    def add_pods(self, links: Sequence[PodLink]) -> None:
        """Pods with links that carry packets; all, or the message says which failed. Raises CommandError."""
        add_namespaces(link.namespace for link in links)
        by_node: dict[str, list[PodLink]] = defaultdict(list)
        for link in links:
            by_node[self.names.node(link.node.name)].append(link)
        with _opened([*by_node, *(link.namespace for link in links)]) as opened:
            for link in links:
                opened[link.namespace].set_sysctls(wiring.SYSCTLS)
            _configure((opened[node], self._attach(found)) for node, found in by_node.items())
            _configure((opened[link.namespace], self._inside(link)) for link in links)
            for link in links:
                opened[link.namespace].set_sysctls(wiring.impatience("eth0"))
                opened[link.namespace].await_links(["eth0"])
            for name, found in by_node.items():
                ports = [link.attachment.device for link in found]
                routed = ["cbr0"] if self.cni is Cni.BRIDGE else ports
                for device in routed:
                    opened[name].set_sysctls(wiring.impatience(device))
                opened[name].await_links([*ports, *routed])

    def remove_pods(self, links: Iterable[PodLink]) -> None:
        """Remove pods, also those of which only a part exists.

        The node's end goes first: with its namespace it would go later, in a worker of the kernel, and keep
        the name from the next pod.
        """
        found = [*links]
        by_node: dict[str, list[PodLink]] = defaultdict(list)
        for link in found:
            by_node[self.names.node(link.node.name)].append(link)
        for name, on_node in by_node.items():
            # A node that is gone, or is going at this moment, takes the links along.
            with suppress(OSError), Namespace(name) as node:
                for link in on_node:
                    _remove_link(node, link.attachment.device)
        delete_namespaces(link.namespace for link in found)

    def remove(self) -> None:
        """Everything, whatever state it is in."""
        delete_namespaces(named(self.names.prefix))

    def _attach(self, links: Iterable[PodLink]) -> Iterator[str]:
        for link in links:
            yield from wiring.attach_lines(link.attachment, link.node.gateways, self.cni, link.namespace)

    def _inside(self, link: PodLink) -> Iterator[str]:
        return wiring.pod_lines(link.attachment.addresses, link.node.gateways, link.node.pod_blocks, self.cni)


@contextmanager
def _opened(names: Iterable[str]) -> Iterator[Mapping[str, Namespace]]:
    """Namespaces by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Namespace(name)) for name in dict.fromkeys(names)}


def _configure(work: Iterable[tuple[Namespace, Iterable[str]]]) -> None:
    commands = [Command(place, ["ip", "-batch", "-"], wiring.batch(lines)) for place, lines in work]
    for start in range(0, len(commands), _TOGETHER):
        run_all(commands[start : start + _TOGETHER])


def _remove_link(namespace: Namespace, device: str) -> None:
    try:
        namespace.run(["ip", "link", "delete", device])
    except CommandError as error:
        if "Cannot find device" not in str(error):
            raise
