"""`podgate lab probe`: who answers whom, by real packets."""

import shutil
import sys

import click

from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.lab_options import become_root, in_lab, lab_options
from controller.cli.output.probes import Probed, ProbeEnd, probes_json, probes_text
from controller.cli.targets import parse_service
from controller.lab.expectation import disagreements, evaluator_of
from controller.lab.lab import Lab
from controller.lab.pairs import PairProbe, pairs_of
from controller.lab.podspec import Pod
from controller.lab.rundir import RunDir
from controller.lab.targets import named_by, workload_name


@click.command("probe")
@click.option("--from", "sources", multiple=True, metavar="END", help="Only from these. [the pod network]")
@click.option("--to", "destinations", multiple=True, metavar="END", help="Only to these. [all pods]")
@click.option("--port", metavar="PORT[/PROTOCOL]", help="Only 80/TCP, say. [every port that listens]")
@click.option(
    "--patience", default=0.5, show_default=True, metavar="SECONDS", help="Silence that means denied."
)
@click.option("--family", type=click.Choice(["4", "6"]), default="4", show_default=True)
@click.option("--check", is_flag=True, help="Compare with what the policies say; exit 1 on a difference.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--no-color", is_flag=True, help="Never colour the output.")
@lab_options
def command(
    name: str,
    run_dir: RunDir,
    sources: tuple[str, ...],
    destinations: tuple[str, ...],
    port: str | None,
    patience: float,
    family: str,
    output: str,
    *,
    check: bool,
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
    become_root(name)
    service = None
    if port is not None:
        protocol, number = parse_service(port)
        if protocol is None or number is None:
            raise CommandError("--port icmp: probes are of TCP and UDP")
        service = (protocol, number)

    async def work(lab: Lab) -> int:
        pods, nodes = await lab.pods(), [node.name for node in await lab.nodes()]
        pairs = pairs_of(
            await lab.ends(),
            pods,
            sources=[name for text in sources for name in named_by(text, pods, nodes)] or _askers(pods),
            destinations=[name for text in destinations for name in named_by(text, pods, nodes)],
            service=service,
            family=int(family),
        )
        found = await lab.probe_pairs(pairs, patience)
        _show(found, pods, output, color=wants_color(no_color=no_color))
        return await _compare(lab, found, output) if check else CLEAN

    return in_lab(run_dir, work)


def _askers(pods: list[Pod]) -> list[str]:
    """Every running pod but those on the host network, whose packets are their nodes'."""
    return [pod.key for pod in pods if pod.addresses and not pod.has_ended and not pod.spec.host_network]


async def _compare(lab: Lab, found: list[PairProbe], output: str) -> int:
    """Say where packets fare otherwise than the policies say."""
    wrong = disagreements(await evaluator_of(lab.client), found)
    for each in wrong[:20]:
        click.echo(f"not as the policies say: {each}", err=True)
    summary = f"{len(wrong)} of {len(found)} not as the policies say"
    click.echo(summary if wrong else "all as the policies say", err=output == "json")
    return FOUND if wrong else CLEAN


def _show(found: list[PairProbe], pods: list[Pod], output: str, *, color: bool) -> None:
    by_name = {pod.key: pod for pod in pods}

    def end(text: str) -> ProbeEnd:
        pod = by_name.get(text)
        return ProbeEnd(pod.metadata.namespace, workload_name(pod), text) if pod else ProbeEnd("", text, text)

    probed = [
        Probed(
            end(each.pair.source),
            end(each.pair.destination),
            f"{each.pair.port}/{each.pair.protocol.name}",
            each.outcome,
        )
        for each in found
    ]
    if output == "json":
        click.echo(probes_json(probed), nl=False)
        return
    width = shutil.get_terminal_size((80, 24)).columns
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(probes_text(probed, Painter(color=color), width, ascii_only=ascii_only), nl=False, color=color)
