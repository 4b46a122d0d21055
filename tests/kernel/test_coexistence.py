"""Podgate changes its rules beside a kube-proxy and host firewalls that change theirs, and nobody loses any.

The number of changes is that of PODGATE_SOAK_CHANGES (`make soak`), or one for a person who waits.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from controller.agent.enforcer import Applied
from controller.agent.node import NodeEnforcement
from controller.dataplane.kernel import Detours
from controller.dataplane.tools import Backend
from tests.kernel.changes import CHANGES, SHOP, STRICT
from tests.kernel.host import Host, applied, needs_host

pytestmark = needs_host
COUNT = int(os.environ.get("PODGATE_SOAK_CHANGES", "200"))
OTHER = {Backend.NFT: Backend.LEGACY, Backend.LEGACY: Backend.NFT}


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


class Account(msgspec.Struct):
    """What a foreigner says at the end."""

    rounds: int = 0
    failures: list[str] = []
    rules: dict[str, list[str]] = {}


@contextmanager
def foreigner(role: str, backend: Backend) -> Iterator[Account]:
    """Somebody who writes rules meanwhile; the account is complete afterwards."""
    account = Account()
    command = [sys.executable, "-m", "tests.kernel.foreigner", role, str(backend)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield account
        finally:
            output, _ = process.communicate("stop")
    found = msgspec.json.decode(output, type=Account)
    account.rounds, account.failures, account.rules = found.rounds, found.failures, found.rules


@pytest.mark.parametrize("keep_open", [True, False], ids=["process kept open", "process each"])
@pytest.mark.timeout(60 + COUNT)
def test_nobody_loses_a_rule_and_no_error_is_left(host: Host, keep_open: bool) -> None:
    results: list[Applied] = []
    with (
        foreigner("kube-proxy", host.backend) as proxy,
        foreigner("firewall", host.backend) as firewall,
        foreigner("firewall", OTHER[host.backend]) as stranger,
    ):
        node = host.node(STRICT, keep_open=keep_open, families=[4])
        for number in range(COUNT):
            views = [each.view() for each in list(CHANGES.values())[1 + number % (len(CHANGES) - 1)]]
            results += applied(node.apply(views[number // len(CHANGES) % 2]))
            if number % 50 == 49:
                results += applied(node.repair(views[1]))

    assert sum(bool(result.steps) for result in results) > COUNT // 2
    assert [result.retries for result in results if result.retries] == []
    assert node.detours() == {4: Detours()}
    for account in (proxy, firewall, stranger):
        assert account.failures == []
        assert account.rounds > 5
    assert_ours_are_complete(node)
    assert_theirs_are_complete(host, proxy, firewall, stranger)


def assert_ours_are_complete(node: NodeEnforcement) -> None:
    applied(node.apply(SHOP.view()))
    drift = {drift.text for drift in node.verify(SHOP.view())}
    assert drift <= {"a foreign rule stands above podgate's in FORWARD"}
    applied(node.repair(SHOP.view()))
    # The firewall put its rules on top so often that it is not contradicted each time any more.
    assert [drift for drift in node.verify(SHOP.view()) if not drift.deferred] == []


def assert_theirs_are_complete(host: Host, proxy: Account, firewall: Account, stranger: Account) -> None:
    for backend, account, mine in (
        (host.backend, proxy, "-A KUBE-"),
        (host.backend, firewall, "-A FORWARD -s 198.51."),
        (OTHER[host.backend], stranger, "-A FORWARD -s 198.51."),
    ):
        for table, rules in account.rules.items():
            saved = host.run(f"iptables-{backend}-save", "-t", table).splitlines()
            assert sorted(line for line in saved if line.startswith(mine)) == sorted(rules)
    # In their order, too: rules of one chain are never moved past each other.
    for table, rules in firewall.rules.items():
        saved = host.run(f"iptables-{host.backend}-save", "-t", table).splitlines()
        assert [line for line in saved if line.startswith("-A FORWARD -s 198.51.")] == rules
