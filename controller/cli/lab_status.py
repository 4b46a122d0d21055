"""`podgate lab status`: what is there, and what is missing."""

from collections import Counter
from collections.abc import Sequence

import click

from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.lab_options import become_root, in_lab, lab_options
from controller.cli.output.escapes import plain
from controller.lab.bringup import is_running
from controller.lab.lab import Lab
from controller.lab.podspec import Pod
from controller.lab.rundir import RunDir


@click.command("status")
@lab_options
def command(name: str, run_dir: RunDir) -> int:
    """Show nodes, pods, processes and readiness probes; exit 1 where something is missing."""
    become_root(name)
    running = is_running(name)
    settings = run_dir.settings()
    if not running:
        raise CommandError(f"lab {name} has crashed (logs: {run_dir.logs}): podgate lab down cleans up")
    families = "IPv4 and IPv6" if 6 in settings.families else "IPv4"
    network = f"{settings.cni} network, iptables-{settings.backend}, {families}"
    click.echo(f"lab {name}: {network}, {settings.server}")
    return in_lab(run_dir, _status)


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


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    sizes = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("".join(plain(cell).ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip())
    click.echo()
