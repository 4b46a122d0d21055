"""Groups from slices in any order: complete, waited for, or missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.agent.peer_groups import NEVER, PeerGroups
from controller.objects.resources import MEMBERS_MAX, Metadata, PeerGroupSliceSpec, SliceEndpoint
from tests.unit.agent.published import peer_slice

PATIENCE = 1.0
WEB = "web"


def spec(index: int, *addresses: str, count: int = 0) -> PeerGroupSliceSpec:
    return PeerGroupSliceSpec(selector="pods", index=index, count=count, addresses=addresses)


def groups(*wanted: str, now: float = 0.0, awaits_list: bool = False) -> PeerGroups:
    found = PeerGroups(PATIENCE, awaits_list=awaits_list)
    found.want(wanted, now)
    return found


def of_two() -> PeerGroups:
    """`web` in two slices, both there."""
    found = groups(WEB)
    found.put(peer_slice(WEB, spec(1, "10.0.0.2")), 0.0)
    found.put(peer_slice(WEB, spec(0, "10.0.0.1", count=2)), 0.0)
    return found


# Complete


def test_a_group_is_complete_with_all_its_slices() -> None:
    assert of_two().members(WEB, 0.0) == frozenset({"10.0.0.1", "10.0.0.2"})


def test_members_are_the_same_object_until_they_change() -> None:
    found = of_two()
    before = found.members(WEB, 0.0)

    found.put(peer_slice(WEB, spec(1, "10.0.0.2")), 0.0)

    assert found.members(WEB, 0.0) is before


def test_a_change_names_the_group_and_a_repetition_does_not() -> None:
    found = groups(WEB)

    first = found.put(peer_slice(WEB, spec(0, "10.0.0.1", count=1)), 0.0)
    again = found.put(peer_slice(WEB, spec(0, "10.0.0.1", count=1)), 0.0)

    assert first == {WEB}
    assert not again


def test_an_empty_group_is_complete() -> None:
    found = groups(WEB)

    found.put(peer_slice(WEB, spec(0, count=1)), 0.0)

    assert found.members(WEB, 9.0) == frozenset()


@given(st.permutations([0, 1, 2, 3]))
def test_the_order_of_slices_does_not_matter(order: list[int]) -> None:
    found = groups(WEB)

    for index in order:
        found.put(peer_slice(WEB, spec(index, f"10.0.0.{index}", count=0 if index else 4)), 0.0)

    assert found.members(WEB, 0.0) == frozenset({"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"})


# Waited for


def test_a_group_that_was_never_complete_has_no_members() -> None:
    found = groups(WEB)

    found.put(peer_slice(WEB, spec(0, "10.0.0.1", count=2)), 0.0)

    assert found.members(WEB, 0.5) is None
    assert found.is_waited_for(WEB, 0.5)
    assert not found.is_waited_for(WEB, 1.0)


def test_a_group_that_was_complete_keeps_its_members_for_a_while() -> None:
    found = of_two()

    found.remove("pg-web-1", 10.0)

    assert found.members(WEB, 10.9) == frozenset({"10.0.0.1", "10.0.0.2"})
    assert found.members(WEB, 11.0) is None
    assert found.members(WEB, 11.0, at_any_age=True) == frozenset({"10.0.0.1", "10.0.0.2"})


def test_what_is_missing_still_does_not_begin_to_wait_anew() -> None:
    found = of_two()
    found.remove("pg-web-1", 10.0)

    found.put(peer_slice(WEB, spec(0, "10.0.0.1", count=3)), 10.9)

    assert found.members(WEB, 11.0) is None


def test_the_deadline_is_the_next_one() -> None:
    found = groups(WEB, now=5.0)
    found.want((WEB, "db"), 5.5)

    assert found.deadline(5.0) == 6.0
    assert found.deadline(6.0) == 6.5
    assert found.deadline(7.0) == NEVER


def test_before_the_first_list_nothing_is_missing() -> None:
    found = groups(WEB, awaits_list=True)
    found.restore({WEB: frozenset({"10.0.0.9"})})
    before = found.members(WEB, 1e6)

    found.heard(1e6)

    assert before == frozenset({"10.0.0.9"})
    assert found.members(WEB, 1e6 + 0.9) == frozenset({"10.0.0.9"})
    assert found.members(WEB, 1e6 + 1.0) is None


def test_a_group_that_is_not_wanted_any_more_is_not_remembered() -> None:
    found = of_two()
    found.want((), 1.0)
    found.remove("pg-web-0", 2.0)
    found.remove("pg-web-1", 2.0)

    found.want((WEB,), 3.0)

    assert found.members(WEB, 3.0, at_any_age=True) is None


# Wrong


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (peer_slice(WEB, spec(1, "10.0.0.2"), name="pg-web-7"), "another one by its name"),
        (peer_slice(WEB, spec(1, "10.0.0.2"), name="anything"), "another one by its name"),
        (peer_slice(WEB, spec(-1, "10.0.0.2")), "another one by its name"),
        (peer_slice("db", spec(1, "10.0.0.2"), name="pg-web-1"), "another one by its name"),
        (
            replace(peer_slice(WEB, spec(1, "10.0.0.2")), metadata=Metadata(name="pg-web-1")),
            "the label of its group is missing",
        ),
        (peer_slice(WEB, spec(1, "10.0.0.02")), "no address in canonical form"),
        (peer_slice(WEB, spec(1, "everybody")), "no address in canonical form"),
        (peer_slice(WEB, spec(1, *["10.0.0.2"] * (MEMBERS_MAX + 1))), "more than 100 members"),
        (
            peer_slice(WEB, replace(spec(1, "10.0.0.2"), endpoints=(SliceEndpoint("10.0.0.2", "TCP", 80),))),
            "addresses and endpoints",
        ),
        (
            peer_slice(WEB, replace(spec(1), endpoints=(SliceEndpoint("10.0.0.2", "QUIC", 80),))),
            "is no port",
        ),
    ],
)
def test_a_slice_that_is_wrong_counts_as_missing(wrong: object, fault: str) -> None:
    found = of_two()
    if getattr(wrong, "metadata").name != "pg-web-1":  # noqa: B009 - a PeerGroupSlice, one of a parametrisation
        found.remove("pg-web-1", 0.0)

    found.put(wrong, 0.0)  # type: ignore[arg-type]

    assert not found.is_complete(WEB)
    assert fault in " ".join(found.faults.values())


def test_a_slice_that_is_right_again_has_no_fault() -> None:
    found = of_two()
    found.refuse("pg-web-1", "is unreadable", 0.0)

    found.put(peer_slice(WEB, spec(1, "10.0.0.2")), 0.5)

    assert found.members(WEB, 0.5) == frozenset({"10.0.0.1", "10.0.0.2"})
    assert found.faults == {}


def test_a_slice_that_moves_to_another_place_leaves_its_own() -> None:
    found = of_two()

    changed = found.put(peer_slice(WEB, spec(2, "10.0.0.2"), name="pg-web-1"), 0.0)

    assert changed == {WEB}
    assert not found.is_complete(WEB)


def test_removing_what_is_not_known_changes_nothing() -> None:
    assert of_two().remove("pg-web-9", 0.0) == frozenset()
