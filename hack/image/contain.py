"""Runs a program on a folder as an engine would: what namespaces, chroot and capsh can do of it.

    contain.py [options] FOLDER -- [ARGUMENT...]

The program is process 1 of its own process namespace, with mounts of its own: /proc, /sys and a small /dev.
All of it ends with the program. There is no seccomp profile and no cgroup. Needs root and libcap2-bin.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
from msgspec import Struct

from hack.image.folders import within
from hack.image.recipe import Settings

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")
_CAPABILITIES = {"NET_ADMIN": 12, "NET_RAW": 13}
"""The only ones podgate asks for, with their numbers in linux/capability.h."""


class Volume(Struct, frozen=True):
    """A file or folder of the machine, seen at a path of the container."""

    source: Path
    target: str
    is_read_only: bool

    @classmethod
    def read(cls, text: str) -> "Volume":
        """SOURCE:TARGET or SOURCE:TARGET:ro. Raises ValueError."""
        source, target, *rest = text.split(":")
        if rest not in ([], ["ro"]):
            raise ValueError(text)
        return cls(Path(source), target, bool(rest))


def main() -> None:
    """Run the program and end as it ends; a signal that ends this process ends the program."""
    arguments = _parser().parse_args()
    if arguments.inner:
        _enter(arguments)
    missing = [path for volume in arguments.volume for path in _missing(arguments, volume)]
    try:
        code = _supervise(
            [*_namespaces(arguments.network), sys.executable, __file__, "--inner", *sys.argv[1:]]
        )
    finally:
        for path in reversed(missing):
            _remove_mount_point(path)
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--network", default="none", help="none, host, or the file of a network namespace")
    parser.add_argument(
        "--image", type=Path, help="what the image says about its process, as steps.py writes it"
    )
    parser.add_argument("--entrypoint", help="instead of the image's")
    parser.add_argument("--user", help="numbers, instead of the image's")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--volume", action="append", default=[], type=Volume.read)
    parser.add_argument("--tmpfs", action="append", default=[], metavar="FOLDER")
    parser.add_argument("--cap-add", action="append", default=[], choices=list(_CAPABILITIES))
    parser.add_argument("--build", action="store_true", help="writable, all capabilities, /dev of the folder")
    parser.add_argument(
        "--pid-file", type=Path, help="where the program's process id on this machine is written"
    )
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*")
    return parser


def _namespaces(network: str) -> list[str]:
    unshare = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--ipc",
        "--uts",
    ]
    if network == "host":
        return unshare
    return [*unshare, "--net"] if network == "none" else ["nsenter", f"--net={network}", *unshare]


def _supervise(command: list[str]) -> int:
    process = subprocess.Popen(command)  # noqa: S603 - our own program again, in namespaces

    def end(_number: int, _frame: FrameType | None) -> None:
        # Process 1, and all else in there with it: that of another user outlives unshare.
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.kill()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    code = process.wait()
    return code if code >= 0 else 128 - code


# --- in the namespaces -------------------------------------------------------------------------


def _enter(arguments: argparse.Namespace) -> None:
    root: Path = arguments.root.resolve()
    if arguments.pid_file is not None:
        # Still the machine's /proc, so this is the machine's number.
        arguments.pid_file.write_text(str(Path("/proc/self").readlink()))
    _mount("--bind", root, root)
    if arguments.build:
        _mount("-t", "proc", "proc", root / "proc")
    else:
        _mount_as_an_engine(root)
    for folder in arguments.tmpfs:
        _mount("-t", "tmpfs", "-o", "nosuid,nodev", "tmpfs", within(root, folder))
    for volume in arguments.volume:
        _bind(root, volume)
    if not arguments.build:
        _mount("-o", "remount,bind,ro", root)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    os.setgroups([])
    image = Settings() if arguments.image is None else _settings(arguments.image)
    user, group = (arguments.user or image.user).split(":")
    program, *words = _command(image, arguments)
    command = [f"--chroot={root}", *([] if arguments.build else _confined(arguments.cap_add))]
    command += [f"--gid={group}", f"--uid={user}", f"--shell={program}", "--", *words]
    environment = {**image.environment, **dict(each.split("=", 1) for each in arguments.env)}
    os.execve(_capsh(), ["capsh", *command], environment)  # noqa: S606 - no shell


def _settings(path: Path) -> Settings:
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    if settings.folder != "/":
        sys.exit(f"contain: capsh begins in /, the image in {settings.folder}")
    return settings


def _command(image: Settings, arguments: argparse.Namespace) -> list[str]:
    if arguments.entrypoint:
        return [arguments.entrypoint, *arguments.arguments]
    return [*image.entrypoint, *(arguments.arguments or image.command)]


def _capsh() -> str:
    found = shutil.which("capsh", path="/usr/sbin:/sbin:/usr/bin:/bin")
    return found or sys.exit("contain: there is no capsh: apt-get install libcap2-bin")


def _mount_as_an_engine(root: Path) -> None:
    _mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc")
    _mount("--bind", root / "proc/sys", root / "proc/sys")
    _mount("-o", "remount,bind,ro", root / "proc/sys")
    _mount("-t", "sysfs", "-o", "nosuid,nodev,noexec,ro", "sysfs", root / "sys")
    _mount("-t", "tmpfs", "-o", "nosuid,mode=755", "tmpfs", root / "dev")
    for name in _DEVICES:
        (root / "dev" / name).touch()
        _mount("--bind", Path("/dev") / name, root / "dev" / name)


def _bind(root: Path, volume: Volume) -> None:
    target = within(root, volume.target)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if volume.source.is_dir() else target.touch()
    _mount("--bind", volume.source, target)
    if volume.is_read_only:
        _mount("-o", "remount,bind,ro", target)


def _confined(kept: list[str]) -> list[str]:
    numbers = set(range(int(_LAST_CAPABILITY.read_text()) + 1)) - {_CAPABILITIES[name] for name in kept}
    return [f"--drop={','.join(map(str, sorted(numbers)))}", "--no-new-privs"]


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)  # noqa: S603, S607 - constant, but for our own paths


# --- mount points ------------------------------------------------------------------------------


def _missing(arguments: argparse.Namespace, volume: Volume) -> list[Path]:
    """What has to be made below the folder for a volume, from the top; nothing where a tmpfs covers it."""
    root: Path = arguments.root.resolve()
    target = within(root, volume.target)
    if any(target.is_relative_to(within(root, folder)) for folder in arguments.tmpfs):
        return []
    return [
        path
        for path in [*reversed(target.parents), target]
        if path.is_relative_to(root) and not path.exists()
    ]


def _remove_mount_point(path: Path) -> None:
    """The image is what its steps made, and nothing more."""
    with suppress(FileNotFoundError):
        path.rmdir() if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
