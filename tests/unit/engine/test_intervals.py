"""Sets of integers: checked against sets of the language, exhaustively where the space is small."""

import ipaddress
import itertools
from collections.abc import Iterable

import pytest

from controller.engine.intervals import IntervalSet, to_prefixes

SPACE = range(7)
SUBSETS = [frozenset(kept) for size in range(8) for kept in itertools.combinations(SPACE, size)]
PAIRS = list(itertools.product(SUBSETS, repeat=2))


def made_of(numbers: Iterable[int]) -> IntervalSet:
    return IntervalSet((number, number) for number in numbers)


def numbers_in(found: IntervalSet) -> frozenset[int]:
    return frozenset(number for first, last in found for number in range(first, last + 1))


def is_canonical(found: IntervalSet) -> bool:
    """Ascending, none empty, with a gap between each two."""
    edges = [edge for interval in found for edge in interval]
    gaps = itertools.pairwise(found.intervals)
    return edges == sorted(edges) and all(before[1] + 1 < after[0] for before, after in gaps)


def test_every_union_is_that_of_the_integers() -> None:
    for left, right in PAIRS:
        found = made_of(left) | made_of(right)
        assert (numbers_in(found), is_canonical(found)) == (left | right, True)


def test_every_intersection_is_that_of_the_integers() -> None:
    for left, right in PAIRS:
        found = made_of(left) & made_of(right)
        assert (numbers_in(found), is_canonical(found)) == (left & right, True)


def test_every_difference_is_that_of_the_integers() -> None:
    for left, right in PAIRS:
        found = made_of(left) - made_of(right)
        assert (numbers_in(found), is_canonical(found)) == (left - right, True)


def test_an_integer_is_in_the_set_or_not() -> None:
    for subset in SUBSETS:
        found = made_of(subset)
        assert [number in found for number in range(-1, 8)] == [number in subset for number in range(-1, 8)]


def test_size_counts_integers_and_len_counts_intervals() -> None:
    found = IntervalSet([(1, 3), (10, 10)])

    assert (found.size(), len(found)) == (4, 2)


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ([(5, 6), (1, 2)], ((1, 2), (5, 6))),
        ([(1, 2), (3, 4)], ((1, 4),)),
        ([(1, 9), (3, 4)], ((1, 9),)),
        ([(3, 4), (1, 9), (2, 12)], ((1, 12),)),
        ([(1, 2), (1, 2)], ((1, 2),)),
        ([(2, 1)], ()),
        ([(2, 1), (1, 1)], ((1, 1),)),
        ([], ()),
    ],
    ids=["unsorted", "adjacent", "inside", "chain", "twice", "backwards", "backwards and one", "none"],
)
def test_intervals_are_sorted_and_merged(
    given: list[tuple[int, int]], merged: tuple[tuple[int, int], ...]
) -> None:
    assert IntervalSet(given).intervals == merged


def test_equal_sets_are_equal_values_however_they_came_about() -> None:
    one, other = IntervalSet([(1, 2), (3, 4)]), IntervalSet([(1, 9)]) - IntervalSet([(5, 9)])

    assert (one, hash(one)) == (other, hash(other))


def test_a_set_is_not_equal_to_its_intervals() -> None:
    assert IntervalSet([(1, 2)]) != ((1, 2),)


def test_only_the_empty_set_is_false() -> None:
    assert not IntervalSet()
    assert IntervalSet([(0, 0)])


def test_a_set_cannot_be_changed() -> None:
    found = IntervalSet([(1, 2)])

    with pytest.raises(AttributeError):
        found.intervals = ()
    assert found == IntervalSet([(1, 2)])


def test_a_set_shows_its_intervals() -> None:
    assert repr(IntervalSet([(1, 2)])) == "IntervalSet([(1, 2)])"


# Prefixes


def test_prefixes_cover_the_range_exactly_in_order_aligned_and_with_as_few_as_there_can_be() -> None:
    bits = 6
    for first, last in itertools.combinations_with_replacement(range(1 << bits), 2):
        oracle = ipaddress.summarize_address_range(*map(ipaddress.IPv4Address, (first, last)))
        expected = [(int(net.network_address), net.prefixlen - (32 - bits)) for net in oracle]
        assert list(to_prefixes(first, last, bits)) == expected


@pytest.mark.parametrize("bits", [32, 128])
def test_the_whole_space_is_one_prefix_of_length_0(bits: int) -> None:
    assert list(to_prefixes(0, (1 << bits) - 1, bits)) == [(0, 0)]


@pytest.mark.parametrize("bits", [32, 128])
def test_the_whole_space_without_its_ends_takes_the_most_prefixes(bits: int) -> None:
    assert len(list(to_prefixes(1, (1 << bits) - 2, bits))) == 2 * bits - 2


def test_the_last_address_alone_is_a_prefix_of_full_length() -> None:
    assert list(to_prefixes(0xFFFFFFFF, 0xFFFFFFFF, 32)) == [(0xFFFFFFFF, 32)]


def test_an_empty_range_has_no_prefixes() -> None:
    assert list(to_prefixes(5, 4, 32)) == []
