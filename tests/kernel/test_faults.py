"""Whatever breaks in the middle of a change, what holds then is safe, and the next application converges."""

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

from controller.agent.node import FamilyFailure
from controller.dataplane.compile import compile_family
from controller.dataplane.kernel import Kernel
from controller.dataplane.plan import AddEntries, Commit, DestroySets, FillSet, RemoveEntries, Step, advance
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.setlink import SetLink
from controller.dataplane.simulate import Packet
from controller.dataplane.tools import Backend, Result, Runner, ToolMissingError
from tests.kernel.changes import CHANGES, SHOP, STRICT, allowed, barriers, holes
from tests.kernel.host import Host, applied, kinds, needs_host
from tests.kernel.loopback import UdpFlow, own
from tests.unit.builder import ClusterBuilder, cluster, labels, pods

pytestmark = needs_host
FIRST = "the first application"


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def wanted(built: ClusterBuilder, generation: int) -> Ruleset:
    found = compile_family(built.view(), 4, replace(STRICT, generation=generation))
    return replace(found, sets=tuple(replace(each, comment="") for each in found.sets))


class Corridor(NamedTuple):
    """The packets that pass before a change, and those that pass after it."""

    old: frozenset[Packet]
    new: frozenset[Packet]

    @classmethod
    def of(cls, change: str) -> "Corridor":
        return cls(*(allowed(wanted(each, 1)) for each in CHANGES[change]))

    def check(self, kernel: Kernel, where: object = None) -> None:
        """Fail where the kernel is outside of it."""
        found = allowed(kernel.read())
        assert not holes(found, self.old, self.new), where
        assert not barriers(found, self.old, self.new), where


