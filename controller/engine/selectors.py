"""Many selectors against one label set, without trying them all.

Nearly every selector in use asks some label for one value. Such a selector is filed under that (key, value)
and is only tried on label sets that carry it; the few others are tried always.
"""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from controller.objects.labels import LabelSelector, Operator

Item = TypeVar("Item")
_Pair = tuple[str, str]


class SelectorIndex(Generic[Item]):
    """Items by selector.

    `matching` costs O(labels + items filed under them + items without a fixed value).
    """

    def __init__(self) -> None:
        self._by_pair: dict[_Pair, dict[LabelSelector, dict[Item, None]]] = {}
        self._others: dict[LabelSelector, dict[Item, None]] = {}

    def add(self, selector: LabelSelector, item: Item) -> None:
        """File an item; an item may be filed under one selector once."""
        pair = _fixed_pair(selector)
        place = self._others if pair is None else self._by_pair.setdefault(pair, {})
        place.setdefault(selector, {})[item] = None

    def remove(self, selector: LabelSelector, item: Item) -> None:
        """Take an item out. Raises KeyError where it is not filed under the selector."""
        pair = _fixed_pair(selector)
        place = self._others if pair is None else self._by_pair[pair]
        del place[selector][item]
        if not place[selector]:
            del place[selector]
        if pair is not None and not place:
            del self._by_pair[pair]

    def __bool__(self) -> bool:
        return bool(self._by_pair or self._others)

    def matching(self, labels: Mapping[str, str]) -> Iterator[Item]:
        """Every item whose selector matches the labels."""
        for selector, items in self._others.items():
            if selector.matches(labels):
                yield from items
        for pair in labels.items():
            for selector, items in self._by_pair.get(pair, {}).items():
                if selector.matches(labels):
                    yield from items


def _fixed_pair(selector: LabelSelector) -> _Pair | None:
    """A (key, value) that every matching label set carries, if the selector has one."""
    for requirement in selector.requirements:
        if requirement.operator is Operator.IN and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None
