"""Tokens and certificates that are replaced while we run."""

import logging
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from controller.kube import errors
from controller.kube.client import ApiClient
from controller.kube.connection import Connection, from_kubeconfig
from controller.kube.credentials import Credentials
from controller.kube.errors import ConfigurationError
from tests.unit.kube.files import put
from tests.unit.kube.following import THINGS, Thing
from tests.unit.kube.scripted import ScriptedServer, reply, scripted_server, thing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


async def header(credentials: Credentials) -> str:
    return (await credentials.headers()).get("Authorization", "")


async def test_a_token_file_that_changes_is_read_within_a_second(token: Path) -> None:
    clock = Clock()
    credentials = Credentials(Connection(server="http://s", token_file=str(token)), clock)
    assert await header(credentials) == "Bearer first"
    put(token, "second, longer")
    clock.now += 1.0
    assert await header(credentials) == "Bearer second, longer"


async def test_a_token_swapped_as_the_kubelet_does_it_is_noticed(tmp_path: Path) -> None:
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    data, file = tmp_path / "..data", tmp_path / "token"
    data.symlink_to("first")
    file.symlink_to("..data/token")
    clock = Clock()
    credentials = Credentials(Connection(server="http://s", token_file=str(file)), clock)
    assert await header(credentials) == "Bearer first"
    data.unlink()
    data.symlink_to("other")
    clock.now += 1.0
    assert await header(credentials) == "Bearer other"


async def test_between_looks_the_file_is_left_alone(token: Path) -> None:
    clock = Clock()
    credentials = Credentials(Connection(server="http://s", token_file=str(token)), clock)
    await header(credentials)
    put(token, "second")
    clock.now += 0.5
    assert await header(credentials) == "Bearer first"


async def test_renewing_reads_at_once(token: Path) -> None:
    credentials = Credentials(Connection(server="http://s", token_file=str(token)), Clock())
    await header(credentials)
    put(token, "second")
    assert await credentials.renew()
    assert await header(credentials) == "Bearer second"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nlines", b"\xff"])
async def test_a_token_file_that_becomes_unusable_leaves_the_old_token(
    token: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    credentials = Credentials(Connection(server="http://s", token_file=str(token)), clock)
    await header(credentials)
    put(token, content)
    clock.now += 61.0
    with caplog.at_level(logging.WARNING):
        assert await header(credentials) == "Bearer first"
    assert f"token file {token}: " in caplog.text
    assert "first" not in caplog.text


async def test_a_token_file_that_never_was_is_an_error(tmp_path: Path) -> None:
    credentials = Credentials(Connection(server="http://s", token_file=str(tmp_path / "none")), Clock())
    with pytest.raises(ConfigurationError, match=r"token file .*/none: .*No such file"):
        await header(credentials)


async def test_without_a_token_nothing_is_sent() -> None:
    assert await Credentials(Connection(server="http://s")).headers() == {}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server certificate for 127.0.0.1 and a client certificate."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2")
    for name, extension in (
        ("server", "subjectAltName=IP:127.0.0.1,DNS:kubernetes"),
        ("client", "basicConstraints=CA:FALSE"),
    ):
        (folder / "ext").write_text(extension)
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "ext", "-out", f"{name}.crt"),
        )
    return folder


