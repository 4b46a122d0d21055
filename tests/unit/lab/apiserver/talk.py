"""A client of few words for the tests of the API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import ClientResponse, ClientSession

Value = dict[str, Any]
Headers = Mapping[str, str] | None

PODS = "/api/v1/namespaces/default/pods"
NAMESPACES = "/api/v1/namespaces"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVICES = "/api/v1/namespaces/default/services"
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
SECONDS = 10
"""How long a test waits for what must come."""


class Answer(NamedTuple):
    """The status and the body of a response."""

    code: int
    body: Value

    @property
    def metadata(self) -> Value:
        metadata: Value = self.body["metadata"]
        return metadata

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


class Stream:
    """The events of a watch."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def next(self) -> Value:
        """The next event."""
        async with asyncio.timeout(SECONDS):
            event: Value = json.loads(await self.response.content.readline())
        return event

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def rest(self) -> list[Value]:
        """Everything up to the end."""
        async with asyncio.timeout(SECONDS):
            return [json.loads(line) async for line in self.response.content]


class Talk:
    """Requests with JSON in and out; further keyword arguments are the query."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Headers = None,
        /,
        **query: object,
    ) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with (
            asyncio.timeout(SECONDS),
            self.session.request(method, path, data=data, headers=sent, params=_texts(query)) as response,
        ):
            text = await response.read()
            return Answer(response.status, json.loads(text) if text[:1] in (b"{", b"[") else {})

    async def get(self, path: str, **query: object) -> Answer:
        return await self.ask("GET", path, **query)

    async def post(self, path: str, body: object, **query: object) -> Answer:
        return await self.ask("POST", path, body, **query)

    async def put(self, path: str, body: object, **query: object) -> Answer:
        return await self.ask("PUT", path, body, **query)

    async def delete(self, path: str, body: object = None, **query: object) -> Answer:
        return await self.ask("DELETE", path, body, **query)

    async def patch(self, path: str, body: object, how: str = "merge", **query: object) -> Answer:
        return await self.ask("PATCH", path, body, {"Content-Type": PATCHES[how]}, **query)

    @asynccontextmanager
    async def watch(self, path: str, headers: Headers = None, /, **query: object) -> AsyncIterator[Stream]:
        params = _texts({"watch": "true", "timeoutSeconds": 60, **query})
        async with self.session.get(path, params=params, headers=headers) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)


def _texts(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items()}


def pod(name: str, labels: Mapping[str, str] | None = None, **spec: object) -> Value:
    metadata: Value = {"name": name}
    if labels:
        metadata["labels"] = dict(labels)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "main", "image": "registry.example/main"}], **spec},
    }


def config_map(name: str, **data: str) -> Value:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def policy(name: str = "web", **spec: object) -> Value:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def definition(
    schema: Mapping[str, object] | None = None, *, scope: str = "Namespaced", status: bool = True
) -> Value:
    """A CRD of Widgets in example.com/v1."""
    version: Value = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    }
    if status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": scope,
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [version],
        },
    }


def widget(name: str, **rest: object) -> Value:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, **rest}


WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


async def until(condition: Callable[[], bool]) -> None:
    """Return when something has become true that nothing tells of."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.005)
