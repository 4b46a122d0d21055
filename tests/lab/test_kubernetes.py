"""A lab with a real API server, as far as that goes without one.

etcd and kube-apiserver are stand-ins that read the options they are given and refuse what they do not know;
behind kube-apiserver's is the lab's own server, with HTTPS, the token and RBAC. `kubectl proxy` is real.
"""

import shutil
import sys
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.bringup import BringUpError
from controller.lab.kubernetes import VARIABLE, AssetsError, Kubernetes, Ports, assets_of
from controller.lab.lab import Lab
from controller.lab.namespaces import named
from controller.lab.network import Names
from controller.lab.probing import Outcome
from controller.lab.processes import processes_of
from controller.lab.wiring import Cni
from tests.kernel.requirements import missing
from tests.lab.conftest import needs_kubectl
from tests.lab.world import pod

ETCD = """#!{python}
import argparse, signal
parser = argparse.ArgumentParser()
for name in ("data-dir", "listen-client-urls", "advertise-client-urls", "listen-peer-urls",
             "initial-advertise-peer-urls", "initial-cluster"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--unsafe-no-fsync", action="store_true")
parser.parse_args()
signal.pause()
"""
KUBE_APISERVER = """#!{python}
import argparse, os, sys
parser = argparse.ArgumentParser()
for name in ("etcd-servers", "bind-address", "advertise-address", "secure-port", "endpoint-reconciler-type",
             "tls-cert-file", "tls-private-key-file", "token-auth-file", "authorization-mode",
             "service-account-issuer", "service-account-key-file", "service-account-signing-key-file",
             "service-cluster-ip-range", "disable-admission-plugins", "allow-privileged"):
    parser.add_argument("--" + name, required=True)
given = parser.parse_args()
os.environ["PYTHONPATH"] = {root!r}
os.execv(sys.executable, [
    sys.executable, "-m", "controller.lab.apiserver", "--rbac", "--graceful-pods",
    "--port", given.secure_port, "--tokens", given.token_auth_file,
    "--tls-cert", given.tls_cert_file, "--tls-key", given.tls_private_key_file,
])
"""


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A folder as KUBEBUILDER_ASSETS names it."""
    folder = tmp_path / "assets"
    folder.mkdir()
    root = str(Path(__file__).parents[2])
    for name, text in (("etcd", ETCD), ("kube-apiserver", KUBE_APISERVER)):
        program = folder / name
        program.write_text(text.format(python=sys.executable, root=root))
        program.chmod(0o755)
    (folder / "kubectl").symlink_to(str(shutil.which("kubectl")))
    return folder


@pytest.mark.kernel
@needs_kubectl
@pytest.mark.skipif(bool(missing(Backend.NFT, Cni.PTP)), reason=missing(Backend.NFT, Cni.PTP))
async def test_a_lab_comes_up_works_and_goes(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(assets))
    async with Lab.up(2) as lab:
        await lab.apply(
            [in_default(pod("a", nodeName="node-1")), in_default(pod("b", 80, nodeName="node-2"))]
        )
        await lab.wait_ready()
        outcome = await lab.probe("default/a", "default/b", 80)
        roles = {process.role for process in lab.processes()}

    name = lab.settings.name
    assert outcome is Outcome.ANSWERED
    assert roles == {"apiserver", "controlplane", "etcd", "kube-apiserver"}
    assert [*processes_of(name), *named(Names(name).prefix), *lab.run_dir.path.parent.glob(name)] == []


@pytest.mark.kernel
@needs_kubectl
@pytest.mark.skipif(bool(missing(Backend.NFT, Cni.PTP)), reason=missing(Backend.NFT, Cni.PTP))
async def test_a_program_that_ends_is_named_with_its_log(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(assets))
    (assets / "kube-apiserver").write_text("#!/bin/sh\necho no storage >&2\nexit 1\n")

    with pytest.raises(BringUpError, match=r"kube-apiserver\.log\): no storage"):
        async with Lab.up(1):
            pass


def in_default(manifest: dict[str, object]) -> dict[str, object]:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    return {**manifest, "metadata": {"namespace": "default", **metadata}}


def test_without_the_variable_there_are_no_assets() -> None:
    assert assets_of({}) is None


def test_a_folder_that_lacks_a_program_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch()

    with pytest.raises(AssetsError, match="has no kube-apiserver, kubectl"):
        assets_of({VARIABLE: str(tmp_path)})


def test_both_families_have_a_block_of_services(tmp_path: Path) -> None:
    kubernetes = Kubernetes(tmp_path, tmp_path, Ports(1, 2, 3, 4), (4, 6))

    assert "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112" in kubernetes.programs["kube-apiserver"]


def test_the_token_is_nobody_elses_to_read(tmp_path: Path) -> None:
    Kubernetes(tmp_path, tmp_path / "files", Ports(1, 2, 3, 4), (4,)).prepare()

    files = [tmp_path / "files" / name for name in ("tokens.csv", "kubeconfig")]
    assert [path.stat().st_mode & 0o077 for path in files] == [0, 0]
