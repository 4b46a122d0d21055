"""Generations: how connections that are no longer allowed are cut, and the others never touched.

Rules mark the connections they allow with their generation, and let marked ones pass at once. Raising the
generation makes every connection be judged again by its next packet. Generation numbers are few (12 bits by
default) and are used again: before that, no connection may carry an old mark of the same number.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from controller.dataplane import names
from controller.dataplane.plan import AddEntries, DestroySets, FillSet, Step
from controller.dataplane.ruleset import ConnmarkMatch, Return, Rule, Ruleset, SetConnmark, SetMatch
from controller.dataplane.settings import MarkLayout


def installed_generation(held: Ruleset, marks: MarkLayout) -> int | None:
    """The generation that rules in the kernel mark with; None where there is none.

    None also where they do not agree about it: somebody changed one of them, and no number can be said to be
    unused. Marks of another layout count as none: their bits are not ours to interpret.
    """
    chains = {chain.name: chain.rules for chain in held.chains if chain.name in _MARKING}
    found = {value // (marks.deny * 2) for rules in chains.values() for value in _marks(rules, marks.mask)}
    if len(found) != 1 or not any(True for _ in _marks(chains.get(names.ENTRY, ()), marks.mask)):
        return None
    return found.pop() or None


def stated_generation(held: Ruleset, marks: MarkLayout) -> int:
    """The generation that most of our rules name, to compare the others with; 1 where none does."""
    rules = (rule for chain in held.chains if chain.name in _MARKING for rule in chain.rules)
    found = Counter(value // (marks.deny * 2) for value in _marks(rules, marks.mask))
    return next((number for number, _ in found.most_common() if number), 1)


def next_generation(current: int, marks: MarkLayout) -> int:
    """The generation after `current`; 1 after the last. 0, no mark at all, is never used."""
    return current % marks.generations + 1


def may_tighten(steps: tuple[Step, ...], held: Ruleset) -> bool:
    """Whether something that `held` allows may not be allowed any more after the steps. O(rules)."""
    if not all(isinstance(step, AddEntries | FillSet | DestroySets) for step in steps):
        return True
    # No rule refers to a set that is filled or destroyed; what a new entry does, the rules that ask say.
    extended = {step.name for step in steps if isinstance(step, AddEntries)}
    return bool(extended) and any(
        match.name in extended and _closes_with(match, rule)
        for chain in held.chains
        for rule in chain.rules
        for match in rule.matches
        if isinstance(match, SetMatch)
    )


_MARKING = frozenset({names.ENTRY, names.NODE_ENTRY, names.DENY})


def _marks(rules: Iterable[Rule], mask: int) -> Iterator[int]:
    for rule in rules:
        if isinstance(rule.target, SetConnmark) and rule.target.mask == mask:
            yield rule.target.value
        for match in rule.matches:
            if isinstance(match, ConnmarkMatch) and match.mask == mask:
                yield match.value


def _closes_with(match: SetMatch, rule: Rule) -> bool:
    """Whether a rule allows less the more its set holds: it denies what is in it, or allows what is not."""
    return isinstance(rule.target, Return) is match.negated
