"""The kinds the server knows: the built-in ones as a table, and the registry that CRDs add theirs to."""

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

_STATUS = ("status",)
_SCALED: dict[str, Any] = {"categories": ("all",), "subresources": _STATUS, "generations": True}
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_EVENT_RENAMES = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def builtin_kinds() -> list[Kind]:
    """What is served from the start."""
    return [
        *_core(),
        *_workloads(),
        *_networking(),
        *_rbac(),
        *_admission(),
        Kind(group="coordination.k8s.io", version="v1", plural="leases", name="Lease"),
        Kind(
            group="events.k8s.io",
            version="v1",
            plural="events",
            name="Event",
            short=("ev",),
            fields=_EVENT_FIELDS,
            renames=_EVENT_RENAMES,
            stored_as=("", "events"),
        ),
        Kind(
            group="apiextensions.k8s.io",
            version="v1",
            plural="customresourcedefinitions",
            name="CustomResourceDefinition",
            namespaced=False,
            short=("crd", "crds"),
            categories=("api-extensions",),
            subresources=_STATUS,
            generations=True,
        ),
    ]


def _core() -> list[Kind]:
    pods = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    )
    return [
        _of_core("configmaps", "ConfigMap", short=("cm",)),
        _of_core("endpoints", "Endpoints", short=("ep",), singular="endpoints"),
        _of_core("events", "Event", short=("ev",), fields=_EVENT_FIELDS),
        _of_core(
            "namespaces",
            "Namespace",
            namespaced=False,
            short=("ns",),
            subresources=("status", "finalize"),
            fields=("status.phase",),
        ),
        _of_core(
            "nodes",
            "Node",
            namespaced=False,
            short=("no",),
            subresources=_STATUS,
            fields=("spec.unschedulable",),
        ),
        _of_core(
            "pods",
            "Pod",
            short=("po",),
            categories=("all",),
            subresources=("status", "binding", "eviction"),
            fields=pods,
            generations=True,
        ),
        _of_core("secrets", "Secret", fields=("type",)),
        _of_core("serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",)),
        _of_core(
            "services",
            "Service",
            short=("svc",),
            categories=("all",),
            subresources=_STATUS,
            fields=("spec.clusterIP", "spec.type"),
        ),
    ]


def _of_core(plural: str, name: str, **rest: Any) -> Kind:  # noqa: ANN401 (the fields of Kind)
    return Kind(group="", version="v1", plural=plural, name=name, **rest)


def _workloads() -> list[Kind]:
    apps = [
        ("daemonsets", "DaemonSet", "ds"),
        ("deployments", "Deployment", "deploy"),
        ("replicasets", "ReplicaSet", "rs"),
        ("statefulsets", "StatefulSet", "sts"),
    ]
    return [
        *(
            Kind(group="apps", version="v1", plural=plural, name=name, short=(short,), **_SCALED)
            for plural, name, short in apps
        ),
        Kind(group="batch", version="v1", plural="jobs", name="Job", **_SCALED),
        Kind(group="batch", version="v1", plural="cronjobs", name="CronJob", short=("cj",), **_SCALED),
        Kind(
            group="policy",
            version="v1",
            plural="poddisruptionbudgets",
            name="PodDisruptionBudget",
            short=("pdb",),
            subresources=_STATUS,
            generations=True,
        ),
        Kind(
            group="scheduling.k8s.io",
            version="v1",
            plural="priorityclasses",
            name="PriorityClass",
            namespaced=False,
            short=("pc",),
            generations=True,
        ),
    ]


def _networking() -> list[Kind]:
    return [
        Kind(
            group="networking.k8s.io",
            version="v1",
            plural="networkpolicies",
            name="NetworkPolicy",
            short=("netpol",),
            generations=True,
        ),
        Kind(
            group="networking.k8s.io",
            version="v1",
            plural="ingresses",
            name="Ingress",
            short=("ing",),
            subresources=_STATUS,
            generations=True,
        ),
        Kind(group="discovery.k8s.io", version="v1", plural="endpointslices", name="EndpointSlice"),
    ]


def _rbac() -> list[Kind]:
    return [
        Kind(group=RBAC_GROUP, version="v1", plural=plural, name=name, namespaced=namespaced)
        for plural, name, namespaced in [
            ("clusterroles", "ClusterRole", False),
            ("clusterrolebindings", "ClusterRoleBinding", False),
            ("roles", "Role", True),
            ("rolebindings", "RoleBinding", True),
        ]
    ]


def _admission() -> list[Kind]:
    names = [
        ("validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
        ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    ]
    return [
        Kind(
            group="admissionregistration.k8s.io",
            version="v1",
            plural=plural,
            name=name,
            namespaced=False,
            generations=True,
        )
        for plural, name in names
    ]
