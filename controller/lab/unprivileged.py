"""A lab without root: in a user namespace of its own, where the kernel lets anybody be root of nothing else.

`podgate lab up` moves into new user, mount and network namespaces and goes on there as root; the lab's
processes keep them alive. The other verbs join the API server there. Its socket for kubectl is opened before,
so that it is reached from outside; run directories are in /tmp, as /run is hidden by one of the lab's own.
When the last process ends, the kernel removes everything but the files.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from controller.lab.processes import PATH, processes_of, python
from controller.lab.rundir import LABS_VARIABLE, labs_folder

SOCKET_VARIABLE = "PODGATE_LAB_SOCKET"
"""The descriptor of the listening socket that was opened outside."""

_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_TRY = ("mount", "-t", "tmpfs", "none", "/run")
_UID_MAP = Path("/proc/self/uid_map")
_EVERY_USER = ["0", "0", "4294967295"]
"""What it says in the user namespace that a machine begins with (user_namespaces(7))."""


class UnprivilegedError(Exception):
    """No lab can be had without root here; the message says why and what to do."""


def is_root() -> bool:
    """Whether this process may make namespaces as it is: as root, or in a user namespace of a lab."""
    return os.geteuid() == 0


def hindrance() -> str:
    """Why nobody but root can have a lab here; "" where anybody can."""
    if shutil.which("unshare", path=PATH) is None or shutil.which("nsenter", path=PATH) is None:
        return "unshare and nsenter (util-linux) are not installed"
    done = subprocess.run([*_UNSHARE, *_TRY], capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        return f"this kernel lets only root make namespaces ({done.stderr.strip() or 'unshare failed'})"
    return ""


def go_into_new(argv: Sequence[str], socket: int | None = None) -> NoReturn:
    """Start over as root of new namespaces, with a socket of here. Raises UnprivilegedError."""
    reason = hindrance()
    if reason:
        raise UnprivilegedError(f"a lab without root cannot be had: {reason}; run this as root (sudo)")
    environment = _environment()
    if socket is not None:
        os.set_inheritable(socket, True)  # noqa: FBT003 - its second argument
        environment[SOCKET_VARIABLE] = str(socket)
    inner = python("-m", "controller.lab.unprivileged", *argv)
    os.execvpe(_UNSHARE[0], [*_UNSHARE, *inner], environment)  # noqa: S606


def join(lab: str, argv: Sequence[str]) -> NoReturn:
    """Start over as root among the processes of a lab.

    Raises UnprivilegedError where none runs that is this user's.
    """
    found = next((each for each in processes_of(lab) if each.role == "apiserver"), None)
    if found is None:
        raise UnprivilegedError(
            f"no lab {lab} of this user is running: podgate lab up starts one (those of root are root's)"
        )
    command = ["nsenter", "--target", str(found.pid), "--user", "--net", "--mount", "--preserve-credentials"]
    os.execvpe(command[0], [*command, *argv], _environment())  # noqa: S606


def _environment() -> dict[str, str]:
    """The tools of root are where others do not look; the run directories stay where this user's are."""
    return {**os.environ, "PATH": PATH, LABS_VARIABLE: str(labs_folder())}


def _set_up() -> None:
    """The first steps inside. Raises CalledProcessError."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    Path("/run/netns").mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


if __name__ == "__main__":
    if _UID_MAP.read_text().split() == _EVERY_USER:
        sys.exit("controller.lab.unprivileged is run in a user namespace of its own: here it would hide /run")
    _set_up()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the same command, inside
