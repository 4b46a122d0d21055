"""Plan steps as the text that iptables-restore and ipset restore read."""

from collections.abc import Iterable

from controller.dataplane.edits import (
    ChainEdit,
    DeleteRule,
    EnterRule,
    InsertRule,
    RemoveChain,
    ReplaceChain,
)
from controller.dataplane.readback import Entry
from controller.dataplane.render import render_sets, rule_text
from controller.dataplane.ruleset import TABLE, AddressSet, Ruleset
from controller.dataplane.validity import is_own_chain


def commit_text(edits: Iterable[ChainEdit], family: int) -> str:
    """One transaction for `iptables-restore --noflush`: all of the edits or none.

    A declared chain is created or emptied, so declaring comes first for what is written anew and for what
    goes; a chain is removed at the very end, when nothing refers to it. Raises RulesetError for what the
    kernel would refuse.
    """
    edits = tuple(edits)
    declared = [edit.chain.name for edit in edits if isinstance(edit, ReplaceChain)]
    removed = [edit.name for edit in edits if isinstance(edit, RemoveChain)]
    lines = [f":{name} - [0:0]" for name in (*declared, *removed)]
    for edit in edits:
        lines.extend(_edit_lines(edit, family))
    return "\n".join([f"*{TABLE}", *lines, *(f"-X {name}" for name in removed), "COMMIT", ""])


def fill_text(each: AddressSet, family: int) -> str:
    """Creates a set with exactly these entries; one of its name must not be in use."""
    return render_sets(Ruleset(family, (), (each,)))


def entries_text(verb: str, name: str, entries: Iterable[str]) -> str:
    """`add` or `del` lines that take an entry's being there, or not, as done already."""
    return "".join(f"{verb} {name} {entry} -exist\n" for entry in entries)


def own_chain_names(saved: str) -> tuple[str, ...]:
    """The names of our chains in a saved table."""
    declared = (line[1:].split()[0] for line in saved.splitlines() if line.startswith(":"))
    return tuple(filter(is_own_chain, declared))


def removal_text(saved: str) -> str:
    """One transaction that removes our chains and the jumps to them from a saved table.

    "" where there are none.

    Works on names and whole lines, so that it also removes what another version wrote: a jump is deleted by
    the very text the backend printed for it.
    """
    lines = saved.splitlines()
    chains = own_chain_names(saved)
    jumps = [line for line in lines if _is_foreign_jump(line, set(chains))]
    if not chains:
        return ""
    declared = (f":{name} - [0:0]" for name in chains)
    deleted = (f"-D{line[2:]}" for line in jumps)
    return "\n".join([f"*{TABLE}", *declared, *deleted, *(f"-X {name}" for name in chains), "COMMIT", ""])


def entry_text(entry: Entry, keep: str) -> str:
    """One transaction after which a chain of the kernel leads to ours by one jump, above everything else.

    Both `entry.jumps` and `keep` are lines as the backend printed them.
    """
    lines = [*(f"-D{line[2:]}" for line in entry.jumps)]
    lines.append(f"-I {entry.chain} 1{keep.removeprefix(f'-A {entry.chain}')}")
    return "\n".join([f"*{TABLE}", *lines, "COMMIT", ""])


def _is_foreign_jump(line: str, own: set[str]) -> bool:
    words = line.split()
    return (
        len(words) > 3
        and words[0] == "-A"
        and words[1] not in own
        and words[-2] in {"-j", "-g"}
        and words[-1] in own
    )


def _edit_lines(edit: ChainEdit, family: int) -> list[str]:
    match edit:
        case ReplaceChain(chain):
            return [f"-A {chain.name} {rule_text(rule, family)}" for rule in chain.rules]
        case InsertRule(name, position, rule):
            return [f"-I {name} {position + 1} {rule_text(rule, family)}"]
        case EnterRule(name, rule):
            return [f"-I {name} 1 {rule_text(rule, family)}"]
        case DeleteRule(name, rule):
            return [f"-D {name} {rule_text(rule, family)}"]
        case RemoveChain():
            return []
