"""`podgate explain`: may A reach B, and which line of which policy says so."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import click
import msgspec

from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, FOUND, CommandError
from controller.cli.input import manifest_options, read_manifests, report, require_readable, status_of
from controller.cli.output.escapes import plain
from controller.cli.service_target import Behind, behind, caveat
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
    Reason.AUDITED: "the pod could not be read in full: it would be isolated, were policies enforced",
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
    DST may be a Service, NAMESPACE/svc/NAME or its ClusterIP: its pods answer, as policies see those.
    Where the pods of a workload get different answers, two that differ are shown, and the exit code is 1.

    \b
    Examples:
      podgate explain shop/web data/postgres --port 5432/TCP -f manifests/
      podgate explain shop/deploy/web 203.0.113.9 -f manifests/ -o json
      kubectl get pods,netpol,ns -A -o yaml | podgate explain shop/web shop/api -f -

    Exit codes: 0 allowed, 1 denied, 2 error.
    """  # noqa: D301
    reading = read_manifests(**manifests, services=True)
    require_readable(reading)
    report(reading.findings)
    if rules and port is None:
        raise CommandError("--rules follows one packet: say which with --port")
    evaluator = Evaluator(reading.cluster)
    service = None if port is None else parse_service(port)
    found = behind(reading.cluster, destination, service)
    answers = _answers(evaluator, source, destination, service, found)
    if output == "json":
        click.echo(json.dumps(_document(answers), indent=2))
    else:
        painter = Painter(color=wants_color(no_color=no_color))
        click.echo("\n\n".join("\n".join(_text(found, painter)) for found in answers))
    if rules:
        _print_rules(reading.cluster, [each for found in answers for each in found])
    return max(CLEAN if _allowed(answers) else FOUND, status_of(reading.findings))


Service = tuple[Protocol | None, int | None] | None
Ends = tuple[Endpoint, ...]
Pair = tuple[tuple[Endpoint, Endpoint], ...]
"""Two pods: their addresses of one family each."""

Question = tuple[Pair, Service]
"""Two pods and what is asked: the port of a Service need not have one number at all of its pods."""

_MOST_PODS = 50
"""How many pods of a workload are compared."""


def _answers(
    evaluator: Evaluator, source: str, destination: str, service: Service, found: Behind | None = None
) -> list[list[Explanation]]:
    """The explanations of the first pods named, by family, and of pods that get another answer, if any."""
    sources = endpoints_of(evaluator, source)
    if found is None:
        destinations = [(ends, service) for ends in endpoints_of(evaluator, destination)]
    else:
        places = ((evaluator.addresses.of_pod(pod), asked) for pod, asked in found.pods)
        destinations = [(ends, asked) for ends, asked in places if ends]
    is_outside = found is None and not (destinations[0][0][0].pods or destinations[0][0][0].node)
    questions = _questions(sources[:_MOST_PODS], destinations[:_MOST_PODS])
    if not questions:
        raise CommandError(f"{source} and {destination} have no address family in common")
    notes = [
        f"only {_MOST_PODS} of the {count} pods of {text} were compared"
        for text, count in ((source, len(sources)), (destination, len(destinations)))
        if count > _MOST_PODS
    ]
    notes += caveat(evaluator.cluster, destination) if is_outside else ()
    notes += found.notes if found is not None else ()
    shown = [_explained(evaluator, questions[0])]
    other = _other_answer(evaluator, questions)
    if other is not None:
        (example, *_), _ = other
        notes.insert(0, f"other pods get another answer: {example[0]} -> {example[1]} (below)")
        shown.append(_explained(evaluator, other))
    shown[0] = [msgspec.structs.replace(each, notes=(*each.notes, *notes)) for each in shown[0]]
    return shown


def _explained(evaluator: Evaluator, question: Question) -> list[Explanation]:
    pair, service = question
    return [explain(evaluator, *ends, service) for ends in pair]


def _questions(sources: Sequence[Ends], destinations: Sequence[tuple[Ends, Service]]) -> list[Question]:
    questions = (
        (tuple((start, end) for start in one for end in other if start.family == end.family), service)
        for one, (other, service) in product(sources, destinations)
    )
    return [(pair, service) for pair, service in questions if pair]


def _other_answer(evaluator: Evaluator, questions: Sequence[Question]) -> Question | None:
    """The first question whose answer is not that of the first of all; None where all agree."""
    if len(questions) == 1:
        return None
    usual = _answer(evaluator, questions[0])

    def differs(question: Question) -> bool:
        """In some family that both have: not every pod need have both."""
        found = _answer(evaluator, question)
        return any(found[family] != usual[family] for family in found.keys() & usual.keys())

    return next(filter(differs, questions[1:]), None)


def _answer(evaluator: Evaluator, question: Question) -> dict[int, bool | ConnectionSet]:
    """By family: may the service pass, or without one all that may."""
    pair, service = question
    if service is None:
        return {start.family: evaluator.connections(start, end) for start, end in pair}
    return {start.family: evaluator.evaluate(start, end, *service).allowed for start, end in pair}


def _allowed(answers: Sequence[Sequence[Explanation]]) -> bool:
    """Whether the answer is yes: for some family, and without other pods that get another one."""
    return len(answers) == 1 and any(each.allowed for each in answers[0])


