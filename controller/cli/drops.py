"""`podgate drops`: which packets are denied just now, on which end, and by which policies."""

import functools
import os
from collections.abc import Iterable

import click
from msgspec.structs import replace

from controller.cli import live
from controller.cli.agent_logs import HOW_TO_LOG, Agent, agents, follow_logs, pod_names, read_logs
from controller.cli.cluster_options import cluster_options, connection_of
from controller.cli.drop_lines import Drop, Table, Wanted, json_line, parse_line, with_peer
from controller.cli.durations import Duration
from controller.cli.failure import CLEAN, CommandError
from controller.cli.output.escapes import plain
from controller.kube.client import ApiClient

NAMESPACE = "podgate-system"


@click.command("drops")
@click.argument("pod", required=False, default="", metavar="[POD]")
@click.option("-n", "--namespace", default="", metavar="NAMESPACE", help="Pods of this namespace only.")
@click.option("--node", default="", metavar="NODE", help="As the agent of this node says.")
@click.option("--since", type=Duration(), default=600.0, help="How far to look back, as 30s or 2h. [10m]")
@click.option("-F", "--follow", is_flag=True, help="Go on until interrupted, across restarts of agents.")
@click.option("-f", "--file", type=click.File("rb"), help="Read lines of agents' logs from a file, or - .")
@click.option(
    "--agents-namespace", default=NAMESPACE, show_default=True, metavar="NAMESPACE", help="Where podgate is."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json: an object a line.",
)
@cluster_options
def command(
    pod: str,
    namespace: str,
    node: str,
    since: float,
    file: Iterable[bytes] | None,
    agents_namespace: str,
    output: str,
    kubeconfig: str,
    context: str,
    *,
    follow: bool,
) -> int:
    """Show packets that policies denied, or would deny in audit mode, as the agents have logged them.

    The agents log them where they are told to (--log-drops), some a second at most: a line for each
    connection that is tried in vain, and its count every two minutes. POD is a name, or NAMESPACE/NAME.

    \b
    Examples:
      podgate drops
      podgate drops -n shop --since 1h
      podgate drops shop/db -F
      podgate drops -o json | jq -r .reason | sort | uniq -c
      podgate lab logs agent/node-1 | podgate drops -f -

    \b
    Reasons:
      NoRuleMatched   policies select the pod, and none of their rules names the other end
      PortMismatch    a rule names the other end, but not this port
      DeniedByRule    a rule says so
      Quarantined     the pod is isolated and has no rules: see `podgate status -o wide`
      UnknownPod      an address of this node's pods that belongs to none (--unknown-pods=deny)
      RulesChanged    what is enforced by now allows it

    Exit codes: 0 done, 2 error.
    """  # noqa: D301
    first, slash, last = pod.partition("/")
    wanted = Wanted(first if slash else namespace, last if slash else first)
    show = functools.partial(_show, Table(), as_json=output == "json")
    if file is not None:
        found = (parse_line(line) for line in file)
        show([each for each in found if each is not None and wanted.has(each)])
        return CLEAN
    connection = connection_of(os.environ, kubeconfig=kubeconfig, context=context)

    async def question(client: ApiClient) -> None:
        chosen = await agents(client, agents_namespace, node)
        _check_logging(chosen, agents_namespace)
        names = await pod_names(client)
        if follow:
            await follow_logs(
                client,
                agents_namespace,
                node,
                since,
                lambda agent, line: show(_drops(agent, line, names, wanted)),
            )
        found: list[Drop] = []
        await read_logs(
            client,
            agents_namespace,
            chosen,
            since,
            lambda agent, line: found.extend(_drops(agent, line, names, wanted)),
        )
        show(sorted(found, key=lambda drop: drop.ts))
        if not found:
            click.echo(f"nothing was denied within {since:g} s, as far as was logged", err=True)

    live.ask(connection, question)
    return CLEAN


def _drops(agent: Agent, line: bytes, names: dict[str, str], wanted: Wanted) -> list[Drop]:
    """What a line tells of; a list of one, or none."""
    drop = parse_line(line)
    if drop is None:
        return []
    named = with_peer(replace(drop, node=agent.node), names)
    return [named] if wanted.has(named) else []


def _check_logging(chosen: list[Agent], namespace: str) -> None:
    """Raise CommandError where no agent logs; say so where some do not."""
    silent = [each.node for each in chosen if not each.logs_drops]
    how = HOW_TO_LOG.format(namespace=namespace)
    if len(silent) == len(chosen):
        raise CommandError(f"the agents do not log denied packets; to turn that on: {how}")
    if silent:
        nodes = ", ".join(map(plain, sorted(silent)))
        click.echo(f"podgate: denied packets are not logged on {nodes}; to turn that on: {how}", err=True)


def _show(table: Table, drops: list[Drop], *, as_json: bool) -> None:
    for line in map(json_line, drops) if as_json else table.rows(drops):
        click.echo(line)
