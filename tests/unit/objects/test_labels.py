"""Selectors as canonical values, rule 2.16."""

import pytest

from controller.objects.labels import EVERYTHING, LabelSelector, Operator, Requirement


@pytest.mark.parametrize(
    ("operator", "values", "labels", "met"),
    [
        (Operator.IN, ("a", "b"), {"key": "a"}, True),
        (Operator.IN, ("a",), {"key": "b"}, False),
        (Operator.IN, ("",), {}, False),
        (Operator.IN, ("",), {"key": ""}, True),
        (Operator.NOT_IN, ("a",), {"key": "b"}, True),
        (Operator.NOT_IN, ("a",), {"key": "a"}, False),
        (Operator.EXISTS, (), {"key": ""}, True),
        (Operator.EXISTS, (), {}, False),
        (Operator.DOES_NOT_EXIST, (), {}, True),
        (Operator.DOES_NOT_EXIST, (), {"key": ""}, False),
    ],
)
def test_a_requirement_compares_one_label(
    operator: Operator, values: tuple[str, ...], labels: dict[str, str], met: bool
) -> None:
    assert Requirement("key", operator, values).matches(labels) is met


def test_a_missing_key_satisfies_not_in() -> None:
    assert Requirement("key", Operator.NOT_IN, ("a",)).matches({})


def test_all_requirements_must_hold() -> None:
    selector = LabelSelector.of({"a": "1"}, [Requirement("b", Operator.EXISTS)])
    assert selector.matches({"a": "1", "b": ""})
    assert not selector.matches({"a": "1"})


def test_selectors_that_ask_the_same_are_the_same() -> None:
    written = LabelSelector.of({}, [Requirement("a", Operator.IN, ("2", "1", "2"))])
    other = LabelSelector.of({}, [Requirement("a", Operator.IN, ("1", "2"))] * 2)
    assert written == other
    assert LabelSelector.of({"a": "b"}) == LabelSelector.of({}, [Requirement("a", Operator.IN, ("b",))])


def test_the_empty_selector_matches_everything() -> None:
    assert EVERYTHING.matches({})
    assert EVERYTHING.selects_everything
    assert str(EVERYTHING) == "{}"
