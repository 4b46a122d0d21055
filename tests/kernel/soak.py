"""The differential test for as long as one likes: `python -m tests.kernel.soak --seconds 600 --seed 7`.

Rounds take turns on both topologies and backends. Every verdict about which the judges differ is printed,
with the seed that plays its round again (`--only SEED`); the exit status is 1 if there was one.
"""

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack

from controller.dataplane.tools import Backend
from tests.kernel.conftest import PODS
from tests.kernel.differential import Round, play
from tests.kernel.netlab import Lab
from tests.kernel.requirements import missing
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology

_REPORT_EVERY = 30.0

_say = functools.partial(print, flush=True)


class Totals:
    """What a run has seen so far."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.rounds = self.probes = self.allowed = self.late = self.faults = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.start

    def add(self, found: Round) -> None:
        """Count a round."""
        self.rounds += 1
        self.probes += found.probes
        self.allowed += found.allowed
        self.late += found.late
        self.faults += len(found.faults)

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s: {self.rounds} rounds, {self.probes} probes"
            f" ({self.probes / self.seconds:.0f}/s), {self.allowed} allowed, {self.late} late,"
            f" {self.faults} wrong"
        )


def main() -> int:
    """Run for the seconds that the command line says."""
    parser = argparse.ArgumentParser(description="Random clusters, judged by policies, rules and kernel.")
    parser.add_argument("--seconds", type=float, default=60, help="how long to run")
    parser.add_argument("--seed", default=str(time.time_ns()), help="where to start; the time by default")
    parser.add_argument("--probes", type=int, default=300, help="probes of a round")
    parser.add_argument("--only", metavar="SEED", help="play this one round, on everything")
    options = parser.parse_args()
    with ExitStack() as labs:
        trials = _trials(labs)
        if not trials:
            return 2
        _say(f"round {options.only}" if options.only else f"seed {options.seed}")
        if options.only:
            return _run(trials, [options.only] * len(trials), options)
        return _run(trials, (f"{options.seed}/{number}" for number in itertools.count()), options)


def _trials(labs: ExitStack) -> list[Trial]:
    """Every combination of topology and backend that this machine can do."""
    trials: list[Trial] = []
    for topology in Topology:
        lacking = {backend: missing(backend, topology) for backend in Backend}
        for backend, reason in lacking.items():
            if reason:
                _say(f"without {backend} on {topology}: {reason}", file=sys.stderr)
        if not all(lacking.values()):
            lab = labs.enter_context(Lab(PODS, topology))
            trials += [Trial(lab, backend) for backend, reason in lacking.items() if not reason]
    return trials


def _run(trials: list[Trial], seeds: Iterable[str], options: argparse.Namespace) -> int:
    totals, reported = Totals(), 0.0
    for trial, seed in zip(itertools.cycle(trials), seeds, strict=False):
        found = play(trial, seed, options.probes)
        totals.add(found)
        if found.faults:
            _say(f"{trial.lab.plan.topology} {trial.backend} {found}")
        if totals.seconds > reported + _REPORT_EVERY:
            reported = totals.seconds
            _say(totals)
        if totals.seconds > options.seconds:
            break
    _say(totals)
    return 1 if totals.faults else 0


if __name__ == "__main__":
    sys.exit(main())
