"""`podgate cleanup`: remove everything of podgate's from this node, and nothing else."""

import click

from controller.agent.node import cleanup
from controller.cli.failure import CLEAN, ERROR
from controller.cli.node_options import open_place
from controller.dataplane.tools import Backend


@click.command("cleanup")
@click.option("--netns", metavar="NAME", help="Work in this network namespace (`ip netns`), not in this one.")
def command(netns: str | None) -> int:
    """Remove podgate's chains, jumps and sets, from both iptables backends and both families.

    Pods that policies isolate are open afterwards. Foreign rules and sets are not touched; running it again
    is harmless.

    \b
    Examples:
      podgate cleanup
      podgate cleanup --netns lab-node-1

    Exit codes: 0 done, 2 something could not be removed.
    """  # noqa: D301
    _, runner = open_place(netns, Backend.NFT)
    failures = cleanup(runner)
    for failure in failures:
        click.echo(f"podgate: IPv{failure.family}: {failure.reason}", err=True)
    if not failures:
        click.echo("podgate's rules and sets are gone", err=True)
    return ERROR if failures else CLEAN
