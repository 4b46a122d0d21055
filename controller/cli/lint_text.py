"""The findings of `podgate lint` for people: by object, with place, lines of the manifest and remedy."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from controller.cli.console import Painter
from controller.cli.excerpt import Excerpts
from controller.engine.lint.codes import SEVERITIES
from controller.objects.codes import Explanation
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Cluster

_WIDEST = 100
_NARROWEST = 40


def findings_text(findings: Sequence[Finding], cluster: Cluster, painter: Painter) -> Iterator[str]:
    """The lines of the report. Findings come in the order of the report."""
    excerpts = Excerpts(finding.source for finding in findings)
    for name, group in groupby(findings, key=_heading):
        yield painter.strong(name)
        yield ""
        for finding in group:
            yield from _finding(finding, excerpts, painter)
            yield ""
    yield summary(findings, cluster)
    if findings:
        yield painter.faint("podgate lint --explain CODE says more on one of them")


def explanation_text(code: str, explanation: Explanation, painter: Painter) -> Iterator[str]:
    """What a code means, in full."""
    kind = f" ({SEVERITIES[code]})" if code in SEVERITIES else ""
    yield f"{painter.strong(code)}: {explanation.title}{kind}"
    yield ""
    yield from _wrapped(explanation.meaning)
    yield ""
    yield from _wrapped(explanation.remedy, "What to do: ")


def summary(findings: Sequence[Finding], cluster: Cluster) -> str:
    """`1 error, 2 warnings and 3 infos on 12 policies, 25 pods and 4 namespaces`."""
    counts = tally(findings)
    found = _joined([_count(counts[severity], severity.value) for severity in Severity if counts[severity]])
    objects = _joined(
        [
            _count(len(cluster.policies), "policy"),
            _count(len(cluster.pods), "pod"),
            _count(len(cluster.namespaces), "namespace"),
        ]
    )
    return f"{found or 'nothing found'} on {objects}"


def tally(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings of each severity."""
    counts = dict.fromkeys(Severity, 0)
    for finding in findings:
        counts[finding.severity] += 1
    return counts


def _heading(finding: Finding) -> str:
    file = (
        f"  ({finding.source.file})" if finding.source.file and finding.object != finding.source.file else ""
    )
    return f"{finding.object}{file}"


def _finding(finding: Finding, excerpts: Excerpts, painter: Painter) -> Iterator[str]:
    label = f"{finding.severity}[{finding.code}]:"
    first, *more = _wrapped(finding.message, f"  {label} ", " " * 4)
    yield f"  {_painted(label, finding.severity, painter)}{first.removeprefix(f'  {label}')}"
    yield from more
    place = "  ".join(filter(None, [str(finding.source), finding.path]))
    if place:
        yield painter.faint(f"    --> {place}")
    for number, text in excerpts.at(finding.source):
        yield painter.faint(f"    {number:>5} | ") + text[: _width() - 12]
    if finding.remedy:
        yield from _wrapped(finding.remedy, "    help: ", " " * 10)


def _painted(label: str, severity: Severity, painter: Painter) -> str:
    if severity is Severity.INFO:
        return painter.faint(label)
    return painter.bad(label) if severity is Severity.ERROR else painter.strong(label)


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Lines of the terminal's width; words are never cut, so that a long rule can be copied."""
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns))


def _joined(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"
