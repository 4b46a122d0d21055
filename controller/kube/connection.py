"""Where the API server is and who we are: settings only, nothing is opened here.

    Connection(server=..., token_file=..., ...)      the settings, frozen
    in_cluster(folder=SERVICE_ACCOUNT, environ=os.environ) -> Connection
    from_kubeconfig(paths, context="") -> Connection
    discover(kubeconfig="", context="", environ=os.environ) -> Connection

`discover` looks where kubectl looks: the file named, else $KUBECONFIG (several paths, merged), else
~/.kube/config, else the service account of the pod. ConfigurationError says what is missing where.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from controller.kube.errors import ConfigurationError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts the token, the CA and the namespace of a pod."""

_SECRET = frozenset({"token", "client_key_data"})


def server_problem(url: str) -> str:
    """Why a text cannot be the URL of an API server; "" for one that can."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return "is no http or https URL"
        _ = parts.port  # raises for what is none
    except ValueError as error:
        return f"is no URL: {error}"
    return "has spaces in it" if any(map(str.isspace, url)) else ""


class PluginLogin(Struct, frozen=True):
    """A user whose credentials a program or a cloud library makes: the `kubernetes` client runs it."""

    paths: tuple[str, ...]
    context: str


class Connection(Struct, frozen=True, kw_only=True):
    """How to reach one API server. Files are read again when they change; data are PEM bytes.

    Where both a file and data of one thing are given, data count. Without a CA the system's are trusted.
    """

    server: str
    """`https://10.0.0.1:6443`, with a path where a proxy wants one."""
    ca_file: str = ""
    ca_data: bytes = b""
    client_cert_file: str = ""
    client_cert_data: bytes = b""
    client_key_file: str = ""
    client_key_data: bytes = b""
    token: str = ""
    token_file: str = ""
    """Read again when it changes, every minute, and at once after a 401."""
    plugin: PluginLogin | None = None
    namespace: str = "default"
    """Where namespaced objects without a namespace belong."""
    verify: bool = True
    """False: whoever answers is believed (insecure-skip-tls-verify)."""
    tls_server_name: str = ""
    proxy_url: str = ""
    origin: str = ""
    """Where these settings were read, for messages: `context kind of /root/.kube/config`."""

    def __repr__(self) -> str:
        """All but the secrets: settings end up in logs."""
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = ", ".join(
            f"{name}={'...' if name in _SECRET else repr(value)}" for name, value in pairs if value
        )
        return f"Connection({shown})"


def in_cluster(folder: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ) -> Connection:
    """The connection of a pod, from its service account; ConfigurationError outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigurationError(
            "service account: KUBERNETES_SERVICE_HOST is not set; run in a pod, or name a kubeconfig file"
        )
    token, ca = folder / "token", folder / "ca.crt"
    for path in (token, ca):
        if not path.is_file():
            raise ConfigurationError(
                f"service account: {path} is missing; set automountServiceAccountToken or name a kubeconfig"
            )
    namespace = folder / "namespace"
    return Connection(
        server=f"https://{_bracketed(host)}:{port}",
        ca_file=str(ca),
        token_file=str(token),
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        origin=f"service account in {folder}",
    )


def from_kubeconfig(paths: Sequence[Path], context: str = "") -> Connection:
    """The connection of one context (empty: the current one) of kubeconfig files, merged as kubectl does."""
    from controller.kube.kubeconfig import read_kubeconfig  # noqa: PLC0415 - in a cluster YAML is not needed

    return read_kubeconfig(paths, context)


def discover(
    kubeconfig: str | Path = "",
    context: str = "",
    environ: Mapping[str, str] = os.environ,
    folder: Path = SERVICE_ACCOUNT,
) -> Connection:
    """The connection kubectl would use; ConfigurationError names every place that was looked at."""
    if kubeconfig:
        return from_kubeconfig([Path(kubeconfig)], context)
    listed = [Path(each) for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if listed:
        return from_kubeconfig(listed, context)
    usual = Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"
    if usual.is_file():
        return from_kubeconfig([usual], context)
    if context:
        raise ConfigurationError(
            f"context {context!r}: there is no kubeconfig ($KUBECONFIG is not set, no {usual})"
        )
    try:
        return in_cluster(folder, environ)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"no cluster: $KUBECONFIG is not set, there is no {usual}, and {error}"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
