"""A difference in few lines, each with the policies it comes from.

This is what `podgate diff` shows to people and to CI systems; only its JSON lists every pair.
"""

from collections.abc import Iterator

from msgspec import Struct, structs

from controller.cli.output.parties import Picture, picture
from controller.cli.output.summary import Line, legend, range_notes, summarise
from controller.engine.causes import Cause, Causes
from controller.engine.connections import ConnectionSet
from controller.engine.difference import Change, Difference, FamilyDifference
from controller.engine.matrix import Pair, pod_id
from controller.objects.findings import Source

_SAMPLES = 3


class Reviewed(Struct, frozen=True):
    """The change of one pair with the policies it comes from."""

    change: Change
    added_by: tuple[Cause, ...] = ()
    removed_by: tuple[Cause, ...] = ()


class Entry(Struct, frozen=True):
    """One line: what every pair of `source` and `destination` gained, or lost if not `added`, and why.

    Without causes the pods at `source` or `destination` came or went; `place` is where such a pod is written.
    `family` is 4 or 6 where it is so of one family alone, and the other goes on as it was; else 0.
    """

    added: bool
    source: str
    destination: str
    connections: ConnectionSet
    causes: tuple[Cause, ...] = ()
    place: Source = Source()
    family: int = 0

    @property
    def ports(self) -> str:
        """`80/TCP`, `all (IPv6)`."""
        return f"{self.connections} (IPv{self.family})" if self.family else str(self.connections)

    @property
    def sign(self) -> str:
        """`+` or `-`."""
        return "+" if self.added else "-"


class Report(Struct, frozen=True):
    """All that is said about a difference. `notes` explain the words and ranges that the entries use."""

    found: Difference
    families: tuple[FamilyDifference, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """`2 connections added, 1 removed; 1 pod added`."""
        texts = [_counts("connection", *_totals(self.found))]
        for part in self.families:
            alone = _counts("connection", *_totals(part.found))
            texts.append(f"{alone} in IPv{part.family} alone")
        texts.append(_counts("pod", len(self.found.pods_added), len(self.found.pods_removed)))
        return "; ".join(text for text in texts if text) or "no difference in connectivity"


def _totals(found: Difference) -> tuple[int, int]:
    """Pairs that gained something, and that lost something."""
    return (
        sum(bool(change.added) for change in found.changes),
        sum(bool(change.removed) for change in found.changes),
    )


def review(found: Difference, causes: Causes) -> list[Reviewed]:
    """The changes of a difference with their causes."""
    return [
        Reviewed(
            change,
            causes.of_added(change) if change.added else (),
            causes.of_removed(change) if change.removed else (),
        )
        for change in found.changes
    ]


def causes_in(part: FamilyDifference) -> Causes:
    """Why one family alone differs."""
    return Causes(part.old, part.new, part.found)


def report_of(found: Difference, causes: Causes, families: tuple[FamilyDifference, ...] = ()) -> Report:
    """The difference in few lines, those that come from the same policies together."""
    entries: list[Entry] = []
    notes: dict[str, None] = {}
    parts = [(0, found, causes), *((part.family, part.found, causes_in(part)) for part in families)]
    for family, part, looked_up in parts:
        for added in (False, True):
            drawn = _drawing(part, added=added)
            lines = summarise(drawn)
            of_part = _entries(part, looked_up, drawn, lines, added=added)
            entries += (structs.replace(entry, family=family) for entry in of_part)
            notes.update(dict.fromkeys([*legend(lines), *_ranges(part, drawn)]))
    entries.sort(key=lambda entry: (not entry.causes, sorted({cause.policy for cause in entry.causes})))
    return Report(found, families, tuple(entries), tuple(notes))


def _drawing(found: Difference, *, added: bool) -> Picture[ConnectionSet]:
    """What was added, or removed, as a picture of the pods of both sides.

    Of a pod that both have, as it is on the side that has the connections: on the other it may have finished.
    """
    sides = (found.old, found.new) if added else (found.new, found.old)
    pods = {pod.key: pod for side in sides for pod in side.pods}
    sets = (
        ((change.source, change.destination), change.added if added else change.removed)
        for change in found.changes
    )
    everybody = [pods[key] for key in sorted(pods)]
    return picture(everybody, found.new.externals, {pair: label for pair, label in sets if label})


def _entries(
    found: Difference,
    causes: Causes,
    drawn: Picture[ConnectionSet],
    lines: list[Line[ConnectionSet]],
    *,
    added: bool,
) -> Iterator[Entry]:
    changes = {(change.source, change.destination): change for change in found.changes}
    look_up = causes.of_added if added else causes.of_removed
    places = {pod_id(pod): pod.source for pod in (*found.pods_added, *found.pods_removed)}
    for line in lines:
        pairs = [pair for pair in dict.fromkeys(_some_pairs(line, drawn)) if pair in changes]
        why = {cause for pair in pairs for cause in look_up(changes[pair])}
        place = next((places[ident] for pair in pairs for ident in pair if ident in places), Source())
        ends = (line.source.title, line.destination.title)
        yield Entry(added, *ends, line.label, tuple(sorted(why)), place)


def _some_pairs(line: Line[ConnectionSet], drawn: Picture[ConnectionSet]) -> Iterator[Pair]:
    """Pairs of a line: enough to have every source and every destination in several.

    A policy speaks for one end, so these know the causes of all pairs; there may be 100,000.
    """
    sources, destinations = (
        [ident for number in unit.numbers for ident in drawn.parties[number].members]
        for unit in (line.source, line.destination)
    )
    for shift in range(_SAMPLES):
        for place in range(max(len(sources), len(destinations))):
            yield sources[place % len(sources)], destinations[(place + shift) % len(destinations)]


def _ranges(found: Difference, drawn: Picture[ConnectionSet]) -> Iterator[str]:
    used = sorted({number for pair in drawn.edges for number in pair})
    return range_notes(found.new.externals, Picture(drawn.parties, drawn.edges, tuple(used)))


def _counts(what: str, added: int, removed: int) -> str:
    """`2 pods added, 1 removed`, "" for none."""
    counts = [f"{count} {word}" for count, word in ((added, "added"), (removed, "removed")) if count]
    if not counts:
        return ""
    first = added or removed
    noun = what if first == 1 else f"{what}s"
    number, _, rest = ", ".join(counts).partition(" ")
    return f"{number} {noun} {rest}"