# The process dies


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, not even a handler."""


class DyingKernel(Kernel):
    """Its process is killed before the step of this number, or in the middle of it."""

    dies_before: int | None = None
    in_the_middle = False

    def execute(self, held: Ruleset, steps: Iterable[Step]) -> None:
        for number, step in enumerate(steps):
            if number == self.dies_before:
                part = half(step) if self.in_the_middle else None
                if part is not None:
                    super().execute(held, [part])
                raise Killed
            super().execute(held, [step])
            held = advance(held, step)
        if self.dies_before is not None:
            raise Killed


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
    if host.backend is Backend.NFT:
        deaths += [(number, True) for number, step in enumerate(steps) if half(step)]
    else:  # sets and the order of steps are the same in both
        deaths = deaths[1::2]

    for number, in_the_middle in deaths:
        generation = start_from(host, change)
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


def start_from(host: Host, change: str) -> int:
    """What was before a change, in which generation; before the first there was nothing."""
    if change == FIRST:
        host.kernel().clear_rules()
        host.kernel().clear_sets()
        return 0
    return host.enforcer(STRICT).apply(CHANGES[change][0].view()).generation


TALKING = (
    cluster()
    .pod("shop/web", ip="10.0.0.1", labels={"app": "web"})
    .pod("shop/db", ip="10.0.0.3", labels={"app": "db"}, node="elsewhere")
    .policy(
        "shop/web",
        {"podSelector": labels(app="web"), "policyTypes": ["Egress"], "egress": [{"to": [pods(app="db")]}]},
    )
)
SILENCED = TALKING.pod("shop/db", labels={"app": "other"}, node="elsewhere")
"""shop/web may talk to shop/db, and then no more: an entry goes, and a generation comes."""


def test_a_connection_is_cut_although_the_change_that_cuts_it_was_interrupted(host: Host) -> None:
    """What rules and sets cannot show: that an entry went, and connections have not been told."""
    own(host, "10.0.0.1", "10.0.0.3")
    host.enforcer().apply(TALKING.view())
    dying = DyingKernel(4, host.backend, host.runner)
    dying.dies_before = 1
    with UdpFlow("10.0.0.1", "10.0.0.3") as flow:
        assert flow.asks()
        with pytest.raises(Killed):
            host.enforcer(kernel=dying).apply(SILENCED.view())
        dying.close()
        assert flow.asks(), "the change is complete, so that there is nothing to test"

        host.enforcer().apply(SILENCED.view())

        assert not flow.asks()


@pytest.mark.parametrize("change", ["a pod changes its part", "all at once"])
def test_a_process_that_is_killed_at_any_time_leaves_a_safe_state(host: Host, change: str) -> None:
    corridor = Corridor.of(change)
    seed = random.randrange(1 << 32)  # noqa: S311
    times = random.Random(seed)  # noqa: S311  any moment will do
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.kernel.toggler", str(host.backend), change], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(times.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
        settle()

        corridor.check(host.kernel(), seed)
        node = host.node(STRICT, families=[4])
        (result,) = applied(node.apply(CHANGES[change][1].view()))
        assert node.verify(CHANGES[change][1].view()) == []
        assert host.kernel().read() == wanted(CHANGES[change][1], result.generation)


def settle() -> None:
    """A tool that the dead process had started still comes to its end."""
    time.sleep(0.05)


# A tool fails


class Failing:
    """A machine on which some calls fail, in the way that a function makes of them."""

    def __init__(
        self, runner: Runner, fails: Callable[[Sequence[str], str], Result | None], times: int = 10**9
    ) -> None:
        self._runner = runner
        self._fails = fails
        self.times = times
        self.failed: list[str] = []

    def run(self, command: Sequence[str], text: str = "") -> Result:
        found = self._fails(command, text) if len(self.failed) < self.times else None
        if found is None:
            return self._runner.run(command, text)
        self.failed.append(" ".join(command))
        return found


def half_way(runner: Runner, tool: str) -> Callable[[Sequence[str], str], Result | None]:
    """A restore that breaks off in the middle of its input."""

    def fails(command: Sequence[str], text: str) -> Result | None:
        if not command[0].startswith(tool) or "restore" not in " ".join(command) or text.startswith("save "):
            return None
        lines = text.splitlines(keepends=True)
        runner.run(command, "".join(lines[: len(lines) // 2]))
        return Result(1, "", "Killed")

    return fails


@pytest.mark.parametrize("change", [FIRST, "all at once"])
@pytest.mark.parametrize("tool", ["ipset", "iptables"])
def test_a_restore_that_breaks_off_once_is_made_good_at_once(host: Host, change: str, tool: str) -> None:
    start_from(host, change)
    after = CHANGES[change][1]
    failing = Failing(host.runner, half_way(host.runner, tool), times=1)
    node = host.node(STRICT, failing, families=[4])

    (result,) = applied(node.apply(after.view()))

    assert failing.failed
    assert result.retries == 1
    assert host.kernel().read() == wanted(after, result.generation)


@pytest.mark.parametrize("change", [FIRST, "all at once"])
@pytest.mark.parametrize("tool", ["ipset", "iptables"])
def test_a_restore_that_always_breaks_off_is_told_and_leaves_a_safe_state(
    host: Host, change: str, tool: str
) -> None:
    start_from(host, change)
    after = CHANGES[change][1]
    failing = Failing(host.runner, half_way(host.runner, tool))

    (result,) = host.node(STRICT, failing, families=[4]).apply(after.view())

    assert isinstance(result, FamilyFailure)
    assert "exit code 1: Killed" in result.reason
    Corridor.of(change).check(host.kernel())
    final = host.enforcer(STRICT).apply(after.view())
    assert host.kernel().read() == wanted(after, final.generation)


def test_a_commit_that_fails_after_a_removal_still_brings_the_new_generation(host: Host) -> None:
    own(host, "10.0.0.1", "10.0.0.3")
    breaks_off = half_way(host.runner, "iptables")
    runner = Failing(host.runner, breaks_off, times=0)
    node = host.node(runner=runner, families=[4])
    applied(node.apply(TALKING.view()))
    with UdpFlow("10.0.0.1", "10.0.0.3") as flow:
        assert flow.asks()

        runner.times = 1
        (result,) = applied(node.apply(SILENCED.view()))

        assert result.retries == 1
        assert kinds(result) == ["Commit"], "the entry is gone, only the generation is missing"
        assert not flow.asks()


@pytest.mark.parametrize("tool", ["ipset", "iptables-{backend}-restore", "iptables-{backend}-save"])
def test_a_missing_tool_is_told_and_what_was_enforced_stays(host: Host, tool: str) -> None:
    name = tool.format(backend=host.backend)
    start_from(host, "all at once")
    after = CHANGES["all at once"][1].view()
    old = host.kernel().read()

    (result,) = host.node(STRICT, Lacking(host.runner, name), families=[4]).apply(after)

    assert isinstance(result, FamilyFailure)
    assert f"{name} is not installed" in result.reason
    assert allowed(host.kernel().read()) == allowed(old)
    final = host.enforcer(STRICT).apply(after)
    assert host.kernel().read() == wanted(CHANGES["all at once"][1], final.generation)


def test_without_conntrack_rules_are_enforced_nevertheless_and_it_is_told(host: Host) -> None:
    (result,) = host.node(STRICT, Lacking(host.runner, "conntrack"), families=[4]).apply(SHOP.view())

    assert isinstance(result, FamilyFailure)
    assert "the rules are in force" in result.reason
    assert "conntrack is not installed" in result.reason
    assert host.kernel().read() == wanted(SHOP, 1)


class Lacking:
    """A machine on which a tool is not installed."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner = runner
        self._name = name

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if command[0] == self._name:
            raise ToolMissingError(command, f"{command[0]} is not installed")
        return self._runner.run(command, text)


