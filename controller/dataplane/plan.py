"""Old ruleset -> new ruleset: the smallest ordered steps that open no hole and close no door on the way.

Rules change atomically (one commit), sets do not (one entry at a time, and outside any commit). Between two
steps the kernel therefore holds a mixture. A plan is *safe* when at every step no packet passes that neither
the old nor the new ruleset allows, and none is dropped that both allow. The usual changes are safe in a plain
order, which `_plain` proves case by case:

- a peer comes or goes: entries only, additions before removals; - a pod comes: others' additions, the commit
that isolates it, its own additions; a pod goes: the same backwards.

Anything else, several things at once most often, goes over copies: `_staged` fills copies of the sets that
change, commits rules that look at the copies (an exact, atomic switch), brings the real sets up to date
unseen, and commits the real names.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from controller.dataplane.chain_facts import FactsKept, Place
from controller.dataplane.edits import ChainEdit, chain_edits, edited
from controller.dataplane.ruleset import AddressSet, Chain, Rule, Ruleset, SetMatch, SetType
from controller.dataplane.words import Entry, in_order, parse_entry
from controller.objects.addresses import format_address


class FillSet(Struct, frozen=True, tag="fill-set"):
    """Create a set that nothing refers to, with exactly these entries.

    An abandoned one of its name is emptied first.
    """

    set: AddressSet


class AddEntries(Struct, frozen=True, tag="add-entries"):
    """Add entries to a set in use."""

    name: str
    entries: tuple[str, ...]


class RemoveEntries(Struct, frozen=True, tag="remove-entries"):
    """Remove entries from a set in use."""

    name: str
    entries: tuple[str, ...]


class Commit(Struct, frozen=True, tag="commit"):
    """Edit chains in one atomic transaction."""

    edits: tuple[ChainEdit, ...]


class DestroySets(Struct, frozen=True, tag="destroy-sets"):
    """Destroy sets that nothing refers to any more."""

    names: tuple[str, ...]


Step = FillSet | AddEntries | RemoveEntries | Commit | DestroySets


class _SetChange(Struct, frozen=True):
    """What a set that both rulesets have gains and loses."""

    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


class _Difference(Struct, frozen=True):
    """What changes between two rulesets, as far as the order of steps depends on it."""

    old: Ruleset
    new: Ruleset
    kept: FactsKept
    sets: tuple[_SetChange, ...]
    appeared: frozenset[Place]
    vanished: frozenset[Place]
    replaced: frozenset[Place]
    fixed_changed: bool
    needs: Mapping[Place, frozenset[str]] = field(default_factory=dict)


class Planner:
    """Plans change after change of one family, and looks only at chains it has not seen before."""

    def __init__(self) -> None:
        self._kept = FactsKept()

    def plan(self, old: Ruleset, new: Ruleset) -> tuple[Step, ...]:
        """The steps from one ruleset to another of the same family; none where they are equal.

        O(chains + sets + size of what differs), O(rules) for chains that are new here.
        """
        steps = tuple(_without_empty(_steps(old, new, self._kept)))
        self._kept.keep(old, new)
        return steps


def plan(old: Ruleset, new: Ruleset) -> tuple[Step, ...]:
    """As `Planner.plan`, for once."""
    return Planner().plan(old, new)


def _steps(old: Ruleset, new: Ruleset, kept: FactsKept) -> list[Step]:
    changes = tuple(_set_changes(old, new))
    asked = kept.contents(old).asked
    unseen = {change.name for change in changes} - asked
    before, after = {each.name for each in old.sets}, {each.name for each in new.sets}
    # What no rule asks yet, new or left by a change that was interrupted, is simply made right.
    fills = [FillSet(each) for each in new.sets if each.name not in before or each.name in unseen]
    orphans, obsolete = before - after - asked, (before - after) & asked
    moving = tuple(change for change in changes if change.name in asked and not _is_known(change.name))
    if moving:
        difference = _difference(old, new, moving, kept)
        middle = _plain(difference) or _staged(difference, (before | after) - orphans)
    else:
        middle = [_commit(old, new)]
    # A pod no longer known loses everything anyway, one that becomes known had nothing: first and last.
    known = [change for change in changes if _is_known(change.name) and change.name in asked]
    return [
        DestroySets(tuple(sorted(orphans))),
        *fills,
        *_removals(known),
        *middle,
        *_additions(known),
        DestroySets(tuple(sorted(obsolete))),
    ]


def advance(ruleset: Ruleset, step: Step) -> Ruleset:
    """What the kernel holds after a step, if it held `ruleset` before."""
    sets = {each.name: each for each in ruleset.sets}
    match step:
        case FillSet(each):
            sets[each.name] = each
        case AddEntries(name, entries):
            sets[name] = _with_entries(sets[name], {*sets[name].entries, *entries}, ruleset.family)
        case RemoveEntries(name, entries):
            sets[name] = _with_entries(sets[name], set(sets[name].entries) - set(entries), ruleset.family)
        case DestroySets(gone):
            sets = {name: each for name, each in sets.items() if name not in gone}
        case Commit(edits):
            return Ruleset(ruleset.family, edited(ruleset.chains, edits), ruleset.sets)
    return Ruleset(ruleset.family, ruleset.chains, tuple(sets[name] for name in sorted(sets)))


def _difference(old: Ruleset, new: Ruleset, sets: tuple[_SetChange, ...], kept: FactsKept) -> _Difference:
    if kept.same_but_marks(old, new):
        nowhere: frozenset[Place] = frozenset()
        return _Difference(old, new, kept, sets, nowhere, nowhere, nowhere, fixed_changed=False)
    contents = kept.contents(old), kept.contents(new)
    before, after = (found.dispatch() for found in contents)
    common = before.keys() & after.keys()
    return _Difference(
        old=old,
        new=new,
        kept=kept,
        sets=sets,
        appeared=frozenset(after.keys() - before.keys()),
        vanished=frozenset(before.keys() - after.keys()),
        replaced=frozenset(place for place in common if before[place] != after[place]),
        fixed_changed=contents[0].fixed() != contents[1].fixed(),
        needs={place: contents[place in after].sets_of(place) for place in before.keys() ^ after.keys()},
    )


def _set_changes(old: Ruleset, new: Ruleset) -> Iterator[_SetChange]:
    before = {each.name: each for each in old.sets}
    for each in new.sets:
        known = before.get(each.name)
        if known is not None and known is not each and known.entries != each.entries:
            had, has = frozenset(known.entries), frozenset(each.entries)
            yield _SetChange(each.name, _those(each.entries, has - had), _those(known.entries, had - has))


def _those(entries: tuple[str, ...], some: frozenset[str]) -> tuple[str, ...]:
    """Some of the entries in their order; mostly they are one, or none."""
    return tuple(entry for entry in entries if entry in some) if len(some) > 1 else tuple(some)


# The plain order


def _plain(difference: _Difference) -> list[Step] | None:
    """A plain order of steps where one is safe; None where it is not, or cannot be seen to be."""
    if difference.fixed_changed or difference.replaced or _some_set_denies(difference):
        return None
    if not difference.appeared and not difference.vanished:
        return _peers_change(difference)
    if not difference.vanished:
        return _pods_appear(difference)
    return _pods_vanish(difference) if not difference.appeared else None


def _peers_change(difference: _Difference) -> list[Step] | None:
    """Entries only: additions, removals, then the new generation that has connections judged again.

    One end of a connection asks about one address and allows if any of its sets has it, so additions first
    keep it between old and new. Both ends are asked here only if both pods are local: then what one address
    gains must not meet what another loses.
    """
    gaining = {_peer(entry) for change in difference.sets for entry in change.added}
    losing = {_peer(entry) for change in difference.sets for entry in change.removed}
    if gaining and losing and len(gaining | losing) > 1:
        local = difference.kept.contents(difference.new).addresses()
        if gaining & local and losing & local and len((gaining | losing) & local) > 1:
            return None
    return [
        *_additions(difference.sets),
        *_removals(difference.sets),
        _commit(difference.old, difference.new),
    ]


def _pods_appear(difference: _Difference) -> list[Step] | None:
    """Pods become isolated, nothing is removed: additions of others, the commit, additions of those pods.

    Until the commit such a pod is as open as before. After it, only what it asks about another of them would
    still be missing.
    """
    own = _own_addresses(difference, difference.appeared)
    changes = [change for change in difference.sets if not _is_gate(change.name)]
    if any(change.removed for change in difference.sets) or _ask_about_each_other(difference, changes, own):
        return None
    return [
        *_additions(change for change in difference.sets if _is_gate(change.name)),
        *_additions(_only(change, own, inside=False) for change in changes),
        _commit(difference.old, difference.new),
        *_additions(_only(change, own, inside=True) for change in changes),
    ]


def _pods_vanish(difference: _Difference) -> list[Step] | None:
    """Pods stop being isolated, nothing is added: `_pods_appear` backwards.

    The new generation comes last of all: a connection judged before the last removal would keep a mark it no
    longer deserves.
    """
    own = _own_addresses(difference, difference.vanished)
    changes = [change for change in difference.sets if not _is_gate(change.name)]
    if any(change.added for change in difference.sets) or _ask_about_each_other(difference, changes, own):
        return None
    unmarked = _with_marks_of(difference.new, difference.old, difference.kept)
    return [
        *_removals(_only(change, own, inside=True) for change in changes),
        _commit(difference.old, unmarked),
        *_removals(_only(change, own, inside=False) for change in changes),
        *_removals(change for change in difference.sets if _is_gate(change.name)),
        _commit(unmarked, difference.new),
    ]


def _ask_about_each_other(
    difference: _Difference, changes: Iterable[_SetChange], own: frozenset[str]
) -> bool:
    """Whether a set that changes for one of these pods is asked by the rules of another of them."""
    return any(
        _peer(entry) in own - {format_address(difference.new.family, value)}
        for change in changes
        for (_, value), sets in difference.needs.items()
        if change.name in sets
        for entry in (*change.added, *change.removed)
    )


def _own_addresses(difference: _Difference, places: Iterable[Place]) -> frozenset[str]:
    return frozenset(format_address(difference.new.family, value) for _, value in places)


def _only(change: _SetChange, own: frozenset[str], *, inside: bool) -> _SetChange:
    added, removed = (
        tuple(entry for entry in entries if (_peer(entry) in own) is inside)
        for entries in (change.added, change.removed)
    )
    return _SetChange(change.name, added, removed)


# Over copies


def _staged(difference: _Difference, taken: set[str]) -> list[Step]:
    """Exact at every step: rules look at copies with the new entries while the sets change unseen."""
    new = {each.name: each for each in difference.new.sets}
    copies = {change.name: _copy_name(change.name, taken) for change in difference.sets}
    fills = [
        FillSet(AddressSet(copy, new[name].type, new[name].entries, new[name].comment))
        for name, copy in copies.items()
    ]
    staged = Ruleset(
        difference.new.family,
        tuple(_looking_at(chain, copies) for chain in difference.new.chains),
        difference.new.sets,
    )
    return [
        *fills,
        _commit(difference.old, staged),
        *_additions(difference.sets),
        *_removals(difference.sets),
        _commit(staged, difference.new),
        DestroySets(tuple(sorted(copies.values()))),
    ]


def _copy_name(name: str, taken: set[str]) -> str:
    """A free name; one may be left over from a change that was interrupted."""
    found = next(f"{name}-{suffix}" for suffix in "abcdefghijklmnop" if f"{name}-{suffix}" not in taken)
    taken.add(found)
    return found


def _looking_at(chain: Chain, copies: Mapping[str, str]) -> Chain:
    return Chain(chain.name, tuple(_with_sets(rule, copies) for rule in chain.rules))


def _with_sets(rule: Rule, copies: Mapping[str, str]) -> Rule:
    matches = tuple(
        SetMatch(copies.get(match.name, match.name), match.sides, match.negated)
        if isinstance(match, SetMatch)
        else match
        for match in rule.matches
    )
    return Rule(matches, rule.target, rule.comment)


def _some_set_denies(difference: _Difference) -> bool:
    """Whether a set that changes is asked by a rule that does not allow: there, additions take away."""
    changing = {change.name for change in difference.sets if not _is_gate(change.name)}
    return any(
        not changing.isdisjoint(difference.kept.contents(each).denying)
        for each in (difference.old, difference.new)
    )


def _with_marks_of(new: Ruleset, old: Ruleset, kept: FactsKept) -> Ruleset:
    """The new chains, except that a chain in which only the marks differ stays as it is."""
    before = {chain.name: chain for chain in old.chains}
    chains = tuple(
        before[chain.name] if kept.only_marks_differ(before.get(chain.name), chain) else chain
        for chain in new.chains
    )
    return Ruleset(new.family, chains, new.sets)


# Small change


def _commit(old: Ruleset, new: Ruleset) -> Commit:
    return Commit(chain_edits(old.chains, new.chains))


def _additions(changes: Iterable[_SetChange]) -> Iterator[Step]:
    for change in changes:
        yield AddEntries(change.name, change.added)


def _removals(changes: Iterable[_SetChange]) -> Iterator[Step]:
    for change in changes:
        yield RemoveEntries(change.name, change.removed)


def _without_empty(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        match step:
            case (
                AddEntries(entries=()) | RemoveEntries(entries=()) | Commit(edits=()) | DestroySets(names=())
            ):
                continue
            case _:
                yield step


def _is_gate(name: str) -> bool:
    """Gate sets matter only with a dispatch rule: early additions and late removals change nothing."""
    return name[3:] in {"-iso-e", "-iso-i"}


def _is_known(name: str) -> bool:
    return name[3:] == "-known"


def _peer(entry: str) -> str:
    """The address of an entry."""
    return entry.partition(",")[0]


def _with_entries(each: AddressSet, entries: Iterable[str], family: int) -> AddressSet:
    if each.type is SetType.ADDRESSES:
        return AddressSet(each.name, each.type, in_order(entries, family), each.comment)

    def order(entry: str) -> Entry:
        return parse_entry(entry, each.type, family)

    return AddressSet(each.name, each.type, tuple(sorted(entries, key=order)), each.comment)
