"""Which bits of the connection mark are ours, and which values they take."""

import itertools

import pytest

from controller.dataplane.settings import DEFAULTS, MarkLayout

MASKS = [0x1FFF0000, 0x7, 0x3, 0xC0000000, 0xFFFFFFFF, 0x70]


def test_by_default_there_are_12_bits_of_generation_above_the_deny_bit() -> None:
    marks = DEFAULTS.marks

    assert (marks.mask, marks.deny, marks.generations) == (0x1FFF0000, 0x10000, 4095)


def test_a_generation_is_counted_above_the_deny_bit() -> None:
    marks = MarkLayout()

    assert (marks.value(1), marks.value(2), marks.value(4095)) == (0x20000, 0x40000, 0x1FFE0000)
    assert (marks.value(1, denied=True), marks.value(4095, denied=True)) == (0x30000, 0x1FFF0000)


@pytest.mark.parametrize("mask", [mask for mask in MASKS if mask != 0xFFFFFFFF])
def test_every_mark_is_within_the_mask_and_there_once_and_none_is_0(mask: int) -> None:
    marks = MarkLayout(mask)

    values = [
        marks.value(generation, denied=denied)
        for generation, denied in itertools.product(range(1, marks.generations + 1), (False, True))
    ]

    assert len(values) == len(set(values)) == 2 * marks.generations
    assert [value for value in values if value & ~mask or not value] == []


@pytest.mark.parametrize(
    ("mask", "generations"), [(0x3, 1), (0x7, 3), (0xC0000000, 1), (0xFFFFFFFF, (1 << 31) - 1)]
)
def test_any_run_of_two_or_more_bits_will_do(mask: int, generations: int) -> None:
    assert MarkLayout(mask).generations == generations


@pytest.mark.parametrize(
    "mask",
    [0, 1, 0x80000000, 0x5, 0x1FFE0001, 0x100000000, 0x1FFFFFFFF, 0x300000000, -1, -2],
    ids=hex,
)
def test_a_mask_that_is_not_one_run_of_two_bits_within_32_is_refused(mask: int) -> None:
    with pytest.raises(ValueError, match="is not one run of two or more bits"):
        MarkLayout(mask)


# 0 is a connection that nobody has judged
@pytest.mark.parametrize("generation", [0, -1, 4096])
def test_a_generation_out_of_range_is_refused(generation: int) -> None:
    with pytest.raises(ValueError, match=r"is not in 1\.\.4095"):
        MarkLayout().value(generation)
