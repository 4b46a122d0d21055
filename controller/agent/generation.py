"""Generations: how connections that are no longer allowed are cut, and the others never touched.

Rules mark the connections they allow with their generation, and let marked ones pass at once. Raising the
generation makes every connection be judged again by its next packet. Generation numbers are few (12 bits by
default) and are used again: before that, no connection may carry an old mark of the same number.
"""

from controller.dataplane import names
from controller.dataplane.plan import AddEntries, FillSet, Step
from controller.dataplane.ruleset import ConnmarkMatch, Ruleset
from controller.dataplane.settings import MarkLayout


def installed_generation(held: Ruleset, marks: MarkLayout) -> int | None:
    """The generation that rules in the kernel mark with, from the first rule of our entry chain.

    None where there is none.

    Marks of another layout count as none: their bits are not ours to interpret.
    """
    for chain in held.chains:
        if chain.name == names.ENTRY:
            for match in (match for rule in chain.rules for match in rule.matches):
                if isinstance(match, ConnmarkMatch) and match.mask == marks.mask and not match.negated:
                    return match.value // (marks.deny * 2) or None
    return None


def next_generation(current: int, marks: MarkLayout) -> int:
    """The generation after `current`; 1 after the last. 0, no mark at all, is never used."""
    return current % marks.generations + 1


def may_tighten(steps: tuple[Step, ...]) -> bool:
    """Whether something allowed before may not be any more: anything but new entries in sets."""
    return not all(isinstance(step, AddEntries | FillSet) for step in steps)
