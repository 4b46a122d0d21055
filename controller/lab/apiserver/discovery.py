"""What kinds there are, told as clients ask for it: group lists, resource lists, and the start of OpenAPI."""

from collections.abc import Iterable
from typing import Any

from controller.lab.apiserver.kinds import VERBS, Kind, Registry
from controller.lab.apiserver.status import no_such_path
from controller.lab.apiserver.store import Object

VERSION: Object = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


def describe(registry: Registry, path: str) -> Object:
    """The document of a discovery path. Raises ApiError 404."""
    match [part for part in path.split("/") if part]:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis", *rest]:
            return _of_groups(registry, rest)
        case ["api", version]:
            return _resources(registry, "", version)
        case ["openapi", "v3", *rest]:
            return _openapi(registry, "/".join(rest))
        case _:
            raise no_such_path()


def _of_groups(registry: Registry, rest: list[str]) -> Object:
    match rest:
        case []:
            groups = sorted({kind.group for kind in registry} - {""})
            listed = [_group(registry, group) for group in groups]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case [group]:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, group)}
        case [group, version]:
            return _resources(registry, group, version)
        case _:
            raise no_such_path()


def _group(registry: Registry, group: str) -> Object:
    versions = sorted({kind.version for kind in registry if kind.group == group}, key=_by_priority)
    if not versions:
        raise no_such_path()
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _by_priority(version: str) -> tuple[int, list[int], str]:
    """v2 before v1 before v1beta2 before v1alpha1, as Kubernetes orders versions."""
    for rank, word in enumerate(("beta", "alpha"), start=1):
        if word in version:
            major, _, minor = version.removeprefix("v").partition(word)
            return rank, [-int(major or 0), -int(minor or 0)], version
    number = version.removeprefix("v")
    return (0, [-int(number)], version) if number.isdecimal() else (3, [], version)


def _resources(registry: Registry, group: str, version: str) -> Object:
    kinds = [kind for kind in registry if (kind.group, kind.version) == (group, version)]
    if not kinds:
        raise no_such_path()
    resources = [entry for kind in kinds for entry in _entries(kind)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": resources,
    }


def _entries(kind: Kind) -> Iterable[Object]:
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular or kind.name.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(VERBS),
    }
    if kind.short:
        entry["shortNames"] = list(kind.short)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    yield entry
    for subresource in kind.subresources:
        entry = {
            "name": f"{kind.plural}/{subresource}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": ["get", "patch", "update"],
        }
        if subresource in _SUBRESOURCE_KINDS:
            group, version, name = _SUBRESOURCE_KINDS[subresource]
            entry |= {"group": group, "version": version, "kind": name, "verbs": ["create"]}
        yield entry


def _place(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


def _openapi(registry: Registry, place: str) -> Object:
    """Enough for kubectl: that the server validates fields itself, so that kubectl need not know them."""
    if not place:
        places = sorted({_place(kind) for kind in registry})
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in places}}
    kinds = [kind for kind in registry if _place(kind) == place]
    if not kinds:
        raise no_such_path()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": {
            f"/{_place(kind)}/{'namespaces/{namespace}/' if kind.namespaced else ''}{kind.plural}/{{name}}": {
                "patch": {
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": {
                        "group": kind.group,
                        "version": kind.version,
                        "kind": kind.name,
                    },
                    "parameters": [
                        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                        for name in ("dryRun", "fieldManager", "fieldValidation", "force")
                    ],
                    "responses": {"200": {"description": "OK"}},
                }
            }
            for kind in kinds
        },
        "components": {"schemas": {}},
    }
