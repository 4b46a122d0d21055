"""A real API server in place of the lab's own: etcd and kube-apiserver, where KUBEBUILDER_ASSETS has them.

`setup-envtest use -p path` prints such a folder: `etcd`, `kube-apiserver` and `kubectl` are in it. Everybody
in a lab asks one port of the loopback in plain HTTP; kube-apiserver takes HTTPS with a token only, so
`kubectl proxy` stands before it and adds both. Blocking.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from controller.lab.addressing import SERVICE_BLOCKS
from controller.lab.apiserver import certificate
from controller.lab.apiserver.kubeconfig import write_kubeconfig

VARIABLE = "KUBEBUILDER_ASSETS"
ETCD = "etcd"
KUBE_APISERVER = "kube-apiserver"
PROGRAMS = (ETCD, KUBE_APISERVER, "kubectl")

_LOOPBACK = "127.0.0.1"


class AssetsError(Exception):
    """The folder that the environment names lacks a program; the message says which."""


class Ports(Struct, frozen=True):
    """Where the parts listen, all on the loopback; `front` is the lab's."""

    etcd: int
    etcd_peer: int
    secure: int
    front: int


class Kubernetes(Struct, frozen=True):
    """A kube-apiserver to be: its programs, the folder of its files, its ports and the lab's families."""

    assets: Path
    folder: Path
    ports: Ports
    families: tuple[int, ...]

    def prepare(self) -> None:
        """Make its certificate, its token and the kubeconfig of who stands before it.

        Raises OSError and CertificateError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        made = certificate.self_signed(self.folder, ("localhost", _LOOPBACK))
        token = secrets.token_hex(16)
        self._tokens.touch(mode=0o600)
        self._tokens.write_text(f'{token},admin,admin,"system:masters"\n', encoding="utf-8")
        server = f"https://{_LOOPBACK}:{self.ports.secure}"
        write_kubeconfig(self._kubeconfig, server, token=token, authority=made.certificate)

    @property
    def programs(self) -> Mapping[str, Sequence[str]]:
        """The command lines by role, in the order to be started; the last one answers at the lab's port."""
        return {ETCD: self._etcd(), KUBE_APISERVER: self._kube_apiserver(), "apiserver": self._front()}

    def _etcd(self) -> Sequence[str]:
        client, peer = (f"http://{_LOOPBACK}:{port}" for port in (self.ports.etcd, self.ports.etcd_peer))
        return [
            str(self.assets / ETCD),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ]

    def _kube_apiserver(self) -> Sequence[str]:
        certificate_file, key = self.folder / "tls.crt", self.folder / "tls.key"
        return [
            str(self.assets / KUBE_APISERVER),
            f"--etcd-servers=http://{_LOOPBACK}:{self.ports.etcd}",
            f"--bind-address={_LOOPBACK}",
            f"--advertise-address={_LOOPBACK}",
            f"--secure-port={self.ports.secure}",
            "--endpoint-reconciler-type=none",  # it would not take an address of the loopback
            f"--tls-cert-file={certificate_file}",
            f"--tls-private-key-file={key}",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            # It takes no public key out of a private one in PKCS #8, which is what openssl writes.
            f"--service-account-key-file={certificate_file}",
            f"--service-account-signing-key-file={key}",
            f"--service-cluster-ip-range={','.join(SERVICE_BLOCKS[family] for family in self.families)}",
            # Nobody makes service accounts here, and no kubelet takes the taint of a new node away.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            "--allow-privileged=true",
        ]

    def _front(self) -> Sequence[str]:
        return [
            str(self.assets / "kubectl"),
            "proxy",
            f"--kubeconfig={self._kubeconfig}",
            f"--address={_LOOPBACK}",
            f"--port={self.ports.front}",
            "--reject-paths=^$",
        ]

    @property
    def _tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"


def assets_of(environment: Mapping[str, str]) -> Path | None:
    """The folder with the programs, if the environment names one. Raises AssetsError where any is missing."""
    text = environment.get(VARIABLE, "")
    if not text:
        return None
    folder = Path(text)
    missing = [name for name in PROGRAMS if not (folder / name).is_file()]
    if missing:
        raise AssetsError(
            f"{VARIABLE} is {text}, which has no {', '.join(missing)}; `setup-envtest use -p path` prints a "
            "folder that has, and without the variable a lab brings an API server of its own"
        )
    return folder
