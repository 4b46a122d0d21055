"""Whatever breaks in the middle of a change: what holds then is safe, and the next application ends where it should."""

import fcntl
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from controller.agent.enforcer import Applied
from controller.agent.generation import installed_generation
from controller.agent.node import FamilyFailure
from controller.dataplane.compile import compile_family
from controller.dataplane.kernel import Kernel, KernelError
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.tools import Backend, Result, Runner, ToolMissingError
from tests.kernel.changes import CHANGES, SHOP, STRICT, allowed, barriers, holes
from tests.kernel.host import Host, applied, kinds, needs_host
from tests.kernel.loopback import UdpFlow, own
from tests.unit.builder import ClusterBuilder

pytestmark = needs_host
FIRST = "the first application"


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def wanted(cluster: ClusterBuilder, generation: int) -> Ruleset:
    found = compile_family(cluster.view(), 4, replace(STRICT, generation=generation))
    return replace(found, sets=tuple(replace(each, comment="") for each in found.sets))


class Corridor(NamedTuple):
    """The packets that pass before a change, and those that pass after it."""

    old: frozenset[object]
    new: frozenset[object]

    @classmethod
    def of(cls, change: str) -> "Corridor":
        return cls(*(allowed(wanted(each, 1)) for each in CHANGES[change]))

    def check(self, kernel: Kernel, where: object = None) -> None:
        """Fail where the kernel is outside of it."""
        found = allowed(kernel.read())
        assert not holes(found, *self), ("open", where, holes(found, *self))
        assert not barriers(found, *self), ("closed", where, barriers(found, *self))


# The process dies


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, not even a handler."""


class DyingKernel(Kernel):
    """Its process is killed before the step of this number, or in the middle of it."""

    dies_before: int | None = None
    in_the_middle = False

    def execute(self, held: Ruleset, steps: Iterable[Step]) -> Ruleset:
        for number, step in enumerate(steps):
            if number == self.dies_before:
                part = half(step) if self.in_the_middle else None
                if part is not None:
                    super().execute(held, [part])
                raise Killed
            held = super().execute(held, [step])
        if self.dies_before is not None:
            raise Killed
        return held


def half(step: Step) -> Step | None:
    """What was done of a step in the middle of it; None where there is no middle, as of a commit."""
    match step:
        case FillSet(each) if len(each.entries) > 1:
            return FillSet(replace(each, entries=each.entries[: len(each.entries) // 2]))
        case AddEntries(name, entries) if len(entries) > 1:
            return AddEntries(name, entries[: len(entries) // 2])
        case RemoveEntries(name, entries) if len(entries) > 1:
            return RemoveEntries(name, entries[: len(entries) // 2])
        case DestroySets(names) if len(names) > 1:
            return DestroySets(names[: len(names) // 2])
        case _:
            return None


@pytest.mark.parametrize("change", CHANGES)
def test_a_crash_at_any_step_leaves_a_safe_state_from_which_the_next_run_goes_on(
    host: Host, change: str
) -> None:
    after = CHANGES[change][1].view()
    corridor = Corridor.of(change)
    start_from(host, change)
    steps = host.enforcer(STRICT).preview(after)
    deaths = [(number, False) for number in range(len(steps) + 1)]
    deaths += [(number, True) for number, step in enumerate(steps) if half(step)]

    for number, in_the_middle in deaths:
        start_from(host, change)
        generation = installed_generation(host.kernel().read(), STRICT.marks)
        dying = DyingKernel(4, host.backend, host.runner)
        dying.dies_before, dying.in_the_middle = number, in_the_middle
        with pytest.raises(Killed):
            host.enforcer(STRICT, dying).apply(after)
        dying.close()

        corridor.check(host.kernel(), (number, in_the_middle))
        result = host.enforcer(STRICT).apply(after)

        assert host.kernel().read() == wanted(CHANGES[change][1], result.generation)
        # Connections that were allowed before are asked again, wherever it was that the change stopped.
        assert result.generation != generation


def start_from(host: Host, change: str) -> None:
    """What was before a change; before the first there was nothing."""
    if change == FIRST:
        host.kernel().clear_rules()
        host.kernel().clear_sets()
    else:
        host.enforcer(STRICT).apply(CHANGES[change][0].view())


def test_a_connection_is_cut_although_its_peer_went_in_a_change_that_was_interrupted(host: Host) -> None:
    """The one thing that rules and sets cannot show: that a removal has been made and not been told."""
    own(host, "10.0.0.1", "10.0.0.3")
    cluster = SHOP.pod("shop/db", ip="10.0.0.3", labels={"app": "db"}, ports=["sql:5432"], node="elsewhere")
    cluster = cluster.policy("shop/web", {**ANY_DB})
    host.enforcer(STRICT).apply(cluster.view())
    dying = DyingKernel(4, host.backend, host.runner)
    dying.dies_before = 1
    with UdpFlow("10.0.0.1", "10.0.0.3") as flow:
        assert flow.asks()
        without = cluster.without_pod("shop/db")
        with pytest.raises(Killed):
            host.enforcer(STRICT, dying).apply(without.view())

        host.enforcer(STRICT).apply(without.view())

        assert not flow.asks()
