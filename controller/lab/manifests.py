"""Manifests for a lab: read, and applied through the API server as `kubectl apply --server-side` would."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from controller.kube.client import ApiClient, PatchKind
from controller.kube.errors import NotFound
from controller.kube.resource import Resource

Manifest = Mapping[str, Any]

_FIRST = ("CustomResourceDefinition", "Namespace")
_AT_ONCE = 16
_SUFFIXES = {".yaml", ".yml", ".json"}


class ManifestError(Exception):
    """A manifest cannot be read or applied; the message names it and says why."""


class _ApiResource(Struct):
    name: str
    namespaced: bool
    kind: str


class _ApiResources(Struct):
    resources: list[_ApiResource]


def read_manifests(source: str | Path | Iterable[Manifest]) -> list[Manifest]:
    """The objects of a file, of the files of a folder, of YAML text, or as they are. Raises ManifestError."""
    if isinstance(source, Path):
        return [each for path in _files(source) for each in _objects(path.read_text(), str(path))]
    if isinstance(source, str):
        return [*_objects(source, "the manifests")]
    return [each for manifest in source for each in _flattened(manifest, "the manifests")]


def with_namespaces(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The objects, after the namespaces that they are in and that none of them is.

    Policies are often kept without their namespace, and the verbs that read files do not miss it.
    """
    found = [*manifests]
    defined = {each["metadata"]["name"] for each in found if each["kind"] == "Namespace"}
    named = {each["metadata"].get("namespace") or "" for each in found} - {""}
    missing: list[Manifest] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted(named - defined)
    ]
    return [*missing, *found]


async def apply(client: ApiClient, manifests: Iterable[Manifest]) -> None:
    """Create or change the objects; definitions and namespaces first. Raises ManifestError and ApiError."""
    waiting = [*manifests]
    for kind in _FIRST:
        await _apply_together(client, [each for each in waiting if each["kind"] == kind])
    await _apply_together(client, [each for each in waiting if each["kind"] not in _FIRST])


async def delete(client: ApiClient, manifests: Iterable[Manifest]) -> None:
    """Delete the objects; those that are gone already are no error. Raises ManifestError and ApiError."""
    for each in manifests:
        resource = await _resource_of(client, each)
        try:
            await client.delete(resource, each["metadata"]["name"], namespace=_namespace(resource, each))
        except NotFound:
            continue


async def _apply_together(client: ApiClient, manifests: list[Manifest]) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)
    resources = {
        (each["apiVersion"], each["kind"]): await _resource_of(client, each)
        for each in {(each["apiVersion"], each["kind"]): each for each in manifests}.values()
    }

    async def apply_one(manifest: Manifest) -> None:
        resource = resources[manifest["apiVersion"], manifest["kind"]]
        async with limit:
            await client.patch(
                resource,
                manifest["metadata"]["name"],
                manifest,
                msgspec.Raw,
                namespace=_namespace(resource, manifest),
                kind=PatchKind.APPLY,
                force=True,
            )

    await asyncio.gather(*map(apply_one, manifests))


async def _resource_of(client: ApiClient, manifest: Manifest) -> Resource:
    version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    try:
        found = msgspec.json.decode(await client.raw(path), type=_ApiResources)
    except NotFound:
        found = _ApiResources([])
    for each in found.resources:
        if each.kind == kind and "/" not in each.name:
            group, _, version = version.rpartition("/")
            return Resource(group, version, each.name, each.namespaced, kind)
    raise ManifestError(f"{kind} {manifest['metadata']['name']}: the API server has no {kind} in {version}")


def _namespace(resource: Resource, manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace") or "default") if resource.namespaced else ""


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    if not path.exists():
        raise ManifestError(f"{path}: no such file or folder")
    return [path]


def _objects(text: str, place: str) -> Iterator[Manifest]:
    try:
        documents = [*yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))]
    except yaml.YAMLError as error:
        raise ManifestError(f"{place}: {error}") from error
    for document in documents:
        if document is not None:
            yield from _flattened(document, place)


def _flattened(document: object, place: str) -> Iterator[Manifest]:
    if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
        raise ManifestError(f"{place}: an object without apiVersion and kind: {str(document)[:80]}")
    if document["kind"] == "List":
        for item in document.get("items") or ():
            yield from _flattened(item, place)
        return
    if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
        raise ManifestError(f"{place}: a {document['kind']} without metadata.name")
    yield document
