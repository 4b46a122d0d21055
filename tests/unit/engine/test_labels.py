"""Label selectors: what they match, and that equal questions are equal values."""

import pytest

from controller.objects.labels import EVERYTHING, LabelSelector, Operator, Requirement

IN, NOT_IN = Operator.IN, Operator.NOT_IN
EXISTS, MISSING = Operator.EXISTS, Operator.DOES_NOT_EXIST


# Rule 2.16
@pytest.mark.parametrize(
    ("requirement", "absent", "empty", "a", "c"),
    [
        (Requirement("app", IN, ("a", "b")), False, False, True, False),
        (Requirement("app", IN, ("",)), False, True, False, False),
        (Requirement("app", NOT_IN, ("a", "b")), True, True, False, True),
        (Requirement("app", NOT_IN, ("",)), True, False, True, True),
        (Requirement("app", EXISTS), False, True, True, True),
        (Requirement("app", MISSING), True, False, False, False),
    ],
    ids=str,
)
def test_each_operator_looks_at_the_value_or_at_the_key(
    requirement: Requirement, absent: bool, empty: bool, a: bool, c: bool
) -> None:
    label_sets: list[dict[str, str]] = [{"other": "a"}, {"app": ""}, {"app": "a"}, {"app": "c"}]

    assert [requirement.matches(found) for found in label_sets] == [absent, empty, a, c]


# Rule 2.16
def test_all_requirements_must_hold() -> None:
    selector = LabelSelector.of({"app": "web"}, [Requirement("tier", NOT_IN, ("db",))])

    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "tier": "db"})
    assert not selector.matches({"tier": "front"})


# Rule 2.16
def test_a_match_label_with_an_empty_value_needs_the_key() -> None:
    selector = LabelSelector.of({"app": ""})

    assert selector.matches({"app": ""})
    assert not selector.matches({})


# Rule 2.16
def test_values_compare_as_texts() -> None:
    assert not LabelSelector.of({"version": "1"}).matches({"version": "1.0"})
    assert not LabelSelector.of({"version": "a"}).matches({"version": "A"})


# Rule 2.16
def test_a_contradiction_matches_nothing() -> None:
    selector = LabelSelector.of({"app": "a"}, [Requirement("app", IN, ("b",))])

    assert not any(selector.matches({"app": value}) for value in ("a", "b", ""))


def test_no_requirement_matches_everything() -> None:
    assert EVERYTHING.matches({})
    assert EVERYTHING.matches({"app": "a"})
    assert (EVERYTHING.selects_everything, LabelSelector.of({"app": "a"}).selects_everything) == (True, False)


@pytest.mark.parametrize(
    "same",
    [
        LabelSelector.of({"b": "2", "a": "1"}),
        LabelSelector.of({"a": "1"}, [Requirement("b", IN, ("2",))]),
        LabelSelector.of({}, [Requirement("b", IN, ("2", "2")), Requirement("a", IN, ("1",))]),
        LabelSelector.of({"a": "1", "b": "2"}, [Requirement("a", IN, ("1",))]),
    ],
)
def test_selectors_that_ask_the_same_are_one_value(same: LabelSelector) -> None:
    plain = LabelSelector.of({"a": "1", "b": "2"})

    assert (same, hash(same)) == (plain, hash(plain))


def test_the_order_of_values_does_not_make_another_selector() -> None:
    one, other = (
        LabelSelector.of({}, [Requirement("a", IN, values)]) for values in (("x", "y"), ("y", "x", "y"))
    )

    assert one == other


@pytest.mark.parametrize(
    "other", [LabelSelector.of({"a": ""}), LabelSelector.of({}, [Requirement("a", EXISTS)]), EVERYTHING]
)
def test_selectors_that_ask_something_else_are_other_values(other: LabelSelector) -> None:
    assert other != LabelSelector.of({"a": "1"})


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (Requirement("a", IN, ("1",)), "a=1"),
        (Requirement("a", IN, ("1", "2")), "a in (1,2)"),
        (Requirement("a", NOT_IN, ("1",)), "a!=1"),
        (Requirement("a", NOT_IN, ("1", "2")), "a notin (1,2)"),
        (Requirement("a", EXISTS), "a"),
        (Requirement("a", MISSING), "!a"),
    ],
)
def test_requirements_read_as_kubectl_writes_them(requirement: Requirement, text: str) -> None:
    assert str(requirement) == text


def test_a_selector_joins_its_requirements_and_is_braces_without_any() -> None:
    assert str(LabelSelector.of({"b": "2", "a": "1"})) == "a=1,b=2"
    assert str(EVERYTHING) == "{}"
