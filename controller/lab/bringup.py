"""A lab from nothing and back: namespaces, processes and files made in order, and all of them removed.

Blocking; root. Whatever goes wrong on the way up, nothing stays.
"""

import contextlib
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from controller.lab.addressing import NodePlace
from controller.lab.apiserver.kubeconfig import write_kubeconfig
from controller.lab.namespaces import delete_namespaces, named
from controller.lab.network import Names, Network
from controller.lab.processes import LabProcess, is_alive, processes_of, start, stop
from controller.lab.programs import (
    agent_argv,
    apiserver_argv,
    controlplane_argv,
    operator_argv,
)
from controller.lab.proxy import LOCK_VARIABLE, lock_file
from controller.lab.rundir import LabStateError, RunDir, Settings, labs_folder, run_dirs
from controller.lab.unprivileged import SOCKET_VARIABLE, is_root

APISERVER = "apiserver"
CONTROLPLANE = "controlplane"
OPERATOR = "operator"
CORE = (APISERVER, CONTROLPLANE)
"""Without these there is no lab."""

_ANSWERS_WITHIN = 20.0


class BringUpError(Exception):
    """The lab cannot be started; the message says what failed and where to look."""


def agent_role(node: str) -> str:
    """The role of a node's agent."""
    return f"agent/{node}"


def listen_here(port: int = 0) -> socket.socket:
    """A listening socket for the API server on the loopback of this machine. Raises OSError."""
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen(1024)
    except BaseException:
        found.close()
        raise
    return found


def api_sockets() -> list[socket.socket]:
    """Where the API server is to listen: at the loopback here, and at the one outside of a user namespace.

    Both at one port, which is in the kubeconfig. Raises OSError.
    """
    outside = os.environ.pop(SOCKET_VARIABLE, "")
    if not outside:
        return [listen_here()]
    found = socket.socket(fileno=int(outside))
    return [found, listen_here(found.getsockname()[1])]


def bring_up(
    run_dir: RunDir, settings: Settings, nodes: Sequence[NodePlace], listeners: Sequence[socket.socket]
) -> None:
    """The network, and the API server, which listens at these sockets.

    Raises BringUpError, CommandError and OSError.
    """
    names = Names(settings.name)
    network = Network(names, settings.cni, settings.backend)
    run_dir.create(settings)
    start(
        settings.name,
        APISERVER,
        apiserver_argv([listener.fileno() for listener in listeners]),
        run_dir.log(APISERVER),
        descriptors=[listener.fileno() for listener in listeners],
    )
    network.add_fabric(settings.families)
    for node in nodes:
        network.add_node(node)
    write_kubeconfig(run_dir.kubeconfig, settings.server)
    await_answer(run_dir, settings)


def start_controlplane(run_dir: RunDir, settings: Settings) -> LabProcess:
    """Kubelets and controllers."""
    return start(settings.name, CONTROLPLANE, controlplane_argv(run_dir), run_dir.log(CONTROLPLANE))


def start_operator(
    run_dir: RunDir,
    settings: Settings,
    role: str = OPERATOR,
    environment: Mapping[str, str] | None = None,
) -> LabProcess:
    """Podgate's operator; a replica more has a role of its own."""
    argv = operator_argv(run_dir)
    return start(settings.name, role, argv, run_dir.log(role), environment=environment)


def start_agent(run_dir: RunDir, settings: Settings, node: str, options: Sequence[str] = ()) -> LabProcess:
    """Podgate's agent of one node, with more options of its command."""
    role = agent_role(node)
    lock = {LOCK_VARIABLE: lock_file(run_dir.locks, node)}
    argv = [*agent_argv(run_dir, settings, node), *options]
    return start(settings.name, role, argv, run_dir.log(role), environment=lock)


def await_answer(run_dir: RunDir, settings: Settings) -> None:
    """Until the API server answers. Raises BringUpError when it has ended, or after 20 s."""
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while time.monotonic() < deadline:
        if not any(process.role == APISERVER for process in processes_of(settings.name)):
            break
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{settings.server}/readyz", timeout=1).close()  # noqa: S310 - ours
            return
        time.sleep(0.02)
    log = run_dir.log(APISERVER)
    words = log.read_text(errors="replace").strip()[-500:] if log.exists() else ""
    raise BringUpError(f"the API server does not answer (its log is {log}): {words or 'it says nothing'}")


def take_down(name: str, run_dir: RunDir) -> None:
    """Remove everything of a lab, whatever state it is in. Nothing there is no error."""
    # Nothing in a lab is worth a goodbye; stopping the clients first only makes their logs shorter.
    stop(name, processes_of(name), at_once=True)
    stop(name, processes_of(name), at_once=True)  # what those had just started
    delete_namespaces(named(Names(name).prefix))
    shutil.rmtree(run_dir.path, ignore_errors=True)
    if run_dir.path.parent == labs_folder():
        with contextlib.suppress(OSError):  # other labs are in it
            run_dir.path.parent.rmdir()


def is_running(name: str) -> bool:
    """Whether the core of a lab is alive."""
    roles = {process.role for process in processes_of(name)}
    return roles.issuperset(CORE)


def sweep() -> list[str]:
    """Take down labs whose owner is dead; their names."""
    return [*_swept(run_dirs())]


def _swept(found: Iterable[RunDir]) -> Iterable[str]:
    for run_dir in found:
        try:
            settings = run_dir.settings()
        except LabStateError:
            continue
        if settings.owner and not is_alive(settings.owner, settings.owner_started):
            take_down(settings.name, run_dir)
            yield settings.name


def require_root() -> None:
    """Raises BringUpError for anybody else."""
    if not is_root():
        raise BringUpError(
            "a lab is made of network namespaces, which are root's to make: run this as root (sudo)"
        )