# The lock


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_lock_that_is_held_longer_than_a_call_waits_is_waited_for(tmp_path: Path) -> None:
    """Exit code 4 after 5 s; iptables-nft takes no lock."""
    with Host(Backend.LEGACY, tmp_path) as host:
        codes: list[int] = []
        start_from(host, "all at once")
        node = host.node(STRICT, Watching(host.runner, codes), families=[4])
        holder = [sys.executable, "-c", HOLDER, str(host.lock), "5.5"]
        with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"

            (result,) = applied(node.apply(CHANGES["all at once"][1].view()))

        assert 4 in codes
        assert result.retries == 0, "the commit itself was repeated, nothing had to be read again"
        assert host.kernel().read() == wanted(CHANGES["all at once"][1], result.generation)


class Watching:
    """Notes the exit code of each iptables-restore."""

    def __init__(self, runner: Runner, codes: list[int]) -> None:
        self._runner = runner
        self._codes = codes

    def run(self, command: Sequence[str], text: str = "") -> Result:
        result = self._runner.run(command, text)
        if "restore" in command[0]:
            self._codes.append(result.code)
        return result


# Sets


def is_peers(name: str) -> bool:
    """Neither a gate nor the known pods."""
    return len(name) == len("pg4-") + 16


WEBS = "shop/web-1", "shop/web-2"
FEWER = SHOP.without_pod(WEBS[0]).without_pod(WEBS[1])
"""The shop with one peer less in a set, and another less."""


def shrink(host: Host) -> str:
    """Exchange the set of the peers in use, which has one entry, for one that takes no more than that."""
    name = next(
        each.name
        for each in wanted(SHOP, 1).sets
        if is_peers(each.name) and {"10.0.9.1", "10.0.9.2"} <= {*each.entries}
    )
    (entry,) = next(each.entries for each in host.kernel().read().sets if each.name == name)
    lines = [
        "create small hash:ip family inet hashsize 64 maxelem 1",
        f"add small {entry}",
        f"swap small {name}",
    ]
    host.run("ipset", "restore", text="\n".join([*lines, "destroy small", ""]))
    return name


