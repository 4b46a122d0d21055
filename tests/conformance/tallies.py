"""The counts of the conformance suites that a run ends with.

A test hands its counts over as a property of its report: it may run in another process than the one that
writes the summary. This module is a plugin, registered for every run.
"""

from collections.abc import Iterable, Iterator

import pytest
from msgspec import Struct

PROPERTY = "conformance"


class Tally(Struct):
    """The counts of one suite in this run; `of` is how many tests the suite has."""

    suite: str
    of: int
    unit: str
    run: int = 0
    passed: int = 0
    pairs: int = 0
    evaluate: int = 0
    simulate: int = 0

    def __str__(self) -> str:
        counts = (
            f"{self.passed}/{self.run} tests",
            f"{self.evaluate}/{self.pairs} {self.unit} (evaluate)",
            f"{self.simulate}/{self.pairs} (simulate)",
        )
        left_out = f" ({self.of - self.run} tests not selected)" if self.run < self.of else ""
        return f"{self.suite}: {', '.join(counts)}{left_out}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write a line for each suite: `conformance NAME: 48/48 tests, 506/506 pairs (evaluate), ...`."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    lines = [*map(str, tallies(reports)), *skipped(terminalreporter.getreports("skipped"))]
    if lines:
        terminalreporter.section("conformance")
    for line in lines:
        terminalreporter.write_line(f"conformance {line}")


def tallies(reports: Iterable[pytest.TestReport]) -> list[Tally]:
    """The counts of every suite that ran."""
    found: dict[str, Tally] = {}
    for report in reports:
        for key, value in report.user_properties if report.when == "call" else ():
            if key == PROPERTY and isinstance(value, tuple):
                suite, of, unit, counts = value
                tally = found.setdefault(suite, Tally(suite, of, unit))
                tally.run += 1
                tally.passed += report.passed
                tally.pairs += counts["pairs"]
                tally.evaluate += counts["evaluate"]
                tally.simulate += counts["simulate"]
    return list(found.values())


def skipped(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Every suite that did not run, and why."""
    reasons = (
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reports
        if "conformance" in report.keywords and isinstance(report.longrepr, tuple)
    )
    yield from dict.fromkeys(reasons)
