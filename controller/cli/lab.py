"""`podgate lab`: a cluster made of network namespaces, to see policies enforced in a minute."""

import asyncio
import os
import time
from pathlib import Path

import click

from controller.cli import lab_objects, lab_probe, lab_status
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.lab_options import PATH, become_root, in_lab, lab_options, own_command
from controller.cli.output.escapes import plain
from controller.cli.wait import until_enforced
from controller.dataplane.tools import Backend
from controller.engine.enforcement import State
from controller.lab.addressing import NodePlace, node_of_manifest
from controller.lab.bringup import is_running, listen_here, sweep, take_down
from controller.lab.lab import Lab, NotReadyError, new_settings, planned
from controller.lab.manifests import Manifest, with_namespaces
from controller.lab.namespaces import Namespace
from controller.lab.processes import PATH as PATH_OF_TOOLS
from controller.lab.processes import marks
from controller.lab.proxy import LOCK_VARIABLE, lock_file
from controller.lab.requirements import missing
from controller.lab.rundir import DEFAULT_NAME, RunDir, Settings
from controller.lab.targets import named_by
from controller.lab.unprivileged import go_into_new, is_root
from controller.lab.wiring import Cni


@click.group("lab", no_args_is_help=True)
def command() -> None:
    """A cluster made of network namespaces on this machine: real nodes, pods, packets and rules.

    \b
    Examples:
      podgate lab up -f examples/shop
      podgate lab probe
      export KUBECONFIG=$(podgate lab kubeconfig); kubectl get pods -A
      podgate lab exec shop/storefront -- curl -sm2 http://10.96.0.7/
      podgate lab down

    Nothing of it changes this machine's own network, and `lab down` leaves nothing behind. Without root it
    runs in a user namespace, where the kernel allows that.

    Exit codes: 0 done, 1 not everything got ready, 2 error.
    """  # noqa: D301


command.add_command(lab_status.command)
command.add_command(lab_probe.command)
for each in (lab_objects.apply, lab_objects.delete, lab_objects.logs):
    command.add_command(each)


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
    type=PATH,
    help="Manifests to apply: a file or a folder; repeatable.",
)
@lab_objects.skip_option
@click.option("--without-podgate", is_flag=True, help="No operator and no agents: nothing is enforced.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say what to try.")
@click.option("--within", default=60.0, show_default=True, metavar="SECONDS", help="How long pods may take.")
@lab_options
def up(
    name: str,
    run_dir: RunDir,
    nodes: int | None,
    cni: str,
    backend: str,
    files: tuple[Path, ...],
    skipped: tuple[str, ...],
    within: float,
    *,
    dual_stack: bool,
    without_podgate: bool,
    quiet: bool,
) -> int:
    """Start a lab. What a crashed one left behind is removed first."""
    os.environ["PATH"] = PATH_OF_TOOLS
    sweep()
    if is_running(name):
        raise CommandError(f"lab {name} is running: podgate lab down ends it, --name starts another one")
    take_down(name, run_dir)
    if not is_root():
        with listen_here() as socket:
            go_into_new(own_command(), socket.fileno())
    lacking = missing(Backend(backend), Cni(cni))
    if lacking:
        raise CommandError(f"a lab with --cni {cni} --backend {backend} {lacking}")
    manifests = lab_objects.chosen(files, skipped)
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
    for line in () if quiet else _hints(run_dir, settings):
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
        await lab.apply(with_namespaces(manifests))
        status = CLEAN
        try:
            await lab.wait_ready(within)
        except NotReadyError as error:
            _say(str(error))
            status = FOUND
        pods = await lab.pods()
        _say(f"{len(pods)} pods after {time.monotonic() - start:.1f} s")
        if settings.with_podgate and status == CLEAN:
            status = await _in_force(lab, start, within)
    return status


async def _in_force(lab: Lab, start: float, within: float) -> int:
    """Wait for the policies: who probes before they are in force wonders."""
    states = await until_enforced(lab.client, "", (), start + within)
    late = [f"{each.namespace}/{each.name}" for each in states if each.state is not State.ENFORCED]
    if late:
        _say(f"not in force: {', '.join(late)}; podgate status -o wide says why")
        return FOUND
    _say(f"{len(states)} policies in force after {time.monotonic() - start:.1f} s")
    return CLEAN


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
@lab_options
def down(name: str, run_dir: RunDir) -> int:
    """Remove a lab: its processes, namespaces and files, whatever state they are in."""
    take_down(name, run_dir)
    return CLEAN


@command.command()
@lab_options
def kubeconfig(name: str, run_dir: RunDir) -> int:  # noqa: ARG001 - it is in the run directory
    """Print the path of the kubeconfig."""
    run_dir.settings()
    click.echo(run_dir.kubeconfig)
    return CLEAN


@command.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("place", metavar="POD")
@click.argument("arguments", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@lab_options
def execute(name: str, run_dir: RunDir, place: str, arguments: tuple[str, ...]) -> int:
    """Run a command of this machine in the network of a pod, a node or `outside`.

    POD is NAMESPACE/POD, or NAMESPACE/WORKLOAD for the first of its pods.
    """
    become_root(name)
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


@command.command("add-node")
@click.argument("node", default="")
@lab_options
def add_node(name: str, run_dir: RunDir, node: str) -> int:
    """Add a node, with an agent where the lab runs podgate."""
    become_root(name)

    async def work(lab: Lab) -> int:
        place = await lab.add_node(node)
        click.echo(f"{place.name} {' '.join(place.addresses.values())} {' '.join(place.pod_blocks.values())}")
        return CLEAN

    return in_lab(run_dir, work)


@command.command("remove-node")
@click.argument("node")
@lab_options
def remove_node(name: str, run_dir: RunDir, node: str) -> int:
    """Remove a node; its pods are made anew elsewhere."""
    become_root(name)

    async def work(lab: Lab) -> int:
        await lab.remove_node(node)
        return CLEAN

    return in_lab(run_dir, work)


def _say(text: str) -> None:
    click.echo(text, err=True)
