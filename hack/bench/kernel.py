"""`make bench-kernel`: what changes cost until the kernel enforces them, on a node of the design's size.

110 pods, 50 policies, 1,000 peers each, IPv4, both backends in turn, in a network namespace of its own.
Beside each change, taking turns with it, the same state written as kube-router does it: all sets and the
whole table, saved, edited and restored. And the memory of a process that only enforces. Needs root.

    sudo .venv/bin/python hack/bench/kernel.py [--rounds 30] [--json kernel.json]

From the changed view to the confirmation that the last commit is in force, compiling and planning included;
what the kernel frees afterwards is not. One change at a time, with a pause before each: on nft a commit that
comes less than some 20 ms after one that deleted rules waits for the kernel to be done with those, which the
rows "back to back" show.
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec import Struct

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import Enforcer
from controller.dataplane.kernel import Detours, Kernel
from controller.dataplane.restore_channel import RestoreChannel
from controller.dataplane.ruleset import Ruleset, SetType
from controller.dataplane.setlink import SetLink
from controller.dataplane.settings import Settings
from controller.dataplane.tools import Backend, LocalRunner, Result, restore_command
from controller.engine.rulesets import NodeView
from hack.bench.node import views
from hack.bench.whole_table import WholeTable

PAUSE = 0.04
"""Seconds before each change."""
SETTINGS = Settings(gates=())


class Row(Struct):
    """Milliseconds, medians: ours, and written as a whole table where that was done.

    `own` is the part of ours that is spent in this process, and not in iptables or the kernel.
    """

    ours: float
    whole: float | None = None
    own: float | None = None


class Elsewhere:
    """Milliseconds that were spent waiting for iptables, or in the kernel's sets."""

    def __init__(self) -> None:
        self.spent = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is done meanwhile."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent += (time.perf_counter() - begun) * 1000


class CountedChannel(RestoreChannel):
    """A restore channel that counts how long its commits take."""

    def __init__(self, command: Sequence[str], elsewhere: Elsewhere) -> None:
        super().__init__(command)
        self._elsewhere = elsewhere

    def commit(self, text: str) -> Result:
        """Commit, and count."""
        with self._elsewhere.counted():
            return super().commit(text)


