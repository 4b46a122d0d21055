"""Reading kubeconfig files: the part of the format that says where a cluster is and who we are.

Our own reader, because the `kubernetes` client needs 30 MB and half a second to be imported and forgets which
file a wrong field stands in. That client is still asked where a user's credentials come from a program (exec)
or a cloud library (auth-provider): see `credentials`.

Several files are merged as kubectl merges them: the first file to name a cluster, user, context or the
current context decides; missing files are skipped; relative paths belong to the file they stand in.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Struct, field

from controller.kube.connection import Connection, PluginLogin, server_problem
from controller.kube.errors import ConfigurationError

_Entry = TypeVar("_Entry")


class _Cluster(Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _User(Struct, rename="kebab"):
    token: str = ""
    token_file: str = field(default="", name="tokenFile")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    impersonate: str = field(default="", name="as")
    exec: dict[str, Any] | None = None
    auth_provider: dict[str, Any] | None = None


class _Context(Struct):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(Struct):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(Struct):
    name: str
    user: _User | None = None


class _NamedContext(Struct):
    name: str
    context: _Context | None = None


class _File(Struct, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


class _Merged:
    """Each entry with the file it came from; the first file wins."""

    def __init__(self) -> None:
        self.clusters: dict[str, tuple[_Cluster, Path]] = {}
        self.users: dict[str, tuple[_User, Path]] = {}
        self.contexts: dict[str, tuple[_Context, Path]] = {}
        self.current = ""

    def add(self, path: Path, parsed: _File) -> None:
        for cluster in parsed.clusters or ():
            self.clusters.setdefault(cluster.name, (cluster.cluster or _Cluster(), path))
        for user in parsed.users or ():
            self.users.setdefault(user.name, (user.user or _User(), path))
        for context in parsed.contexts or ():
            self.contexts.setdefault(context.name, (context.context or _Context(), path))
        self.current = self.current or (parsed.current_context or "")


def read_kubeconfig(paths: Sequence[Path], context: str = "") -> Connection:
    """The settings of `context`, or of the current one; ConfigurationError names file, context and field."""
    merged, present = _Merged(), [path for path in paths if path.is_file()]
    if not present:
        raise ConfigurationError(f"kubeconfig {_joined(paths)}: no such file")
    for path in present:
        merged.add(path, _parse(path))
    name = context or merged.current
    if not name:
        raise ConfigurationError(f"kubeconfig {_joined(present)}: current-context is not set; name a context")
    if name not in merged.contexts:
        known = ", ".join(sorted(merged.contexts)) or "none"
        raise ConfigurationError(
            f"kubeconfig {_joined(present)}: there is no context {name!r} (known: {known})"
        )
    return _connection(merged, name, present)


def _joined(paths: Sequence[Path]) -> str:
    return ":".join(map(str, paths))


def _parse(path: Path) -> _File:
    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
        return msgspec.convert(_without_nulls(document or {}), _File)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())  # YAML's own words take several lines
        raise ConfigurationError(f"kubeconfig {path}: cannot be read: {why}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"kubeconfig {path}: {error}") from error


def _without_nulls(value: object) -> object:
    """For kubectl a null is a field left out."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def _connection(merged: _Merged, name: str, present: Sequence[Path]) -> Connection:
    chosen, context_file = merged.contexts[name]
    cluster, cluster_file = _named(
        merged.clusters, chosen.cluster, f"kubeconfig {context_file}: context {name!r}: cluster"
    )
    # A context without a user is anonymous, for kubectl as for us.
    user, user_file = (_User(), context_file)
    if chosen.user:
        user, user_file = _named(
            merged.users, chosen.user, f"kubeconfig {context_file}: context {name!r}: user"
        )
    at_cluster = f"kubeconfig {cluster_file}: context {name!r}: cluster {chosen.cluster!r}"
    at_user = f"kubeconfig {user_file}: context {name!r}: user {chosen.user!r}"
    _check_cluster(cluster, at_cluster)
    _check_user(user, at_user)
    wants_plugin = bool(user.exec or user.auth_provider)
    return Connection(
        server=cluster.server.rstrip("/"),
        ca_file=_beside(cluster_file, cluster.certificate_authority),
        ca_data=_data(cluster.certificate_authority_data, f"{at_cluster}: certificate-authority-data"),
        client_cert_file=_beside(user_file, user.client_certificate),
        client_cert_data=_data(user.client_certificate_data, f"{at_user}: client-certificate-data"),
        client_key_file=_beside(user_file, user.client_key),
        client_key_data=_data(user.client_key_data, f"{at_user}: client-key-data"),
        token=user.token,
        token_file=_beside(user_file, user.token_file),
        plugin=PluginLogin(tuple(map(str, present)), name) if wants_plugin else None,
        namespace=chosen.namespace or "default",
        verify=not cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name,
        proxy_url=cluster.proxy_url,
        origin=f"context {name} of {_joined(present)}",
    )


def _named(entries: dict[str, tuple[_Entry, Path]], name: str, place: str) -> tuple[_Entry, Path]:
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise ConfigurationError(f"{place} {name!r} is not defined (known: {known})")
    return entries[name]


def _check_cluster(cluster: _Cluster, place: str) -> None:
    if problem := server_problem(cluster.server):
        raise ConfigurationError(f"{place}: server: {cluster.server!r} {problem}")
    if cluster.insecure_skip_tls_verify and (
        cluster.certificate_authority or cluster.certificate_authority_data
    ):
        raise ConfigurationError(
            f"{place}: insecure-skip-tls-verify and a certificate-authority exclude each other; remove one"
        )


def _check_user(user: _User, place: str) -> None:
    if user.impersonate:
        # Left out, we would act with more rights than asked for.
        raise ConfigurationError(f"{place}: as: impersonation is not supported; use a user of its own")
    if user.username:
        raise ConfigurationError(
            f"{place}: username: the API server has no passwords since 1.19; use a token"
        )
    has_certificate = bool(user.client_certificate or user.client_certificate_data)
    has_key = bool(user.client_key or user.client_key_data)
    if has_certificate != has_key:
        present, missing = ("certificate", "key") if has_certificate else ("key", "certificate")
        raise ConfigurationError(f"{place}: client-{missing} is missing, client-{present} is given")


def _beside(file: Path, path: str) -> str:
    return str(file.parent / path) if path else ""


def _data(text: str, place: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(f"{place}: is not base64: {error}") from error
