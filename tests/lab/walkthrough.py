"""The commands of a document, in order, and whether they print what it shows.

A block of `console` is run, and one of `sh` is not: that is how a document says which is which. A call whose
output is shown must print that; one without must succeed. A line `...` stands for any lines, and what differs
from run to run (times, process ids, random ends of names) is the same on both sides.
"""

import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "\x1e"
_RANDOM = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms|milliseconds)\b"), r"N \2"),
    (re.compile(r"(?<=-)[0-9a-z]{10}-[0-9a-z]{5}\b"), "RANDOM"),
    (re.compile(r"\b(sport|dport|use|mark)=(3\d{4}|[456]\d{4}|1)\b"), r"\1=N"),
    (re.compile(r"\btcp +6 \d+ "), "tcp 6 N "),
    (re.compile(r"\b(digest=)[0-9a-z]{16}\b"), r"\1RANDOM"),
)


class Step(Struct, frozen=True):
    """A call, and what the document shows below it; "" where it shows nothing."""

    call: str
    shown: str


def steps(document: Path, sections: Sequence[str]) -> Iterator[Step]:
    """Of the sections whose headings (of the second level) begin so, in the order of the document."""
    for section in re.split(r"^## ", document.read_text(), flags=re.MULTILINE)[1:]:
        if not section.startswith(tuple(sections)):
            continue
        for block in _BLOCK.findall(section):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                call, _, shown = part.partition("\n")
                yield Step(call, shown.strip("\n"))


def walk(found: Sequence[Step], lab: str, folder: Path) -> list[str]:
    """Run the calls in one shell, at the root of the checkout. What went wrong, in words; empty when nothing.

    `lab` is the name that the lab gets, and `folder` where its files are.
    """
    script = "\n".join(f"{{ {step.call}\n}}; printf '{_END}%s{_END}' $?" for step in found)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=_environment(lab, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    parts = done.stdout.split(_END)
    outcomes = list(zip(parts[0::2], parts[1::2], strict=False))
    if len(outcomes) != len(found):
        return [f"the shell ended early, with: {parts[-1]}"]
    return [
        f"$ {step.call}\nexit {status}\n{printed}"
        for step, (printed, status) in zip(found, outcomes, strict=True)
        if not _as_shown(step, printed.replace(str(folder / lab), "/run/podgate-lab/lab"), status, lab)
    ]


def _as_shown(step: Step, printed: str, status: str, lab: str) -> bool:
    if not step.shown:
        return status == "0"
    own = printed.replace(f" --name {lab}", "").replace(f"lab {lab} ", "lab lab ")
    lines = [_steady(line) for line in step.shown.split("\n")]
    pattern = "\n".join("*" if line == "..." else _literal(line) for line in lines)
    return fnmatch.fnmatchcase("\n".join(map(_steady, own.strip("\n").split("\n"))), pattern)


def _steady(line: str) -> str:
    for expression, replacement in _RANDOM:
        line = expression.sub(replacement, line)
    return line.rstrip()


def _literal(line: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in line)


def _environment(lab: str, folder: Path) -> Mapping[str, str]:
    programs = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PODGATE_LAB_NAME": lab,
        "PODGATE_LAB_DIR": str(folder),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
