"""A difference for people: on a terminal, and as a comment on a pull request."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from controller.cli.console import Painter
from controller.cli.output.changes import Report
from controller.cli.output.escapes import in_markdown, plain
from controller.engine.causes import Cause
from controller.objects.kinds import Pod

_LONG = 20
"""A Markdown table of more lines is folded away."""

_SHOWN_POLICIES = 3

_NO_POLICY = "pods that came, went or changed"


def difference_text(report: Report, painter: Painter, rules: Mapping[str, str] | None = None) -> str:
    """Lines in sections, one section for each set of policies; then the rules that differ, if wanted."""
    return "".join(f"{line}\n" for line in _text(report, painter, rules))


def difference_markdown(report: Report, rules: Mapping[str, str] | None = None) -> str:
    """A headline and a table; what is long is folded, so that a reviewer sees the headline first."""
    return "".join(f"{line}\n" for line in _markdown(report, rules))


def _text(report: Report, painter: Painter, rules: Mapping[str, str] | None) -> Iterator[str]:
    yield painter.strong(report.headline)
    for sign, pods in _pods(report):
        paint = painter.good if sign == "+" else painter.bad
        yield from (paint(f"{sign} pod {plain(_pod(pod))}") for pod in pods)
    width = max((len(plain(entry.source)) for entry in report.entries), default=0)
    other = max((len(plain(entry.destination)) for entry in report.entries), default=0)
    for header, entries in groupby(report.entries, lambda entry: _header(entry.causes)):
        yield ""
        yield painter.faint(plain(header))
        for entry in entries:
            paint = painter.good if entry.added else painter.bad
            ends = f"{plain(entry.source):<{width}} -> {plain(entry.destination):<{other}}"
            yield paint(f"  {entry.sign} {ends}  {entry.ports}")
    if report.notes:
        yield ""
        yield from (painter.faint(plain(note)) for note in report.notes)
    for name, text in (rules or {}).items():
        yield ""
        yield painter.strong(f"rules: {plain(name)}")
        yield from (_rule_line(line, painter) for line in text.splitlines())


def _rule_line(line: str, painter: Painter) -> str:
    text = plain(line)
    if line.startswith("+"):
        return painter.good(text)
    return painter.bad(text) if line.startswith("-") else text


def _markdown(report: Report, rules: Mapping[str, str] | None) -> Iterator[str]:
    yield f"**NetworkPolicy: {report.headline}**"
    for sign, pods in _pods(report):
        yield ""
        names = ", ".join(in_markdown(_pod(pod)) for pod in pods)
        yield f"Pods {'added' if sign == '+' else 'removed'}: {names}"
    if report.entries:
        yield ""
        yield from _folded("Connections", list(_markdown_table(report)), long=len(report.entries) > _LONG)
    for name, text in (rules or {}).items():
        yield ""
        yield from _folded(f"Rules: {in_markdown(name)}", _fenced(text), long=True)


def _markdown_table(report: Report) -> Iterator[str]:
    yield "| | from | to | ports | policies |"
    yield "| --- | --- | --- | --- | --- |"
    for entry in report.entries:
        cells = [
            "added" if entry.added else "**removed**",
            in_markdown(entry.source),
            in_markdown(entry.destination),
            entry.ports,
            in_markdown(_header(entry.causes)),
        ]
        yield f"| {' | '.join(cells)} |"
    if report.notes:
        yield ""
        yield from (f"- {in_markdown(note)}" for note in report.notes)


def _folded(title: str, lines: Sequence[str], *, long: bool) -> Iterator[str]:
    if not long:
        yield from lines
        return
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"


def _fenced(text: str) -> list[str]:
    """A code block that its content cannot end: the fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}diff", *map(plain, text.splitlines()), fence]


def _pods(report: Report) -> Iterator[tuple[str, tuple[Pod, ...]]]:
    for sign, pods in (("-", report.found.pods_removed), ("+", report.found.pods_added)):
        if pods:
            yield sign, pods


def _pod(pod: Pod) -> str:
    kind = f" ({pod.workload.kind})" if pod.workload is not None else ""
    return f"{pod.namespace}/{pod.name}{kind}"


def _header(causes: Sequence[Cause]) -> str:
    """`shop/allow-web changed (new/web.yaml:7)`, for the first few policies."""
    first: dict[str, Cause] = {}
    for cause in causes:
        first.setdefault(cause.policy, cause)
    texts = [
        f"{policy} {cause.edit}{f' ({cause.source})' if cause.source.file else ''}"
        for policy, cause in first.items()
    ]
    if len(texts) > _SHOWN_POLICIES:
        texts[_SHOWN_POLICIES - 1 :] = [f"{len(texts) - _SHOWN_POLICIES + 1} more policies"]
    return ", ".join(texts) or _NO_POLICY
