"""The state of policies for people and for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

from controller.cli.output.escapes import plain
from controller.engine.enforcement import NodeState, PolicyState, State
from controller.objects.kinds import Mode

_HEADS = ("NAMESPACE", "NAME", "PODS", "ENFORCED", "STATE", "MODE")
_NODES_NAMED = 3


def state_table(states: Sequence[PolicyState], *, wide: bool = False) -> str:
    """A row a policy; `wide` adds a row for each node on which it is not in force, with the reason.

    The mode is shown with `wide`, and where some policy is in audit mode.
    """
    if not states:
        return "no NetworkPolicies found\n"
    modes = wide or any(each.mode is not Mode.ENFORCE for each in states)
    columns = len(_HEADS) if modes else len(_HEADS) - 1
    rows = [_row(each)[:columns] for each in states]
    widths = [max(map(len, column)) for column in zip(_HEADS[:columns], *rows, strict=True)]
    lines = [_line(_HEADS[:columns], widths)]
    for state, row in zip(states, rows, strict=True):
        lines.append(_line(row, widths))
        if wide:
            lines.extend(f"  {plain(node.node)}: {node.state}, {plain(node.reason)}" for node in _late(state))
    return "\n".join(lines) + "\n"


def state_json(states: Iterable[PolicyState]) -> dict[str, Any]:
    """The contract of `podgate status -o json`."""
    return {
        "apiVersion": "podgate.dev/v1alpha1",
        "kind": "PolicyStatusList",
        "policies": [
            {
                "namespace": each.namespace,
                "name": each.name,
                "state": each.state.value,
                "mode": each.mode.value,
                "pods": each.pods,
                "nodesEnforced": each.enforced,
                "nodes": [
                    {
                        "name": node.node,
                        "state": node.state.value,
                        "pods": node.pods,
                        **({"reason": node.reason} if node.reason else {}),
                    }
                    for node in each.nodes
                ],
            }
            for each in states
        ],
    }


def lagging_text(state: PolicyState) -> str:
    """Where a policy is not in force, and why: `node-2 (pending: ...), node-3 (...) and 4 more`."""
    late = _late(state)
    named = ", ".join(
        f"{plain(node.node)} ({node.state}: {plain(node.reason)})" for node in late[:_NODES_NAMED]
    )
    more = len(late) - _NODES_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _late(state: PolicyState) -> list[NodeState]:
    return [node for node in state.nodes if node.state is not State.ENFORCED]


def _row(state: PolicyState) -> tuple[str, ...]:
    where = f"{state.enforced}/{len(state.nodes)}"
    name = plain(state.namespace), plain(state.name)
    return *name, str(state.pods), where, state.state.value, state.mode.value


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
