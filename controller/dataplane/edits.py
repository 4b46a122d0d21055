"""Chains as they are -> chains as they shall be: the fewest edits of one transaction.

Inserting a rule is what the kernel's tools do fastest (1 ms, whatever the size of the table); a chain is only
written anew where most of it changes. FORWARD and INPUT are everybody's: there, our jump is appended and
deleted by value and nothing else is touched.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from controller.dataplane.ruleset import Chain, Rule
from controller.dataplane.validity import ENTRY_CHAINS


class ReplaceChain(Struct, frozen=True, tag="replace-chain"):
    """Create one of our chains, or write it anew."""

    chain: Chain


class InsertRule(Struct, frozen=True, tag="insert-rule"):
    """Insert a rule so that it stands at `position`, from 0, in one of our chains."""

    chain: str
    position: int
    rule: Rule


class EnterRule(Struct, frozen=True, tag="enter-rule"):
    """Put our jump at the top of a chain that is not ours: below a foreign ACCEPT it would never be asked."""

    chain: str
    rule: Rule


class DeleteRule(Struct, frozen=True, tag="delete-rule"):
    """Delete the first rule of a chain that equals this one."""

    chain: str
    rule: Rule


class RemoveChain(Struct, frozen=True, tag="remove-chain"):
    """Empty and remove one of our chains; nothing refers to it once the transaction is over."""

    name: str


ChainEdit = ReplaceChain | InsertRule | EnterRule | DeleteRule | RemoveChain


def chain_edits(old: Iterable[Chain], new: Iterable[Chain]) -> tuple[ChainEdit, ...]:
    """The edits that make the old chains the new ones, in an order that a transaction can take them.

    O(rules).
    """
    before = {chain.name: chain.rules for chain in old}
    after = {chain.name: chain.rules for chain in new}
    written = [each for name, rules in after.items() for each in _edits(name, before.get(name), rules)]
    left = [each for name, rules in before.items() if name not in after for each in _removal(name, rules)]
    deletions = [each for each in left if isinstance(each, DeleteRule)]
    # New chains first, so that rules find them; jumps to obsolete ones are gone before these are removed.
    return (
        *(each for each in written if isinstance(each, ReplaceChain)),
        *(each for each in written if not isinstance(each, ReplaceChain)),
        *deletions,
        *(each for each in left if not isinstance(each, DeleteRule)),
    )


def edited(chains: Iterable[Chain], edits: Iterable[ChainEdit]) -> tuple[Chain, ...]:
    """What the kernel holds after the edits: the inverse view of `chain_edits`."""
    found = {chain.name: list(chain.rules) for chain in chains}
    for edit in edits:
        match edit:
            case ReplaceChain(chain):
                found[chain.name] = list(chain.rules)
            case InsertRule(name, position, rule):
                found[name].insert(position, rule)
            case EnterRule(name, rule):
                found.setdefault(name, []).append(rule)
            case DeleteRule(name, rule):
                found[name].remove(rule)
            case RemoveChain(name):
                del found[name]
    kept = {name: rules for name, rules in found.items() if rules or name not in ENTRY_CHAINS}
    return tuple(Chain(name, tuple(kept[name])) for name in sorted(kept))


def _edits(name: str, old: tuple[Rule, ...] | None, new: tuple[Rule, ...]) -> Iterator[ChainEdit]:
    if old == new:
        return
    if name in ENTRY_CHAINS:
        had, has = Counter(old or ()), Counter(new)
        yield from (DeleteRule(name, rule) for rule in (had - has).elements())
        yield from (EnterRule(name, rule) for rule in (has - had).elements())
        return
    small = None if old is None else _small_edits(name, old, new)
    yield from (ReplaceChain(Chain(name, new)),) if small is None else small


def _small_edits(name: str, old: tuple[Rule, ...], new: tuple[Rule, ...]) -> list[ChainEdit] | None:
    """Deletions and insertions, or None where writing the chain anew is less work."""
    kept = set(old) & set(new)
    gone = [rule for rule in old if rule not in kept]
    come = [(position, rule) for position, rule in enumerate(new) if rule not in kept]
    in_order = [rule for rule in old if rule in kept] == [rule for rule in new if rule in kept]
    # One rule for another is never too much: the others keep their counters, which say what was denied.
    is_swap = len(gone) == len(come) == 1 and len(kept) > 0
    if (
        not in_order
        or (len(gone) + len(come) > len(new) // 2 and not is_swap)
        or len(set(old)) < len(old)
        or len(set(new)) < len(new)
    ):
        return None
    deletions: list[ChainEdit] = [DeleteRule(name, rule) for rule in gone]
    return deletions + [InsertRule(name, position, rule) for position, rule in come]


def _removal(name: str, rules: tuple[Rule, ...]) -> Iterator[ChainEdit]:
    if name in ENTRY_CHAINS:
        yield from (DeleteRule(name, rule) for rule in rules)
    else:
        yield RemoveChain(name)
