"""`podgate lab`: a cluster made of network namespaces, to see policies enforced in a minute."""

import asyncio
import functools
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import click

from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.output.escapes import plain
from controller.cli.output.probes import Probed, ProbeEnd, probes_json, probes_text
from controller.cli.targets import parse_service
from controller.dataplane.tools import Backend
from controller.kube.errors import KubeError
from controller.lab.addressing import AddressError, NodePlace, node_of_manifest
from controller.lab.bringup import BringUpError, is_running, require_root, sweep, take_down
from controller.lab.lab import Lab, NotReadyError, new_settings, planned
from controller.lab.manifests import Manifest, ManifestError, read_manifests
from controller.lab.namespaces import CommandError as ToolFailure
from controller.lab.namespaces import Namespace
from controller.lab.network import LAB_NAME
from controller.lab.pairs import PairProbe, probe_pairs
from controller.lab.podspec import Pod
from controller.lab.processes import marks
from controller.lab.proxy import LOCK_VARIABLE, lock_file
from controller.lab.rundir import DEFAULT_NAME, LabStateError, RunDir, Settings, labs_folder
from controller.lab.targets import TargetError, named_by, workload_name
from controller.lab.wiring import Cni

_PATH = click.Path(path_type=Path)
_FAILURES = (
    AddressError,
    BringUpError,
    KubeError,
    LabStateError,
    ManifestError,
    NotReadyError,
    TargetError,
    ToolFailure,
)


@click.group("lab", no_args_is_help=True)
def command() -> None:
    """A cluster made of network namespaces on this machine: real nodes, pods, packets and rules.

    \b
    Examples:
      sudo podgate lab up -f examples/shop
      sudo podgate lab probe
      export KUBECONFIG=$(podgate lab kubeconfig); kubectl get pods -A
      sudo podgate lab exec shop/storefront -- curl -sm2 http://10.96.0.7/
      sudo podgate lab down

    Nothing of it changes this machine's own network, and `lab down` leaves nothing behind.

    Exit codes: 0 done, 1 not everything got ready, 2 error.
    """  # noqa: D301


def _place(function: Callable[..., int]) -> Callable[..., int]:
    """--name and --run-dir, as `run_dir`; and every failure of a lab as one line."""

    @click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which lab: there may be several.")
    @click.option("--run-dir", type=_PATH, help="Where its files are. [/run/podgate-lab/NAME]")
    @functools.wraps(function)
    def wrapped(*arguments: Any, name: str, run_dir: Path | None, **rest: Any) -> int:
        if not LAB_NAME.fullmatch(name):
            raise CommandError(f"--name {plain(name)!r}: up to 20 of a-z and 0-9")
        place = RunDir((run_dir or labs_folder() / name).absolute())
        try:
            return function(*arguments, name=name, run_dir=place, **rest)
        except _FAILURES as error:
            raise CommandError(str(error)) from error

    return wrapped


def _in_lab(run_dir: RunDir, work: Callable[[Lab], Coroutine[Any, Any, int]]) -> int:
    """Do something with a running lab."""

    async def inside() -> int:
        async with Lab.attached(run_dir) as lab:
            return await work(lab)

    return asyncio.run(inside())


@command.command()
@click.option("--nodes", type=click.IntRange(1, 100), help="How many. [3, or the Nodes of the manifests]")
@click.option("--cni", type=click.Choice([*map(str, Cni)]), default="ptp", show_default=True)
@click.option("--dual-stack", is_flag=True, help="IPv6 besides IPv4.")
@click.option(
    "--backend",
    type=click.Choice([*map(str, Backend)]),
    default="nft",
    show_default=True,
)
@click.option(
    "-f",
    "files",
    multiple=True,
    type=_PATH,
    help="Manifests to apply: a file or a folder; repeatable.",
)
@click.option("--without-podgate", is_flag=True, help="No operator and no agents: nothing is enforced.")
@click.option("--within", default=60.0, show_default=True, metavar="SECONDS", help="How long pods may take.")
@_place
def up(
    name: str,
    run_dir: RunDir,
    nodes: int | None,
    cni: str,
    backend: str,
    files: tuple[Path, ...],
    within: float,
    *,
    dual_stack: bool,
    without_podgate: bool,
) -> int:
    """Start a lab. What a crashed one left behind is removed first."""
    require_root()
    sweep()
    if is_running(name):
        raise CommandError(f"lab {name} is running: podgate lab down ends it, --name starts another one")
    take_down(name, run_dir)
    manifests = [each for file in files for each in read_manifests(file)]
    settings = new_settings(
        name,
        cni=Cni(cni),
        dual_stack=dual_stack,
        backend=Backend(backend),
        with_podgate=not without_podgate,
        owned=False,
    )
    places = _planned(nodes, manifests, settings)
    try:
        status = asyncio.run(_up(run_dir, settings, places, manifests, within))
    except BaseException:
        take_down(name, run_dir)
        raise
    for line in _hints(run_dir, settings):
        click.echo(line)
    return status


