"""`podgate cleanup`: remove everything of podgate's from this node, and nothing else."""

from pathlib import Path

import click

from controller.agent.last_good import LastGoodError, discard
from controller.agent.node import cleanup
from controller.cli.failure import CLEAN, ERROR
from controller.cli.node_options import open_place
from controller.dataplane.tools import Backend


@click.command("cleanup")
@click.option("--netns", metavar="NAME", help="Work in this network namespace (`ip netns`), not in this one.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Remove the state that an agent has kept here, too.",
)
def command(netns: str | None, state_dir: Path | None) -> int:
    """Remove podgate's chains, jumps and sets, from both iptables backends and both families.

    Pods that policies isolate are open afterwards. Foreign rules and sets are not touched; running it again
    is harmless.

    \b
    Examples:
      podgate cleanup
      podgate cleanup --netns lab-node-1
      podgate cleanup --state-dir /var/lib/podgate

    Exit codes: 0 done, 2 something could not be removed.
    """  # noqa: D301
    _, runner = open_place(netns, Backend.NFT)
    problems = [f"IPv{failure.family}: {failure.reason}" for failure in cleanup(runner)]
    if not problems:
        click.echo("podgate's rules and sets are gone", err=True)
    if state_dir is not None:
        problems += _discard_state(state_dir)
    for problem in problems:
        click.echo(f"podgate: {problem}", err=True)
    return ERROR if problems else CLEAN


def _discard_state(folder: Path) -> list[str]:
    """An agent that is installed later would begin with it."""
    try:
        discard(folder)
    except LastGoodError as error:
        return [str(error)]
    return []
