"""The verbs of the Kubernetes API, typed: one request each, decoded into the type that is asked for.

    ApiClient(connection, user_agent=..., gate=None, fence=None)     an async context manager
    get(resource, name, into, namespace="") -> T
    page(resource, into, selection, limit=500, token="") -> Page[T]  one page; Gone: begin again
    list_all(resource, into, selection) -> Listing[T]                every page; begins again by itself
    list_metadata(resource, selection) -> Listing[ObjectMeta]        names, uids and labels only
    create(resource, body, into) -> T
    replace(resource, body, into, subresource="") -> T               PUT; body carries resourceVersion
    patch(resource, name, change, into, namespace="", kind=PatchKind.MERGE, subresource="") -> T
    delete(resource, name, namespace="", uid="", resource_version="")
    watch(resource, selection, resource_version, ...)                lines of JSON events, see `reflector`
    log(pod, namespace=..., params=...)                              lines of a pod's log
    raw(path, params) -> bytes                                       GET of anything else: /version, /readyz

`into` is a msgspec Struct (only its fields are built), `dict` or `msgspec.Raw`; a create or replace into
`PartialObject` is answered with the metadata only. Failures are those of
`errors`. Writes pass the `gate` (rate and number) and the `fence` (leadership), if they are given.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec
from msgspec import Struct, field

from controller.kube.connection import Connection
from controller.kube.errors import UNDECODABLE, Gone, MalformedAnswer, NotLeader
from controller.kube.ratelimit import WriteGate
from controller.kube.resource import EVERYTHING, PODS, Resource, Selection
from controller.kube.transport import JSON, Request, Transport

T = TypeVar("T")

PAGE = 500
"""Objects a page: 3 MB of pods."""
_LIST_RESTARTS = 3
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class ObjectMeta(Struct, rename="camel"):
    """metadata of an object, what is commonly used of it."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class PartialObject(Struct):
    """An object of which only the metadata are wanted."""

    metadata: ObjectMeta


def _accept(into: object) -> str:
    """Who wants the metadata only is not sent the rest, of which it just sent all."""
    return _METADATA_OF_ONE if into is PartialObject else JSON


class ListMeta(Struct, rename="camel"):
    """metadata of a list. `token` leads to the next page, empty on the last."""

    resource_version: str = ""
    token: str = field(default="", name="continue")
    remaining_item_count: int | None = None


class Page(Struct, Generic[T]):
    """One page of a list. The server may write null for no items; an answer without the field is no list."""

    metadata: ListMeta
    items: list[T] | None


class Listing(Struct, Generic[T]):
    """A complete list, and the resourceVersion to watch from."""

    items: list[T]
    resource_version: str


class PatchKind(StrEnum):
    """How a patch is meant."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class Fence(Protocol):
    """What says whether writing is still allowed: the leader's lease."""

    def remaining(self) -> float:
        """Seconds for which it certainly is; 0 or less: it is not."""


class Timeouts(Struct, frozen=True):
    """Seconds for one whole request; a page of a list may be megabytes."""

    request: float = 30.0
    page: float = 60.0


