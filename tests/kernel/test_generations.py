"""Connections that lost their permission are cut, others go on, and no old mark lets one pass again."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from controller.agent.conntrack import Conntrack
from controller.agent.generation import installed_generation
from controller.dataplane.settings import MarkLayout, Settings
from controller.dataplane.tools import Backend
from controller.engine.rulesets import NodeView
from tests.kernel.host import Host, needs_host
from tests.kernel.loopback import TcpFlow, UdpFlow, own
from tests.unit.builder import cluster, pods

pytestmark = needs_host

NARROW = Settings(marks=MarkLayout(0b111 << 16))
"""Three generations, so that the first comes round again at the third change."""

CLIENT, FRIEND, OTHER = "10.0.0.2", "10.0.0.9", "10.0.0.10"
GENERATIONS = 3
FOREIGN_BITS = 0xE000FFFF
"""Of the mark; those of the default layout are the others."""


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        own(found, CLIENT, FRIEND, OTHER)
        yield found


def view(*friends: str) -> NodeView:
    """A local pod that may talk to its friends, who live elsewhere, and to nobody else."""
    built = cluster().pod("x/client", ip=CLIENT)
    for number, address in enumerate(friends):
        built = built.pod(f"x/friend-{number}", ip=address, labels={"app": "friend"}, node="elsewhere")
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [pods(app="friend")]}]}
    return built.policy("x/friends-only", spec).view()


def marks(host: Host) -> dict[int, int]:
    """The mark of each UDP connection, by the client's port."""
    found = re.findall(r"sport=(\d+) .*? mark=(\d+)", host.run("conntrack", "-L", "-p", "udp"))
    return {int(sport): int(mark) for sport, mark in found}


# Cutting and keeping


def test_a_connection_that_lost_its_permission_is_cut_and_others_go_on(host: Host) -> None:
    enforcer = host.enforcer()
    enforcer.apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, FRIEND) as kept, UdpFlow(CLIENT, OTHER) as lost:
        assert kept.asks()
        assert lost.asks()

        enforcer.apply(view(FRIEND))

        assert kept.asks()
        assert not lost.asks()


def test_a_connection_that_is_allowed_all_the_time_is_never_disturbed(host: Host) -> None:
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND, OTHER))
    with TcpFlow(CLIENT, FRIEND) as flow:
        for number in range(4 * GENERATIONS):
            enforcer.apply(view(FRIEND, *([OTHER] if number % 2 else [])))

            assert flow.carries()


def test_a_connection_that_is_allowed_again_goes_on(host: Host) -> None:
    enforcer = host.enforcer()
    enforcer.apply(view(FRIEND))
    with TcpFlow(CLIENT, FRIEND) as flow:
        assert flow.carries()
        enforcer.apply(view())
        assert not flow.carries()

        enforcer.apply(view(FRIEND))

        assert flow.carries()


def test_with_established_connections_kept_the_generation_is_never_raised(host: Host) -> None:
    host.enforcer(keep_established=True).apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, OTHER) as lost, UdpFlow(CLIENT, OTHER) as late:
        assert lost.asks()

        generations = {
            host.enforcer(keep_established=True).apply(each).generation
            for each in (view(FRIEND), view(), view(FRIEND), view(FRIEND))
        }

        assert generations == {1}
        assert lost.asks()
        assert not late.asks(), "a connection that is opened later is judged as any"


# Numbers


def test_the_number_goes_on_after_a_restart(host: Host) -> None:
    numbers = [
        host.enforcer().apply(view(*friends)).generation for friends in ([FRIEND, OTHER], [FRIEND], [])
    ]

    assert numbers == [1, 2, 3]
    assert installed_generation(host.kernel().read(), Settings().marks) == 3


def test_only_what_takes_something_away_raises_the_number(host: Host) -> None:
    enforcer = host.enforcer()

    numbers = [
        enforcer.apply(view(*friends)).generation
        for friends in ([FRIEND], [FRIEND, OTHER], [FRIEND, OTHER], [OTHER], [FRIEND, OTHER])
    ]

    assert numbers == [1, 1, 1, 2, 2]


def test_the_number_begins_again_after_the_last(host: Host) -> None:
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND))

    numbers = [
        enforcer.apply(view(*friends)).generation
        for friends in ([], [FRIEND], [], [FRIEND], [], [FRIEND], [])
    ]

    assert numbers == [2, 2, 3, 3, 1, 1, 2]


# Marks of former times


def test_a_silent_connection_is_not_let_through_when_the_number_of_its_mark_comes_round(host: Host) -> None:
    """One is allowed and marked in each generation, loses its permission, and says nothing for long."""
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND, OTHER))
    with ExitStack() as stack:
        silent = []
        for _ in range(4 * GENERATIONS):
            flow = stack.enter_context(UdpFlow(CLIENT, OTHER))
            assert flow.asks()
            silent.append(flow)
            enforcer.apply(view(FRIEND))
            enforcer.apply(view(FRIEND, OTHER))
        enforcer.apply(view(FRIEND))

        assert [flow.asks() for flow in silent] == [False] * len(silent)


