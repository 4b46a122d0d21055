"""A restore process that is kept open: in force when it says so, in nobody's way, and never relied on."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.dataplane.compile import FAMILIES, compile_family
from controller.dataplane.kernel import Detours, Kernel
from controller.dataplane.restore_channel import RestoreChannel
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.tools import Backend, restore_command
from tests.kernel.changes import CHANGES, SHOP, STRICT, allowed, barriers, holes
from tests.kernel.host import TOOLS, Host, applied, needs_host
from tests.kernel.test_enforcement import ANOTHER_DB, ANOTHER_WEB, CLOSED
from tests.kernel.test_enforcement import SHOP as DUAL_SHOP
from tests.kernel.test_faults import HOLDER
from tests.unit.builder import ClusterBuilder

pytestmark = needs_host


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def channel(host: Host, family: int) -> Iterator[RestoreChannel]:
    with RestoreChannel(restore_command(host.backend, family)) as found:
        yield found


def wanted(built: ClusterBuilder, generation: int) -> Ruleset:
    found = compile_family(built.view(), 4, replace(STRICT, generation=generation))
    return replace(found, sets=tuple(replace(each, comment="") for each in found.sets))


def rewrite(number: int) -> str:
    """A transaction that deletes rules and makes new ones."""
    return f"*mangle\n:OWN - [0:0]\n-A OWN -m mark --mark {number} -j RETURN\nCOMMIT\n"


# What it says


def test_a_commit_is_in_force_when_it_is_confirmed(host: Host, family: int, channel: RestoreChannel) -> None:
    for number in range(1, 30):
        assert channel.commit(rewrite(number)).code == 0
        assert [line.split("--mark ")[1] for line in host.rules(family=family)] == [f"{number:#x} -j RETURN"]


def test_a_commit_that_is_refused_says_why_and_nothing_of_it_is_in_force(
    host: Host, family: int, channel: RestoreChannel
) -> None:
    assert channel.commit(rewrite(1)).code == 0

    result = channel.commit(rewrite(2).replace("COMMIT", "-D OWN -m mark --mark 9 -j DROP\nCOMMIT"))

    assert result.code > 0
    assert "line 1" in result.errors
    assert len(host.rules(family=family)) == 1
    assert "0x1" in host.rules(family=family)[0]


def test_the_commits_of_others_are_not_taken_for_ours(
    host: Host, family: int, channel: RestoreChannel
) -> None:
    """They go on all the time, while every one of ours fails."""
    tool = f"{TOOLS[family]}-{host.backend}"
    theirs = ["sh", "-c", f"while {tool} -w 5 -t mangle -N X && {tool} -w 5 -t mangle -X X; do :; done"]
    with subprocess.Popen(theirs, process_group=0) as process:
        try:
            codes = [channel.commit("*mangle\n-A OWN -j NOWHERE\nCOMMIT\n").code for _ in range(10)]
        finally:
            os.killpg(process.pid, signal.SIGTERM)

    assert all(code > 0 for code in codes)


def test_what_others_changed_in_between_is_seen(host: Host, family: int, channel: RestoreChannel) -> None:
    channel.commit(rewrite(1))
    host.iptables("-I OWN 1 -j MARK --set-mark 7", family)
    host.iptables("-N THEIRS", family)
    kept = channel.process_id

    result = channel.commit(
        "*mangle\n-D OWN -j MARK --set-mark 7\n-I OWN 2 -j THEIRS\n-A THEIRS -j RETURN\nCOMMIT\n"
    )

    assert result.code == 0
    assert channel.process_id == kept
    rules = [line.split("-A ")[1] for line in host.rules(family=family)]
    assert rules == ["OWN -m mark --mark 0x1 -j RETURN", "OWN -j THEIRS", "THEIRS -j RETURN"]


def test_a_table_that_vanished_in_between_is_made_again(tmp_path: Path, family: int) -> None:
    """As by `nft flush ruleset`, which is how the service of nftables starts anew."""
    with (
        Host(Backend.NFT, tmp_path) as host,
        RestoreChannel(restore_command(Backend.NFT, family)) as channel,
    ):
        channel.commit(rewrite(1))
        host.run("nft", "flush", "ruleset")

        assert channel.commit(rewrite(2)).code == 0
        assert len(host.rules(family=family)) == 1


def test_the_lock_is_free_while_nothing_is_committed(tmp_path: Path, family: int) -> None:
    with (
        Host(Backend.LEGACY, tmp_path) as host,
        RestoreChannel(restore_command(Backend.LEGACY, family)) as channel,
    ):
        channel.commit(rewrite(1))

        with host.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# A node


def test_every_change_goes_through_one_process(host: Host) -> None:
    channel, kernel = kept_open(host)
    enforcer = host.enforcer(STRICT, kernel)
    processes = set()
    for change in CHANGES.values():
        for state in change:
            result = enforcer.apply(state.view())
            processes.add(channel.process_id)
            assert host.kernel().read() == wanted(state, result.generation)

    assert len(processes) == 1
    assert kernel.detours == Detours()


def test_both_families_go_through_processes_that_are_kept(host: Host) -> None:
    node = host.node(keep_open=True)
    for state in (DUAL_SHOP, ANOTHER_DB, CLOSED, ANOTHER_WEB, DUAL_SHOP):
        applied(node.apply(state.view()))
        assert node.verify(state.view()) == []

    assert node.detours() == {4: Detours(), 6: Detours()}


@pytest.mark.parametrize("line", ["-F", "-F\n-X", "-D FORWARD 1", "-F PODGATE"])
def test_damage_is_mended_through_the_process_that_was_open_before(host: Host, line: str) -> None:
    node = host.node(keep_open=True)
    applied(node.apply(DUAL_SHOP.view()))
    for words in line.split("\n"):
        host.iptables(words)

    applied(node.repair(DUAL_SHOP.view()))

    assert node.verify(DUAL_SHOP.view()) == []


def test_a_commit_that_no_longer_fits_is_planned_anew(host: Host) -> None:
    """Somebody removed the chain to which a new rule leads."""
    node = host.node(keep_open=True, families=[4])
    applied(node.apply(DUAL_SHOP.view()))
    host.iptables("-F")
    host.iptables("-X")

    (result,) = applied(node.apply(ANOTHER_DB.view()))

    assert result.retries == 1
    assert node.detours()[4].count == 1
    assert [drift for drift in node.verify(ANOTHER_DB.view()) if drift.family == 4] == []


def kept_open(host: Host) -> tuple[RestoreChannel, Kernel]:
    channel = RestoreChannel(restore_command(host.backend, 4))
    kernel = Kernel(4, host.backend, host.runner, channel=channel)
    return channel, host.closing(kernel)


@contextmanager
def lock_held(host: Host, seconds: float) -> Iterator[None]:
    holder = [sys.executable, "-c", HOLDER, str(host.lock), str(seconds)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield


def test_a_process_that_is_killed_in_a_commit_makes_the_kernel_be_read(tmp_path: Path) -> None:
    """It waits for the lock, so that it is sure to be in the middle."""
    with Host(Backend.LEGACY, tmp_path) as host:
        channel, kernel = kept_open(host)
        enforcer = host.enforcer(STRICT, kernel)
        before, after = CHANGES["a pod changes its part"]
        enforcer.apply(before.view())
        kept = channel.process_id
        assert kept is not None
        with lock_held(host, 1.0), later(0.5, lambda: os.kill(kept, signal.SIGKILL)):
            result = enforcer.apply(after.view())

        assert result.retries == 1
        assert host.kernel().read() == wanted(after, result.generation)
        assert channel.process_id not in {None, kept}


def test_a_lock_that_is_held_too_long_for_it_is_waited_for_by_a_process_of_its_own(tmp_path: Path) -> None:
    with Host(Backend.LEGACY, tmp_path) as host:
        node = host.node(STRICT, keep_open=True, families=[4])
        applied(node.apply(SHOP.view()))
        with lock_held(host, 5.5):
            (result,) = applied(node.apply(CHANGES["a pod goes"][1].view()))

        assert result.retries == 0
        assert node.detours()[4].count == 1
        assert "xtables lock" in node.detours()[4].reason
        assert node.verify(CHANGES["a pod goes"][1].view()) == []


@contextmanager
def later(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_processes_that_are_killed_at_any_time_leave_safe_states_and_nothing_behind(host: Host) -> None:
    before, after = (allowed(wanted(state, 1)) for state in CHANGES["all at once"])
    files, others = open_files(), children()
    channel, kernel = kept_open(host)
    enforcer = host.enforcer(STRICT, kernel)
    enforcer.apply(SHOP.view())
    seed = random.randrange(1 << 32)  # noqa: S311  any moment will do
    moments = random.Random(seed)  # noqa: S311
    stopping = threading.Event()

    def kill() -> None:
        while not stopping.wait(moments.uniform(0, 0.05)):
            found = channel.process_id
            if found is not None:
                with suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for number in range(30):
            state = CHANGES["all at once"][number % 2]
            with suppress(Exception):
                enforcer.apply(state.view())
            found = allowed(host.kernel().read())
            assert not holes(found, before, after), seed
            assert not barriers(found, before, after), seed
    finally:
        stopping.set()
        killer.join()

    result = enforcer.apply(SHOP.view())

    assert host.kernel().read() == wanted(SHOP, result.generation)
    kernel.close()
    assert open_files() == files
    assert children() <= others


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def children() -> set[int]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(each) for each in found}


def test_closing_leaves_the_rules_and_no_process(host: Host) -> None:
    others = children()
    node = host.node(keep_open=True)
    applied(node.apply(DUAL_SHOP.view()))
    assert len(children() - others) == 2

    node.close()

    assert children() <= others
    assert host.node().verify(DUAL_SHOP.view()) == []


def test_where_podgate_is_killed_its_processes_end(host: Host) -> None:
    program = (
        "import sys, time\n"
        "from controller.dataplane.restore_channel import RestoreChannel\n"
        "from controller.dataplane.tools import Backend, restore_command\n"
        "channel = RestoreChannel(restore_command(Backend(sys.argv[1]), 4))\n"
        "channel.commit('')\n"
        "print(channel.process_id, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(host.backend)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        tool = int(process.stdout.readline())
        process.kill()

    deadline = time.monotonic() + 5
    while is_running(tool):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process_id: int) -> bool:
    """A zombie, which waits for somebody who never collects it in this container, is not."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