class ApiClient:
    """Requests to one API server over one pool of connections."""

    def __init__(  # noqa: PLR0913 - settings, by name
        self,
        connection: Connection,
        *,
        user_agent: str = "podgate",
        field_manager: str = "podgate",
        gate: WriteGate | None = None,
        fence: Fence | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    ) -> None:
        self.connection = connection
        self._transport = Transport(connection, user_agent=user_agent)
        self._field_manager = field_manager
        self._gate = gate
        self._fence = fence
        self._timeouts = timeouts

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def get(self, resource: Resource, name: str, into: type[T], *, namespace: str = "") -> T:
        """The object; NotFound if there is none."""
        request = Request(
            method="GET", path=resource.path(namespace, name), encoding="gzip", timeout=self._timeouts.request
        )
        return _decoded(request, await self._transport.send(request), into)

    async def raw(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET of any path."""
        request = Request(method="GET", path=path, params=params or {}, accept="*/*", encoding="gzip")
        return await self._transport.send(request)

    async def page(  # noqa: PLR0913 - what a list request can say, by name
        self,
        resource: Resource,
        into: type[T],
        selection: Selection = EVERYTHING,
        *,
        limit: int = PAGE,
        token: str = "",
        metadata_only: bool = False,
    ) -> Page[T]:
        """One page of a consistent list: `token` of the last one leads to the next.

        Gone: the token is too old (minutes), begin again. `limit` 0 asks for everything at once.
        """
        params = selection.params()
        if limit:
            params["limit"] = str(limit)
        if token:
            params["continue"] = token
        request = Request(
            method="GET",
            path=resource.path(selection.namespace),
            params=params,
            accept=_METADATA_ONLY if metadata_only else JSON,
            encoding="gzip",
            timeout=self._timeouts.page,
        )
        return _decoded(request, await self._transport.send(request), Page[into])  # type: ignore[valid-type]

    async def list_all(
        self,
        resource: Resource,
        into: type[T],
        selection: Selection = EVERYTHING,
        *,
        limit: int = PAGE,
        metadata_only: bool = False,
    ) -> Listing[T]:
        """Every object, page by page, all as of one resourceVersion.

        A list that takes longer than the server keeps its history begins again, at last without pages, which
        cannot become too old.
        """
        for _ in range(_LIST_RESTARTS):
            try:
                return await self._list_once(resource, into, selection, limit, metadata_only)
            except Gone:
                continue
        return await self._list_once(resource, into, selection, 0, metadata_only)

    async def list_metadata(
        self, resource: Resource, selection: Selection = EVERYTHING
    ) -> Listing[ObjectMeta]:
        """Who is there, without what they are: about a tenth of the bytes."""
        found = await self.list_all(resource, PartialObject, selection, metadata_only=True)
        return Listing([each.metadata for each in found.items], found.resource_version)

    async def create(self, resource: Resource, body: object, into: type[T], *, subresource: str = "") -> T:
        """Create the object; AlreadyExists if its name is taken.

        With a `subresource`, such as `binding` of pods, that of the object which the body names.
        """
        content = msgspec.json.encode(body)
        target = msgspec.json.decode(content, type=_Target).metadata
        name = target.name if subresource else ""
        path = resource.path(self._namespace(resource, target.namespace), name, subresource)
        return await self._write(self._request("POST", path, content, accept=_accept(into)), into)

    async def replace(self, resource: Resource, body: object, into: type[T], *, subresource: str = "") -> T:
        """Put the object in the place of the one that was read; Conflict if that one changed meanwhile.

        ValueError without metadata.resourceVersion: it would overwrite whatever others wrote.
        """
        content = msgspec.json.encode(body)
        target = msgspec.json.decode(content, type=_Target).metadata
        if not target.resource_version:
            raise ValueError(
                f"{resource} {target.namespace}/{target.name}: a replace needs metadata.resourceVersion"
            )
        path = resource.path(self._namespace(resource, target.namespace), target.name, subresource)
        return await self._write(self._request("PUT", path, content, accept=_accept(into)), into)

    async def patch(  # noqa: PLR0913 - what a patch request can say, by name
        self,
        resource: Resource,
        name: str,
        change: object,
        into: type[T],
        *,
        namespace: str = "",
        kind: PatchKind = PatchKind.MERGE,
        subresource: str = "",
        force: bool = False,
    ) -> T:
        """Change parts of the object. `force` takes fields over from other managers (APPLY only)."""
        request = self._request(
            "PATCH",
            resource.path(namespace, name, subresource),
            msgspec.json.encode(change),
            content_type=kind.value,
            params={"force": "true"} if force else {},
        )
        return await self._write(request, into)

    async def delete(  # noqa: PLR0913 - what a delete request can say, by name
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete the object; Conflict if it is not the one of `uid` and `resource_version` any more.

        `grace_seconds` 0: at once, as kubelets do when a pod has ended.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid or resource_version:
            options["preconditions"] = {key: value for key, value in wanted.items() if value}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        request = self._request("DELETE", resource.path(namespace, name), msgspec.json.encode(options))
        await self._write(request, msgspec.Raw)

    def watch(
        self,
        resource: Resource,
        selection: Selection = EVERYTHING,
        *,
        resource_version: str,
        seconds: float = 300.0,
        silence: float = 70.0,
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """Events after `resource_version`: lines of JSON, those that arrived together in one list.

        The server ends it after `seconds`; bookmarks are asked for. Errors beside those of a request: Silent
        after `silence` seconds without a byte. An ERROR event is a line like any other.
        """
        request = Request(
            method="GET",
            path=resource.path(selection.namespace),
            params={
                **selection.params(),
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": resource_version,
                "timeoutSeconds": str(max(1, round(seconds))),
            },
            timeout=seconds + 15.0,
        )
        return self._transport.stream(request, silence)

    def log(
        self, pod: str, *, namespace: str, params: Mapping[str, str], silence: float, seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """The lines of a pod's log as they arrive; errors as those of `watch`.

        `params` are those of the log subresource: follow, sinceSeconds, sinceTime, container.
        """
        path = PODS.path(namespace, pod, "log")
        request = Request(method="GET", path=path, params=params, accept="*/*", timeout=seconds)
        return self._transport.stream(request, silence)

    async def _list_once(
        self, resource: Resource, into: type[T], selection: Selection, limit: int, metadata_only: bool
    ) -> Listing[T]:
        items: list[T] = []
        token = ""
        while True:
            page = await self.page(
                resource, into, selection, limit=limit, token=token, metadata_only=metadata_only
            )
            items += page.items or ()
            token = page.metadata.token
            if not token:
                return Listing(items, page.metadata.resource_version)

    async def _write(self, request: Request, into: type[T]) -> T:
        async with self._allowed(request) as allowed:
            return _decoded(allowed, await self._transport.send(allowed), into)

    def _request(self, method: str, path: str, content: bytes, **more: Any) -> Request:  # noqa: ANN401 - of Request
        params = {} if method == "DELETE" else {"fieldManager": self._field_manager}
        return Request(
            method=method,
            path=path,
            params={**params, **more.pop("params", {})},
            body=content,
            encoding="gzip",
            timeout=self._timeouts.request,
            **more,
        )

    @asynccontextmanager
    async def _allowed(self, request: Request) -> AsyncIterator[Request]:
        """The write when its turn comes, not to last longer than the leadership that allows it."""
        async with self._gate or nullcontext():
            if not self._fence:
                yield request
                return
            remaining = self._fence.remaining()
            if remaining <= 0:
                raise NotLeader(f"{request}: held back: the lease is not ours, it is the leader's to write")
            yield msgspec.structs.replace(request, timeout=min(request.timeout, remaining))

    def _namespace(self, resource: Resource, namespace: str) -> str:
        return (namespace or self.connection.namespace) if resource.namespaced else ""


class _TargetMeta(Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Target(Struct):
    """Where a body is to go."""

    metadata: _TargetMeta = field(default_factory=_TargetMeta)


def _decoded(request: Request, body: bytes, into: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=into)
    except UNDECODABLE as error:
        raise MalformedAnswer(str(request), str(error)) from error