def _planned(nodes: int | None, manifests: list[Manifest], settings: Settings) -> list[NodePlace]:
    """So many, or those of the manifests with their names and addresses."""
    if nodes is not None:
        return planned(nodes, settings.families)
    stated = [each for each in manifests if each["kind"] == "Node"]
    return [
        node_of_manifest(manifest, number, settings.families) for number, manifest in enumerate(stated, 1)
    ] or planned(3, settings.families)


async def _up(
    run_dir: RunDir, settings: Settings, places: list[NodePlace], manifests: list[Manifest], within: float
) -> int:
    start = time.monotonic()
    async with Lab.started(run_dir, settings, places) as lab:
        _say(f"{len(places)} nodes and an API server after {time.monotonic() - start:.1f} s")
        await lab.apply(manifests)
        status = CLEAN
        try:
            await lab.wait_ready(within)
        except NotReadyError as error:
            _say(str(error))
            status = FOUND
        pods = await lab.pods()
    _say(f"{len(pods)} pods after {time.monotonic() - start:.1f} s")
    return status


def _hints(run_dir: RunDir, settings: Settings) -> list[str]:
    which = "" if settings.name == DEFAULT_NAME else f" --name {settings.name}"
    return [
        f"lab {settings.name} is up; what to try:",
        f"  export KUBECONFIG={run_dir.kubeconfig}",
        "  kubectl get pods -A -o wide",
        f"  podgate lab probe{which}",
        f"  podgate lab status{which}",
        f"  podgate lab down{which}",
    ]


@command.command()
@_place
def down(name: str, run_dir: RunDir) -> int:
    """Remove a lab: its processes, namespaces and files, whatever state they are in."""
    require_root()
    take_down(name, run_dir)
    return CLEAN


@command.command()
@_place
def kubeconfig(name: str, run_dir: RunDir) -> int:  # noqa: ARG001 - it is in the run directory
    """Print the path of the kubeconfig."""
    run_dir.settings()
    click.echo(run_dir.kubeconfig)
    return CLEAN


@command.command()
@_place
def status(name: str, run_dir: RunDir) -> int:
    """Show nodes, pods, processes and readiness probes; exit 1 where something is missing."""
    require_root()
    running = is_running(name)
    settings = run_dir.settings()
    if not running:
        raise CommandError(f"lab {name} has crashed (logs: {run_dir.logs}): podgate lab down cleans up")
    families = "IPv4 and IPv6" if 6 in settings.families else "IPv4"
    network = f"{settings.cni} network, iptables-{settings.backend}, {families}"
    click.echo(f"lab {name}: {network}, {settings.server}")
    return _in_lab(run_dir, _status)


async def _status(lab: Lab) -> int:
    pods, counts = await lab.pods(), lab.probe_counts()
    load = Counter(pod.node for pod in pods)
    nodes = [
        (node.name, ",".join(node.addresses.values()), str(load[node.name])) for node in await lab.nodes()
    ]
    _table([("NODE", "ADDRESS", "PODS"), *nodes])
    places = sorted((pod.key, pod.node, ",".join(pod.addresses), _state(pod)) for pod in pods)
    _table([("POD", "NODE", "ADDRESS", "STATE"), *places])
    _table([("PROCESS", "PID", "LOG"), *_processes(lab)])
    failed = {key: each for key, each in counts.items() if each.failures}
    total = sum(each.probes for each in counts.values())
    click.echo(f"readiness probes: {total}, failed: {sum(each.failures for each in failed.values())}")
    for key, each in failed.items():
        click.echo(f"  {key}: {each.failures} of {each.probes}, last {each.last_failure}")
    missing = await lab.missing()
    for line in missing:
        click.echo(line)
    return FOUND if missing else CLEAN


def _processes(lab: Lab) -> list[tuple[str, str, str]]:
    return [(each.role, str(each.pid), str(lab.run_dir.log(each.role))) for each in lab.processes()]


def _state(pod: Pod) -> str:
    if pod.is_terminating:
        return "terminating"
    return "ready" if pod.is_ready else (pod.status.phase or "").lower() or "unknown"


