"""Where the cluster is found, and what is said when it is not."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.kube.connection import Connection, PluginLogin, discover, from_kubeconfig, in_cluster
from controller.kube.errors import ConfigurationError

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    for name, content in (("token", "t"), ("ca.crt", "pem"), ("namespace", "podgate\n")):
        (folder / name).write_text(content)
    return folder


class TestInCluster:
    def test_the_service_account_says_all(self, account: Path) -> None:
        found = in_cluster(account, POD)
        assert (found.server, found.namespace) == ("https://10.96.0.1:443", "podgate")
        assert (found.token_file, found.ca_file) == (str(account / "token"), str(account / "ca.crt"))
        assert found.token == ""

    def test_an_ipv6_address_stands_in_brackets(self, account: Path) -> None:
        assert in_cluster(account, {"KUBERNETES_SERVICE_HOST": "fd00::1"}).server == "https://[fd00::1]:443"

    def test_outside_of_a_pod_it_says_so(self, account: Path) -> None:
        with pytest.raises(ConfigurationError, match="KUBERNETES_SERVICE_HOST is not set"):
            in_cluster(account, {})

    @pytest.mark.parametrize("name", ["token", "ca.crt"])
    def test_a_missing_file_is_named(self, account: Path, name: str) -> None:
        (account / name).unlink()
        with pytest.raises(ConfigurationError, match=f"{account / name} is missing; set automount"):
            in_cluster(account, POD)


def kubeconfig(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - YAML
    """A usable one; `cluster`, `user` and `context` add to its entries, the rest to the whole."""
    cluster = {"server": "https://example:6443"} | changes.pop("cluster", {})
    user = changes.pop("user", {"token": "t"})
    context = {"cluster": "c", "user": "u"} | changes.pop("context", {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}],
    } | changes


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


class TestKubeconfig:
    def test_the_current_context_is_used(self, tmp_path: Path) -> None:
        path = write(tmp_path / "config", kubeconfig(context={"namespace": "shop"}))
        found = from_kubeconfig([path])
        assert (found.server, found.token, found.namespace) == ("https://example:6443", "t", "shop")
        assert found.origin == f"context x of {path}"

    def test_another_context_can_be_named(self, tmp_path: Path) -> None:
        document = kubeconfig()
        document["contexts"].append({"name": "y", "context": {"cluster": "c", "user": "u", "namespace": "n"}})
        assert from_kubeconfig([write(tmp_path / "config", document)], "y").namespace == "n"

    def test_files_are_relative_to_the_kubeconfig_they_stand_in(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "sub" / "config",
            kubeconfig(
                cluster={"certificate-authority": "pki/ca.crt"},
                user={"client-certificate": "me.crt", "client-key": "/abs/me.key", "tokenFile": "token"},
            ),
        )
        found = from_kubeconfig([path])
        folder = str(tmp_path / "sub")
        assert found.ca_file == f"{folder}/pki/ca.crt"
        assert found.client_cert_file == f"{folder}/me.crt"
        assert found.client_key_file == "/abs/me.key"
        assert found.token_file == f"{folder}/token"

    def test_data_are_decoded(self, tmp_path: Path) -> None:
        data = base64.b64encode(b"PEM").decode()
        document = kubeconfig(
            cluster={"certificate-authority-data": data},
            user={"client-certificate-data": data, "client-key-data": data},
        )
        found = from_kubeconfig([write(tmp_path / "config", document)])
        assert (found.ca_data, found.client_cert_data, found.client_key_data) == (b"PEM", b"PEM", b"PEM")

    def test_the_rest_of_a_cluster_is_kept(self, tmp_path: Path) -> None:
        document = kubeconfig(
            cluster={
                "insecure-skip-tls-verify": True,
                "tls-server-name": "kubernetes",
                "proxy-url": "http://p:1",
            }
        )
        found = from_kubeconfig([write(tmp_path / "config", document)])
        assert (found.verify, found.tls_server_name, found.proxy_url) == (False, "kubernetes", "http://p:1")

    def test_several_files_are_merged_and_the_first_to_say_something_decides(self, tmp_path: Path) -> None:
        first = write(tmp_path / "1", {"current-context": "x", "clusters": kubeconfig()["clusters"]})
        second = write(
            tmp_path / "2", kubeconfig(cluster={"server": "https://other"}, **{"current-context": "z"})
        )
        found = from_kubeconfig([tmp_path / "missing", first, second])
        assert (found.server, found.token) == ("https://example:6443", "t")

    @pytest.mark.parametrize("user", [{"exec": {"command": "aws"}}, {"auth-provider": {"name": "oidc"}}])
    def test_a_plugin_is_left_to_the_kubernetes_client(self, tmp_path: Path, user: dict[str, Any]) -> None:
        path = write(tmp_path / "config", kubeconfig(user=user))
        assert from_kubeconfig([path]).plugin == PluginLogin((str(path),), "x")

    def test_nulls_are_fields_left_out(self, tmp_path: Path) -> None:
        document = kubeconfig(user={"token": "t", "exec": None}, cluster={"certificate-authority": None})
        assert from_kubeconfig([write(tmp_path / "config", document)]).plugin is None

    def test_a_context_without_a_user_is_anonymous(self, tmp_path: Path) -> None:
        assert from_kubeconfig([write(tmp_path / "c", kubeconfig(context={"user": ""}))]).token == ""

    @pytest.mark.parametrize(
        ("document", "problem"),
        [
            ("a: [", r"cannot be read: [^\n]+$"),
            ("\x00", "cannot be read"),
            (
                kubeconfig(cluster={"server": 7}),
                r"Expected `str`, got `int` - at `\$.clusters\[0\].cluster.server`",
            ),
            (
                kubeconfig(cluster={"server": ""}),
                "context 'x': cluster 'c': server: '' is no http or https URL",
            ),
            (kubeconfig(context={"cluster": "d"}), r"context 'x': cluster 'd' is not defined \(known: c\)"),
            (kubeconfig(context={"user": "v"}), r"context 'x': user 'v' is not defined \(known: u\)"),
            (kubeconfig(**{"current-context": ""}), "current-context is not set; name a context"),
            (kubeconfig(**{"current-context": "q"}), r"there is no context 'q' \(known: x\)"),
            (
                kubeconfig(cluster={"certificate-authority-data": "!"}),
                "context 'x': cluster 'c': certificate-authority-data: is not base64",
            ),
            (
                kubeconfig(cluster={"certificate-authority": "ca", "insecure-skip-tls-verify": True}),
                "exclude each other",
            ),
            (kubeconfig(user={"client-certificate": "a"}), "context 'x': user 'u': client-key is missing"),
            (kubeconfig(user={"client-key": "a"}), "context 'x': user 'u': client-certificate is missing"),
            (kubeconfig(user={"as": "admin"}), "context 'x': user 'u': as: impersonation is not supported"),
            (kubeconfig(user={"username": "me"}), "context 'x': user 'u': username: .* use a token"),
        ],
    )
    def test_what_is_wrong_is_named_by_file_context_and_field(
        self, tmp_path: Path, document: object, problem: str
    ) -> None:
        path = write(tmp_path / "config", document)
        with pytest.raises(ConfigurationError, match=problem) as caught:
            from_kubeconfig([path])
        assert str(caught.value).startswith(f"kubeconfig {path}: ")


class TestDiscover:
    def test_the_file_named_comes_first(self, tmp_path: Path, account: Path) -> None:
        named = write(tmp_path / "named", kubeconfig())
        other = write(tmp_path / "other", kubeconfig(cluster={"server": "https://other"}))
        environ = {"KUBECONFIG": str(other), "HOME": str(tmp_path), **POD}
        assert discover(named, environ=environ, folder=account).server == "https://example:6443"

    def test_then_the_environment(self, tmp_path: Path, account: Path) -> None:
        write(tmp_path / ".kube" / "config", kubeconfig(cluster={"server": "https://home"}))
        path = write(tmp_path / "config", kubeconfig())
        environ = {"KUBECONFIG": f"{tmp_path / 'missing'}:{path}", "HOME": str(tmp_path), **POD}
        assert discover(environ=environ, folder=account).server == "https://example:6443"

    def test_then_the_home_folder(self, tmp_path: Path, account: Path) -> None:
        write(tmp_path / ".kube" / "config", kubeconfig(cluster={"server": "https://home"}))
        assert discover(environ={"HOME": str(tmp_path), **POD}, folder=account).server == "https://home"

    def test_then_the_service_account(self, tmp_path: Path, account: Path) -> None:
        assert discover(environ={"HOME": str(tmp_path), **POD}, folder=account).namespace == "podgate"

    def test_nothing_found_says_where_it_looked(self, tmp_path: Path, account: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"KUBECONFIG is not set.*\.kube/config.*SERVICE_HOST"):
            discover(environ={"HOME": str(tmp_path)}, folder=account)

    def test_a_context_without_any_kubeconfig_is_an_error(self, tmp_path: Path, account: Path) -> None:
        with pytest.raises(ConfigurationError, match="context 'x': there is no kubeconfig"):
            discover(context="x", environ={"HOME": str(tmp_path), **POD}, folder=account)


def test_secrets_are_not_shown() -> None:
    shown = repr(Connection(server="https://s", token="hush", client_key_data=b"hush"))  # noqa: S106 - not a real one
    assert "hush" not in shown
    assert "https://s" in shown
