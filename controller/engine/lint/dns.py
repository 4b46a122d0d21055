"""Isolation that cuts name resolution: the first thing that breaks when egress is restricted.

The DNS server is a pod like any other. A policy that isolates egress has to let its pods reach it, over UDP
and, for answers that do not fit a datagram, over TCP; the server's own policies have to let them in.
"""

from collections.abc import Iterator

from controller.engine.connections import NOTHING, ConnectionSet
from controller.engine.evaluate import Query
from controller.engine.lint.context import Context
from controller.engine.lint.coverage import Ports
from controller.engine.lint.dns_servers import PORT, USUAL_SERVER, DnsServer, dns_servers, is_dns_server
from controller.engine.lint.lookalikes import Found, Lookalikes, pod_count
from controller.engine.lint.notes import about_policy, as_note
from controller.engine.lint.wording import listed, names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, NetworkPolicy, PolicyRule, Protocol
from controller.objects.names import counted


def check_dns(context: Context) -> Iterator[Finding]:
    """dns-cut, dns-by-address and dns-without-tcp (rules 2.7, 2.48).

    One finding for each code and policy, that of the isolating policies which selects most pods. One question
    for each lot of lookalikes and each DNS server: O(lookalikes x rules that apply).
    """
    servers = dns_servers(context.every_live)
    found: dict[tuple[tuple[str, str], str], list[Lookalikes]] = {}
    for alike in context.every_live:
        code = "" if is_dns_server(alike) else _code(context, alike, servers)
        if code:
            found.setdefault((_widest(context, alike).key, code), []).append(alike)
    policies = {policy.key: policy for policy in context.policies}
    for (key, code), lots in found.items():
        server = servers[0] if servers else USUAL_SERVER
        yield _finding(context, policies[key], code, tuple(lots), server)


def check_dns_ingress(context: Context) -> Iterator[Finding]:
    """dns-refused: policies on the DNS server that do not let pods in (rule 2.8).

    O(lookalikes x rules of these policies).
    """
    for home in context.every_live:
        applying = context.applying(home, Direction.INGRESS)
        if not applying or not is_dns_server(home):
            continue
        server = DnsServer.of(home)
        others = (alike for alike in context.every_live if not is_dns_server(alike))
        refused = tuple(
            alike
            for alike in others
            if _disallows(_allowed(context, Direction.INGRESS, home, alike), Protocol.UDP, server.udp)
        )
        if refused:
            message = f"does not let {_described(refused)} ask the DNS server"
            ports = f"{server.udp}/UDP and {server.tcp}/TCP"
            remedy = f"allow {ports} from every namespace: from: [{{namespaceSelector: {{}}}}]"
            yield about_policy(applying[0], "dns-refused", "spec.ingress", message, remedy)


def _widest(context: Context, alike: Lookalikes) -> NetworkPolicy:
    applying = context.applying(alike, Direction.EGRESS)
    return min(applying, key=lambda policy: (-pod_count(context.subjects(policy)), policy.key))


def _code(context: Context, alike: Lookalikes, servers: tuple[DnsServer, ...]) -> str:
    """What is wrong for these pods, or ""."""
    applying = context.applying(alike, Direction.EGRESS)
    if not applying:
        return ""
    rules = [rule for policy in applying for rule in policy.rules(Direction.EGRESS)]
    udp, tcp = _reached(context, alike, servers) if servers else _allowed_to_anybody(rules)
    if udp:
        return "" if tcp else "dns-without-tcp"
    return "dns-by-address" if any(_is_for_addresses(rule) for rule in rules) else "dns-cut"


def _reached(context: Context, alike: Lookalikes, servers: tuple[DnsServer, ...]) -> tuple[bool, bool]:
    """Whether egress of these pods lets them ask some server over UDP, and over TCP."""
    udp = tcp = False
    for server in servers:
        allowed = _allowed(context, Direction.EGRESS, alike, server.pods)
        udp = udp or not _disallows(allowed, Protocol.UDP, server.udp)
        tcp = tcp or not _disallows(allowed, Protocol.TCP, server.tcp)
    return udp, tcp