@command.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("place", metavar="POD")
@click.argument("arguments", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@_place
def execute(name: str, run_dir: RunDir, place: str, arguments: tuple[str, ...]) -> int:
    """Run a command of this machine in the network of a pod, a node or `outside`.

    POD is NAMESPACE/POD, or NAMESPACE/WORKLOAD for the first of its pods.
    """
    require_root()
    words = arguments[1:] if arguments[0] == "--" else arguments
    if not words:
        raise CommandError("lab exec POD -- COMMAND: there is no command")

    async def find(lab: Lab) -> tuple[str, str]:
        pods, nodes = await lab.pods(), {node.name for node in await lab.nodes()}
        end = named_by(place, pods, nodes)[0]
        node = next((pod.node for pod in pods if pod.key == end), end)
        return (await lab.ends()).find(end).namespace, node

    async def inside() -> tuple[str, str]:
        async with Lab.attached(run_dir) as lab:
            return await find(lab)

    namespace, node = asyncio.run(inside())
    os.environ.update(marks(name, "exec"), **{LOCK_VARIABLE: lock_file(run_dir.locks, node)})
    with Namespace(namespace) as found, found.entered():
        try:
            os.execvp(words[0], words)  # noqa: S606 - it is what the user asks for
        except OSError as error:
            raise CommandError(f"{plain(words[0])}: {error.strerror}") from error


@command.command()
@click.option("--from", "sources", multiple=True, metavar="END", help="Only from these. [all pods]")
@click.option("--to", "destinations", multiple=True, metavar="END", help="Only to these. [all pods]")
@click.option("--port", metavar="PORT[/PROTOCOL]", help="Only 80/TCP, say. [every port that listens]")
@click.option(
    "--patience", default=0.5, show_default=True, metavar="SECONDS", help="Silence that means denied."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--no-color", is_flag=True, help="Never colour the output.")
@_place
def probe(
    name: str,  # noqa: ARG001 - it is in the run directory
    run_dir: RunDir,
    sources: tuple[str, ...],
    destinations: tuple[str, ...],
    port: str | None,
    patience: float,
    output: str,
    *,
    no_color: bool,
) -> int:
    """Send real packets between all pods, and show who answers whom.

    \b
    Ends are NAMESPACE/POD, NAMESPACE/WORKLOAD, NAMESPACE, a node, `outside`; as --to also an address.

    \b
    Examples:
      podgate lab probe
      podgate lab probe --from shop --to data/postgres
      podgate lab probe --from payments/payment-api --to 198.51.100.7 --port 443/TCP
    """  # noqa: D301
    require_root()
    service = None
    if port is not None:
        protocol, number = parse_service(port)
        if protocol is None or number is None:
            raise CommandError("--port icmp: probes are of TCP and UDP")
        service = (protocol, number)

    async def work(lab: Lab) -> int:
        pods, nodes = await lab.pods(), [node.name for node in await lab.nodes()]
        found = await probe_pairs(
            lab,
            pods,
            sources=[name for text in sources for name in named_by(text, pods, nodes)],
            destinations=[name for text in destinations for name in named_by(text, pods, nodes)],
            service=service,
            patience=patience,
        )
        _show(found, pods, output, color=wants_color(no_color=no_color))
        return CLEAN

    return _in_lab(run_dir, work)


def _show(found: list[PairProbe], pods: list[Pod], output: str, *, color: bool) -> None:
    by_name = {pod.key: pod for pod in pods}

    def end(text: str) -> ProbeEnd:
        pod = by_name.get(text)
        return ProbeEnd(pod.metadata.namespace, workload_name(pod), text) if pod else ProbeEnd("", text, text)

    probed = [
        Probed(end(each.source), end(each.destination), f"{each.port}/{each.protocol.name}", each.outcome)
        for each in found
    ]
    if output == "json":
        click.echo(probes_json(probed), nl=False)
        return
    width = shutil.get_terminal_size((80, 24)).columns
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(probes_text(probed, Painter(color=color), width, ascii_only=ascii_only), nl=False, color=color)


@command.command("add-node")
@click.argument("node", default="")
@_place
def add_node(name: str, run_dir: RunDir, node: str) -> int:  # noqa: ARG001 - it is in the run directory
    """Add a node, with an agent where the lab runs podgate."""
    require_root()

    async def work(lab: Lab) -> int:
        place = await lab.add_node(node)
        click.echo(f"{place.name} {' '.join(place.addresses.values())} {' '.join(place.pod_blocks.values())}")
        return CLEAN

    return _in_lab(run_dir, work)


@command.command("remove-node")
@click.argument("node")
@_place
def remove_node(name: str, run_dir: RunDir, node: str) -> int:  # noqa: ARG001 - it is in the run directory
    """Remove a node; its pods are made anew elsewhere."""
    require_root()

    async def work(lab: Lab) -> int:
        await lab.remove_node(node)
        return CLEAN

    return _in_lab(run_dir, work)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    sizes = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("".join(plain(cell).ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip())
    click.echo()
