"""Which collection of the API a request is about.

    Resource(group, version, plural, namespaced, kind)
    Resource.path(namespace="", name="", subresource="") -> str
    Selection(namespace="", label_selector="", field_selector="")

The well-known ones stand below; others are made where they are used.
"""

from urllib.parse import quote

from msgspec import Struct

from controller.objects.resources import GROUP, VERSION


class Resource(Struct, frozen=True):
    """A kind as the API serves it: `Resource("apps", "v1", "daemonsets", namespaced=True, kind="DaemonSet")`.

    `group` is empty for the core group.
    """

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects carry it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of the object `name`; percent-encoded.

        Without a namespace it is the collection of all namespaces. ValueError: a part could not be one path
        segment (a name comes from other people's objects, and must not lead to another path), or a
        namespaced object is named without its namespace, or a cluster-scoped one with one.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self} are cluster-scoped: no namespace ({namespace!r}) can be given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self} {name!r}: a namespace is needed")
        root = f"/apis/{self.group}" if self.group else "/api"
        scope = f"/namespaces/{_segment(namespace)}" if namespace else ""
        rest = "".join(f"/{_segment(each)}" for each in (name, subresource) if each)
        return f"{root}/{self.version}{scope}/{self.plural}{rest}"


class Selection(Struct, frozen=True):
    """Which objects of a collection: those of one namespace (empty: of all), by labels and by fields."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    def params(self) -> dict[str, str]:
        """The query parameters."""
        chosen = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in chosen.items() if value}


EVERYTHING = Selection()

PODS = Resource("", "v1", "pods", namespaced=True, kind="Pod")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False, kind="Namespace")
NODES = Resource("", "v1", "nodes", namespaced=False, kind="Node")
SERVICES = Resource("", "v1", "services", namespaced=True, kind="Service")
EVENTS = Resource("", "v1", "events", namespaced=True, kind="Event")
NETWORK_POLICIES = Resource(
    "networking.k8s.io", "v1", "networkpolicies", namespaced=True, kind="NetworkPolicy"
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", namespaced=True, kind="Lease")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    namespaced=False,
    kind="CustomResourceDefinition",
)
NODE_POLICIES = Resource(GROUP, VERSION, "nodepolicies", namespaced=False, kind="NodePolicy")
PEER_GROUP_SLICES = Resource(GROUP, VERSION, "peergroupslices", namespaced=False, kind="PeerGroupSlice")


def _segment(text: str) -> str:
    if text in {".", ".."} or "/" in text or "%" in text:
        raise ValueError(f"{text!r} cannot be part of an API path")
    return quote(text, safe="")
