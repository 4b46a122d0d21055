"""Text that was made to exhaust memory, time or the stack: a clear error, quickly."""

from collections.abc import Iterator
from time import thread_time

import pytest

from controller.objects.documents import parse_documents
from controller.objects.findings import Finding
from controller.objects.yaml_text import Allowance

SECONDS = 10.0
"""Of the processor, not of the clock, and far above the 0.5 s that the slowest takes: others may be busy."""


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    started = thread_time()
    yield
    assert thread_time() - started < SECONDS


def findings(text: str, allowance: Allowance | None = None) -> list[Finding]:
    return parse_documents(text, "evil.yaml", allowance)[1]


def codes(text: str) -> list[str]:
    return [finding.code for finding in findings(text)]


def bomb(levels: int, width: int) -> str:
    inner = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *inner])


@pytest.mark.parametrize("text", [bomb(10, 9), bomb(90, 2), "a: &a {b: [*a, *a]}", "a: &a [*a]"])
def test_aliases_that_multiply_are_refused(text: str) -> None:
    assert codes(text)[0] in {"too-many-aliases", "too-deep"}


def test_a_bomb_of_merge_keys_is_refused() -> None:
    first = "a0: &a0 {" + ", ".join(f"k{index}: x" for index in range(100)) + "}"
    inner = [f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}" for level in range(1, 30)]
    assert codes("\n".join([first, *inner])) == ["too-many-aliases"]


def test_the_allowance_for_aliases_is_shared_by_all_files() -> None:
    text = (
        "a: &a [" + "x, " * 1000 + "]\nb: [" + "*a, " * 100 + "]\n"
    )  # about 100,000 values, 3,000 of them written
    allowance = Allowance(250_000)
    found = [finding.code for _ in range(10) for finding in findings(text, allowance)]
    assert found == ["too-many-aliases"] * 8


def test_ordinary_use_of_aliases_is_fine() -> None:
    assert codes("a: &a {x: 1}\n" + "".join(f"k{index}: *a\n" for index in range(10_000))) == []


DEEP = {
    "brackets": "[" * 1_000_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000 + "a",
    "question marks": "? " * 100_000,
    "indentation": "\n".join(" " * depth + "a:" for depth in range(2_000)),
    "indented lists": "\n".join("  " * depth + "- a:" for depth in range(300)),
    "just too deep": "x: " + "[" * 110 + "]" * 110,
    "json": '{"a":' * 1_000_000,
}


@pytest.mark.parametrize("shape", DEEP)
def test_deep_nesting_is_refused_before_any_stack_overflows(shape: str) -> None:
    assert codes(DEEP[shape]) == ["too-deep"]


def test_ninety_levels_are_read() -> None:
    assert codes("x: " + "[" * 90 + "]" * 90) == []


LONG = {
    "plain": "a: " + "x" * 10_000_000,
    "key": "x" * 1_000_000 + ": a",
    "escapes": 'a: "' + "\\n" * 1_000_000 + '"',
    "json": '{"a": "' + "x" * 10_000_000 + '"}',
    "digits": "a: " + "9" * 1_000_000,
    "indentation": " " * 1_000_000 + "a: b",
    "blank lines": "\n" * 1_000_000 + "a: b",
    "comments": "#\n" * 500_000 + "a: b",
    "space in braces": "{" + " " * 1_000_000 + "a: b}",
    "space before braces": " " * 1_000_000 + "{a: b}",
}


@pytest.mark.parametrize("shape", LONG)
def test_ten_megabytes_of_one_thing_are_read_or_refused_quickly(shape: str) -> None:
    parse_documents(LONG[shape], "long.yaml")


def test_a_message_about_ten_megabytes_is_short() -> None:
    (finding,) = findings("x" * 10_000_000)
    assert len(str(finding)) < 300


def test_a_hundred_thousand_separators_are_quick() -> None:
    assert codes("---\n" * 100_000) == []


def test_a_truncated_document_is_refused() -> None:
    text = 'kind: NetworkPolicy\nmetadata:\n  name: "web\n'
    assert codes(text) == ["unreadable-document"]
