"""Which API server a verb talks to, from its options."""

from pathlib import Path

import pytest

from controller.cli.cluster_options import connection_of
from controller.cli.failure import CommandError
from controller.kube.connection import Connection

NONE = {"kubeconfig": "", "context": "", "server": "", "token_file": "", "certificate_authority": ""}
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://192.0.2.1:8080"}}]
users: [{name: u, user: {token: secret}}]
"""


def asked(environ: dict[str, str] | None = None, **options: str) -> Connection:
    return connection_of(environ or {"HOME": "/nonexistent"}, **{**NONE, **options})


def test_a_server_and_a_token_file_are_enough() -> None:
    found = asked(server="http://127.0.0.1:6443/", token_file="/run/token")  # noqa: S106 - a path

    assert (found.server, found.token_file) == ("http://127.0.0.1:6443", "/run/token")


def test_an_authority_goes_with_a_server() -> None:
    assert asked(server="https://x", certificate_authority="/run/ca.crt").ca_file == "/run/ca.crt"


def test_a_kubeconfig_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)

    assert asked(kubeconfig=str(path)).server == "http://192.0.2.1:8080"
    assert asked({"KUBECONFIG": str(path)}).server == "http://192.0.2.1:8080"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "http://x", "kubeconfig": "a"}, "--server stands for itself"),
        ({"server": "http://x", "context": "a"}, "--server stands for itself"),
        ({"token_file": "a"}, "go with --server"),
        ({"certificate_authority": "a"}, "go with --server"),
        ({"server": "127.0.0.1:6443"}, "is no http or https URL"),
        ({"server": "https://"}, "is no http or https URL"),
        ({"server": "http://[::1"}, r"--server http://\[::1: is no URL"),
        ({"server": "http://x:99999"}, "is no URL: Port out of range"),
        ({"server": "http://a b"}, "has spaces in it"),
        ({"kubeconfig": "/nonexistent/config"}, "no such file"),
        ({}, "KUBERNETES_SERVICE_HOST is not set"),
    ],
)
def test_what_leads_nowhere_is_an_error(options: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        asked(None, **options)
