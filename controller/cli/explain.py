"""`podgate explain`: may A reach B, and which line of which policy says so."""

import json
from collections.abc import Iterator
from typing import Any

import click

from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.input import manifest_options, read_manifests, report, require_readable, status_of
from controller.cli.targets import endpoints_of, parse_service
from controller.engine.connections import ConnectionSet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Decision, Evaluator, Reason
from controller.engine.explain import Explanation, explain
from controller.objects.kinds import Cluster, Direction, NetworkPolicy, Protocol

_REASONS = {
    Reason.NOT_ISOLATED: "no policy isolates it in this direction",
    Reason.NOT_A_POD: "not a pod: policies do not apply to it",
    Reason.SELF: "a pod may always reach itself",
    Reason.OWN_NODE: "traffic from a pod's own node is always allowed",
    Reason.QUARANTINED: "the pod could not be read in full and is isolated",
}


@click.command("explain")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--port", metavar="PORT[/PROTOCOL]", help="80, 80/TCP, 53/UDP, 5000/SCTP or icmp. [all ports]")
@click.option("--rules", is_flag=True, help="Also show the iptables rules the packet meets (needs --port).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@manifest_options
def command(
    source: str,
    destination: str,
    port: str | None,
    output: str,
    *,
    rules: bool,
    no_color: bool,
    **manifests: Any,
) -> int:
    """May SRC reach DST, and which line of which policy says so.

    SRC and DST are NAMESPACE/POD, NAMESPACE/KIND/NAME (deploy, sts, ds, job, ...) or an IP address.

    \b
    Examples:
      podgate explain shop/web data/postgres --port 5432/TCP -f manifests/
      podgate explain shop/deploy/web 203.0.113.9 -f manifests/ -o json
      kubectl get pods,netpol,ns -A -o yaml | podgate explain shop/web shop/api -f -

    Exit codes: 0 allowed, 1 denied, 2 error.
    """  # noqa: D301
    reading = read_manifests(**manifests)
    require_readable(reading)
    report(reading.findings)
    if rules and port is None:
        raise CommandError("--rules follows one packet: say which with --port")
    evaluator = Evaluator(reading.cluster)
    service = None if port is None else parse_service(port)
    found = [
        explain(evaluator, start, end, service)
        for start in endpoints_of(evaluator, source)
        for end in endpoints_of(evaluator, destination)
        if start.family == end.family
    ]
    if not found:
        raise CommandError(f"{source} and {destination} have no address family in common")
    if output == "json":
        click.echo(json.dumps(_document(found, service), indent=2))
    else:
        painter = Painter(color=wants_color(no_color=no_color))
        click.echo("\n".join(_text(found, service, painter)))
    if rules and service is not None:
        _print_rules(reading.cluster, found, service)
    return max(CLEAN if any(each.allowed for each in found) else FOUND, status_of(reading.findings))


Service = tuple[Protocol | None, int | None] | None


def _text(found: list[Explanation], service: Service, painter: Painter) -> Iterator[str]:
    """One block, or one per address family where the families disagree."""
    for index, each in enumerate(_distinct(found)):
        if index:
            yield ""
        family = f" (IPv{each.source.family})" if len(_distinct(found)) > 1 else ""
        yield from _block(each, service, family, painter)


def _distinct(found: list[Explanation]) -> list[Explanation]:
    answers = {(each.allowed, each.connections) for each in found}
    return found[:1] if len(answers) == 1 else found


def _block(each: Explanation, service: Service, family: str, painter: Painter) -> Iterator[str]:
    answer = painter.good("ALLOWED") if each.allowed else painter.bad("DENIED")
    asked = "any port" if service is None else _service_text(service)
    yield painter.strong(f"{each.source} -> {each.destination} {asked}{family}: ") + answer
    yield ""
    if each.verdict is None:
        yield f"  allowed  {each.connections}"
        for item in each.contributions:
            line = painter.faint(f"  (line {item.match.line})") if item.match.line else ""
            yield f"    {item.match.namespace}/{item.match.name} {item.match.rule}: {item.connections}{line}"
    else:
        yield from _end_lines("egress", each.source, each.verdict.egress, painter)
        yield from _end_lines("ingress", each.destination, each.verdict.ingress, painter)
    yield from _near_miss_lines(each, painter)
    for note in each.notes:
        yield ""
        yield f"  note: {note}"


def _near_miss_lines(each: Explanation, painter: Painter) -> Iterator[str]:
    """What would have to be different, per end; where both ends deny, both lists count."""
    for direction, end in ((Direction.EGRESS, each.source), (Direction.INGRESS, each.destination)):
        misses = [miss for miss in each.near_misses if miss.direction is direction]
        if misses:
            yield ""
            yield painter.strong(f"  {direction.lower()} of {end} would be allowed if")
        for miss in misses:
            first, *others = miss.lacks
            yield f"    - {first}"
            yield from (f"      and {other}" for other in others)
            line = f", line {miss.line}" if miss.line else ""
            yield painter.faint(f"      ({miss.policy} {miss.path}{line})")


def _end_lines(name: str, end: Endpoint, decision: Decision, painter: Painter) -> Iterator[str]:
    answer = painter.good("allowed") if decision.allowed else painter.bad("denied ")
    head = f"  {name:<7}  {answer}  "
    if decision.reason is Reason.RULE:
        for match in decision.matches:
            policy = _policy(decision, match.namespace, match.name)
            port = f" {match.port.rpartition('.')[2]}" if match.port else ""
            yield f"{head}{match}{port}{painter.faint(_source(policy, match.line))}"
            head = " " * 20
    elif decision.reason is Reason.NO_RULE:
        yield f"{head}no rule of the policies that isolate {end} matches:"
        for policy in decision.isolating:
            place = painter.faint(_source(policy, policy.source.line))
            yield f"{' ' * 20}{policy.namespace}/{policy.name}{place}"
    else:
        yield f"{head}{_REASONS[decision.reason]}"


def _policy(decision: Decision, namespace: str, name: str) -> NetworkPolicy:
    return next(policy for policy in decision.isolating if policy.key == (namespace, name))


def _source(policy: NetworkPolicy, line: int) -> str:
    if not policy.source.file:
        return ""
    return f"  ({policy.source.file}:{line})" if line else f"  ({policy.source.file})"


def _service_text(service: tuple[Protocol | None, int | None]) -> str:
    protocol, port = service
    return "ICMP" if protocol is None else f"{port}/{protocol.name}"


def _print_rules(
    cluster: Cluster, found: list[Explanation], service: tuple[Protocol | None, int | None]
) -> None:
    from controller.dataplane.render import rule_text  # noqa: PLC0415 - only --rules pays for the compiler
    from controller.dataplane.walk import Network  # noqa: PLC0415
    from controller.engine.resolve import Resolver  # noqa: PLC0415

    network = Network(Resolver.of(cluster))
    protocol, port = service
    for each in found:
        number = {4: 1, 6: 58}[each.source.family] if protocol is None else int(protocol)
        for passage in network.walk(each.source, each.destination, number, port).passages:
            node = passage.node or "(no node)"
            click.echo(f"\n  {node} {passage.hook} -> {passage.outcome.verdict} (IPv{each.source.family})")
            for step in passage.outcome.trace:
                click.echo(f"    {step.chain} {rule_text(step.rule, each.source.family)}")


def _document(found: list[Explanation], service: Service) -> dict[str, Any]:
    return {
        "apiVersion": "podgate.dev/v1alpha1",
        "kind": "Explanation",
        "service": None if service is None else _service_text(service),
        "allowed": any(each.allowed for each in found),
        "paths": [_path(each) for each in found],
    }


def _path(each: Explanation) -> dict[str, Any]:
    return {
        "from": {"name": str(each.source), "address": each.source.address},
        "to": {"name": str(each.destination), "address": each.destination.address},
        "allowed": each.allowed,
        "connections": _connections(each.connections),
        "egress": None if each.verdict is None else _decision(each.verdict.egress),
        "ingress": None if each.verdict is None else _decision(each.verdict.ingress),
        "rules": [
            {
                "policy": f"{item.match.namespace}/{item.match.name}",
                "rule": item.match.rule,
                "line": item.match.line,
                "connections": _connections(item.connections),
            }
            for item in each.contributions
        ],
        "nearMisses": [
            {"policy": miss.policy, "path": miss.path, "line": miss.line, "lacks": list(miss.lacks)}
            for miss in each.near_misses
        ],
        "notes": list(each.notes),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "matches": [
            {
                "policy": f"{match.namespace}/{match.name}",
                "rule": match.rule,
                "peer": match.peer,
                "port": match.port,
                "file": _policy(decision, match.namespace, match.name).source.file,
                "line": match.line,
            }
            for match in decision.matches
        ],
        "isolating": [f"{policy.namespace}/{policy.name}" for policy in decision.isolating],
    }


def _connections(connections: ConnectionSet) -> dict[str, Any]:
    ports = {
        protocol.name: [list(interval) for interval in connections.ports(protocol)] for protocol in Protocol
    }
    return {"allowed": ports, "otherProtocols": connections.other}
