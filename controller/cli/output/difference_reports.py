"""A difference for CI systems: SARIF, shown beside the lines of a change, and JUnit, shown as tests."""

from collections.abc import Callable, Iterable, Sequence

from controller.cli.junit import Case, Problem, Suite, junit_text
from controller.cli.output.changes import Entry, Report
from controller.cli.output.escapes import plain
from controller.cli.sarif import Level, Result, Rule, sarif_text
from controller.engine.causes import Cause

ADDED, REMOVED = "connection-added", "connection-removed"

_RULES = (
    Rule(
        ADDED,
        "Connection added",
        "The change of manifests makes a connection possible that was not.",
        "Check that it is wanted; podgate explain says which rules allow it.",
    ),
    Rule(
        REMOVED,
        "Connection removed",
        "The change of manifests cuts a connection that was possible.",
        "Check that nobody needs it; podgate explain says which policies isolate the ends.",
    ),
)

Counts = Callable[[Entry], bool]
"""Whether an entry is what the caller asked to fail on."""


def difference_sarif(report: Report, counts: Counts) -> str:
    """A result for each entry, at the policies it comes from; a note where it does not count."""
    return sarif_text(_RULES, [_result(entry, counts) for entry in report.entries])


def difference_junit(report: Report, counts: Counts, *, pods_count: bool) -> str:
    """A case for each entry and each pod that came or went, failed where it counts.

    One passed case where there is no difference.
    """
    cases = [_case(entry, counts) for entry in report.entries]
    found = report.found
    for word, pods in (("removed", found.pods_removed), ("added", found.pods_added)):
        for pod in pods:
            title = f"pod {word}: {pod.namespace}/{pod.name}"
            problems = (Problem(kind=f"pod-{word}", message=title),) if pods_count else ()
            cases.append(Case(name=title, group="pods", source=pod.source, problems=problems))
    if not cases:
        cases = [Case(name=report.headline, group="connections")]
    return junit_text([Suite("podgate diff", tuple(cases))])


def _result(entry: Entry, counts: Counts) -> Result:
    cause = _first_with_place(entry.causes)
    return Result(
        rule=ADDED if entry.added else REMOVED,
        level=Level.WARNING if counts(entry) else Level.NOTE,
        message=f"{_sentence(entry)}{_because(entry.causes)}",
        source=cause.source if cause is not None else entry.place,
        object=f"NetworkPolicy {cause.policy}" if cause is not None else "",
        path=cause.path if cause is not None else "",
        identity=f"{entry.source} {entry.destination}{f' IPv{entry.family}' if entry.family else ''}",
    )


def _case(entry: Entry, counts: Counts) -> Case:
    cause = _first_with_place(entry.causes)
    message = f"{_sentence(entry)}{_because(entry.causes)}"
    kind = ADDED if entry.added else REMOVED
    return Case(
        name=f"{plain(entry.source)} -> {plain(entry.destination)}: {entry.ports}",
        group="connections added" if entry.added else "connections removed",
        source=cause.source if cause is not None else entry.place,
        problems=(Problem(kind=kind, message=message),) if counts(entry) else (),
        output="" if counts(entry) else message,
    )


def _sentence(entry: Entry) -> str:
    now = "can now reach" if entry.added else "can no longer reach"
    ports = "" if str(entry.connections) == "all" else f" on {entry.connections}"
    family = f" over IPv{entry.family}" if entry.family else ""
    return f"{plain(entry.source)} {now} {plain(entry.destination)}{ports}{family}"


def _because(causes: Iterable[Cause]) -> str:
    texts = dict.fromkeys(f"{cause.policy} ({cause.edit}) {cause.act}" for cause in causes)
    return f": {', '.join(map(plain, texts))}" if texts else ""


def _first_with_place(causes: Sequence[Cause]) -> Cause | None:
    """The policy to point at: one that was edited and is still there, if any."""
    return next((cause for cause in causes if cause.source.file), causes[0] if causes else None)
