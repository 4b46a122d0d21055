"""A saved table as it is, also after others wrote into it: what of ours can be read, and what cannot.

`parse` refuses what podgate never writes, rightly: it must not guess. But a table in which somebody put a LOG
rule into one of our chains has to be mended all the same. So a chain of ours that cannot be read counts as
`SPOILT`, which equals no chain that is wanted, and jumps into our chains that cannot be read are `strays`. A
set of our name that is not of our making, another version's perhaps, counts as empty. Pure.
"""

import re

from msgspec import Struct

from controller.dataplane.parse import ParseError, parse_rules, parse_sets
from controller.dataplane.ruleset import AddressSet, Chain, Drop, Rule, SetType
from controller.dataplane.validity import ENTRY_CHAINS, is_own_chain

SPOILT = (Rule((), Drop(), "not podgate's"),) * 2
"""The rules of a chain that cannot be read. Twice the same, which no edit can do but writing it anew."""

_APPEND = re.compile(r"-A (\S+)(?: |$)", re.ASCII)


class Readback(Struct, frozen=True):
    """Our chains, those that cannot be read `SPOILT`, and the rules of others that lead there unreadably."""

    chains: tuple[Chain, ...]
    strays: tuple[str, ...] = ()


class Entry(Struct, frozen=True):
    """A chain of the kernel that leads to ours: the lines of its jumps there, and whether one is first."""

    chain: str
    jumps: tuple[str, ...]
    first: bool


def read_table(saved: str, family: int) -> Readback:
    """What is ours in a saved table. Raises ParseError where it is not even the text of a table.

    O(lines), once more for each chain that cannot be read.
    """
    lines = saved.split("\n")
    spoilt: set[str] = set()
    strays: list[str] = []
    while True:
        try:
            chains = parse_rules("\n".join(lines), family)
        except ParseError as error:
            chain = _appended_to(error.text)
            if chain in ENTRY_CHAINS:
                strays.append(error.text)
                lines = [line for line in lines if line != error.text]
            elif chain and chain not in spoilt:
                spoilt.add(chain)
                lines = [line for line in lines if _appended_to(line) != chain]
            else:
                raise
        else:
            found = (Chain(each.name, SPOILT) if each.name in spoilt else each for each in chains)
            return Readback(tuple(found), tuple(strays))


def read_sets(saved: str, family: int) -> tuple[tuple[AddressSet, ...], tuple[str, ...]]:
    """Our sets in the text of `ipset save`, and the names of those that are odd. Raises ParseError.

    One that nothing refers to is then made anew, or destroyed; into any other the entries it lacks are added.
    """
    odd: set[str] = set()
    while True:
        try:
            sets = parse_sets(saved, family)
        except ParseError as error:
            name = _set_of(error.text)
            if name in odd or not name:
                raise
            odd.add(name)
            saved = "\n".join(line for line in saved.split("\n") if _set_of(line) != name)
        else:
            stand_ins = (AddressSet(name, SetType.ADDRESSES) for name in odd)
            return tuple(sorted((*sets, *stand_ins), key=lambda each: each.name)), tuple(sorted(odd))


def entries(saved: str) -> tuple[Entry, ...]:
    """The chains of the kernel that lead to ours."""
    rules: dict[str, list[str]] = {name: [] for name in ENTRY_CHAINS}
    for line in saved.split("\n"):
        chain = _appended_to(line)
        if chain in rules:
            rules[chain].append(line)
    found = (
        Entry(name, tuple(filter(_leads_to_us, lines)), first=bool(lines) and _leads_to_us(lines[0]))
        for name, lines in rules.items()
    )
    return tuple(each for each in found if each.jumps)


def _appended_to(line: str) -> str:
    found = _APPEND.match(line)
    return found[1] if found else ""


def _set_of(line: str) -> str:
    """`create NAME ...`, `add NAME ...`."""
    return line.split()[1] if len(line.split()) > 1 else ""


def _leads_to_us(line: str) -> bool:
    words = line.split()
    return words[-2] in {"-j", "-g"} and is_own_chain(words[-1])