def _text(found: list[Explanation], painter: Painter) -> Iterator[str]:
    """One block, or one per address family where the families disagree."""
    for index, each in enumerate(_distinct(found)):
        if index:
            yield ""
        family = f" (IPv{each.source.family})" if len(_distinct(found)) > 1 else ""
        yield from _block(each, family, painter)


def _distinct(found: list[Explanation]) -> list[Explanation]:
    answers = {(each.allowed, each.connections) for each in found}
    return found[:1] if len(answers) == 1 else found


def _block(each: Explanation, family: str, painter: Painter) -> Iterator[str]:
    answer = painter.good("ALLOWED") if each.allowed else painter.bad("DENIED")
    if each.allowed and any(map(_is_counted, _decisions(each))):
        answer += "; would be denied, were policies in audit mode enforced"
    asked = "any port" if each.service is None else _service_text(each.service)
    yield painter.strong(f"{_name(each.source)} -> {_name(each.destination)} {asked}{family}: ") + answer
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
        yield f"  note: {plain(note)}"


def _near_miss_lines(each: Explanation, painter: Painter) -> Iterator[str]:
    """What would have to be different, per end; where both ends deny, both lists count."""
    for direction, end in ((Direction.EGRESS, each.source), (Direction.INGRESS, each.destination)):
        misses = [miss for miss in each.near_misses if miss.direction is direction]
        if misses:
            yield ""
            counted = any(found.direction is direction and _is_counted(found) for found in _decisions(each))
            when = "would be allowed when enforced, if" if counted else "would be allowed if"
            yield painter.strong(f"  {direction.lower()} of {_name(end)} {when}")
        for miss in misses:
            first, *others = miss.lacks
            yield f"    - {plain(first)}"
            yield from (f"      and {plain(other)}" for other in others)
            line = f", line {miss.line}" if miss.line else ""
            yield painter.faint(f"      ({plain(f'{miss.policy} {miss.path}')}{line})")


def _end_lines(name: str, end: Endpoint, decision: Decision, painter: Painter) -> Iterator[str]:
    answer = painter.good("allowed") if decision.allowed else painter.bad("denied ")
    head = f"  {name:<7}  {answer}  "
    if decision.reason is Reason.RULE:
        for match in decision.matches:
            policy = _policy(decision, match.namespace, match.name)
            port = f" {match.port.rpartition('.')[2]}" if match.port else ""
            yield f"{head}{match}{port}{painter.faint(_source(policy, match.line))}"
            head = " " * 20
    elif decision.isolating:
        if _is_counted(decision):
            yield f"{head}would be denied by these, which are in audit mode, as no rule of theirs matches:"
        else:
            yield f"{head}no rule of the policies that isolate {_name(end)} matches:"
        for policy in decision.isolating:
            place = painter.faint(_source(policy, policy.source.line))
            yield f"{' ' * 20}{policy.namespace}/{policy.name}{place}"
    else:
        yield f"{head}{_REASONS[decision.reason]}"


def _decisions(each: Explanation) -> tuple[Decision, ...]:
    return () if each.verdict is None else (each.verdict.egress, each.verdict.ingress)


def _is_counted(decision: Decision) -> bool:
    """Whether it passes for the mode of its policies alone."""
    return decision.reason is Reason.AUDITED


def _name(end: Endpoint) -> str:
    """An end as it may be printed: the name of a node or a pod is whatever somebody wrote."""
    return plain(str(end))


def _policy(decision: Decision, namespace: str, name: str) -> NetworkPolicy:
    return next(policy for policy in decision.isolating if policy.key == (namespace, name))


def _source(policy: NetworkPolicy, line: int) -> str:
    if not policy.source.file:
        return ""
    file = plain(policy.source.file)
    return f"  ({file}:{line})" if line else f"  ({file})"


def _service_text(service: tuple[Protocol | None, int | None]) -> str:
    protocol, port = service
    return "ICMP" if protocol is None else f"{port}/{protocol.name}"


def _print_rules(cluster: Cluster, found: list[Explanation]) -> None:
    from controller.dataplane.render import rule_text  # noqa: PLC0415 - only --rules pays for the compiler
    from controller.dataplane.walk import Network  # noqa: PLC0415
    from controller.engine.resolve import Resolver  # noqa: PLC0415

    network = Network(Resolver.of(cluster))
    for each in found:
        protocol, port = each.service or (None, None)
        number = {4: 1, 6: 58}[each.source.family] if protocol is None else int(protocol)
        for passage in network.walk(each.source, each.destination, number, port).passages:
            node = plain(passage.node) or "(no node)"
            click.echo(f"\n  {node} {passage.hook} -> {passage.outcome.verdict} (IPv{each.source.family})")
            for step in passage.outcome.trace:
                click.echo(plain(f"    {step.chain} {rule_text(step.rule, each.source.family)}"))


def _document(answers: list[list[Explanation]]) -> dict[str, Any]:
    service = answers[0][0].service
    return {
        "apiVersion": "podgate.dev/v1alpha1",
        "kind": "Explanation",
        "service": None if service is None else _service_text(service),
        "allowed": _allowed(answers),
        "paths": [_path(each) for found in answers for each in found],
    }


def _path(each: Explanation) -> dict[str, Any]:
    return {
        "from": {"name": str(each.source), "address": each.source.address},
        "to": {"name": str(each.destination), "address": each.destination.address},
        "service": None if each.service is None else _service_text(each.service),
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
        "audited": decision.audited,
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
