"""`podgate lint`: what is wrong with the policies, and what they do not mean although it looks so."""

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from controller.cli import lint_reports, lint_text
from controller.cli.console import Painter, wants_color
from controller.cli.failure import CLEAN, ERROR, FOUND, CommandError
from controller.cli.input import manifest_options, read_manifests
from controller.engine.lint.checks import lint
from controller.engine.lint.codes import CODES
from controller.engine.lint.similarity import close_text
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Cluster

_ORDER = tuple(Severity)
_OUTPUTS = ("text", "json", "sarif", "junit", "md")


def _complete_code(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(code, help=explanation.title)
        for code, explanation in CODES.items()
        if code.startswith(incomplete)
    ]


@click.command("lint")
@click.option("-o", "--output", type=click.Choice(_OUTPUTS), default="text", show_default=True)
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.WARNING.value,
    show_default=True,
    help="The least grave finding that makes the exit code 1.",
)
@click.option(
    "--explain",
    "code",
    metavar="CODE",
    shell_complete=_complete_code,
    help="Say what a code means, and stop.",
)
@manifest_options
def command(
    output: str, fail_on: str, code: str | None, *, no_color: bool, strict: bool, **manifests: Any
) -> int:
    """What is wrong with the policies, and what they do not mean although it looks so.

    Errors are what the API server refuses or podgate cannot read, warnings are probably not what was meant,
    info is worth knowing. Every code is explained by --explain and in docs/lint.md.

    \b
    Examples:
      podgate lint -f manifests/ -R
      podgate lint -f manifests/ -o sarif > lint.sarif
      podgate lint -f manifests/ --fail-on error -o md
      podgate lint --explain dns-cut
      podgate lint -f cluster:

    Exit codes: 0 clean, 1 findings of --fail-on or graver, 2 an error among the findings or in the call. With
    --strict warnings count as errors.
    """  # noqa: D301
    painter = Painter(color=wants_color(no_color=no_color))
    if code is not None:
        _explain(code, painter)
        return CLEAN
    reading = read_manifests(**manifests, strict=False)
    findings = _ordered((*reading.findings, *lint(reading.cluster)))
    failing = frozenset(_ORDER[: _ORDER.index(Severity(fail_on)) + 1])
    click.echo(_formatted(output, findings, reading.cluster, failing, painter), nl=False)
    return _status(findings, failing, strict=strict)


def _explain(code: str, painter: Painter) -> None:
    if code not in CODES:
        close = close_text(code, CODES)
        remedy = f"did you mean {close}?" if close else "docs/lint.md lists all codes"
        raise CommandError(f"no finding has the code {code!r}; {remedy}")
    click.echo("\n".join(lint_text.explanation_text(code, CODES[code], painter)))


def _ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Object by object in the order of the files, and within one from its first line to its last."""
    first: dict[str, tuple[Any, ...]] = {}
    for finding in findings:
        place = (finding.source.file, finding.source.line)
        first[finding.object] = min(first.get(finding.object, place), place)
    return sorted(
        findings,
        key=lambda finding: (
            *first[finding.object],
            finding.object,
            finding.source.line,
            _ORDER.index(finding.severity),
            finding.path,
            finding.code,
            finding.message,
        ),
    )


def _formatted(
    output: str, findings: Sequence[Finding], cluster: Cluster, failing: frozenset[Severity], painter: Painter
) -> str:
    writers: dict[str, Callable[[], str]] = {
        "text": lambda: "\n".join(lint_text.findings_text(findings, cluster, painter)) + "\n",
        "json": lambda: lint_reports.json_report(findings),
        "sarif": lambda: lint_reports.sarif_report(findings),
        "junit": lambda: lint_reports.junit_report(findings, cluster, failing),
        "md": lambda: lint_reports.markdown_report(findings, cluster),
    }
    return writers[output]()


def _status(findings: Sequence[Finding], failing: frozenset[Severity], *, strict: bool) -> int:
    found = {finding.severity for finding in findings}
    if Severity.ERROR in found or (strict and Severity.WARNING in found):
        return ERROR
    return FOUND if not found.isdisjoint(failing) else CLEAN
