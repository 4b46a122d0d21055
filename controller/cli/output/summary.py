"""Many connections in few lines: `every pod -> kube-system/kube-dns 53/UDP` instead of one line for each pod.

A line speaks of groups (a namespace, every pod, the outside) only where it is true of every single pair,
so nothing is rounded. Larger groups are tried first; a pair that a line covers gets no line of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Generic

from msgspec import Struct

from controller.cli.output.parties import Label, Party, Picture, Place
from controller.engine.externals import External
from controller.engine.intervals import Interval, IntervalSet
from controller.objects.addresses import format_address


class Unit(Struct, frozen=True):
    """Parties that a line can speak of at once, by their numbers. `key` is stable and tells units apart."""

    key: str
    title: str
    numbers: tuple[int, ...]

    @property
    def is_group(self) -> bool:
        """Whether it is more than a single party."""
        return not self.key.startswith("party:")


class Line(Struct, Generic[Label], frozen=True):
    """Every member of `source` is connected by `label` with every member of `destination`, itself aside."""

    source: Unit
    destination: Unit
    label: Label


ANYONE, EVERY_POD, HOSTS, OUTSIDE = "anyone", "every pod", "host network", "outside"

LEGEND = {
    "/*": "NAMESPACE/*: every pod of the namespace, without those on the host network",
    ANYONE: "anyone: every pod, and every address outside",
    EVERY_POD: "every pod: of all namespaces, without those on the host network",
    HOSTS: "host network: the pods that share the address of their node",
    OUTSIDE: "outside: any address outside the cluster",
}


def summarise(picture: Picture[Label]) -> list[Line[Label]]:
    """Lines that together say what the edges of a picture say, sorted by source and destination.

    O(parties²).
    """
    groups = list(_groups(picture))
    singles = [
        Unit(f"party:{number}", party.title, (number,)) for number, party in enumerate(picture.parties)
    ]
    units = [*groups, *singles]
    candidates = sorted(
        (pair for pair in product(units, units) if pair[0].is_group or pair[1].is_group),
        key=lambda pair: -len(pair[0].numbers) * len(pair[1].numbers),
    )
    covered: set[tuple[int, int]] = set()
    lines: list[Line[Label]] = []
    for source, destination in candidates:
        if len(covered) == len(picture.edges):
            break
        pairs = _uniform_pairs(picture, source, destination)
        fresh = [pair for pair in pairs if pair not in covered]
        if len(fresh) > 1:
            lines.append(Line(source, destination, picture.edges[fresh[0]]))
            covered.update(fresh)
    lines += [
        Line(singles[source], singles[destination], label)
        for (source, destination), label in picture.edges.items()
        if (source, destination) not in covered
    ]
    places = {unit.key: place for place, unit in enumerate(units)}
    return sorted(lines, key=lambda line: (places[line.source.key], places[line.destination.key]))


def legend(lines: Sequence[Line[Label]]) -> list[str]:
    """What the names of groups in some lines mean."""
    used = {unit.title for line in lines for unit in (line.source, line.destination)}
    if any(title.endswith("/*") for title in used):
        used.add("/*")
    return [text for title, text in LEGEND.items() if title in used]


def range_notes(externals: Sequence[External], picture: Picture[Label]) -> Iterator[str]:
    """The addresses of external ranges whose title does not say them."""
    known = {external.id: external for external in externals}
    for party in (picture.parties[number] for number in picture.listed):
        vague = len(party.members) > 1 or party.title.endswith("(part)")
        if party.place is Place.OUTSIDE and vague and party.title != OUTSIDE:
            texts = [f"{first}-{last}" for first, last in _joined(known[ident] for ident in party.members)]
            yield f"{party.title}: {', '.join(texts)}"


def _joined(externals: Iterable[External]) -> Iterator[tuple[str, str]]:
    """The ranges of several externals, those that touch as one."""
    intervals: dict[int, list[Interval]] = {}
    for external in externals:
        intervals.setdefault(external.family, []).extend(external.addresses)
    for family, found in sorted(intervals.items()):
        for first, last in IntervalSet(found):
            yield format_address(family, first), format_address(family, last)


def _groups(picture: Picture[Label]) -> Iterator[Unit]:
    """Groups with more than one party, the largest first."""
    pods = picture.numbered(Place.POD)
    hosts, outside = picture.numbered(Place.HOST), picture.numbered(Place.OUTSIDE)
    namespaces: dict[str, list[int]] = {}
    for number in pods:
        namespaces.setdefault(picture.parties[number].namespace, []).append(number)
    if pods and outside:
        yield Unit("group:anyone", ANYONE, tuple(pods + hosts + outside))
    if len(namespaces) > 1:
        yield Unit("group:pods", EVERY_POD, tuple(pods))
    for name, members in namespaces.items():
        if len(members) > 1:
            yield Unit(f"namespace:{name}", f"{name}/*", tuple(members))
    for key, title, members in (("group:hosts", HOSTS, hosts), ("group:outside", OUTSIDE, outside)):
        if len(members) > 1:
            yield Unit(key, title, tuple(members))


def _uniform_pairs(picture: Picture[Label], source: Unit, destination: Unit) -> list[tuple[int, int]]:
    """All pairs that a line of two units would speak of; none where they are not connected alike.

    A line does not speak of a pod and itself, nor of two ranges.
    """
    found: list[tuple[int, int]] = []
    label: Label | None = None
    for pair in product(source.numbers, destination.numbers):
        edge = picture.edges.get(pair)
        if edge is None:
            if _is_unspoken(picture.parties[pair[0]], picture.parties[pair[1]]):
                continue
            return []
        if label is None:
            label = edge
        if edge is not label and edge != label:
            return []
        found.append(pair)
    return found


def _is_unspoken(first: Party, second: Party) -> bool:
    if first.place is Place.OUTSIDE and second.place is Place.OUTSIDE:
        return True
    return first is second and len(first.members) == 1
