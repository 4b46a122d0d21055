"""The kubeconfig file that leads clients to the server."""

import base64
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path, url: str, *, token: str = "", authority: Path | None = None, namespace: str = "default"
) -> None:
    """Write a kubeconfig; `authority` is the certificate that clients of https are to trust.

    kubectl sends a token over https only: over http it asks anonymously, whatever stands in the file.
    """
    cluster: dict[str, Any] = {"server": url}
    if authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    name = "podgate-lab"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token} if token else {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
