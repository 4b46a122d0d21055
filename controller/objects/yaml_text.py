"""One YAML document to plain values, fast, and safe against documents that were made to do harm.

libyaml composes the nodes and a converter of our own turns them into values, which is four times as fast as
the constructors of PyYAML and can refuse what kubectl refuses: duplicate keys, keys that are lists. Three
attacks are stopped here: nesting that would overflow the C stack of libyaml, nesting that would overflow
Python's, and aliases that expand without end.
"""

import re
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs leave it out
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from controller.objects.malformed import MalformedError
from controller.objects.names import shown
from controller.objects.scalars import (
    NotFiniteError,
    Scalar,
    key_text,
    plain_key,
    resolve_plain,
    resolve_short,
)
from controller.objects.yaml_tags import tagged_scalar

MAX_DEPTH = 100
"""Levels of lists and mappings; the deepest Kubernetes objects (CRD schemas aside) have about 20."""

MAX_EXPANSION = 250_000
"""Values that aliases may add to the documents of one reading."""

# A level of flow style costs an opening bracket, a level of block style a column of indentation.
_DEEP_INDENTATION = re.compile(r"^[ \t?:-]{400}", re.MULTILINE)
_MANY_BRACKETS = 2000  # libyaml overflows 8 MB of stack below 50,000
_SHORT = 64

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class Allowance:
    """How many values the aliases of the documents read together may still add. The only state of reading."""

    __slots__ = ("left",)

    def __init__(self, values: int = MAX_EXPANSION) -> None:
        self.left = values


def load_yaml(text: str, allowance: Allowance) -> tuple[Any, Node | None]:
    """The value of one YAML document, and its node for finding lines; (None, None) when it is empty.

    Raises MalformedError. O(length of the text + expansion of aliases, which `allowance` bounds).
    """
    node = _compose(text)
    if node is None:
        return None, None
    converter = _Converter(len(text) + allowance.left)
    try:
        value = converter.value(node, 0)
    finally:
        allowance.left -= max(0, converter.count - len(text))
    return value, node


class _Composer(CParser):
    """libyaml without tag resolution, which would call Python several times for each scalar."""

    def resolve(self, kind: object, value: object, implicit: object) -> None:
        """No tag: `_Converter` decides from the style and the text."""

    def descend_resolver(self, parent: object, index: object) -> None:
        """Nothing to prepare."""

    def ascend_resolver(self) -> None:
        """Nothing to undo."""


class _GuardedComposer(_Composer):
    """The same with a limit on nesting, for texts that might exceed it."""

    depth = 0

    def descend_resolver(self, parent: object, index: object) -> None:
        """One level down. Raises MalformedError below MAX_DEPTH."""
        del parent, index
        self.depth += 1
        if self.depth > MAX_DEPTH + 1:
            raise _too_deep(1)

    def ascend_resolver(self) -> None:
        """One level up."""
        self.depth -= 1


def _compose(text: str) -> Node | None:
    # libyaml's composer recurses in C: deep nesting must be refused before it overflows the stack.
    try:
        composer = _GuardedComposer(text) if _may_be_deep(text) else _Composer(text)
        node: Node | None = composer.get_single_node()
    except UnicodeEncodeError as error:
        raise _not_utf8(text, error.start) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from None
    except yaml.YAMLError as error:
        raise _unreadable_character(text, error) from None
    return node


def _may_be_deep(text: str) -> bool:
    """Whether a text has what it takes to nest some thousand levels deep. Empty brackets hold nothing."""
    brackets = text.count("[") - text.count("[]") + text.count("{") - text.count("{}")
    return brackets > _MANY_BRACKETS or _DEEP_INDENTATION.search(text) is not None


