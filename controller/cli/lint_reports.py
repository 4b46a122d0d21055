"""The findings of `podgate lint` for programs: JSON, SARIF, JUnit, and Markdown for comments on changes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from controller.cli.junit import Case, Problem, Suite, junit_text
from controller.cli.lint_text import summary, tally
from controller.cli.sarif import LEVELS, Result, Rule, sarif_text
from controller.engine.lint.codes import CODES
from controller.objects.findings import Finding, Severity, Source
from controller.objects.kinds import Cluster

API_VERSION = "podgate.dev/v1alpha1"
"""Of the JSON form."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


def json_report(findings: Sequence[Finding]) -> str:
    """All findings, and how many of each severity."""
    counts = tally(findings)
    document = {
        "apiVersion": API_VERSION,
        "kind": "LintReport",
        "summary": {severity.value: counts[severity] for severity in Severity},
        "findings": [_json_finding(finding) for finding in findings],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def sarif_report(findings: Sequence[Finding]) -> str:
    """One result for each finding, with the explanations of their codes."""
    rules = [Rule(code, found.title, found.meaning, found.remedy) for code, found in CODES.items()]
    results = [
        Result(
            rule=finding.code,
            level=LEVELS[finding.severity],
            message=_sentence(finding),
            source=finding.source,
            object=finding.object,
            path=finding.path,
            identity=finding.message,
        )
        for finding in findings
    ]
    return sarif_text(rules, results)


def junit_report(findings: Sequence[Finding], cluster: Cluster, failing: frozenset[Severity]) -> str:
    """A case for every policy, and for everything else that has findings.

    Those of the severities `failing` fail it, the others are its output.
    """
    by_object: dict[str, list[Finding]] = {}
    sources: dict[str, Source] = {}
    for policy in cluster.policies:
        name = f"NetworkPolicy {policy.namespace}/{policy.name}"
        by_object[name] = []
        sources[name] = policy.source
    for finding in findings:
        by_object.setdefault(finding.object, []).append(finding)
        sources.setdefault(finding.object, finding.source)
    cases = tuple(_case(name, found, sources[name], failing) for name, found in by_object.items())
    return junit_text([Suite("podgate lint", cases)])


def markdown_report(findings: Sequence[Finding], cluster: Cluster) -> str:
    """A table for a comment on a change, the gravest first."""
    return "\n".join(_markdown(findings, cluster)) + "\n"


def _json_finding(finding: Finding) -> Mapping[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "object": finding.object,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
        "file": finding.source.file,
        "line": finding.source.line,
    }


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.remedy}" if finding.remedy else finding.message


def _case(name: str, findings: Sequence[Finding], source: Source, failing: frozenset[Severity]) -> Case:
    return Case(
        name=name,
        group=f"lint.{name.partition(' ')[0]}" if " " in name else "lint",
        source=source,
        problems=tuple(
            Problem(
                kind=finding.code,
                message=finding.message,
                text=str(finding),
                broken=finding.severity is Severity.ERROR,
            )
            for finding in findings
            if finding.severity in failing
        ),
        output="\n".join(str(finding) for finding in findings if finding.severity not in failing),
    )


def _markdown(findings: Sequence[Finding], cluster: Cluster) -> Iterator[str]:
    yield f"### podgate lint: {summary(findings, cluster)}"
    order = list(Severity)
    ranked = sorted(findings, key=lambda finding: order.index(finding.severity))
    for severity, group in groupby(ranked, key=lambda finding: finding.severity):
        yield ""
        yield f"| {severity} | where | what | what to do |"
        yield "| --- | --- | --- | --- |"
        for finding in group:
            place = "<br>".join(_cell(text) for text in _places(finding) if text)
            yield f"| `{finding.code}` | {place} | {_cell(finding.message)} | {_cell(finding.remedy)} |"


def _places(finding: Finding) -> tuple[str, ...]:
    file = str(finding.source)
    return (finding.object, finding.path, file if file != finding.object else "")


def _cell(text: str) -> str:
    """Nothing in a message may end the cell, or format it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split())).replace("@", "@\u200b")
