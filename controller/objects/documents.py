"""Text to documents: YAML streams, JSON, and lists of objects, each document with the place it stands at.

A stream is cut at its `---` lines before anything is parsed, as kubectl does, so that a broken document takes no other
with it and every line number is exact. Nothing here knows what a policy is.
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
from controller.objects.names import safe_name, shown, type_name
from controller.objects.yaml_text import Allowance, load_yaml

MAX_LIST_DEPTH = 8
"""Lists inside lists of objects."""

_SEPARATOR = re.compile(r"^---(.*)$", re.MULTILINE)
_EMPTY = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t\r]*(?:#[^\n]*)?")
_BROKEN_JSON = re.compile(r"\s*\[?\s*\{\s*(?:\"|$)|\s*\[")
_HEAD = 4096
_GUESSES = {
    "kind": re.compile(r"^(?:  |- )?[\"']?kind[\"']?:[ \t]*[\"']?([A-Za-z]{1,63})", re.MULTILINE),
    "namespace": re.compile(r"^[ \t]+[\"']?namespace[\"']?:[ \t]*[\"']?([a-z0-9][-a-z0-9]{0,62})", re.MULTILINE),
    "name": re.compile(r"^[ \t]+[\"']?name[\"']?:[ \t]*[\"']?([a-z0-9][-.a-z0-9]{0,62})", re.MULTILINE),
}


class Document(Struct, frozen=True):
    """One object as plain values, where it starts, and, for policies, the lines of its fields."""

    data: dict[str, Any]
    source: Source = Source()
    lines: LineIndex | None = None

    def line(self, path: str) -> int:
        """The line of a field path such as `spec.ingress[1].from[0]`; the object's own line where fields have none."""
        return self.lines.line(path) if self.lines is not None else self.source.line


def parse_documents(
    text: str, file: str, allowance: Allowance | None = None
) -> tuple[list[Document], list[Finding]]:
    """The objects of a text, lists taken apart, and what could not be read (codes in `codes.UNREADABLE`).

    `allowance` bounds the expansion of aliases; pass one for all files that are read together.
    Never raises. O(length of the text).
    """
    reader = _Reader(file, allowance or Allowance())
    for chunk in _chunks(text.removeprefix("\ufeff")):
        reader.read(chunk)
    return reader.documents, reader.findings


class _Chunk(Struct, frozen=True):
    """The text between two separators, the number of lines above it, and what stood on the separator's line."""

    text: str
    offset: int
    trailing: str = ""


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

    def read(self, chunk: _Chunk) -> None:
        """Reads one chunk; on an error the objects in front of it are kept (concatenated JSON)."""
        if not chunk.trailing and _EMPTY.fullmatch(chunk.text):
            return
        self._number += 1
        try:
            _check(chunk)
            for value, line, node in self._values(chunk.text):
                self._take(value, Source(self._file, chunk.offset + line), node, chunk.offset)
        except MalformedError as error:
            source = Source(self._file, chunk.offset + error.line)
            self._refuse(error, self._guess(chunk.text), source)

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
                if taken or error.code != "unreadable-document" or _BROKEN_JSON.match(text):
                    raise
            else:
                return
        value, node = load_yaml(text, self._allowance)
        if node is not None and value is not None:
            yield value, int(node.start_mark.line) + 1, node

    def _take(self, value: object, source: Source, node: Node | None, offset: int) -> None:
        subject = f"document {self._number}"
        if isinstance(value, list):
            self._take_items(value, subject, source, node, offset, {}, 1)
        elif isinstance(value, dict):
            self._take_object(value, subject, source, node, offset, 0)
        else:
            self._not_an_object(value, subject, source)

    def _take_object(
        self, data: dict[str, Any], subject: str, source: Source, node: Node | None, offset: int, depth: int
    ) -> None:
        kind = data.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and (kind == "List" or "items" in data):
            items = data.get("items")
            if items is None:
                return
            if not isinstance(items, list):
                error = MalformedError("unreadable-document", f"items is {type_name(items)}, not a list")
                self._refuse(error, subject, source)
                return
            inherited = {} if kind == "List" else {"apiVersion": data.get("apiVersion"), "kind": kind[:-4]}
            self._take_items(items, subject, source, _field(node, "items"), offset, inherited, depth + 1)
            return
        is_policy = isinstance(kind, str) and kind.endswith("Policy")
        lines = LineIndex(node, offset) if node is not None and is_policy else None
        self.documents.append(Document(data, source, lines))

    def _take_items(
        self,
        items: list[Any],
        subject: str,
        source: Source,
        node: Node | None,
        offset: int,
        inherited: dict[str, Any],
        depth: int,
    ) -> None:
        if depth > MAX_LIST_DEPTH:
            error = MalformedError("too-deep", f"lists of objects are nested more than {MAX_LIST_DEPTH} deep")
            self._refuse(error, subject, source)
            return
        nodes = node.value if isinstance(node, SequenceNode) else [None] * len(items)
        for index, (item, item_node) in enumerate(zip(items, nodes, strict=True)):
            place = source
            if item_node is not None:
                place = Source(source.file, int(item_node.start_mark.line) + 1 + offset)
            name = f"{subject} items[{index}]"
            if isinstance(item, dict):
                self._take_object({**inherited, **item}, name, place, item_node, offset, depth)
            else:
                self._not_an_object(item, name, place)

    def _not_an_object(self, value: object, subject: str, source: Source) -> None:
        message = f"{type_name(value)} stands where an object belongs: {shown(value)}"
        error = MalformedError("not-an-object", message, remedy="an object has apiVersion, kind and metadata")
        self._refuse(error, subject, source)

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

    def _guess(self, text: str) -> str:
        """What the unreadable document probably is, from its first lines: `document 3 (NetworkPolicy shop/web)`."""
        head = text[:_HEAD]
        found = {what: match[1] for what, regex in _GUESSES.items() if (match := regex.search(head))}
        if "kind" not in found:
            return f"document {self._number}"
        name = "/".join(safe_name(found[what]) for what in ("namespace", "name") if what in found)
        return f"document {self._number} ({found['kind']} {name})" if name else f"document {self._number} ({found['kind']})"


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


def _field(node: Node | None, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == name), None)
    return None
