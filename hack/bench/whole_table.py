"""Writing a node's state the way kube-router does it, to measure beside podgate's way.

Each change, however small, saves all sets of the host and the whole table, and writes all of it anew: every
set through a temporary one that is swapped, then the whole table by a restore that flushes it. What
kube-router computes before that is not part of it.
"""

import subprocess

from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import TABLE, Ruleset
from controller.dataplane.tools import Backend
from controller.dataplane.validity import is_own_chain


class WholeTable:
    """One family of this network namespace, through one backend."""

    def __init__(self, family: int, backend: Backend) -> None:
        tool = "iptables" if family == 4 else "ip6tables"
        self._save = (f"{tool}-{backend}-save", "-t", TABLE)
        self._restore = (f"{tool}-{backend}-restore", "--wait", "5")

    def write(self, ruleset: Ruleset) -> None:
        """Have the kernel hold the ruleset. Raises CalledProcessError."""
        _run(("ipset", "save"))
        _run(("ipset", "restore", "-exist"), _swapped_sets(ruleset))
        _run(self._restore, _edited(_run(self._save), ruleset))


def _swapped_sets(ruleset: Ruleset) -> str:
    lines: list[str] = []
    spares: dict[str, None] = {}
    for each in ruleset.sets:
        spare = f"TMP-{each.type}"
        spares[spare] = None
        found = render_sets(Ruleset(ruleset.family, (), (each,))).splitlines()
        create = next(line for line in found if line.startswith("create "))
        filled = [line.replace(each.name, spare, 1) for line in found if line.startswith(("create ", "add "))]
        lines += [create, filled[0], f"flush {spare}", *filled[1:], f"swap {spare} {each.name}"]
        lines.append(f"flush {spare}")
    return "\n".join([*lines, *(f"destroy {spare}" for spare in spares), ""])


def _edited(saved: str, ruleset: Ruleset) -> str:
    """The table that was saved, with our chains and jumps written anew."""
    kept = [line for line in saved.splitlines() if not _is_ours(line) and line != "COMMIT"]
    ours = [line for line in render_rules(ruleset).splitlines() if not line.startswith(("#", "*", "COMMIT"))]
    return "\n".join([*kept, *ours, "COMMIT", ""])


def _is_ours(line: str) -> bool:
    words = line.split()
    return bool(words) and (
        is_own_chain(words[0].removeprefix(":"))
        or (words[0] == "-A" and (is_own_chain(words[1]) or is_own_chain(words[-1])))
    )


def _run(command: tuple[str, ...], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout
