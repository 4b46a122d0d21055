"""`podgate wait`: until policies are in force, for scripts and CI."""

import asyncio
import os
import time

import click

from controller.cli import live
from controller.cli.cluster_options import cluster_options, connection_of
from controller.cli.durations import Duration
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.output.enforcement import lagging_text
from controller.cli.status import read_states
from controller.engine.enforcement import PolicyState, State
from controller.kube.client import ApiClient
from controller.objects.kinds import Mode

_PREFIXES = ("networkpolicy/", "networkpolicies/", "netpol/", "networkpolicy.networking.k8s.io/")
_PAUSE = 0.25
"""Seconds between two looks; doubled up to 2, as what takes long takes long."""


@click.command("wait")
@click.argument("policies", nargs=-1, metavar="[networkpolicy/NAME]...")
@click.option("--for", "condition", type=click.Choice(["enforced"]), required=True, help="What to wait for.")
@click.option(
    "-n", "--namespace", default="", metavar="NAMESPACE", help="[the namespace of the context, or default]"
)
@click.option("--all", "every", is_flag=True, help="Every policy of the namespace.")
@click.option("--timeout", type=Duration(), default=60.0, help="How long to wait, as 30s or 2m. [60s]")
@cluster_options
def command(
    policies: tuple[str, ...],
    condition: str,  # noqa: ARG001 - there is but one
    namespace: str,
    timeout: float,
    kubeconfig: str,
    context: str,
    *,
    every: bool,
) -> int:
    """Wait until NetworkPolicies are in force on every node that has pods they select.

    One in audit mode is waited for until every node counts with it; it is said to be audited.

    \b
    Examples:
      kubectl apply -f deny.yaml && podgate wait --for=enforced networkpolicy/deny -n shop
      podgate wait --for=enforced --all -n shop --timeout 2m

    Exit codes: 0 in force, 1 not within the time (what is missing is said), 2 error.
    """  # noqa: D301
    if bool(policies) is every:
        raise CommandError("name policies (networkpolicy/NAME), or give --all")
    names = tuple(map(_name, policies))
    connection = connection_of(os.environ, kubeconfig=kubeconfig, context=context)
    home = namespace or connection.namespace
    states = live.ask(
        connection, lambda client: until_enforced(client, home, names, time.monotonic() + timeout)
    )
    late = [each for each in states if each.state is not State.ENFORCED]
    for each in states:
        if each not in late:
            verb = "audited" if each.mode is Mode.AUDIT else "enforced"
            click.echo(f"networkpolicy/{each.name} {verb} on {each.enforced}/{len(each.nodes)} nodes")
    for each in late:
        click.echo(
            f"networkpolicy/{each.name} not enforced after {timeout:g} s: {lagging_text(each)}", err=True
        )
    return FOUND if late else CLEAN


async def until_enforced(
    client: ApiClient, namespace: str, names: tuple[str, ...], deadline: float
) -> list[PolicyState]:
    """The state of policies when all are in force, or at a moment of `time.monotonic`.

    No names are all policies, and no namespace is every one. Raises as `read_states` does.
    """
    pause = _PAUSE
    while True:
        states = await read_states(client, namespace, names)
        left = deadline - time.monotonic()
        if left <= 0 or all(each.state is State.ENFORCED for each in states):
            return states
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, 2.0)


def _name(text: str) -> str:
    prefix = next((each for each in _PREFIXES if text.startswith(each)), "")
    name = text.removeprefix(prefix)
    if not name or "/" in name:
        raise CommandError(f"{text!r} is no networkpolicy/NAME")
    return name
