"""The differential test for as long as one likes: `python -m tests.kernel.soak --seconds 600 --seed 7`.

Rounds take turns on both topologies and backends. Every verdict about which the judges differ is printed, with the seed
that plays its round again (`--only SEED`); the exit status is 1 if there was one.
"""

import argparse
import itertools
import sys
import time
from contextlib import ExitStack

from tests.kernel.conftest import PODS
from tests.kernel.differential import play
from tests.kernel.netlab import Lab
from tests.kernel.requirements import missing
from tests.kernel.rules import Backend
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology

_REPORT_EVERY = 30.0


class Totals:
    """What a run has seen so far."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.rounds = self.probes = self.allowed = self.late = self.faults = 0

    def __str__(self) -> str:
        seconds = time.monotonic() - self.start
        return (
            f"{seconds:.0f} s: {self.rounds} rounds, {self.probes} probes ({self.probes / seconds:.0f}/s),"
            f" {self.allowed} allowed, {self.late} late, {self.faults} wrong"
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
        seeds = itertools.repeat(options.only, len(trials)) if options.only else _seeds(options.seed)
        print(f"seed {options.seed}" if not options.only else f"round {options.only}")
        return _run(trials, seeds, options.seconds, options.probes)


def _trials(labs: ExitStack) -> list[Trial]:
    """Every combination of topology and backend that this machine can do."""
    trials: list[Trial] = []
    for topology in Topology:
        lacking = {backend: missing(backend, topology) for backend in Backend}
        for backend, reason in lacking.items():
            if reason:
                print(f"without {backend} on {topology}: {reason}", file=sys.stderr)
        if not all(lacking.values()):
            lab = labs.enter_context(Lab(PODS, topology))
            trials += [Trial(lab, backend) for backend, reason in lacking.items() if not reason]
    return trials


def _seeds(seed: str) -> "itertools.chain[str]":
    return itertools.chain.from_iterable([f"{seed}/{number}"] for number in itertools.count())


def _run(
    trials: list[Trial], seeds: "itertools.chain[str] | itertools.repeat[str]", seconds: float, probes: int
) -> int:
    totals, reported = Totals(), time.monotonic()
    for trial, seed in zip(itertools.cycle(trials), seeds, strict=False):
        found = play(trial, seed, probes)
        totals.rounds += 1
        totals.probes += found.probes
        totals.allowed += found.allowed
        totals.late += found.late
        totals.faults += len(found.faults)
        if found.faults:
            print(f"{trial.lab.plan.topology} {trial.backend} {found}", flush=True)
        if time.monotonic() - reported > _REPORT_EVERY:
            reported = time.monotonic()
            print(totals, flush=True)
        if time.monotonic() - totals.start > seconds:
            break
    print(totals)
    return 1 if totals.faults else 0


if __name__ == "__main__":
    sys.exit(main())