class CountedLink(SetLink):
    """A channel to the sets that counts how long changes of entries take."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        super().__init__()
        self._elsewhere = elsewhere

    def add(self, name: str, kind: SetType, family: int, entries: Iterable[str]) -> None:
        """Add, and count."""
        with self._elsewhere.counted():
            super().add(name, kind, family, entries)

    def remove(self, name: str, kind: SetType, family: int, entries: Iterable[str]) -> None:
        """Remove, and count."""
        with self._elsewhere.counted():
            super().remove(name, kind, family, entries)


def main() -> None:
    """Measure both backends, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "XTABLES_LOCKFILE": f"{folder}/lock"}
            command = ["unshare", "-n", sys.executable, __file__, "--inside", *sys.argv[1:]]
            raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603
    view, changed = views()
    times = {backend: measure(backend, options.rounds, view, changed) for backend in Backend}
    memory = {backend: measure_memory(backend, view, changed["peer"]) for backend in Backend}
    print_table(times)
    print_memory(memory)
    if options.json:
        found = {
            each: {
                "ms": {
                    name: {"ours": row.ours, "whole table": row.whole} for name, row in times[each].items()
                },
                "MiB": memory[each],
            }
            for each in Backend
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(backend: Backend, rounds: int, view: NodeView, changed: dict[str, NodeView]) -> dict[str, Row]:
    """All changes through one backend; the kernel is clean before and after."""
    with closing(Bench(backend)) as bench:
        found = bench.first_builds(max(3, rounds // 10), view)
        for name, other in changed.items():
            found |= bench.there_and_back(name, rounds, other, view)
        found["peer added or removed, back to back"] = bench.back_to_back(rounds, changed["peer"], view)
        bench.check(view)
    return found


class Bench:
    """One backend, in the current network namespace."""

    def __init__(self, backend: Backend) -> None:
        runner = LocalRunner()
        self._elsewhere = elsewhere = Elsewhere()
        self._channel = CountedChannel(restore_command(backend, 4), elsewhere)
        self._kernel = Kernel(
            4, backend, runner, open_link=lambda: CountedLink(elsewhere), channel=self._channel
        )
        self._runner = runner
        self._enforcer = self._started()
        self._whole = WholeTable(4, backend)

    def first_builds(self, rounds: int, view: NodeView) -> dict[str, Row]:
        """Of an agent that was just started, on a node without any rules of ours."""
        ours: list[float] = []
        whole: list[float] = []
        for _ in range(rounds):
            self._clear()
            self._enforcer = self._started()
            ours.append(_timed(partial(self._enforcer.apply, view)))
            held = self._kernel.read()
            self._clear()
            whole.append(_timed(partial(self._whole.write, held)))
        self._enforcer = self._started()
        self._enforcer.apply(view)
        return {"first full build": Row(statistics.median(ours), statistics.median(whole))}

    def there_and_back(self, name: str, rounds: int, other: NodeView, view: NodeView) -> dict[str, Row]:
        """A change and its opposite, then the same two states written as a whole.

        Ours finds what it left, then, as both write the same.
        """
        ours: dict[str, list[float]] = {"added": [], "removed": []}
        own: dict[str, list[float]] = {"added": [], "removed": []}
        whole: dict[str, list[float]] = {"added": [], "removed": []}
        for _ in range(rounds):
            held: dict[str, Ruleset] = {}
            for what, wanted in (("added", other), ("removed", view)):
                self._elsewhere.spent = 0.0
                ours[what].append(_timed(partial(self._enforcer.apply, wanted)))
                own[what].append(ours[what][-1] - self._elsewhere.spent)
                held[what] = self._kernel.read()
            for what, state in held.items():
                whole[what].append(_timed(partial(self._whole.write, state)))
        return {
            f"{name} {what}": Row(*map(statistics.median, (ours[what], whole[what], own[what])))
            for what in ours
        }

    def back_to_back(self, rounds: int, other: NodeView, view: NodeView) -> Row:
        """The time of one of many changes without a pause."""
        begun = time.perf_counter()
        for _ in range(rounds):
            self._enforcer.apply(other)
            self._enforcer.apply(view)
        return Row((time.perf_counter() - begun) * 1000 / (2 * rounds))

    def check(self, view: NodeView) -> None:
        """Exit where the kernel does not hold the view, or where something went another way than measured."""
        if self._enforcer.preview(view) or self._kernel.detours != Detours():
            raise SystemExit(f"the kernel does not hold what it should, or {self._kernel.detours}")

    def close(self) -> None:
        """Leave nothing behind."""
        self._clear()
        self._kernel.close()

    def _started(self) -> Enforcer:
        return Enforcer(self._kernel, SETTINGS, Conntrack(self._runner))

    def _clear(self) -> None:
        self._kernel.clear_rules()
        self._kernel.clear_sets()


def measure_memory(backend: Backend, view: NodeView, other: NodeView) -> dict[str, float]:
    """MiB of a process of its own, in a namespace of its own."""
    with tempfile.NamedTemporaryFile() as file:
        pickle.dump((other, view), file)
        file.flush()
        script = str(Path(__file__).with_name("memory.py"))
        command = ["unshare", "-n", sys.executable, script, file.name, str(backend)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def print_table(times: dict[Backend, dict[str, Row]]) -> None:
    """Markdown, a row a change."""
    print(
        "| ms until the kernel enforces it |",
        " | ".join(f"{each} | of it our own | whole table | ratio" for each in times),
        "|",
    )
    print("|---|" + "---:|---:|---:|---:|" * len(times))
    for name in times[Backend.NFT]:
        print(f"| {name} | " + " | ".join(_cells(each[name]) for each in times.values()) + " |")


def _cells(row: Row) -> str:
    if row.whole is None:
        return f"{row.ours:.2f} | | |"
    own = "" if row.own is None else f"{row.own:.2f}"
    return f"{row.ours:.2f} | {own} | {row.whole:.0f} | {row.whole / row.ours:.0f}x"


def print_memory(memory: dict[Backend, dict[str, float]]) -> None:
    """Markdown, a row a figure."""
    print("\n| MiB of a process that enforces, alone |", " | ".join(memory), "|")
    print("|---|" + "---:|" * len(memory))
    for name in memory[Backend.NFT]:
        print(f"| {name} | " + " | ".join(f"{each[name]:.1f}" for each in memory.values()) + " |")


if __name__ == "__main__":
    main()