@pytest.fixture
def tls(pki: Path) -> ssl.SSLContext:
    """Of a server that wants a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def ask(connection: Connection) -> Thing:
    async with ApiClient(connection) as client:
        return await client.get(THINGS, "a", Thing, namespace="shop")


async def test_certificates_from_files(pki: Path, tls: ssl.SSLContext) -> None:
    async with scripted_server(tls) as server:
        server.answers = [reply(thing("a", 1, value="x"))]
        connection = Connection(
            server=server.url,
            ca_file=str(pki / "ca.crt"),
            client_cert_file=str(pki / "client.crt"),
            client_key_file=str(pki / "client.key"),
        )
        assert await ask(connection) == Thing("x")


async def test_certificates_from_data(pki: Path, tls: ssl.SSLContext) -> None:
    async with scripted_server(tls) as server:
        server.answers = [reply(thing("a", 1, value="x"))]
        connection = Connection(
            server=server.url,
            ca_data=(pki / "ca.crt").read_bytes(),
            client_cert_data=(pki / "client.crt").read_bytes(),
            client_key_data=(pki / "client.key").read_bytes(),
        )
        assert await ask(connection) == Thing("x")


async def test_without_its_client_certificate_it_is_unreachable(pki: Path, tls: ssl.SSLContext) -> None:
    async with scripted_server(tls) as server:
        with pytest.raises(errors.Unreachable):
            await ask(Connection(server=server.url, ca_file=str(pki / "ca.crt")))


@pytest.fixture
def plain_tls(pki: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    return context


async def test_a_server_of_another_ca_is_unreachable_and_the_reason_is_said(
    plain_tls: ssl.SSLContext,
) -> None:
    async with scripted_server(plain_tls) as server:
        with pytest.raises(errors.Unreachable, match="certificate verify failed"):
            await ask(Connection(server=server.url))


async def test_not_verifying_believes_any_server(plain_tls: ssl.SSLContext) -> None:
    async with scripted_server(plain_tls) as server:
        server.answers = [reply(thing("a", 1, value="x"))]
        assert await ask(Connection(server=server.url, verify=False)) == Thing("x")


async def test_a_server_name_is_checked_in_the_place_of_the_address(
    pki: Path, plain_tls: ssl.SSLContext
) -> None:
    async with scripted_server(plain_tls) as server:
        server.answers = [reply(thing("a", 1, value="x"))]
        known = Connection(server=server.url, ca_file=str(pki / "ca.crt"), tls_server_name="kubernetes")
        assert await ask(known) == Thing("x")
        with pytest.raises(errors.Unreachable, match="Hostname mismatch"):
            await ask(Connection(server=server.url, ca_file=str(pki / "ca.crt"), tls_server_name="other"))


def test_a_ca_that_is_replaced_makes_a_new_context(pki: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes((pki / "ca.crt").read_bytes())
    clock = Clock()
    credentials = Credentials(Connection(server="https://s", ca_file=str(ca)), clock)
    first = credentials.tls()
    assert credentials.tls() is first
    ca.write_bytes((pki / "server.crt").read_bytes() + b"\n")
    clock.now += 61.0
    assert credentials.tls() is not first


def test_a_ca_that_becomes_unusable_leaves_the_old_context(pki: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes((pki / "ca.crt").read_bytes())
    clock = Clock()
    credentials = Credentials(Connection(server="https://s", ca_file=str(ca)), clock)
    first = credentials.tls()
    ca.write_text("garbage")
    clock.now += 61.0
    assert credentials.tls() is first


def test_a_ca_that_is_missing_is_an_error(tmp_path: Path) -> None:
    credentials = Credentials(
        Connection(server="https://s", ca_file=str(tmp_path / "none"), origin="context x")
    )
    with pytest.raises(ConfigurationError, match=r"context x: certificates: .*No such file"):
        credentials.tls()


# ------------------------------------------------------------------ plug-ins


def exec_config(tmp_path: Path, script: str) -> Path:
    program = tmp_path / "login"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    execution = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(program),
        "interactiveMode": "Never",
    }
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "x",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"exec": execution}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return path


LOGIN = """
import json, pathlib
count = pathlib.Path(__file__).with_name("count")
number = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (number + 1))
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": f"token-{number}"}}))
"""


async def test_a_program_gives_the_token_and_another_one_after_a_401(tmp_path: Path) -> None:
    credentials = Credentials(from_kubeconfig([exec_config(tmp_path, LOGIN)]), Clock())
    assert await header(credentials) == "Bearer token-0"
    assert await header(credentials) == "Bearer token-0"
    assert await credentials.renew()
    assert await header(credentials) == "Bearer token-1"


async def test_a_program_that_fails_later_leaves_what_it_gave_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = Credentials(from_kubeconfig([exec_config(tmp_path, LOGIN)]), Clock())
    await header(credentials)
    exec_config(tmp_path, "raise SystemExit(3)")
    await credentials.renew()
    assert await header(credentials) == "Bearer token-0"
    assert "what it gave before stays in use" in caplog.text


async def test_a_program_that_fails_is_named_with_its_context(tmp_path: Path) -> None:
    path = exec_config(tmp_path, "raise SystemExit(3)")
    with pytest.raises(
        ConfigurationError, match=rf"kubeconfig {re.escape(str(path))}: context 'x': user: exec"
    ):
        await header(Credentials(from_kubeconfig([path])))


def test_neither_kopf_nor_the_kubernetes_client_is_imported() -> None:
    code = (
        "import sys\n"
        "import controller.kube.reflector, controller.kube.lease, controller.kube.connection\n"
        "print([name for name in ('kubernetes', 'kopf', 'yaml', 'aiohttp.web') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert result.stdout == "[]\n"


async def test_plain_http_has_no_tls_context(server: ScriptedServer) -> None:
    assert Credentials(server.connection).tls() is None
