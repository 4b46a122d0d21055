"""The index of selectors finds what trying every selector would find."""

import itertools

import pytest

from controller.engine.selectors import SelectorIndex
from controller.objects.labels import EVERYTHING, LabelSelector, Operator, Requirement

WEB = LabelSelector.of({"app": "web"})
WEB_FRONT = LabelSelector.of({"app": "web", "tier": "front"})
NOT_WEB = LabelSelector.of({}, [Requirement("app", Operator.NOT_IN, ("web",))])
WEB_OR_API = LabelSelector.of({}, [Requirement("app", Operator.IN, ("web", "api"))])
EMPTY_APP = LabelSelector.of({"app": ""})
LABELLED = LabelSelector.of({}, [Requirement("app", Operator.EXISTS)])
SELECTORS = (EVERYTHING, WEB, WEB_FRONT, NOT_WEB, WEB_OR_API, EMPTY_APP, LABELLED)

LABEL_SETS: list[dict[str, str]] = [
    {"app": app, "tier": tier} for app, tier in itertools.product(("web", "api", ""), ("front", "back"))
]
LABEL_SETS += [{}, {"app": "web"}, {"tier": "front"}, {"web": "app"}]


def index_of(*selectors: LabelSelector) -> SelectorIndex[str]:
    index: SelectorIndex[str] = SelectorIndex()
    for selector in selectors:
        index.add(selector, str(selector))
    return index


@pytest.mark.parametrize("labels", LABEL_SETS, ids=str)
def test_an_index_finds_each_selector_that_matches_once(labels: dict[str, str]) -> None:
    expected = sorted(str(selector) for selector in SELECTORS if selector.matches(labels))

    assert sorted(index_of(*SELECTORS).matching(labels)) == expected


@pytest.mark.parametrize("gone", SELECTORS, ids=str)
def test_a_selector_that_was_taken_out_is_not_found_and_all_others_are(gone: LabelSelector) -> None:
    index = index_of(*SELECTORS)

    index.remove(gone, str(gone))

    for labels in LABEL_SETS:
        expected = sorted(str(found) for found in SELECTORS if found != gone and found.matches(labels))
        assert sorted(index.matching(labels)) == expected


@pytest.mark.parametrize("selector", [WEB, NOT_WEB], ids=str)
def test_items_with_equal_selectors_are_kept_apart(selector: LabelSelector) -> None:
    index: SelectorIndex[str] = SelectorIndex()
    index.add(selector, "one")
    index.add(selector, "two")

    index.remove(selector, "one")

    assert list(index.matching({"app": "web"} if selector == WEB else {})) == ["two"]


def test_an_index_is_true_until_the_last_item_is_taken_out() -> None:
    index = index_of(*SELECTORS)

    for selector in SELECTORS:
        assert index
        index.remove(selector, str(selector))

    assert not index


@pytest.mark.parametrize("selector", [WEB, NOT_WEB], ids=str)
def test_taking_out_what_is_not_there_is_an_error(selector: LabelSelector) -> None:
    with pytest.raises(KeyError):
        index_of(EMPTY_APP, LABELLED).remove(selector, "x")
