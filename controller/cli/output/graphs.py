"""The matrix as a graph, for Graphviz and for Mermaid: namespaces are boxes, lines of the summary are arrows.

A group that a line speaks of (`shop/*`, `outside`) is a node of its own, drawn dashed, so that a cluster
without policies is one arrow and not thousands.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from controller.cli.output.escapes import in_dot, in_mermaid
from controller.cli.output.parties import Picture, Place
from controller.cli.output.summary import Unit, summarise
from controller.engine.connections import ConnectionSet

_GROUP = "group"


class _Node(Struct, frozen=True):
    """`look` is a `Place`, or "group"."""

    id: str
    text: str
    look: str


class _Graph(Struct, frozen=True):
    """Nodes by namespace ("" for those in none), and arrows as (source id, destination id, text)."""

    boxes: Mapping[str, tuple[_Node, ...]]
    arrows: tuple[tuple[str, str, str], ...]


def matrix_dot(picture: Picture[ConnectionSet]) -> str:
    """A digraph for `dot -Tsvg`."""
    return "".join(f"{line}\n" for line in _dot(_graph(picture)))


def matrix_mermaid(picture: Picture[ConnectionSet]) -> str:
    """A flowchart that GitHub and GitLab draw in Markdown."""
    return "".join(f"{line}\n" for line in _mermaid(_graph(picture)))


def _graph(picture: Picture[ConnectionSet]) -> _Graph:
    boxes: dict[str, list[_Node]] = {}
    ids: dict[str, str] = {}

    def add(namespace: str, key: str, text: str, look: str) -> None:
        ids[key] = f"n{len(ids)}"
        boxes.setdefault(namespace, []).append(_Node(ids[key], text, look))

    lines = summarise(picture)
    named = {unit.key for line in lines for unit in (line.source, line.destination)}
    for number in picture.listed:
        party, key = picture.parties[number], f"party:{number}"
        if party.place is not Place.OUTSIDE or key in named:
            add(party.namespace, key, party.short, party.place)
    groups: dict[str, Unit] = {
        unit.key: unit for line in lines for unit in (line.source, line.destination) if unit.is_group
    }
    for key, unit in sorted(groups.items()):
        add(key.removeprefix("namespace:") if key.startswith("namespace:") else "", key, unit.title, _GROUP)
    arrows = ((ids[line.source.key], ids[line.destination.key], str(line.label)) for line in lines)
    return _Graph({name: tuple(nodes) for name, nodes in sorted(boxes.items())}, tuple(arrows))


_DOT_LOOKS = {
    Place.POD: "",
    Place.HOST: ", peripheries=2",
    Place.OUTSIDE: ", shape=ellipse",
    _GROUP: ', style="rounded,dashed"',
}


def _dot(graph: _Graph) -> Iterator[str]:
    yield "digraph podgate {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style=rounded, fontname="sans-serif"];'
    yield '  edge [fontname="sans-serif", fontsize=10];'
    for index, (namespace, nodes) in enumerate(graph.boxes.items()):
        found = [f"{node.id} [label={in_dot(node.text)}{_DOT_LOOKS[node.look]}];" for node in nodes]
        if namespace:
            yield f"  subgraph cluster_{index} {{"
            yield f"    label={in_dot(namespace)};"
            yield from (f"    {text}" for text in found)
            yield "  }"
        else:
            yield from (f"  {text}" for text in found)
    for source, destination, text in graph.arrows:
        yield f"  {source} -> {destination} [label={in_dot(text)}];"
    yield "}"


_MERMAID_SHAPES = {
    Place.POD: ("[", "]"),
    Place.HOST: ("[[", "]]"),
    Place.OUTSIDE: ("([", "])"),
    _GROUP: ("(", ")"),
}


def _mermaid(graph: _Graph) -> Iterator[str]:
    yield "flowchart LR"
    for index, (namespace, nodes) in enumerate(graph.boxes.items()):
        found = [f"{node.id}{in_mermaid(node.text).join(_MERMAID_SHAPES[node.look])}" for node in nodes]
        if namespace:
            yield f"  subgraph box{index}[{in_mermaid(namespace)}]"
            yield from (f"    {text}" for text in found)
            yield "  end"
        else:
            yield from (f"  {text}" for text in found)
    for source, destination, text in graph.arrows:
        yield f"  {source} -->|{in_mermaid(text)}| {destination}"
    groups = [node.id for nodes in graph.boxes.values() for node in nodes if node.look == _GROUP]
    if groups:
        yield "  classDef group stroke-dasharray: 4"
        yield f"  class {','.join(groups)} group"
