import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.changes import Member
from controller.engine.group_slices import (
    GroupMembers,
    GroupPacking,
    SliceChanges,
    slice_members,
    slice_spec,
    write_order,
)
from controller.engine.node_policies import ResourceError
from controller.objects.kinds import Protocol
from controller.objects.resources import MEMBERS_MAX, PeerGroupSliceSpec


def addresses(first: int, last: int) -> list[str]:
    return [f"10.0.{number >> 8}.{number & 255}" for number in range(first, last)]


def packed(members: list[str]) -> GroupPacking:
    packing = GroupPacking()
    packing.become(members)
    return packing


def everybody(packing: GroupPacking) -> set[Member]:
    return {member for index in range(packing.count) for member in packing.members(index)}


def test_an_empty_group_has_one_slice_that_counts_itself() -> None:
    spec = slice_spec(GroupPacking(), 0, "nobody")

    assert (spec.count, spec.addresses) == (1, ())


def test_a_member_that_comes_changes_one_slice() -> None:
    packing = packed(addresses(0, 250))

    changes = packing.change({"10.9.9.9": True})

    assert changes == SliceChanges(grown=(2,))


def test_a_member_that_goes_leaves_the_others_where_they_are() -> None:
    packing = packed(addresses(0, 250))
    before = [packing.members(index) for index in range(3)]

    changes = packing.change({before[1][5]: False})

    assert changes == SliceChanges(shrunk=(1,))
    assert packing.members(0) == before[0]
    assert set(before[1]) - set(packing.members(1)) == {before[1][5]}


def test_a_free_place_is_taken_before_a_slice_is_created() -> None:
    packing = packed(addresses(0, 200))
    packing.change({packing.members(0)[0]: False})

    changes = packing.change({"10.9.9.9": True})

    assert changes == SliceChanges(grown=(0,))


def test_a_full_group_gets_another_slice_and_a_new_count() -> None:
    packing = packed(addresses(0, 100))

    changes = packing.change({"10.9.9.9": True})

    assert changes == SliceChanges(grown=(0, 1))
    assert write_order(changes, packing.count) == ([1, 0], [])


def test_a_group_that_shrinks_gives_slices_back() -> None:
    packing = packed(addresses(0, 200))

    changes = packing.become(addresses(0, 50))

    assert (packing.count, changes.gone) == (1, (1,))
    assert write_order(changes, packing.count) == ([0], [1])


def test_the_same_members_change_nothing() -> None:
    packing = packed(addresses(0, 250))

    assert packing.become(reversed(addresses(0, 250))) == SliceChanges()


def test_slices_that_hold_a_member_twice_or_too_many_are_mended() -> None:
    packing = GroupPacking({0: addresses(0, 130), 1: addresses(0, 10)})

    changes = packing.become(addresses(0, 130))

    assert {0, 1} <= {*changes.grown, *changes.shrunk}
    assert everybody(packing) == set(addresses(0, 130))
    assert sum(len(packing.members(index)) for index in range(packing.count)) == 130


def test_a_group_is_incomplete_until_every_counted_slice_is_there() -> None:
    packing = packed(addresses(0, 150))
    group = GroupMembers()

    group.put(slice_spec(packing, 0, ""))
    incomplete = group.members()
    group.put(slice_spec(packing, 1, ""))

    assert incomplete is None
    assert group.members() == frozenset(addresses(0, 150))


def test_slices_behind_the_count_are_not_members() -> None:
    group = GroupMembers()
    group.put(PeerGroupSliceSpec("", index=1, addresses=("10.0.0.2",)))

    group.put(PeerGroupSliceSpec("", index=0, count=1, addresses=("10.0.0.1",)))

    assert group.members() == frozenset({"10.0.0.1"})


def test_members_are_the_same_object_until_they_change() -> None:
    group = GroupMembers()
    group.put(PeerGroupSliceSpec("", count=1, addresses=("10.0.0.1",)))

    changed = group.put(PeerGroupSliceSpec("text for people", count=1, addresses=("10.0.0.1",)))

    assert not changed


def test_a_slice_with_a_bad_address_makes_its_group_incomplete() -> None:
    group = GroupMembers()
    group.put(PeerGroupSliceSpec("", count=1, addresses=("10.0.0.1",)))

    with pytest.raises(ResourceError, match=r"10\.0\.0\.300"):
        group.put(PeerGroupSliceSpec("", count=1, addresses=("10.0.0.300",)))

    assert group.members() is None


def test_endpoints_travel_with_their_protocol_and_port() -> None:
    packing = GroupPacking()
    packing.become([("10.0.0.1", Protocol.UDP, 53), ("fd00::1", Protocol.TCP, 80)])

    assert slice_members(slice_spec(packing, 0, "")) == packing.members(0)


MEMBERS = st.frozensets(st.sampled_from(addresses(0, 5 * MEMBERS_MAX)), max_size=5 * MEMBERS_MAX)


def now(group: GroupMembers) -> set[Member]:
    members = group.members()
    return {"incomplete"} if members is None else {*members}


def apply_slowly(group: GroupMembers, packing: GroupPacking, changes: SliceChanges) -> list[set[Member]]:
    """What an agent sees after each write."""
    seen = []
    written, deleted = write_order(changes, packing.count)
    for index in written:
        group.put(slice_spec(packing, index, ""))
        seen.append(now(group))
    for index in deleted:
        group.remove(index)
        seen.append(now(group))
    return seen


@given(st.lists(MEMBERS, min_size=2, max_size=4))
def test_at_every_write_a_group_is_between_what_it_was_and_what_it_becomes(
    states: list[frozenset[str]],
) -> None:
    packing, group = GroupPacking(), GroupMembers()
    group.put(slice_spec(packing, 0, ""))
    before: frozenset[str] = frozenset()

    for after in states:
        delta: dict[Member, bool] = {member: member in after for member in before ^ after}
        for seen in apply_slowly(group, packing, packing.change(delta)):
            assert before & after <= seen <= before | after
        assert group.members() == after
        before = after


@given(MEMBERS, MEMBERS)
def test_becoming_and_changing_lead_to_the_same_members(
    before: frozenset[str], after: frozenset[str]
) -> None:
    packing = packed(sorted(before))

    changes = packing.become(after)

    assert everybody(packing) == set(after)
    assert bool(changes.grown or changes.shrunk or changes.gone) is (before != after)
    assert max(len(packing.members(index)) for index in range(packing.count)) <= MEMBERS_MAX


def test_the_address_of_a_pod_is_one_text_in_all_of_its_groups() -> None:
    """Groups overlap, and an agent keeps all that its node needs."""
    text = b"10.0.0.1"
    groups = [GroupMembers(), GroupMembers()]
    for group in groups:
        group.put(PeerGroupSliceSpec(selector="", index=0, count=1, addresses=(text.decode(),)))

    first, second = (member for group in groups for member in group.members() or ())

    assert first is second
