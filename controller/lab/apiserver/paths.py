"""What a request is about, out of its path and method."""

from collections.abc import Mapping

from msgspec import Struct

_VERBS: Mapping[tuple[str, bool], str] = {
    ("GET", True): "get",
    ("GET", False): "list",
    ("POST", True): "create",
    ("POST", False): "create",
    ("PUT", True): "update",
    ("PATCH", True): "patch",
    ("DELETE", True): "delete",
    ("DELETE", False): "deletecollection",
}


class Target(Struct, frozen=True):
    """A resource, or one object of it. Empty texts where the path says nothing."""

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def verb(self, method: str, *, watch: bool) -> str:
        """The verb that access is given for; "" for a method that cannot be used here."""
        verb = _VERBS.get((method, bool(self.name)), "")
        return "watch" if verb == "list" and watch else verb


def parse_path(path: str) -> Target | None:
    """The target of `/api/v1/...` and `/apis/GROUP/VERSION/...`; None for any other path."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 2 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    # `namespaces/NAME/status` is a subresource of the namespace, `namespaces/NAME/pods` a list within it.
    if (
        len(rest) >= 3
        and rest[0] == "namespaces"
        and not (len(rest) == 3 and rest[2] in ("status", "finalize"))
    ):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = [*rest, "", "", ""][:3]
    return Target(group, version, plural, namespace, name, subresource)