@pytest.mark.parametrize("count", range(1, 2 * GENERATIONS + 1))
def test_a_silent_connection_is_cut_whatever_the_number_of_changes_since(host: Host, count: int) -> None:
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, OTHER) as flow:
        assert flow.asks()

        enforcer.apply(view(FRIEND))
        for number in range(count - 1):
            enforcer.apply(view(*([] if number % 2 else [FRIEND])))
            enforcer.apply(view(FRIEND))

        assert not flow.asks()


def test_marks_are_cleared_before_the_number_is_used_again(host: Host) -> None:
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND))
    with ExitStack() as stack:
        flows = [stack.enter_context(UdpFlow(CLIENT, FRIEND)) for _ in range(50)]
        assert all(flow.asks() for flow in flows)
        before = marks(host)
        numbers = [enforcer.apply(view(*friends)).generation for friends in ([], [FRIEND], [], [FRIEND], [])]

        after = marks(host)

    assert numbers == [2, 2, 3, 3, 1]
    assert {before[flow_port] for flow_port in after} == {NARROW.marks.value(1)}
    assert set(after.values()) == {0}


def test_a_layout_with_a_single_generation_cuts_and_keeps_all_the_same(host: Host) -> None:
    enforcer = host.enforcer(Settings(marks=MarkLayout(0b11 << 16)))
    enforcer.apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, FRIEND) as kept, UdpFlow(CLIENT, OTHER) as lost:
        for _ in range(3):
            enforcer.apply(view(FRIEND, OTHER))
            assert kept.asks()
            assert lost.asks()

            enforcer.apply(view(FRIEND))

            assert kept.asks()
            assert not lost.asks()


@contextmanager
def flood(flow: UdpFlow) -> Iterator[None]:
    """The client of a flow sends without pause."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            flow.asks()
            time.sleep(0)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def test_a_connection_that_sends_all_the_time_never_gets_an_old_number_to_pass_with(host: Host) -> None:
    """Its mark is written again between the clearing and the commit, but never with the number to come."""
    enforcer = host.enforcer(NARROW)
    with UdpFlow(CLIENT, OTHER) as flow:
        for _ in range(2 * GENERATIONS):
            enforcer.apply(view(FRIEND, OTHER))
            assert flow.asks()
            with flood(flow):
                enforcer.apply(view(FRIEND))
            flow.drain()

            assert not flow.asks()


def test_marks_of_an_earlier_installation_let_nothing_pass(host: Host) -> None:
    host.enforcer().apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, OTHER) as flow:
        assert flow.asks()
        host.kernel().clear_rules()

        host.enforcer().apply(view(FRIEND))

        assert not flow.asks()


def test_rules_that_disagree_about_the_number_are_not_believed(host: Host) -> None:
    """Somebody puts an old number into one rule: connections of that time must not come back."""
    enforcer = host.enforcer()
    enforcer.apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, OTHER) as flow:
        assert flow.asks()
        for friends in ([FRIEND], [FRIEND, OTHER], [FRIEND]):
            enforcer.apply(view(*friends))
        layout = Settings().marks
        old = f"{layout.value(1):#x}/{layout.mask:#x}"
        host.iptables(f"-R PODGATE-IN 1 -m connmark --mark {old} -j RETURN")
        assert flow.asks(), "this is the damage"
        enforcer.forget()

        enforcer.apply(view(FRIEND))

        assert not flow.asks()


# Other people's bits


def test_bits_of_the_mark_that_are_not_ours_stay(host: Host) -> None:
    host.iptables(
        f"-A OUTPUT -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x60001234/{FOREIGN_BITS:#x}"
    )
    enforcer = host.enforcer(NARROW)
    enforcer.apply(view(FRIEND, OTHER))
    with UdpFlow(CLIENT, FRIEND) as kept, UdpFlow(CLIENT, OTHER) as lost:
        for number in range(3 * GENERATIONS):
            kept.asks()
            lost.asks()
            enforcer.apply(view(FRIEND, *([OTHER] if number % 2 else [])))

        found = marks(host)

    mask = ~NARROW.marks.mask
    assert [found[flow_port] & mask for flow_port in (kept.port, lost.port)] == [0x60001234, 0x60001234]


def test_clearing_takes_our_bits_off_every_connection_of_the_family_and_no_others(host: Host) -> None:
    own(host, "fd00::2", "fd00::9")
    for family in (4, 6):
        host.iptables("-A OUTPUT -j CONNMARK --set-xmark 0xffffffff/0xffffffff", family)
    with (
        UdpFlow(CLIENT, FRIEND) as four,
        UdpFlow("fd00::2", "fd00::9") as six,
        TcpFlow(CLIENT, FRIEND) as tcp,
    ):
        assert four.asks()
        assert six.asks()
        host.iptables("-F OUTPUT")
        host.iptables("-F OUTPUT", 6)

        Conntrack(host.runner).clear_marks(4, 0x1FFF0000)

        assert marks(host)[four.port] == FOREIGN_BITS
        assert f"mark={FOREIGN_BITS}" in host.run("conntrack", "-L", "-p", "tcp")
        assert "mark=4294967295" in host.run("conntrack", "-L", "-f", "ipv6", "-p", "udp")
        assert tcp.carries()


def test_clearing_an_empty_table_is_no_error(host: Host) -> None:
    Conntrack(host.runner).clear_marks(6, 0x1FFF0000)
