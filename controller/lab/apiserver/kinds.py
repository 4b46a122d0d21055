"""What a kind is, and the registry of those that are served: the built-in ones, and what CRDs add."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

Key = tuple[str, str]
"""Group and plural: what one table of the store is for, whatever the version."""

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Kind(Struct, frozen=True, kw_only=True):
    """One kind in one version.

    `fields`: what field selectors may name beside metadata.name and metadata.namespace. `schema`: the
    structural schema, of kinds that a CRD defines. `renames`: top-level fields that this version calls
    otherwise than the stored form, as {name here: name stored}. `generations`: whether metadata.generation
    counts changes of the spec.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    generations: bool = False
    custom: bool = False
    schema: Mapping[str, Any] | None = None
    renames: Mapping[str, str] = {}
    stored_as: Key | None = None

    @property
    def api_version(self) -> str:
        """As objects carry it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> Key:
        """The table its objects are in."""
        return self.stored_as or (self.group, self.plural)

    @property
    def resource(self) -> str:
        """As messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether status is written through a subresource of its own."""
        return "status" in self.subresources


class Registry:
    """Every kind that is served, by path and by name."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._by_name: dict[tuple[str, str], Kind] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve a kind; one of the same path is replaced."""
        self._by_path[kind.group, kind.version, kind.plural] = kind
        self._by_name[kind.api_version, kind.name] = kind

    def remove(self, kind: Kind) -> None:
        """Serve it no longer."""
        self._by_path.pop((kind.group, kind.version, kind.plural), None)
        self._by_name.pop((kind.api_version, kind.name), None)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind of a path."""
        return self._by_path.get((group, version, plural))

    def named(self, api_version: str, name: str) -> Kind | None:
        """The kind of an object."""
        return self._by_name.get((api_version, name))

    def of_key(self, key: Key) -> list[Kind]:
        """The versions of one resource."""
        return [kind for kind in self if kind.key == key]

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._by_path.values()))


NAMESPACES: Key = ("", "namespaces")
CRDS: Key = ("apiextensions.k8s.io", "customresourcedefinitions")
RBAC_GROUP = "rbac.authorization.k8s.io"
