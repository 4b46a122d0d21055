"""The chain from the text of policies to what agents report, on a live cluster."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from controller.cli import live
from controller.cli.failure import CommandError
from controller.cli.output.escapes import plain
from controller.engine.node_policies import published_mode
from controller.engine.published import Fault, Published, compare, node_object, slice_object
from controller.engine.reports import NodeReport, agents_of, reports_of
from controller.engine.resolve import Resolver
from controller.kube.client import ApiClient
from controller.kube.errors import NotFound
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES, Resource, Selection
from controller.objects.assembly import observed_cluster
from controller.objects.names import counted
from controller.objects.resources import NodePolicy, PeerGroupSlice

_PAUSE = 0.25
"""Seconds between two looks; doubled up to 2."""

T = TypeVar("T")


class Link(Struct, frozen=True):
    """One link of the chain: what was compared with what, how they differ, and what was compared in all."""

    name: str
    faults: tuple[Fault, ...] = ()
    summary: str = ""
    notes: tuple[str, ...] = ()


class Verified(Struct, frozen=True):
    """The links that were looked at, and what the agents said."""

    links: tuple[Link, ...]
    nodes: tuple[NodeReport, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether no link has a fault."""
        return not any(link.faults for link in self.links)


class _Metadata(Struct, frozen=True):
    name: str = ""


class _Named(Struct, frozen=True):
    """As much of an object as says which one it is."""

    metadata: _Metadata = _Metadata()


async def verify_cluster(client: ApiClient, only: frozenset[str]) -> Verified:
    """Compare once. Raises CommandError where podgate is not installed, or a node of `only` is not there."""
    documents = await live.documents(client)
    found = await read_published(client)
    cluster = observed_cluster(documents).cluster
    resolver = Resolver.of(msgspec.structs.replace(cluster, mode=published_mode(found.node_policies)))
    policies = [each for each in found.node_policies if not only or each.metadata.name in only]
    unknown = only - {*resolver.nodes(), *(each.metadata.name for each in policies)}
    if unknown:
        raise CommandError(f"no node '{plain(min(unknown))}', no pod on it and no NodePolicy of it")
    compared = compare(resolver, found, only)
    agents = agents_of(each.data for each in documents if each.data.get("kind") == "Pod")
    reports = reports_of(policies, agents)
    idle = [each.node for each in reports if each.is_idle]
    unused = f"{compared.unused} groups that no node needs stand, too: they go a minute after their last use"
    no_pods = "no pod here is an agent's, so this rests on what agents reported last"
    nothing_to_do = f"no agent, and nothing to do for one: {', '.join(idle)}"
    return Verified(
        (
            Link(
                "text -> published",
                tuple(compared.faults),
                f"{counted(compared.nodes, 'node')}, {counted(compared.groups, 'peer group')}",
                (unused,) if compared.unused and not only else (),
            ),
            Link(
                "published -> reported",
                tuple(fault for each in reports for fault in each.faults),
                counted(len(reports) - len(idle), "agent"),
                (*((nothing_to_do,) if idle else ()), *(() if agents else (no_pods,))),
            ),
        ),
        tuple(reports),
    )


async def read_published(client: ApiClient) -> Published:
    """Podgate's objects. Raises CommandError where podgate is not installed."""
    try:
        policies, slices = await asyncio.gather(
            read_each(client, NODE_POLICIES, NodePolicy), read_each(client, PEER_GROUP_SLICES, PeerGroupSlice)
        )
    except NotFound as error:
        raise live.not_installed(client) from error
    unreadable = [
        *(Fault(node_object(name), text) for name, text in policies[1]),
        *(Fault(slice_object(name), text) for name, text in slices[1]),
    ]
    return Published(tuple(policies[0]), tuple(slices[0]), tuple(unreadable))


async def read_each(
    client: ApiClient,
    resource: Resource,
    kind: type[T],
    which: Selection = Selection(),  # noqa: B008 - frozen
) -> tuple[list[T], list[tuple[str, str]]]:
    """The objects of a kind; and those that do not decode, by name, with what is wrong."""
    found: list[T] = []
    bad: list[tuple[str, str]] = []
    for item in (await client.list_all(resource, msgspec.Raw, which)).items:
        try:
            found.append(msgspec.json.decode(item, type=kind))
        except msgspec.ValidationError as error:
            bad.append((msgspec.json.decode(item, type=_Named).metadata.name, f"cannot be read: {error}"))
    return found, bad


def settled(
    look: Callable[[], Verified], patience: float, pause: Callable[[float], None] = time.sleep
) -> Verified:
    """Look until nothing differs; after `patience` seconds what differed every time is what is wrong.

    What differs only for a moment is on its way. There are two looks at least, however short the time.
    """
    deadline = time.monotonic() + patience
    verified = look()
    standing = _all_faults(verified)
    step = _PAUSE
    while standing and patience > 0:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        pause(min(step, left))
        step = min(2 * step, 2.0)
        verified = look()
        standing &= _all_faults(verified)
    return _only(verified, standing)


def _all_faults(verified: Verified) -> set[Fault]:
    return {fault for link in verified.links for fault in link.faults}


def _only(verified: Verified, standing: set[Fault]) -> Verified:
    links = tuple(
        msgspec.structs.replace(link, faults=tuple(each for each in link.faults if each in standing))
        for link in verified.links
    )
    nodes = tuple(
        msgspec.structs.replace(node, faults=tuple(each for each in node.faults if each in standing))
        for node in verified.nodes
    )
    return Verified(links, nodes)
