"""What an earlier podgate left in the other iptables backend goes once ours are in force in the right one.

Both backends are asked for each packet, and each would mark connections with a generation of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.kernel import Kernel
from controller.dataplane.tools import Backend, Result, Runner, ToolMissingError
from tests.kernel.host import Host, applied, needs_host
from tests.kernel.neighbours import move_in
from tests.kernel.test_backend_detection import state
from tests.kernel.test_enforcement import ANOTHER_WEB, CLOSED, SHOP
from tests.unit.builder import cluster

pytestmark = needs_host

OTHER = {Backend.NFT: Backend.LEGACY, Backend.LEGACY: Backend.NFT}


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def leftovers(host: Host) -> Host:
    """The host after a podgate that took the other backend for the right one."""
    earlier = NodeEnforcement(OTHER[host.backend], host.runner)
    applied(earlier.apply(SHOP.view()))
    earlier.close()
    return host


def own_chains(host: Host, backend: Backend) -> list[str]:
    return [name for family in (4, 6) for name in Kernel(family, backend, host.runner).own_chains()]


def test_rules_left_in_the_other_backend_are_removed_and_counted(leftovers: Host) -> None:
    host = leftovers
    node = host.node()

    results = applied(node.apply(ANOTHER_WEB.view()))

    assert all(result.swept > 5 for result in results)
    assert own_chains(host, OTHER[host.backend]) == []
    applied(node.apply(ANOTHER_WEB.view()))
    assert node.verify(ANOTHER_WEB.view()) == []


def test_what_others_have_in_the_other_backend_stays(host: Host) -> None:
    move_in(host, OTHER[host.backend])
    before = host.everything([OTHER[host.backend]]).partition("create pg")[0]
    earlier = NodeEnforcement(OTHER[host.backend], host.runner)
    applied(earlier.apply(SHOP.view()))
    earlier.close()

    applied(host.node().apply(SHOP.view()))

    assert host.everything([OTHER[host.backend]]).partition("create pg")[0] == before


def test_ours_are_in_force_before_the_others_go(leftovers: Host) -> None:
    host = leftovers
    watching = Watching(host)

    applied(host.node(runner=watching).apply(SHOP.view()))

    assert watching.ours_at_removal
    assert all(watching.ours_at_removal)


class Watching:
    """Sees whether our chains are there each time that something is written to the other backend."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.ours_at_removal: list[bool] = []

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if command[0].endswith(f"{OTHER[self._host.backend]}-restore"):
            family = 6 if command[0].startswith("ip6") else 4
            kernel = Kernel(family, self._host.backend, self._host.runner)
            self.ours_at_removal.append(kernel.is_alive())
        return self._host.runner.run(command, text)


def test_sets_that_only_the_others_used_go_with_the_next_application(leftovers: Host) -> None:
    host = leftovers
    node = host.node()
    applied(node.apply(CLOSED.view()))

    applied(node.apply(CLOSED.view()))

    assert node.verify(CLOSED.view()) == []


def test_rules_that_appear_later_are_a_drift_and_are_removed_by_a_repair(host: Host) -> None:
    node = host.node()
    applied(node.apply(SHOP.view()))
    other = NodeEnforcement(OTHER[host.backend], host.runner)
    applied(other.apply(SHOP.view()))  # which takes ours for leftovers
    other.close()

    drifts = {drift.text for drift in node.verify(SHOP.view())}
    results = applied(node.repair(SHOP.view()))

    assert any("are left in the other iptables backend" in text for text in drifts)
    assert all(result.swept for result in results)
    assert node.verify(SHOP.view()) == []
    assert own_chains(host, OTHER[host.backend]) == []


def test_looking_for_leftovers_creates_nothing(tmp_path: Path) -> None:
    with Host(Backend.NFT, tmp_path) as host:
        node = host.node()
        for step in (node.apply, node.verify, node.repair):
            step(SHOP.view())

        assert state(host)[1:] == ("", "")


def test_looking_for_leftovers_creates_no_nft_tables(tmp_path: Path) -> None:
    with Host(Backend.LEGACY, tmp_path) as host:
        node = host.node()
        for step in (node.apply, node.verify, node.repair):
            step(SHOP.view())

        assert state(host)[0] == ""


class Refusing:
    """A machine on which the other backend cannot be written, or its tools are not there at all."""

    def __init__(self, host: Host, *, missing: bool = False) -> None:
        self._host = host
        self._missing = missing
        self.mended = False

    def run(self, command: Sequence[str], text: str = "") -> Result:
        other = f"-{OTHER[self._host.backend]}-"
        if other in command[0] and self._missing:
            raise ToolMissingError(command, f"{command[0]} is not installed")
        if command[0].endswith(f"{other}restore") and not self.mended:
            return Result(1, "", "it refuses")
        return self._host.runner.run(command, text)


def test_leftovers_that_cannot_be_removed_are_told_and_tried_again(leftovers: Host) -> None:
    host = leftovers
    runner = Refusing(host)
    node = host.node(runner=runner)

    results = node.apply(SHOP.view())

    assert len(results) == 2
    for each in results:
        assert isinstance(each, FamilyFailure)
        assert "the rules are in force, but beside them" in each.reason
    runner.mended = True
    assert all(result.swept for result in applied(node.apply(SHOP.view())))


def test_a_machine_without_the_tools_of_the_other_backend_has_no_leftovers(host: Host) -> None:
    host.iptables("-N OTHERS", backend=OTHER[host.backend])
    runner: Runner = Refusing(host, missing=True)
    node = host.node(runner=runner)

    assert all(result.swept == 0 for result in applied(node.apply(SHOP.view())))
    assert node.verify(SHOP.view()) == []


def test_a_family_that_fails_keeps_what_still_enforces_in_the_other_backend(leftovers: Host) -> None:
    host = leftovers

    class Failing:
        def run(self, command: Sequence[str], text: str = "") -> Result:
            if command[0] == f"ip6tables-{host.backend}-restore":
                return Result(1, "", "it broke")
            return host.runner.run(command, text)

    results = host.node(runner=Failing()).apply(SHOP.view())

    assert [each.family for each in results if isinstance(each, FamilyFailure)] == [6]
    assert Kernel(4, OTHER[host.backend], host.runner).own_chains() == ()
    assert Kernel(6, OTHER[host.backend], host.runner).own_chains() != ()


def test_an_empty_view_leaves_the_other_backend_clean_too(leftovers: Host) -> None:
    host = leftovers
    bare = cluster().node("node-1", "172.16.0.1").view()
    node = host.node()

    applied(node.apply(bare))

    assert own_chains(host, OTHER[host.backend]) == []
