"""Peers that are wider than they look: every pod, every address, pods among addresses, one family of two."""

from collections.abc import Iterator

from controller.engine.evaluate import peer_path, rule_path
from controller.engine.lint.context import Context
from controller.engine.lint.lookalikes import Found, pod_count, pods_of
from controller.engine.lint.notes import about_policy, as_note, rules_of
from controller.engine.lint.wording import names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, IPBlock, NetworkPolicy, Peer, PolicyRule
from controller.objects.names import counted


def check_width(context: Context) -> Iterator[Finding]:
    """allow-all-rule, peer-is-every-pod, block-is-everything and block-covers-pods (rules 2.10, 2.13, 2.19).

    O(peers), and O(log pods + pods inside) for each distinct block.
    """
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            if rule.peers is None and rule.ports is None:
                yield _allow_all(policy, direction, rule)
            for peer in rule.peers or ():
                yield from _check_peer(context, policy, direction, rule, peer)


def check_families(context: Context) -> Iterator[Finding]:
    """block-one-family: everything in IPv4 is not everything where pods have IPv6 too (rule 2.21)."""
    for policy in context.policies:
        for direction, rule in rules_of(policy):
            blocks = [peer.ip_block for peer in rule.peers or () if peer.ip_block is not None]
            families = {block.cidr.family for block in blocks}
            for block in blocks:
                if block.cidr.prefix == 0 and len(families) == 1:
                    yield from _other_family(context, policy, direction, rule, block)


def _allow_all(policy: NetworkPolicy, direction: Direction, rule: PolicyRule) -> Finding:
    what = "from anybody" if direction is Direction.INGRESS else "to anywhere"
    message = f"a rule without peers and ports allows everything {what}: no other rule matters"
    remedy = "name the peers or the ports, unless the policy is there to lift the isolation"
    return about_policy(policy, "allow-all-rule", rule_path(direction, rule), message, remedy)


def _check_peer(
    context: Context, policy: NetworkPolicy, direction: Direction, rule: PolicyRule, peer: Peer
) -> Iterator[Finding]:
    path = peer_path(direction, rule, peer)
    if peer.ip_block is not None:
        yield from _check_block(context, policy, direction, peer.ip_block, path)
    elif _is_every_pod(peer):
        message = "is every pod of every namespace"
        if context.has_pods:
            message += f", {counted(pod_count(context.every_live), 'pod')} now"
        remedy = "name the namespaces by a label, if some of them have no business here"
        yield about_policy(policy, "peer-is-every-pod", path, message, remedy)


def _is_every_pod(peer: Peer) -> bool:
    if peer.namespace_selector is None or not peer.namespace_selector.selects_everything:
        return False
    return peer.pod_selector is None or peer.pod_selector.selects_everything


def _check_block(
    context: Context, policy: NetworkPolicy, direction: Direction, block: IPBlock, path: str
) -> Iterator[Finding]:
    inside = context.inside(block)
    if block.cidr.prefix == 0 and not block.excepts:
        yield _everything(policy, direction, block, inside, path)
    elif inside:
        message = (
            f"{block.cidr} holds the addresses of {counted(pod_count(inside), 'pod')} ({names_of(inside)}): "
            "a block also matches pods, whatever their labels"
        )
        remedy = f"name pods by selectors; if only outsiders are meant, {_exceptions(context, block)}"
        finding = about_policy(policy, "block-covers-pods", path, message, remedy)
        yield finding if _addresses_are_known(context, inside) else as_note(finding)


def _everything(
    policy: NetworkPolicy, direction: Direction, block: IPBlock, inside: Found, path: str
) -> Finding:
    pods = f", {counted(pod_count(inside), 'pod')} of the cluster included" if inside else ", pods included"
    message = f"{block.cidr} without except is every IPv{block.cidr.family} address{pods}"
    if direction is Direction.INGRESS:
        remedy = "leave `from` out, if anybody is meant; else add except for the addresses of pods and nodes"
    else:
        remedy = "add except for the addresses of pods, nodes and services: 10.0.0.0/8 and the like"
    return about_policy(policy, "block-is-everything", path, message, remedy)


def _addresses_are_known(context: Context, inside: Found) -> bool:
    """Whether the pods have these addresses in fact; manifests of workloads say nothing about them."""
    return any(node.pod_cidrs for node in context.cluster.nodes) or not all(
        pod.synthetic for pod in pods_of(inside)
    )


def _exceptions(context: Context, block: IPBlock) -> str:
    """What to except: the blocks that nodes take pod addresses from, where they are known."""
    inner = sorted(
        {
            str(cidr)
            for node in context.cluster.nodes
            for cidr in node.pod_cidrs
            if block.cidr.contains(cidr) and cidr.prefix > block.cidr.prefix
        }
    )
    return f"add except: [{', '.join(inner[:4])}]" if inner else "except the addresses of pods"


def _other_family(
    context: Context, policy: NetworkPolicy, direction: Direction, rule: PolicyRule, block: IPBlock
) -> Iterator[Finding]:
    family = block.cidr.family
    other = 6 if family == 4 else 4
    dual = [
        pod for pod in pods_of(context.subjects(policy)) if any((":" in ip) == (other == 6) for ip in pod.ips)
    ]
    if not dual:
        return
    everything = "::/0" if other == 6 else "0.0.0.0/0"
    message = f"{block.cidr} never matches IPv{other}, and {counted(len(dual), 'selected pod')} use it too"
    word = "from" if direction is Direction.INGRESS else "to"
    remedy = f"add ipBlock {everything}, or leave `{word}` out to allow every address of both families"
    yield about_policy(policy, "block-one-family", rule_path(direction, rule), message, remedy)