def _allowed(
    context: Context, direction: Direction, own: Lookalikes, other: Lookalikes
) -> ConnectionSet | None:
    """What the policies of isolated pods allow to or from others; None where addresses are missing."""
    evaluator = context.evaluator
    queries = [
        Query(own.pods[0], direction, near, far)
        for near in evaluator.addresses.of_pod(own.pods[0])
        for far in evaluator.addresses.of_pod(other.pods[0])
        if near.family == far.family
    ]
    allowed = NOTHING
    for query in queries:
        for policy in context.applying(own, direction):
            for rule in policy.rules(direction):
                allowed |= evaluator.rule_connections(query, policy, rule)
    return allowed if queries else None


def _disallows(allowed: ConnectionSet | None, protocol: Protocol, port: int) -> bool:
    return allowed is not None and not allowed.allows(protocol, port)


def _allowed_to_anybody(rules: list[PolicyRule]) -> tuple[bool, bool]:
    """Where the input has no DNS server, any rule for its port will do."""
    udp, tcp = (
        any(_speaks_dns(rule, protocol) for rule in rules) for protocol in (Protocol.UDP, Protocol.TCP)
    )
    return udp, tcp


def _speaks_dns(rule: PolicyRule, protocol: Protocol) -> bool:
    """Whether a rule allows DNS to somebody; a port by name may be it: there is no pod to look it up on."""
    ports = Ports.of_rule(rule)
    by_name = any(found is protocol for found, _ in ports.names)
    return rule.peers != () and (by_name or ports.numbers.allows(protocol, PORT))


def _is_for_addresses(rule: PolicyRule) -> bool:
    """Whether a rule allows DNS to a block: a resolver outside, or the Service's address by mistake."""
    has_block = any(peer.ip_block is not None for peer in rule.peers or ())
    return has_block and Ports.of_rule(rule).numbers.allows(Protocol.UDP, PORT)


def _described(found: Found) -> str:
    return f"{counted(pod_count(found), 'pod')} ({names_of(found)})"


def _finding(context: Context, policy: NetworkPolicy, code: str, pods: Found, server: DnsServer) -> Finding:
    path = "spec.egress"
    if code == "dns-without-tcp":
        message = f"{_described(pods)} may ask {server} but not over TCP: long answers are lost"
        remedy = f"add {{port: {server.tcp}, protocol: TCP}} to the ports of the DNS rule"
        return about_policy(policy, code, path, message, remedy)
    if code == "dns-by-address":
        message = (
            f"{_described(pods)} may send port {PORT} to address blocks only, not to {server}: good for "
            "resolvers outside the cluster; a Service's address is replaced by a pod's before policies see it"
        )
        return about_policy(policy, code, path, message, f"for the cluster's DNS add {server.egress_rule}")
    cause = f"egress is isolated by {listed(_isolating(context, pods))}"
    if _may_open_connections(context, pods):
        message = f"{_described(pods)} cannot look up names: {cause}, and no rule allows {server}"
        return about_policy(policy, code, path, message, f"add the egress rule {server.egress_rule}")
    message = f"{_described(pods)} may open no connection at all, DNS included: {cause}"
    remedy = f"nothing, if that is meant; else add the egress rules they need, for DNS {server.egress_rule}"
    return as_note(about_policy(policy, code, path, message, remedy))


def _isolating(context: Context, pods: Found) -> list[str]:
    """The names of the policies that isolate some of these pods, those that concern most of them first."""
    counts: dict[str, int] = {}
    for alike in pods:
        for policy in context.applying(alike, Direction.EGRESS):
            counts[policy.name] = counts.get(policy.name, 0) + len(alike.pods)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _may_open_connections(context: Context, pods: Found) -> bool:
    return any(
        rule.peers != () and rule.ports != ()
        for alike in pods
        for policy in context.applying(alike, Direction.EGRESS)
        for rule in policy.rules(Direction.EGRESS)
    )
