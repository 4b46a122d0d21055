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
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from controller.lab.addressing import NodePlace
from controller.lab.apiserver.certificate import CertificateError
from controller.lab.apiserver.kubeconfig import write_kubeconfig
from controller.lab.kubernetes import VARIABLE, AssetsError, Kubernetes, Ports, assets_of
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

_ANSWERS_WITHIN = 60.0
"""Seconds; the lab's own API server takes one, a real one ten."""


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
    try:
        assets = assets_of(os.environ)
    except AssetsError as error:
        raise BringUpError(str(error)) from error
    if assets is None:
        roles = _start_own_apiserver(run_dir, settings, listeners)
    else:
        roles = _start_kubernetes(run_dir, settings, listeners, assets)
    network.add_fabric(settings.families)
    for node in nodes:
        network.add_node(node)
    write_kubeconfig(run_dir.kubeconfig, settings.server)
    await_answer(run_dir, settings, roles)


def _start_own_apiserver(
    run_dir: RunDir, settings: Settings, listeners: Sequence[socket.socket]
) -> Sequence[str]:
    """Its roles, here one."""
    descriptors = [listener.fileno() for listener in listeners]
    argv = apiserver_argv(descriptors)
    start(settings.name, APISERVER, argv, run_dir.log(APISERVER), descriptors=descriptors)
    return [APISERVER]


def _start_kubernetes(
    run_dir: RunDir, settings: Settings, listeners: Sequence[socket.socket], assets: Path
) -> Sequence[str]:
    """A real API server, whose programs open their sockets themselves; their roles."""
    if len(listeners) > 1:
        raise BringUpError(f"a real API server ({VARIABLE}) needs root: it cannot be given its socket")
    with contextlib.ExitStack() as held:
        etcd, peer, secure = (held.enter_context(listen_here()).getsockname()[1] for _ in range(3))
    for listener in listeners:
        listener.close()
    ports = Ports(etcd=etcd, etcd_peer=peer, secure=secure, front=settings.port)
    kubernetes = Kubernetes(assets, run_dir.path / "kubernetes", ports, settings.families)
    try:
        kubernetes.prepare()
    except CertificateError as error:
        raise BringUpError(str(error)) from error
    for role, argv in kubernetes.programs.items():
        start(settings.name, role, argv, run_dir.log(role))
    return [*kubernetes.programs]


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


def await_answer(run_dir: RunDir, settings: Settings, roles: Collection[str] = (APISERVER,)) -> None:
    """Until the API server answers. Raises BringUpError when a part of it has ended, or after a minute."""
    deadline = time.monotonic() + _ANSWERS_WITHIN
    ended: list[str] = []
    while time.monotonic() < deadline and not ended:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{settings.server}/readyz", timeout=1).close()  # noqa: S310 - ours
            return
        there = {process.role for process in processes_of(settings.name)}
        ended = [role for role in roles if role not in there]
        time.sleep(0.02)
    log = run_dir.log(ended[0] if ended else APISERVER)
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
