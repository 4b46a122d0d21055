"""The JUnit writer."""

import xml.etree.ElementTree as ET

from controller.cli.junit import Case, Problem, Suite, junit_text
from controller.objects.findings import Source

FAILED = Problem(kind="dns-cut", message="names are not found", text="all of it")
BROKEN = Problem(kind="invalid-cidr", message="no block", broken=True)


def parse(*cases: Case) -> ET.Element:
    return ET.fromstring(junit_text([Suite("lint", cases)]))  # noqa: S314 - our own text


def test_cases_are_counted_once_broken_before_failed() -> None:
    root = parse(
        Case(name="a"), Case(name="b", problems=(FAILED, FAILED)), Case(name="c", problems=(FAILED, BROKEN))
    )
    for element in (root, root[0]):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("3", "1", "1")


def test_a_case_says_where_it_is() -> None:
    case = parse(Case(name="shop/web", group="lint.NetworkPolicy", source=Source("a.yaml", 7)))[0][0]
    assert case.attrib == {
        "name": "shop/web",
        "classname": "lint.NetworkPolicy",
        "time": "0",
        "file": "a.yaml",
        "line": "7",
    }


def test_problems_are_failures_and_bad_input_is_an_error() -> None:
    case = parse(Case(name="a", problems=(FAILED, BROKEN)))[0][0]
    assert [(found.tag, found.get("type"), found.text) for found in case] == [
        ("failure", "dns-cut", "all of it"),
        ("error", "invalid-cidr", None),
    ]


def test_output_is_kept_for_a_case_that_passed() -> None:
    assert parse(Case(name="a", output="worth knowing"))[0][0].findtext("system-out") == "worth knowing"


def test_what_xml_cannot_hold_is_replaced() -> None:
    hostile = Problem(kind="k", message='<"&\x1b[2J\n', text="]]>\x00")
    found = parse(Case(name="a", problems=(hostile,)))[0][0][0]
    assert found.get("message") == '<"&\ufffd[2J\n'
    assert found.text == "]]>\ufffd"
