"""Ports by name that no pod in reach has.

A name is looked up on the pods that receive the connection: the policy's own for ingress (rule 2.34), the
peers for egress (rule 2.35). A name nobody has opens nothing, and nothing says so until a connection hangs.
"""

from collections.abc import Iterator

from controller.engine.lint.context import Context
from controller.engine.lint.lookalikes import Found
from controller.engine.lint.notes import about_policy, as_note, item_path, rules_of
from controller.engine.lint.similarity import close_text
from controller.engine.lint.wording import names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, NetworkPolicy, PolicyPort, PolicyRule


def check_named_ports(context: Context) -> Iterator[Finding]:
    """named-port-undefined, named-port-protocol and named-port-with-block (rules 2.24 and 2.34 to 2.36).

    O(named ports x lookalikes in reach).
    """
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            named = [item for item in rule.ports or () if isinstance(item.port, str)]
            if not named:
                continue
            found = _receivers(context, policy, direction, rule)
            for item in named:
                path = item_path(direction, rule, item)
                if found:
                    yield from _check_name(policy, direction, item, path, found)
                if direction is Direction.EGRESS:
                    yield from _check_blocks(context, policy, rule, item, path)


def _receivers(context: Context, policy: NetworkPolicy, direction: Direction, rule: PolicyRule) -> Found:
    """The pods that selectors find, on which names are looked up; that they find none is said elsewhere."""
    if direction is Direction.INGRESS:
        return context.subjects(policy)
    if rule.peers is None:
        return context.every_live
    return tuple(dict.fromkeys(alike for peer in rule.peers for alike in context.members(policy, peer)))


def _check_name(
    policy: NetworkPolicy, direction: Direction, item: PolicyPort, path: str, found: Found
) -> Iterator[Finding]:
    ports = {port for alike in found for port in alike.ports}
    same_name = {port.protocol for port in ports if port.name == item.port}
    if item.protocol in same_name:
        return
    who = f"the {'selected' if direction is Direction.INGRESS else 'allowed'} pods ({names_of(found)})"
    if same_name:
        other = min(same_name).name
        message = f"{item.port} is a port of {other} at {who}, and this rule asks for {item.protocol.name}"
        remedy = f"write protocol: {other}; name and protocol must both fit"
        yield about_policy(policy, "named-port-protocol", path, message, remedy)
        return
    message = f"none of {who} has a port named {item.port}, so that it opens nothing"
    yield about_policy(policy, "named-port-undefined", path, message, _hint(item, found))


def _hint(item: PolicyPort, found: Found) -> str:
    names = {port.name for alike in found for port in alike.ports if port.protocol is item.protocol}
    close = close_text(str(item.port), names)
    if close:
        return f"did you mean {close}?"
    if names:
        return f"their ports are named {', '.join(sorted(names)[:6])}"
    return "name a port of their containers, or write its number here"


def _check_blocks(
    context: Context, policy: NetworkPolicy, rule: PolicyRule, item: PolicyPort, path: str
) -> Iterator[Finding]:
    """Only pods have names for their ports: at other addresses the rule opens nothing (rule 2.24)."""
    blocks = [peer.ip_block for peer in rule.peers or () if peer.ip_block is not None]
    if not blocks:
        return
    inside = (port for block in blocks for alike in context.inside(block) for port in alike.ports)
    reaches_pods = any((port.name, port.protocol) == (item.port, item.protocol) for port in inside)
    message = (
        f"the name {item.port} opens nothing at addresses of {blocks[0].cidr} that are not those of pods"
    )
    remedy = "write the port number for them, in a rule of their own"
    finding = about_policy(policy, "named-port-with-block", path, message, remedy)
    yield as_note(finding) if reaches_pods or not context.has_pods else finding
