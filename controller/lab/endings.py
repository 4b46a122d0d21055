"""Empties namespaces that are being deleted, and lets them go: with a real API server somebody has to.

The lab's own API server does it itself, and gives its namespaces no finalizer to wait for.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from controller.kube.client import ApiClient
from controller.kube.errors import ApiError, NotFound
from controller.kube.resource import NAMESPACES, NETWORK_POLICIES, PODS, Resource, Selection
from controller.lab.controllers import Trigger
from controller.lab.podspec import Metadata
from controller.lab.resources import SERVICES, WORKLOADS

_log = logging.getLogger(__name__)

_CONTENTS = (*WORKLOADS.values(), PODS, NETWORK_POLICIES, SERVICES)
"""What a lab's namespaces hold; owners before what they own."""
_LOOK_AGAIN = 0.1


class NamespaceSpec(Struct):
    """spec of a Namespace."""

    finalizers: list[str] | None = None


class NamespaceObject(Struct):
    """A Namespace, as far as its end goes."""

    metadata: Metadata
    spec: NamespaceSpec = msgspec.field(default_factory=NamespaceSpec)

    @property
    def is_ending(self) -> bool:
        """Whether it is being deleted: it stays until somebody says that it is empty."""
        return self.metadata.deletion_timestamp is not None


class NamespaceController:
    """Looks whenever it is triggered."""

    def __init__(self, client: ApiClient, namespaces: Callable[[], Iterable[NamespaceObject]]) -> None:
        self._client = client
        self._namespaces = namespaces
        self.trigger = Trigger()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.trigger.wait()
            ending = [each.metadata.name for each in self._namespaces() if each.is_ending]
            for name in ending:
                try:
                    if not await self._is_emptied(name):
                        self.trigger.pull_later(_LOOK_AGAIN)
                        continue
                    await self._let_go(name)
                except NotFound:
                    continue
                except ApiError as error:
                    _log.warning("namespace %s: %s; trying again", name, error)
                    self.trigger.pull_later(_LOOK_AGAIN)

    async def _is_emptied(self, name: str) -> bool:
        """Delete what is in it; whether nothing was."""
        listings = await asyncio.gather(
            *(self._client.list_metadata(resource, Selection(name)) for resource in _CONTENTS)
        )
        found = zip(_CONTENTS, (listing.items for listing in listings), strict=True)
        left = [(resource, each.name) for resource, items in found for each in items]
        deleting = (self._delete(resource, name, each) for resource, each in left)
        await asyncio.gather(*deleting)
        return not left

    async def _delete(self, resource: Resource, namespace: str, name: str) -> None:
        try:
            await self._client.delete(resource, name, namespace=namespace)
        except NotFound:
            return

    async def _let_go(self, name: str) -> None:
        """Say that it is empty and delete it once more: who is second may have left it to the first."""
        body = await self._client.get(NAMESPACES, name, dict[str, Any])
        if "deletionTimestamp" not in body["metadata"]:
            return  # another of this name
        if body["spec"].get("finalizers"):
            body["spec"] = {"finalizers": []}
            await self._client.replace(NAMESPACES, body, msgspec.Raw, subresource="finalize")
        await self._client.delete(NAMESPACES, name, uid=body["metadata"]["uid"])