class _Converter:
    """Nodes to values. `count` is how many values were made; more than `limit` means that aliases multiply.

    The loops write out what `_key` and `_scalar` decide for scalars without tags: nearly all are such, and
    the calls saved are two thirds of the time.
    """

    __slots__ = ("count", "limit")

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.limit = limit

    def value(self, node: Node, depth: int) -> Any:  # noqa: ANN401 (a YAML value is anything)
        """The value of any node `depth` levels below the root. Raises MalformedError."""
        if isinstance(node, ScalarNode):
            return _scalar(node)
        self.count += len(node.value)
        if depth >= MAX_DEPTH:
            raise _too_deep(_line(node))
        if self.count > self.limit:
            raise _too_many(_line(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, depth + 1)
        return [self.value(item, depth + 1) for item in node.value]

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        pairs = iter(node.value)
        for key_node, value_node in pairs:
            text = key_node.value
            if type(text) is str and len(text) < _SHORT and not key_node.style and key_node.tag is None:
                key = plain_key(text)
            else:
                key = None
            if key is None:
                key = _key(key_node)
            elif key == "<<":
                return self._merging(result, [(key_node, value_node), *pairs], depth)
            if key in result:
                raise _duplicate(key, key_node)
            if type(value_node) is not ScalarNode:
                result[key] = self.value(value_node, depth)
            elif value_node.style and value_node.tag is None:
                result[key] = value_node.value
            else:
                result[key] = _scalar(value_node)
        return result

    def _merging(self, result: dict[str, Any], pairs: list[tuple[Node, Node]], depth: int) -> dict[str, Any]:
        """The rest of a mapping from its first `<<` on.

        A merge counts at its place in the order, as in kubectl: it replaces keys above it, keys below replace
        it.
        """
        merged: set[str] = set()
        for key_node, value_node in pairs:
            key = _key(key_node)
            if key == "<<" and key_node.tag is None and not key_node.style:
                values = self._merged(value_node, depth)
                merged.update(values.keys() - result.keys())
                result.update(values)
                continue
            if key in result and key not in merged:
                raise _duplicate(key, key_node)
            merged.discard(key)
            result[key] = self.value(value_node, depth)
        return result

    def _merged(self, node: Node, depth: int) -> dict[str, Any]:
        """What `<<: *one` or `<<: [*one, *two]` brings; of several, the first one wins."""
        result: dict[str, Any] = {}
        for part in reversed(node.value if isinstance(node, SequenceNode) else [node]):
            if not isinstance(part, MappingNode):
                raise MalformedError("unreadable-document", "a merge key << needs a mapping", _line(part))
            result.update(self.value(part, depth))
        return result


def _scalar(node: ScalarNode) -> Scalar:
    text: str = node.value
    if node.tag is not None:
        return tagged_scalar(node.tag, text, _line(node))
    if node.style:
        return text
    try:
        return resolve_short(text) if len(text) < _SHORT else resolve_plain(text)
    except NotFiniteError:
        raise MalformedError(
            "unreadable-document", f"{text} is no number in JSON", _line(node), "quote it"
        ) from None


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        remedy = (
            "quote it; if {{ }} belongs to a template, render that first, with `helm template` for instance"
        )
        raise MalformedError("unreadable-document", "a list or mapping is used as a key", _line(node), remedy)
    key = key_text(_scalar(node))
    if key is None:
        raise MalformedError("unreadable-document", "null is used as a key", _line(node), "quote it")
    return key


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _duplicate(key: str, node: Node) -> MalformedError:
    return MalformedError(
        "duplicate-key", f"the key {shown(key)} stands twice in one mapping", _line(node), "keep one"
    )


def _too_deep(line: int) -> MalformedError:
    return MalformedError("too-deep", f"nested more than {MAX_DEPTH} levels deep", line, "remove the nesting")


def _too_many(line: int) -> MalformedError:
    message = f"aliases expand to more than {MAX_EXPANSION} values"
    return MalformedError("too-many-aliases", message, line, "write the repeated parts out")


def _not_utf8(text: str, position: int) -> MalformedError:
    line = text.count("\n", 0, position) + 1
    return MalformedError("not-utf8", "holds bytes that are not UTF-8", line, "save the file as UTF-8")


def _unreadable_character(text: str, error: yaml.YAMLError) -> MalformedError:
    """Libyaml gives no line for a character it refuses."""
    match = _FORBIDDEN.search(text)
    if match is None:
        return MalformedError("unreadable-document", shown(str(error)))
    line = text.count("\n", 0, match.start()) + 1
    message = f"holds the control character U+{ord(match.group()):04X}"
    return MalformedError("control-character", message, line, "remove it")


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> MalformedError:
    mark = error.problem_mark or error.context_mark
    line = int(mark.line) + 1 if mark is not None else 1
    parts = (error.context, error.problem)
    message = ", ".join(part.replace("<block end>", "a line with less indentation") for part in parts if part)
    if error.problem is not None and "single document" in str(error):
        message = "another document follows without a line `---`"
    return MalformedError("unreadable-document", message, line, _remedy(text, line, message))


def _remedy(text: str, line: int, message: str) -> str:
    lines = text.split("\n", line)
    wrong = lines[line - 1] if line <= len(lines) else ""
    if "{{" in wrong:
        return "this is a template: render it first, with `helm template` for instance"
    if "\t" in wrong[: len(wrong) - len(wrong.lstrip())]:
        return "indent with spaces: YAML allows no tabs"
    if "mapping values are not allowed" in message:
        return "check the indentation, and quote a text that holds ': '"
    return "check the indentation of this line and the one above"
