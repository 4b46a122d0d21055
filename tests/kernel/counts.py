"""The counts that a run of the kernel tests ends with.

A test hands its counts over as a property of its report: it may run in another process than the one that
writes the summary. This module is a plugin, registered for every run.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec
import pytest
from msgspec import Struct, field

from controller.dataplane.tools import Backend

PROPERTY = "kernel conformance"
LINE = "kernel counts"

Record = Callable[[str, object], None]


class Score(Struct):
    """What came of one scenario on one backend.

    `late` are the probes that only a second, more patient attempt got through: the machine was busy.
    """

    suite: str
    of: int
    unit: str
    scenario: str
    backend: Backend
    probes: int = 0
    right: int = 0
    late: int = 0


class Tally(Struct):
    """The scores of one suite in this run; `of` is how many tests the suite has."""

    suite: str
    of: int
    unit: str
    passed: dict[str, bool] = {}
    probes: dict[Backend, tuple[int, int]] = field(default_factory=dict)
    late: int = 0

    def add(self, score: Score, *, passed: bool) -> None:
        """A scenario passes if it does on every backend."""
        self.passed[score.scenario] = passed and self.passed.get(score.scenario, True)
        right, probes = self.probes.get(score.backend, (0, 0))
        self.probes[score.backend] = (right + score.right, probes + score.probes)
        self.late += score.late

    def __str__(self) -> str:
        probes = [
            f"{right}/{probes}{'' if number else f' {self.unit}'} ({backend})"
            for number, (backend, (right, probes)) in enumerate(self.probes.items())
        ]
        tests = f"{sum(self.passed.values())}/{len(self.passed)} tests"
        late = f" ({self.late} at the second attempt)" if self.late else ""
        left_out = self.of - len(self.passed)
        missing = f" ({left_out} tests not selected)" if left_out else ""
        return f"{self.suite}: {', '.join([tests, *probes])}{late}{missing}"


def record(score: Score, property_of: Record) -> None:
    """Hand a score over, as plain values: who counts may be another process than the test's."""
    property_of(PROPERTY, msgspec.to_builtins(score))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write a line for each suite: `conformance kernel NAME: 48/48 tests, 900/900 probes (nft), ...`."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    lines = [f"conformance kernel {tally}" for tally in tallies(reports)]
    lines += [f"kernel {value}" for _, value in _properties(reports, LINE)]
    lines += [f"conformance kernel {reason}" for reason in _reasons(terminalreporter.getreports("skipped"))]
    if lines:
        terminalreporter.section("packets")
    for line in lines:
        terminalreporter.write_line(line)


def tallies(reports: Iterable[pytest.TestReport]) -> list[Tally]:
    """The counts of every suite that ran."""
    found: dict[str, Tally] = {}
    for report, value in _properties(reports, PROPERTY):
        score = msgspec.convert(value, Score)
        tally = found.setdefault(score.suite, Tally(score.suite, score.of, score.unit))
        tally.add(score, passed=report.passed)
    return list(found.values())


def _properties(
    reports: Iterable[pytest.TestReport], wanted: str
) -> Iterator[tuple[pytest.TestReport, object]]:
    for report in reports:
        for key, value in report.user_properties if report.when == "call" else ():
            if key == wanted:
                yield report, value


def _reasons(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Every suite that did not run here, and why."""
    reasons = (
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reports
        if "kernel/test_conformance.py" in report.nodeid and isinstance(report.longrepr, tuple)
    )
    yield from dict.fromkeys(reasons)
