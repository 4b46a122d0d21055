"""`podgate lab apply`, `delete` and `logs`: what kubectl does, for machines without it."""

from pathlib import Path

import click

from controller.cli.failure import CLEAN, CommandError
from controller.cli.lab_options import PATH, in_lab, lab_options
from controller.cli.output.escapes import plain
from controller.lab.bringup import agent_role
from controller.lab.lab import Lab
from controller.lab.manifests import Manifest, read_manifests
from controller.lab.rundir import RunDir

files_option = click.option(
    "-f", "files", multiple=True, required=True, type=PATH, help="A file or a folder; repeatable."
)
skip_option = click.option(
    "--skip", "skipped", multiple=True, metavar="KIND", help="Leave out objects of this kind; repeatable."
)


def chosen(files: tuple[Path, ...], skipped: tuple[str, ...]) -> list[Manifest]:
    """The objects of some files without those of some kinds. Raises ManifestError."""
    wanted = {kind.lower() for kind in skipped}
    return [each for file in files for each in read_manifests(file) if each["kind"].lower() not in wanted]


@click.command("apply")
@files_option
@skip_option
@lab_options
def apply(name: str, run_dir: RunDir, files: tuple[Path, ...], skipped: tuple[str, ...]) -> int:  # noqa: ARG001
    """Create or change objects, as `kubectl apply --server-side` does. Nodes are left out."""
    objects = chosen(files, skipped)

    async def work(lab: Lab) -> int:
        await lab.apply(objects)
        return CLEAN

    return in_lab(run_dir, work)


@click.command("delete")
@files_option
@skip_option
@lab_options
def delete(name: str, run_dir: RunDir, files: tuple[Path, ...], skipped: tuple[str, ...]) -> int:  # noqa: ARG001
    """Delete objects; those that are gone already are no error."""
    objects = [each for each in chosen(files, skipped) if each["kind"] != "Node"]

    async def work(lab: Lab) -> int:
        await lab.delete(objects)
        return CLEAN

    return in_lab(run_dir, work)


@click.command("logs")
@click.argument("role", metavar="operator|NODE|apiserver|controlplane")
@click.option("-n", "lines", type=click.IntRange(0), default=20, show_default=True, help="How many lines.")
@lab_options
def logs(name: str, run_dir: RunDir, role: str, lines: int) -> int:  # noqa: ARG001
    """Show the last log lines of the operator, of a node's agent, or of the lab's own processes."""
    run_dir.settings()
    found = [path for path in (run_dir.log(role), run_dir.log(agent_role(role))) if path.exists()]
    if not found:
        there = ", ".join(sorted(path.stem for path in run_dir.logs.iterdir()))
        raise CommandError(f"{plain(role)} has no log; there are: {there}")
    for line in found[0].read_text(errors="replace").splitlines()[-lines:]:
        click.echo(line)
    return CLEAN
