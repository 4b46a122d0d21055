"""The run directory of a lab: its settings, kubeconfig, logs, locks and counts, and which labs there are."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from controller.dataplane.tools import Backend
from controller.lab.wiring import Cni

DEFAULT_NAME = "lab"
LABS_VARIABLE = "PODGATE_LAB_DIR"


class LabStateError(Exception):
    """The run directory does not hold what it should; the message says what to do."""


class Settings(Struct, frozen=True, kw_only=True):
    """What a lab was started with. `owner` is the process it must not outlive, 0 for a lab that stays."""

    name: str
    cni: Cni
    backend: Backend
    families: tuple[int, ...]
    port: int
    with_podgate: bool = True
    owner: int = 0
    owner_started: int = 0

    @property
    def server(self) -> str:
        """The API server, as seen from this machine."""
        return f"http://127.0.0.1:{self.port}"


class RunDir(Struct, frozen=True):
    """Where things are. The directory need not exist."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings, as JSON."""
        return self.path / "lab.json"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and the operator."""
        return self.path / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "logs"

    @property
    def locks(self) -> Path:
        """The xtables locks of the nodes."""
        return self.path / "locks"

    @property
    def caches(self) -> Path:
        """The last good states of the agents."""
        return self.path / "cache"

    @property
    def control(self) -> Path:
        """The socket at which the API server takes more listening sockets."""
        return self.path / "apiserver.sock"

    @property
    def probe_counts(self) -> Path:
        """How many readiness probes each pod has had, and how many failed."""
        return self.path / "probes.json"

    def create(self, settings: Settings) -> None:
        """Make the directory. Raises OSError and LabStateError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.parent == labs_folder() and self.path.parent.stat().st_uid != os.geteuid():
            raise LabStateError(f"{self.path.parent} is somebody else's: name another place with --run-dir")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.logs, self.locks, self.caches):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.settings_file, msgspec.json.format(msgspec.json.encode(settings)))

    def settings(self) -> Settings:
        """What the lab was started with. Raises LabStateError."""
        try:
            return msgspec.json.decode(self.settings_file.read_bytes(), type=Settings)
        except FileNotFoundError:
            raise LabStateError(f"there is no lab in {self.path}: podgate lab up starts one") from None
        except (OSError, msgspec.DecodeError) as error:
            raise LabStateError(
                f"{self.settings_file} cannot be read: {error}; podgate lab down cleans up"
            ) from error

    def log(self, role: str) -> Path:
        """The log of a process."""
        return self.logs / f"{role.replace('/', '-')}.log"


def labs_folder() -> Path:
    """Where the run directories of all labs are, unless one is put elsewhere."""
    usual = "/run/podgate-lab" if os.geteuid() == 0 else f"/tmp/podgate-lab-{os.getuid()}"  # noqa: S108
    return Path(os.environ.get(LABS_VARIABLE, usual))


def run_dirs() -> Iterator[RunDir]:
    """The labs of this machine."""
    folder = labs_folder()
    if folder.is_dir():
        yield from (RunDir(path) for path in sorted(folder.iterdir()) if path.is_dir())


def write_atomically(path: Path, octets: bytes) -> None:
    """Write a file that readers find either as it was or complete."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(octets)
    new.replace(path)
