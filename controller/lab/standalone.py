"""etcd and kube-apiserver without a lab around them, for tests and benchmarks of the control plane alone.

They run where KUBEBUILDER_ASSETS has them, as in a lab (`controller.lab.kubernetes`); no root is needed, and
no node or pod is anything but an object. Blocking.
"""

import contextlib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.kube.connection import Connection, from_kubeconfig
from controller.lab.bringup import listen_here
from controller.lab.kubernetes import ETCD, KUBE_APISERVER, Kubernetes, Ports

_WITHIN = 60.0
"""Seconds until it answers."""
_FRONT = "apiserver"


class StandaloneError(Exception):
    """A program ended or never answered; the message names it and its log."""


class Standalone:
    """A running kube-apiserver. Make it with `standalone`."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self.url = f"http://127.0.0.1:{kubernetes.ports.front}"
        """Where everybody is an administrator, in plain HTTP."""
        self.kubeconfig = kubernetes.folder / "kubeconfig"
        self._kubernetes = kubernetes
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def connection(self, token: str = "") -> Connection:
        """Straight to it over HTTPS: with this token, or as an administrator."""
        ours = from_kubeconfig([self.kubeconfig])
        if not token:
            return ours
        authority = self._kubernetes.folder / "tls.crt"
        return Connection(server=ours.server, ca_file=str(authority), token=token)

    def start(self) -> None:
        """All of it, in order. Raises StandaloneError and CertificateError."""
        self._kubernetes.prepare()
        for role in self._kubernetes.programs:
            self._start(role)
        self._await_answer()

    def restart(self) -> None:
        """kube-apiserver is killed and begins anew, with etcd as it was. Raises StandaloneError."""
        self._end(KUBE_APISERVER)
        self._start(KUBE_APISERVER)
        self._await_answer()

    def run_beside(self, program: str, *options: str) -> None:
        """One more program of the assets with its options, until the end. Raises OSError."""
        self._open(program, [str(self._kubernetes.assets / program), *options])

    def stop(self) -> None:
        """All of it, the last started first."""
        for role in reversed([*self._running]):
            self._end(role)

    def _start(self, role: str) -> None:
        self._open(role, [*self._kubernetes.programs[role]])

    def _open(self, role: str, argv: list[str]) -> None:
        with self._log(role).open("ab") as log:
            self._running[role] = subprocess.Popen(argv, stdout=log, stderr=log)

    def _end(self, role: str) -> None:
        process = self._running.pop(role)
        process.kill()
        process.wait()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"{self.url}/readyz", timeout=1).close()  # noqa: S310 - ours
                return
            for role in (ETCD, KUBE_APISERVER, _FRONT):
                if (code := self._running[role].poll()) is not None:
                    raise StandaloneError(f"{role} ended with {code}: {self._last_words(role)}")
            time.sleep(0.05)
        raise StandaloneError(f"kube-apiserver does not answer: {self._last_words(KUBE_APISERVER)}")

    def _last_words(self, role: str) -> str:
        return self._log(role).read_text(errors="replace").strip()[-500:]

    def _log(self, role: str) -> Path:
        return self._kubernetes.folder / f"{role}.log"


@contextmanager
def standalone(assets: Path, folder: Path) -> Iterator[Standalone]:
    """A kube-apiserver for as long as this lasts; its files and logs are in the folder.

    Raises StandaloneError, CertificateError and OSError.
    """
    with contextlib.ExitStack() as held:
        found = [held.enter_context(listen_here()).getsockname()[1] for _ in range(4)]
    ports = Ports(etcd=found[0], etcd_peer=found[1], secure=found[2], front=found[3])
    running = Standalone(Kubernetes(assets, folder, ports, (4,)))
    try:
        running.start()
        yield running
    finally:
        running.stop()