def test_a_set_that_is_full_is_told_and_isolated_pods_stay_isolated(host: Host) -> None:
    node = host.node(STRICT, families=[4])
    applied(node.apply(FEWER.view()))
    name = shrink(host)

    (result,) = node.apply(SHOP.view())

    assert isinstance(result, FamilyFailure)
    assert result.reason == f"IPv4 AddEntries: [Errno 4352] set {name}: the set is full"
    Corridor.of("peers come").check(host.kernel())
    assert [str(drift) for drift in node.verify(FEWER.view())] == []


def test_once_room_is_made_in_a_full_set_the_next_application_converges(host: Host) -> None:
    node = host.node(STRICT, families=[4])
    applied(node.apply(FEWER.view()))
    name = shrink(host)
    node.apply(SHOP.view())
    host.run("ipset", "create", "large", "hash:ip", "family", "inet")
    host.run("ipset", "swap", "large", name)

    (result,) = applied(node.apply(SHOP.view()))

    assert host.kernel().read() == wanted(SHOP, result.generation)


@pytest.mark.parametrize(
    "options", ["hash:net maxelem 1", "hash:ip timeout 60", "hash:ip family inet6", "bitmap:port range 1-9"]
)
def test_a_leftover_set_that_was_made_otherwise_is_replaced(host: Host, options: str) -> None:
    """By another version, say, with other options: nothing refers to it, and its name is wanted."""
    name = next(each.name for each in wanted(SHOP, 1).sets if is_peers(each.name) and len(each.entries) > 1)
    host.run("ipset", "create", name, *options.split())

    result = host.enforcer(STRICT).apply(SHOP.view())

    assert result.retries == 0
    assert host.kernel().read() == wanted(SHOP, result.generation)


def test_failing_again_and_again_leaves_no_more_sets_each_time(host: Host) -> None:
    change = CHANGES["all at once"]
    host.enforcer(STRICT).apply(change[0].view())
    dying = DyingKernel(4, host.backend, host.runner)
    counts = []
    for _ in range(6):
        # Each time, the change stops when its copies have just come into use.
        steps = host.enforcer(STRICT).preview(change[1].view())
        commits = (number for number, step in enumerate(steps, 1) if isinstance(step, Commit))
        dying.dies_before = next(commits, len(steps))
        with pytest.raises(Killed):
            host.enforcer(STRICT, dying).apply(change[1].view())
        dying.close()
        counts.append(len(host.run("ipset", "list", "-n").split()))

    assert counts[-1] <= counts[1]


def test_an_obsolete_set_that_others_use_fails_nothing_and_is_taken_later(host: Host) -> None:
    node = host.node(STRICT, families=[4])
    applied(node.apply(SHOP.view()))
    obsolete = next(each.name for each in host.kernel().read().sets if is_peers(each.name))
    host.iptables(f"-A OUTPUT -m set --match-set {obsolete} dst -j ACCEPT")
    bare = CHANGES[FIRST][0].view()

    (result,) = applied(node.apply(bare))

    assert result.retries == 0
    assert [str(drift) for drift in node.verify(bare)] == [f"IPv4: set {obsolete} should not be there"]
    host.iptables("-F OUTPUT")
    (mended,) = applied(node.repair(bare))
    assert (kinds(mended), mended.generation) == (["DestroySets"], result.generation)
    assert node.verify(bare) == []


def test_without_netlink_entries_are_changed_by_ipset_restore(host: Host) -> None:
    def refused() -> SetLink:
        raise PermissionError

    enforcer = host.enforcer(STRICT, Kernel(4, host.backend, host.runner, open_link=refused))

    for change in ("peers go", "peers come", "all at once"):
        for each in CHANGES[change]:
            result = enforcer.apply(each.view())
            assert host.kernel().read() == wanted(each, result.generation)
