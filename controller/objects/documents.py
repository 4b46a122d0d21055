"""Text to documents: YAML streams, JSON, and lists of objects, each document with the place it stands at.

A stream is cut at its `---` lines before anything is parsed, as kubectl does, so that a broken document takes
no other with it and every line number is exact. Nothing here knows what a policy is.
"""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from yaml.nodes import MappingNode, Node, SequenceNode

from controller.objects.findings import Finding, Severity, Source
from controller.objects.json_text import load_json
from controller.objects.lines import LineIndex
from controller.objects.malformed import MalformedError
from controller.objects.names import shown, type_name
from controller.objects.yaml_text import Allowance, load_yaml

MAX_LIST_DEPTH = 8
"""Lists inside lists of objects."""

_SEPARATOR = re.compile(r"^---(.*)$", re.MULTILINE)
_EMPTY = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t\r]*(?:#[^\n]*)?")
_MEANT_AS_JSON = re.compile(r"\[|\{\s*(?:\"|$)")
_HEAD = 4096
_GUESSES = {
    "kind": re.compile(r"^(?:  |- )?[\"']?kind[\"']?:[ \t]*[\"']?([A-Za-z]{1,63})", re.MULTILINE),
    "namespace": re.compile(
        r"^[ \t]+[\"']?namespace[\"']?:[ \t]*[\"']?([a-z0-9][-a-z0-9]{0,62})", re.MULTILINE
    ),
    "name": re.compile(r"^[ \t]+[\"']?name[\"']?:[ \t]*[\"']?([a-z0-9][-.a-z0-9]{0,62})", re.MULTILINE),
}


class Document(Struct, frozen=True):
    """One object as plain values, where it starts, and, for policies, the lines of its fields."""

    data: dict[str, Any]
    source: Source = Source()
    lines: LineIndex | None = None

    def line(self, path: str) -> int:
        """The line of a field path such as `spec.ingress[1].from[0]`; the object's where fields have none."""
        return self.lines.line(path) if self.lines is not None else self.source.line


def parse_documents(
    text: str, file: str, allowance: Allowance | None = None, *, required: bool = False
) -> tuple[list[Document], list[Finding]]:
    """The objects of a text, lists taken apart, and what could not be read (codes in `codes.UNREADABLE`).

    `allowance` bounds the expansion of aliases; pass one for all files that are read together. `required`:
    nothing at all, or comments alone, is a finding (an empty list of objects is something).
    Never raises. O(length of the text).
    """
    reader = _Reader(file, allowance or Allowance())
    for chunk in _chunks(text.removeprefix("\ufeff")):
        reader.read(chunk)
    if required:
        reader.require_something()
    return reader.documents, reader.findings


class _Chunk(Struct, frozen=True):
    """The text between two separators, how many lines are above it, and what the separator's line held."""

    text: str
    offset: int
    trailing: str = ""


class _Place(Struct, frozen=True):
    """Where a value stands: in words, by line, by node if it is YAML. `depth` counts the lists around it."""

    subject: str
    source: Source
    node: Node | None
    offset: int
    depth: int = 0

    def item(self, index: int, nodes: list[Node] | None) -> "_Place":
        """The place of an item of the list that stands here."""
        node = nodes[index] if nodes is not None else None
        line = self.source.line if node is None else int(node.start_mark.line) + 1 + self.offset
        source = Source(self.source.file, line)
        return _Place(f"{self.subject} items[{index}]", source, node, self.offset, self.depth + 1)


def _chunks(text: str) -> Iterator[_Chunk]:
    start = 0
    line = 0
    trailing = ""
    for match in _SEPARATOR.finditer(text):
        yield _Chunk(text[start : match.start()], line, trailing)
        line += text.count("\n", start, match.end()) + 1
        start = min(match.end() + 1, len(text))
        rest = match.group(1).strip()
        trailing = "" if rest.startswith("#") else rest
    yield _Chunk(text[start:], line, trailing)


class _Reader:
    """Turns chunks into documents and findings, in order."""

    def __init__(self, file: str, allowance: Allowance) -> None:
        self.documents: list[Document] = []
        self.findings: list[Finding] = []
        self._file = file
        self._allowance = allowance
        self._number = 0
        self._is_empty = True

    def read(self, chunk: _Chunk) -> None:
        """Reads one chunk; on an error the objects in front of it are kept (concatenated JSON)."""
        if not chunk.trailing and _EMPTY.fullmatch(chunk.text):
            return
        self._number += 1
        subject = f"document {self._number}"
        try:
            _check(chunk)
            for value, line, node in self._values(chunk.text):
                self._is_empty = False
                self._take(value, _Place(subject, self._at(chunk, line), node, chunk.offset))
        except MalformedError as error:
            self._refuse(error, subject + _guess(chunk.text), self._at(chunk, error.line))

    def require_something(self) -> None:
        """Refuses a text in which there was no value and nothing wrong either."""
        if self._is_empty and not self.findings:
            remedy = "check what was to write it: a pipe hides that the command before it has failed"
            error = MalformedError("nothing-read", "holds no document at all", 0, remedy)
            self._refuse(error, self._file, Source(self._file))

    def _at(self, chunk: _Chunk, line: int) -> Source:
        return Source(self._file, chunk.offset + line)

    def _values(self, text: str) -> Iterator[tuple[Any, int, Node | None]]:
        """The values of a chunk, their first lines within it, and their nodes where it is YAML."""
        if text.lstrip()[:1] in ("{", "["):
            taken = False
            try:
                for value, line in load_json(text):
                    yield value, line, None
                    taken = True
            except MalformedError as error:
                # Flow-style YAML starts like JSON: `{apiVersion: v1}`.
                if taken or error.code != "unreadable-document" or _MEANT_AS_JSON.match(text.lstrip()):
                    raise
            else:
                return
        value, node = load_yaml(text, self._allowance)
        if node is not None and value is not None:
            yield value, int(node.start_mark.line) + 1, node

    def _take(self, value: object, place: _Place) -> None:
        if isinstance(value, list):
            self._take_items(value, place, {})
        elif isinstance(value, dict):
            self._take_object(value, place)
        else:
            message = f"{type_name(value)} stands where an object belongs: {shown(value)}"
            remedy = "an object has apiVersion, kind and metadata"
            self._refuse(MalformedError("not-an-object", message, remedy=remedy), place.subject, place.source)

    def _take_object(self, data: dict[str, Any], place: _Place) -> None:
        kind = data.get("kind")
        if not isinstance(kind, str):
            kind = ""
        if kind == "List" or (kind.endswith("List") and "items" in data):
            self._take_list(data, kind, place)
            return
        has_lines = place.node is not None and kind.endswith("Policy")
        lines = LineIndex(place.node, place.offset) if place.node is not None and has_lines else None
        self.documents.append(Document(data, place.source, lines))

    def _take_list(self, data: dict[str, Any], kind: str, place: _Place) -> None:
        """`kind: List`, or a typed list, whose items may leave out what the list says of them."""
        items = data.get("items")
        if items is None:
            return
        if not isinstance(items, list):
            error = MalformedError("unreadable-document", f"items is {type_name(items)}, not a list")
            self._refuse(error, place.subject, place.source)
            return
        inherited = {} if kind == "List" else {"apiVersion": data.get("apiVersion"), "kind": kind[:-4]}
        around = _Place(place.subject, place.source, _field(place.node, "items"), place.offset, place.depth)
        self._take_items(items, around, inherited)

    def _take_items(self, items: list[Any], place: _Place, inherited: dict[str, Any]) -> None:
        if place.depth >= MAX_LIST_DEPTH:
            error = MalformedError("too-deep", f"lists of objects nest more than {MAX_LIST_DEPTH} deep")
            self._refuse(error, place.subject, place.source)
            return
        nodes = place.node.value if isinstance(place.node, SequenceNode) else None
        for index, item in enumerate(items):
            self._take({**inherited, **item} if isinstance(item, dict) else item, place.item(index, nodes))

    def _refuse(self, error: MalformedError, subject: str, source: Source) -> None:
        self.findings.append(
            Finding(
                code=error.code,
                severity=Severity.ERROR,
                object=subject,
                message=error.message,
                remedy=error.remedy,
                source=source,
            )
        )


def _check(chunk: _Chunk) -> None:
    """Refuses what no parser should be asked about."""
    if chunk.trailing:
        message = f"text follows the separator: --- {shown(chunk.trailing)}"
        raise MalformedError("unreadable-document", message, 0, "put it on the next line")
    try:
        chunk.text.encode()
    except UnicodeEncodeError as error:
        line = chunk.text.count("\n", 0, error.start) + 1
        message = "holds bytes that are not UTF-8"
        raise MalformedError("not-utf8", message, line, "save the file as UTF-8") from None


def _guess(text: str) -> str:
    """What an unreadable document seems to be, from its first lines: ` (NetworkPolicy shop/web)`."""
    head = text[:_HEAD]
    found = {what: match[1] for what, regex in _GUESSES.items() if (match := regex.search(head))}
    if "kind" not in found:
        return ""
    name = "/".join(found[what] for what in ("namespace", "name") if what in found)
    return f" ({found['kind']} {name})" if name else f" ({found['kind']})"


def _field(node: Node | None, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == name), None)
    return None
