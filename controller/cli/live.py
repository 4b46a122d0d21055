"""Reading a live cluster for a verb: its objects as if they had come from files, and podgate's own."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TypeVar

import click
import msgspec

from controller.cli.failure import CommandError
from controller.engine.node_policies import published_mode
from controller.engine.reports import AGENT_LABELS, agents_of
from controller.kube.client import ApiClient
from controller.kube.connection import Connection
from controller.kube.errors import Forbidden, KubeError, NotFound
from controller.kube.resource import (
    NAMESPACES,
    NETWORK_POLICIES,
    NODE_POLICIES,
    NODES,
    PODS,
    SERVICES,
    Resource,
    Selection,
)
from controller.objects.documents import Document
from controller.objects.kinds import Mode
from controller.objects.resources import NodePolicy

T = TypeVar("T")

_ANSWERS_AT_ONCE = 16
"""Requests under way at a time."""


def ask(connection: Connection, question: Callable[[ApiClient], Awaitable[T]]) -> T:
    """The answer of a coroutine that asks the API server. Raises CommandError where that refuses."""

    async def asked() -> T:
        async with ApiClient(connection, user_agent="podgate-cli") as client:
            return await question(client)

    try:
        return asyncio.run(asked())
    except KubeError as error:
        raise CommandError(str(error)) from error


async def documents(client: ApiClient, namespace: str = "") -> list[Document]:
    """The objects that decide who may talk to whom; of one namespace, or of all.

    Namespaces and nodes come whole in either case: selectors of any policy may speak of them.
    """
    kinds = (
        (NETWORK_POLICIES, Selection(namespace)),
        (PODS, Selection(namespace)),
        (NAMESPACES, Selection()),
        (NODES, Selection()),
    )
    lists = await asyncio.gather(*(_listed(client, resource, which) for resource, which in kinds))
    return [document for found in lists for document in found]


async def documents_and_services(client: ApiClient) -> list[Document]:
    """The same with Services; who may not read those is told so, and gets the others."""
    found = await documents(client)
    try:
        return [*found, *await _listed(client, SERVICES, Selection())]
    except Forbidden as error:
        click.echo(f"note: Services are not known: {error}", err=True)
        return found


async def agents(client: ApiClient) -> dict[str, str]:
    """By node, why the pod of its agent is not ready, "" where it is; none where that may not be asked."""
    labels = ",".join(f"{key}={value}" for key, value in AGENT_LABELS.items())
    try:
        found = await _listed(client, PODS, Selection(label_selector=labels))
    except Forbidden as error:
        _note_once(f"whether agents run is not known: {error}")
        return {}
    return agents_of(each.data for each in found)


async def operator_mode(client: ApiClient) -> Mode:
    """The mode of policies that do not say it, as the operator wrote it last; enforce without podgate.

    Who may not read NodePolicies is told what is assumed.
    """
    try:
        first = await client.page(NODE_POLICIES, NodePolicy, limit=1)
    except NotFound:
        return Mode.ENFORCE
    except Forbidden as error:
        click.echo(f"note: taken to be in mode enforce; with --mode audit it would not be: {error}", err=True)
        return Mode.ENFORCE
    return published_mode(first.items or ())


async def node_policies(client: ApiClient, names: set[str] | None = None) -> list[NodePolicy]:
    """The NodePolicies of some nodes, or of all; one that is not there is left out.

    Raises CommandError where podgate is not installed.
    """
    if names is None or len(names) > _ANSWERS_AT_ONCE:
        try:
            listing = await client.list_all(NODE_POLICIES, NodePolicy)
        except NotFound as error:
            raise not_installed(client) from error
        return [each for each in listing.items if names is None or each.metadata.name in names]
    found = await asyncio.gather(*(_node_policy(client, name) for name in sorted(names)))
    return [each for each in found if each is not None]


def not_installed(client: ApiClient) -> CommandError:
    """What a cluster says that does not know podgate's own kinds."""
    return CommandError(f"{client.connection.server} knows no NodePolicy: podgate is not installed there")


@cache
def _note_once(text: str) -> None:
    """Who waits asks again and again."""
    click.echo(f"note: {text}", err=True)


async def _node_policy(client: ApiClient, name: str) -> NodePolicy | None:
    try:
        return await client.get(NODE_POLICIES, name, NodePolicy)
    except NotFound:
        return None


async def _listed(client: ApiClient, resource: Resource, which: Selection) -> list[Document]:
    """The objects of a kind. In a list they come without kind and apiVersion, as everywhere in Kubernetes."""
    listing = await client.list_all(resource, msgspec.Raw, which)
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [Document({**head, **msgspec.json.decode(item)}) for item in listing.items]
