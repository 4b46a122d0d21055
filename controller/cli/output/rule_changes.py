"""How the rules of each node change: unified diffs of the files that `podgate render --output-dir` writes."""

import difflib
from collections.abc import Iterator, Sequence

from controller.cli.output.escapes import plain
from controller.dataplane.compile import compile_node
from controller.dataplane.render import render_rules, render_sets
from controller.engine.resolve import Resolver


def rule_changes(old: Resolver, new: Resolver, nodes: Sequence[str]) -> dict[str, str]:
    """Unified diffs by `node/file`, of files that differ only.

    A node that one side does not know has no pods there.
    """
    return {name: text for node in nodes for name, text in _node_changes(old, new, node) if text}


def _node_changes(old: Resolver, new: Resolver, node: str) -> Iterator[tuple[str, str]]:
    before, after = _files(old, node), _files(new, node)
    for name, text in after.items():
        place = f"{plain(node) or '(no node)'}/{name}"
        lines = difflib.unified_diff(
            before[name].splitlines(), text.splitlines(), f"old/{place}", f"new/{place}", lineterm=""
        )
        yield place, "\n".join(lines)


def _files(resolver: Resolver, node: str) -> dict[str, str]:
    ipv4, ipv6 = compile_node(resolver.view(node))
    return {
        "ipset.restore": render_sets(ipv4) + render_sets(ipv6),
        "iptables.restore": render_rules(ipv4),
        "ip6tables.restore": render_rules(ipv6),
    }
