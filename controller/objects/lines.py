"""From a field path to its line: `spec.ingress[1].from[0]` is on line 27.

Only documents of policies keep their nodes for it, because nodes take ten times the memory of the values, and
a person asks for the line of a rule far more often than for the line of a container.
"""

import re

from yaml.nodes import MappingNode, Node, SequenceNode

_INDEX = re.compile(r"(.*)\[([0-9]{1,9})\]", re.DOTALL)
_KEY = re.compile(r"(.*?)\[(.*)\]", re.DOTALL)


class LineIndex:
    """Lines of the fields of one document. `offset` is how many lines of the file are above its text."""

    __slots__ = ("_found", "_offset")

    def __init__(self, node: Node, offset: int) -> None:
        self._offset = offset
        self._found: dict[str, tuple[Node, int]] = {"": (node, int(node.start_mark.line))}

    def line(self, path: str) -> int:
        """The line of a field, or of the nearest one around it that exists. O(1) near paths asked before."""
        return self._find(path)[1] + 1 + self._offset

    def _find(self, path: str) -> tuple[Node, int]:
        found = self._found.get(path)
        if found is None:
            parent, step = _split(path)
            around = self._find(parent)
            found = _child(around[0], step) or around
            self._found[path] = found
        return found


def _split(path: str) -> tuple[str, str | int]:
    """The path without its last step, and that step: a field, an index, or a key (`matchLabels[app]`)."""
    if path.endswith("]"):
        if match := _INDEX.fullmatch(path):
            return match[1], int(match[2])
        if match := _KEY.fullmatch(path):
            return match[1], match[2]
    parent, _, field = path.rpartition(".")
    return parent, field


def _child(node: Node, step: str | int) -> tuple[Node, int] | None:
    if isinstance(step, int):
        if isinstance(node, SequenceNode) and step < len(node.value):
            item: Node = node.value[step]
            return item, int(item.start_mark.line)
        return None
    if not isinstance(node, MappingNode):
        return None
    for key, value in node.value:
        if key.value == step:
            return value, int(key.start_mark.line)
    return None
