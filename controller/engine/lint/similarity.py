"""What was probably meant: the existing label closest to one that nothing has.

Compares what is asked only with label values that exist in reach, and closely only with the few that have the
same letters, so that a typing error costs little even where a namespace has hundreds of values.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nsmallest

from controller.engine.lint.lookalikes import Found
from controller.engine.lint.wording import names_of
from controller.objects.labels import LabelSelector, Operator, Requirement
from controller.objects.names import shown_text

_CUTOFF = 0.6
_LONGEST_DIFFERENCE = 4
_MOST_COMPARED = 16
_MOST_VALUES = 4
_LONGEST = 63


def close_text(wanted: str, existing: Iterable[str]) -> str:
    """The existing text that is most like the wanted one, or "". O(texts)."""
    alike = {text for text in existing if abs(len(text) - len(wanted)) <= _LONGEST_DIFFERENCE}
    letters = set(wanted)
    best = nsmallest(_MOST_COMPARED, alike, key=lambda text: (len(letters.symmetric_difference(text)), text))
    found = get_close_matches(wanted, best, 1, _CUTOFF)
    return found[0] if found else ""


def typing_error(wanted: str, existing: Iterable[str]) -> str:
    """The existing name that was surely meant, or "": a letter too many, too few, or two of them swapped.

    Another letter or number in its place is no error: team-a and team-b, shop-1 and shop-10 are neighbours.
    """
    for text in existing:
        letters = (_without_digits(wanted), _without_digits(text))
        if letters[0] == letters[1] or abs(len(wanted) - len(text)) > 1:
            continue
        swapped = len(wanted) == len(text) and sorted(wanted) == sorted(text)
        one_more = len(wanted) != len(text) and _differ_by_one_letter(*sorted((wanted, text), key=len))
        if swapped or one_more:
            return text
    return ""


def _without_digits(text: str) -> str:
    return "".join(char for char in text if not char.isdigit())


def _differ_by_one_letter(short: str, long: str) -> bool:
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))


def closest_labels(selector: LabelSelector, among: Found) -> str:
    """A sentence on what exists instead of what a selector asks for, or "" where nothing comes near.

    `among` are the pods it could have picked. Looks at those that miss the fewest requirements.
    """
    by_misses: dict[int, list[int]] = {}
    for place, alike in enumerate(among):
        misses = sum(not requirement.matches(alike.labels) for requirement in selector.requirements)
        by_misses.setdefault(misses, []).append(place)
    if not by_misses:
        return ""
    nearest = tuple(among[place] for place in by_misses[min(by_misses)])
    first = nearest[0]
    missed = next(
        requirement for requirement in selector.requirements if not requirement.matches(first.labels)
    )
    return _instead_of(missed, nearest)


def _instead_of(missed: Requirement, nearest: Found) -> str:
    key = missed.key
    if missed.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST):
        return f"all of them have {'the label ' + key if not missed.values else _pair(key, missed.values)}"
    values = {alike.labels[key] for alike in nearest if key in alike.labels}
    if not values:
        return _other_key(missed, nearest)
    for wanted in missed.values:
        if close := close_text(wanted, values):
            owners = tuple(alike for alike in nearest if alike.labels.get(key) == close)
            return f"did you mean {key}={_shown(close)} ({names_of(owners)})?"
    shown = sorted(values)[:_MOST_VALUES]
    more = "" if len(values) <= _MOST_VALUES else " and others"
    return f"the label {key} has the values {', '.join(map(_shown, shown))}{more} there"


def _other_key(missed: Requirement, nearest: Found) -> str:
    """Nobody has the label: perhaps under another name, or with the same value."""
    keys = {key for alike in nearest for key in alike.labels}
    for value in missed.values:
        same = sorted({key for alike in nearest for key, has in alike.labels.items() if has == value != ""})
        if same:
            return f"did you mean {_shown(same[0])}={value}?"
    if close := close_text(missed.key, keys):
        return f"no pod there has a label {missed.key}; did you mean {_shown(close)}?"
    return f"no pod there has a label {missed.key}"


def _pair(key: str, values: tuple[str, ...]) -> str:
    return f"{key}={values[0]}" if len(values) == 1 else f"{key} with one of {', '.join(values)}"


def _shown(value: str) -> str:
    """Labels of pods are not checked for their grammar before they come here."""
    return shown_text(value, _LONGEST) or '""'
