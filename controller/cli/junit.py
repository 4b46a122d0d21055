"""JUnit XML: the form in which CI systems list what passed and what failed.

There is no standard, only what readers have in common; this writes that: suites of cases, a case passed,
failed (the answer is not the wanted one) or broken (no answer: bad input).
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from msgspec import Struct

from controller.objects.findings import Source

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Problem(Struct, frozen=True, kw_only=True):
    """Why a case did not pass. `kind` is a stable code, `message` one line, `text` the details.

    `broken` says that there is no answer because of bad input, which JUnit calls an error and not a failure.
    """

    kind: str
    message: str
    text: str = ""
    broken: bool = False


class Case(Struct, frozen=True, kw_only=True):
    """One thing that was checked; passed where it has no problems.

    `group` becomes the class name by which CI systems fold cases. `output` is shown although the case passed.
    """

    name: str
    group: str = ""
    source: Source = Source()
    problems: tuple[Problem, ...] = ()
    output: str = ""


class Suite(Struct, frozen=True):
    """A named list of cases."""

    name: str
    cases: tuple[Case, ...] = ()


def junit_text(suites: Sequence[Suite]) -> str:
    """The document, indented, ending in a newline.

    Characters that XML cannot hold become U+FFFD.
    """
    root = ET.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    root.set("name", "podgate")
    for suite in suites:
        element = ET.SubElement(root, "testsuite", {"name": _clean(suite.name), **_counts(suite.cases)})
        for case in suite.cases:
            _add_case(element, case)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    """A case is counted once: as broken if any of its problems is, else as failed if it has any."""
    broken = sum(any(problem.broken for problem in case.problems) for case in cases)
    bad = sum(bool(case.problems) for case in cases)
    return {"tests": str(len(cases)), "failures": str(bad - broken), "errors": str(broken), "skipped": "0"}


def _add_case(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(
        suite, "testcase", {"name": _clean(case.name), "classname": _clean(case.group), "time": "0"}
    )
    if case.source.file:
        element.set("file", _clean(case.source.file))
    if case.source.line:
        element.set("line", str(case.source.line))
    for problem in case.problems:
        outcome = ET.SubElement(
            element,
            "error" if problem.broken else "failure",
            {"type": _clean(problem.kind), "message": _clean(problem.message)},
        )
        outcome.text = _clean(problem.text) or None
    if case.output:
        ET.SubElement(element, "system-out").text = _clean(case.output)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
