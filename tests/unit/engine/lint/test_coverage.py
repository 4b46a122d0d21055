"""Which selector covers which: every "yes" holds for all label sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.blocks import block_addresses
from controller.engine.lint.coverage import contradiction, peer_covers, selector_covers
from controller.objects.addresses import parse_cidr
from controller.objects.kinds import IPBlock, Peer
from controller.objects.labels import EVERYTHING, LabelSelector, Operator, Requirement
from tests.property.clusters import VALUES, ip_blocks, requirements

label_sets = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from([*VALUES, "c"]), max_size=2)
several = st.lists(requirements(), max_size=3).map(lambda found: LabelSelector.of(expressions=found))


@given(several, several, label_sets)
def test_what_a_covered_selector_matches_the_covering_one_matches(
    wide: LabelSelector, narrow: LabelSelector, labels: dict[str, str]
) -> None:
    if selector_covers(wide, narrow) and narrow.matches(labels):
        assert wide.matches(labels)


@given(several, label_sets)
def test_a_contradiction_matches_nothing(selector: LabelSelector, labels: dict[str, str]) -> None:
    if contradiction(selector):
        assert not selector.matches(labels)


@given(ip_blocks(), ip_blocks())
def test_a_covered_block_has_no_address_of_its_own(wide: IPBlock, narrow: IPBlock) -> None:
    if peer_covers(Peer(0, ip_block=wide), Peer(1, ip_block=narrow), "shop"):
        assert not block_addresses(narrow) - block_addresses(wide)


@given(several)
def test_every_selector_covers_itself_and_everything_covers_it(selector: LabelSelector) -> None:
    assert selector_covers(selector, selector)
    assert selector_covers(EVERYTHING, selector)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Requirement("app", Operator.IN, ("a", "b")), Requirement("app", Operator.IN, ("a",))),
        (Requirement("app", Operator.NOT_IN, ("b",)), Requirement("app", Operator.IN, ("a",))),
        (Requirement("app", Operator.NOT_IN, ("b",)), Requirement("app", Operator.NOT_IN, ("a", "b"))),
        (Requirement("app", Operator.NOT_IN, ("b",)), Requirement("app", Operator.DOES_NOT_EXIST)),
        (Requirement("app", Operator.EXISTS), Requirement("app", Operator.IN, ("",))),
    ],
)
def test_a_wider_requirement_covers_a_narrower_one_and_not_the_reverse(
    wide: Requirement, narrow: Requirement
) -> None:
    assert selector_covers(LabelSelector((wide,)), LabelSelector((narrow,)))
    assert not selector_covers(LabelSelector((narrow,)), LabelSelector((wide,)))


def test_a_block_of_one_family_never_covers_the_other() -> None:  # rule 2.21
    four, six = (Peer(0, ip_block=IPBlock(parse_cidr(text))) for text in ("0.0.0.0/0", "::/0"))
    assert not peer_covers(four, six, "shop")
