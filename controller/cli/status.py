"""`podgate status`: which policies are in force, on how many nodes, and what keeps the others."""

import json
import os

import click
from msgspec.structs import replace

from controller.cli import live
from controller.cli.cluster_options import cluster_options, connection_of
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.output.enforcement import state_json, state_table
from controller.engine.enforcement import PolicyState, State, enforcement_of
from controller.engine.node_policies import published_mode
from controller.engine.resolve import Resolver
from controller.kube.client import ApiClient
from controller.objects.assembly import observed_cluster
from controller.objects.kinds import Cluster


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-n", "--namespace", default="", metavar="NAMESPACE", help="Policies of this namespace only.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="wide: with a line for each node that is not there yet.",
)
@cluster_options
def command(names: tuple[str, ...], namespace: str, output: str, kubeconfig: str, context: str) -> int:
    """Say for every NetworkPolicy on how many of its nodes it is in force.

    A policy is in force on a node when its agent has reported that the kernel holds this very version of it,
    for every pod there that it selects. In audit mode (column MODE) it counts what it would drop, and drops
    nothing; PODS are those that no other policy is enforced for.

    \b
    Examples:
      podgate status
      podgate status -n shop -o wide
      podgate status -n shop allow-web
      podgate status -o json | jq '.policies[] | select(.state != "enforced")'

    \b
    States:
      enforced   on every node with pods it selects
      stale      enforced as last told; the agent does not run, or has not reached the API server for minutes
      pending    on its way: operator or agent have something to do
      degraded   an agent cannot do what it should; -o wide says why

    Exit codes: 0 everything enforced, 1 something is not, 2 error.
    """  # noqa: D301
    connection = connection_of(os.environ, kubeconfig=kubeconfig, context=context)
    states = live.ask(connection, lambda client: read_states(client, namespace, names))
    if output == "json":
        click.echo(json.dumps(state_json(states), indent=2))
    else:
        click.echo(state_table(states, wide=output == "wide"), nl=False)
    return CLEAN if all(each.state is State.ENFORCED for each in states) else FOUND


async def read_states(
    client: ApiClient, namespace: str = "", names: tuple[str, ...] = ()
) -> list[PolicyState]:
    """The state of policies as the API server shows it now.

    Raises CommandError for a name that no policy has, or where podgate is not installed.
    """
    assembly = observed_cluster(await live.documents(client, namespace))
    policies = [policy for policy in assembly.cluster.policies if not names or policy.name in names]
    missing = sorted(set(names) - {policy.name for policy in policies})
    if missing:
        where = f" in namespace {namespace}" if namespace else ""
        raise CommandError(f"no NetworkPolicy {missing[0]}{where}")
    told = await live.node_policies(client, _concerned(assembly.cluster) if namespace else None)
    resolver = Resolver.of(replace(assembly.cluster, mode=published_mode(told)))
    states = enforcement_of(resolver, policies, told)
    if not any(node.state is State.ENFORCED for each in states for node in each.nodes):
        return states
    return enforcement_of(resolver, policies, told, await live.agents(client))


def _concerned(cluster: Cluster) -> set[str]:
    """The nodes with pods that policies concern, in whatever mode."""
    resolver = Resolver.of(cluster)
    return {node for node in resolver.nodes() if node and resolver.share(node).pods}
