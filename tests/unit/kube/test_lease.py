"""Leader election: one leader at most, whatever clocks, server and competitors do."""

import time

import pytest

from controller.kube.lease import LeaseTiming, own_identity
from tests.unit.kube.leases import QUICK, LeaseServer, election
from tests.unit.kube.scripted import ScriptedServer
from tests.unit.kube.waiting import until


async def test_the_first_candidate_creates_the_lease_and_leads(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        first = await vote.join("first")
        await vote.until_led_by("first")
        assert first.told == ["started"]
        assert first.elector.holder == "first"
        assert leases.spec["holderIdentity"] == "first"
        assert leases.spec["leaseDurationSeconds"] == 2
        assert leases.spec["leaseTransitions"] == 0
        assert leases.spec["renewTime"].endswith("Z")


async def test_the_leader_stays_and_the_other_waits(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        await vote.join("first")
        await vote.until_led_by("first")
        second = await vote.join("second")
        renewals = leases.writes
        # Renewals for longer than the lease lasts.
        await until(lambda: leases.writes >= renewals + 25, always=lambda: vote.leaders == ["first"])
        assert second.told == []
        assert second.elector.holder == "first"


@pytest.mark.parametrize("skew", [-3600.0, 3600.0], ids=["an hour behind", "an hour ahead"])
async def test_clocks_on_the_wall_do_not_matter(server: ScriptedServer, skew: float) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        await vote.join("first")
        await vote.until_led_by("first")
        second = await vote.join("second", wall=lambda: time.time() + skew)
        renewals = leases.writes
        await until(lambda: leases.writes >= renewals + 12, always=lambda: vote.leaders == ["first"])
        assert second.told == []
        await vote.candidates[0].stop()
        await vote.until_led_by("second")


async def test_a_clean_end_hands_over_at_once(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        first = await vote.join("first", timing=LeaseTiming(30.0, 20.0, 0.1))
        await vote.until_led_by("first")
        await vote.join("second", timing=LeaseTiming(30.0, 20.0, 0.1))
        await first.stop()
        assert leases.spec["holderIdentity"] in {"", "second"}
        await vote.until_led_by("second", seconds=5.0)
        assert first.told == ["started", "stopped: shutting down"]
        assert leases.spec["leaseTransitions"] == 1


async def test_a_leader_that_dies_is_followed_after_the_whole_duration(server: ScriptedServer) -> None:
    LeaseServer(server).lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "operator", "namespace": "podgate", "resourceVersion": "1"},
        # Long past by its own times: they are of another clock, and say nothing.
        "spec": {
            "holderIdentity": "dead",
            "leaseDurationSeconds": 1,
            "renewTime": "1999-01-01T00:00:00.000000Z",
        },
    }
    async with election(server) as vote:
        began = time.monotonic()
        await vote.join("heir")
        await vote.until_led_by("heir")
        assert time.monotonic() - began >= 1.0


async def test_with_a_frozen_server_the_leader_stops_at_its_deadline(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        first = await vote.join("first")
        await vote.until_led_by("first")
        leases.frozen, began = True, time.monotonic()
        await vote.until_led_by()
        assert time.monotonic() - began < QUICK.duration
        await until(lambda: len(first.told) == 2)
        assert first.told[1].startswith("stopped: it was not renewed for 1.5 s: no answer within")


async def test_after_the_freeze_somebody_leads_again(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        await vote.join("first")
        await vote.until_led_by("first")
        leases.frozen = True
        await vote.until_led_by()
        leases.frozen = False
        await vote.until_led_by("first")
        assert vote.candidates[0].told[-1] == "started"


async def test_conflict_on_every_write_gives_no_leader(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    leases.conflicting = True
    async with election(server) as vote:
        first, second = await vote.join("first"), await vote.join("second")
        await until(lambda: len(server.seen) >= 20, always=lambda: not vote.leaders)
        assert (first.told, second.told) == ([], [])
        assert "Conflict" in first.elector.last_error


async def test_conflict_on_every_renewal_ends_the_leadership_at_its_deadline(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        await vote.join("first")
        await vote.until_led_by("first")
        leases.conflicting, began = True, time.monotonic()
        await vote.until_led_by()
        assert time.monotonic() - began < QUICK.duration


async def test_a_change_of_the_metadata_does_not_cost_the_leadership(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        first = await vote.join("first")
        await vote.until_led_by("first")
        leases.touch()
        writes = leases.writes
        await until(lambda: leases.writes >= writes + 5, always=lambda: first.elector.is_leader)
        assert leases.lease is not None
        assert leases.lease["metadata"]["annotations"] == {"looked": "at"}
        assert first.told == ["started"]


async def test_a_lease_taken_by_another_ends_the_leadership_at_once(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    async with election(server) as vote:
        first = await vote.join("first", timing=LeaseTiming(30.0, 20.0, 0.1))
        await vote.until_led_by("first")
        leases.take_over("usurper")
        await vote.until_led_by(seconds=5.0)
        await until(lambda: len(first.told) == 2)
        assert first.told == ["started", "stopped: it is held by usurper"]


async def test_a_process_that_was_frozen_wakes_up_without_the_lease(server: ScriptedServer) -> None:
    LeaseServer(server)
    asleep = 0.0
    async with election(server) as vote:
        first = await vote.join("first", clock=lambda: time.monotonic() + asleep)
        await vote.until_led_by("first")
        asleep = 1.51
        assert not first.elector.is_leader


async def test_the_term_counts_from_when_the_renewal_was_sent(server: ScriptedServer) -> None:
    leases = LeaseServer(server)
    now = 100.0
    async with election(server) as vote:
        first = await vote.join("first", clock=lambda: now)
        await vote.until_led_by("first")
        assert first.elector.remaining() == pytest.approx(1.5)
        now = 100.5
        writes = leases.writes
        await until(lambda: leases.writes > writes and first.elector.remaining() > 1.4)
        assert first.elector.remaining() == pytest.approx(1.5)


async def test_ten_candidates_and_hand_overs_never_have_two_leaders(server: ScriptedServer) -> None:
    LeaseServer(server)
    async with election(server) as vote:
        for number in range(10):
            await vote.join(f"c{number}", wall=lambda number=number: number * 1e5)
        for _ in range(5):
            await until(lambda: len(vote.leaders) == 1, always=lambda: not vote.leaders)
            leader = next(each for each in vote.candidates if each.elector.is_leader)
            await leader.stop()


@pytest.mark.parametrize("timing", [(10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (15.0, 10.0, 0.0)])
def test_a_timing_without_margin_is_refused(timing: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="each must be longer than the next"):
        LeaseTiming(*timing)


def test_no_two_processes_have_the_same_identity() -> None:
    assert own_identity() != own_identity()
