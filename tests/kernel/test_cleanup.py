"""Cleanup takes everything of podgate's away and leaves everything else byte for byte as it was."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from controller.agent.node import NodeEnforcement, cleanup
from controller.dataplane.settings import Settings
from controller.dataplane.tools import Backend, Result, Runner
from tests.kernel.host import Host, applied, needs_host
from tests.kernel.neighbours import move_in
from tests.unit.builder import block, cluster, labels, pods, port

pytestmark = needs_host

OTHER = {Backend.NFT: Backend.LEGACY, Backend.LEGACY: Backend.NFT}
STRICT = Settings(gates=(4, 6), unknown_pods_denied=True)
SHOP = (
    cluster()
    .ns("shop")
    .pod("shop/web", ip=("10.0.0.1", "fd00::1"), labels={"app": "web"})
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"}, ports=["sql:5432"])
    .policy(
        "shop/all",
        {
            "podSelector": labels(app="db"),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [pods(app="web"), block("10.0.0.0/8", "10.1.0.0/16")]}],
            "egress": [{"to": [pods(app="db")], "ports": [port("sql")]}],
        },
    )
    .node("node-1", "172.16.0.1", pods=["10.0.0.0/24", "fd00::/64"])
)


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def test_a_busy_node_is_byte_for_byte_as_before(host: Host) -> None:
    move_in(host, *Backend)
    before = host.everything()
    node = host.node(STRICT)
    applied(node.apply(SHOP.view()))
    applied(node.apply(SHOP.pod("shop/db-1", ip=("10.0.0.19", "fd00::13"), labels={"app": "db"}).view()))

    assert cleanup(host.runner) == []

    assert host.everything() == before


def test_foreign_rules_that_come_later_stay_where_they_are(host: Host) -> None:
    move_in(host, host.backend)
    applied(host.node(STRICT).apply(SHOP.view()))
    host.iptables("-I FORWARD -p udp -j ACCEPT")
    host.iptables("-A FORWARD -p sctp -j ACCEPT")
    host.iptables("-I INPUT 2 -p udp -j ACCEPT")
    with_ours = host.everything([host.backend])

    assert cleanup(host.runner) == []

    def foreign(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith((":PODGATE", "-A PODGATE", *OURS))]

    assert foreign(host.everything([host.backend])) == foreign(with_ours)


OURS = (
    "-A FORWARD -j PODGATE",
    "-A INPUT -j PODGATE-IN",
    *(f"{verb} pg{family}-" for verb in ("create", "add") for family in (4, 6)),
)
"""How lines of ours begin, and of nobody else; chains of others may begin with our name."""


def test_the_busy_nodes_own_chain_of_a_similar_name_is_not_taken_for_ours(host: Host) -> None:
    move_in(host, host.backend)

    assert cleanup(host.runner) == []

    assert "-A PODGATEWAY -j RETURN" in host.iptables("-S PODGATEWAY")


def test_leftovers_in_the_other_backend_go(host: Host) -> None:
    move_in(host, *Backend)
    before = host.everything()
    other = NodeEnforcement(OTHER[host.backend], host.runner, STRICT)
    applied(other.apply(SHOP.view()))
    applied(host.node(STRICT).apply(SHOP.view()))
    other.close()

    assert cleanup(host.runner) == []

    assert host.everything() == before


def test_what_an_interrupted_change_or_another_version_left_goes(host: Host) -> None:
    move_in(host, host.backend)
    before = host.everything([host.backend])
    applied(host.node(STRICT).apply(SHOP.view()))
    host.run(
        "ipset",
        "restore",
        text="create pg4-aaaaaaaaaaaaaaaa-a hash:ip timeout 60\ncreate pg6-x bitmap:port range 1-9\n",
    )
    host.iptables("-N PODGATE-V9")
    host.iptables("-A PODGATE-V9 -m limit --limit 1/s -j LOG")
    host.iptables("-I PODGATE-D -j MARK --set-xmark 0x1/0x1")
    host.iptables('-I FORWARD 2 -i eth0 -m comment --comment "a \\"quoted\\" word" -g PODGATE-V9')
    host.iptables("-A MYFIREWALL -j PODGATE-V9")

    assert cleanup(host.runner) == []

    assert host.everything([host.backend]) == before


def test_cleaning_up_twice_is_as_good_as_once(host: Host) -> None:
    move_in(host, host.backend)
    applied(host.node(STRICT).apply(SHOP.view()))
    cleanup(host.runner)
    before = host.everything([host.backend])

    assert cleanup(host.runner) == []

    assert host.everything([host.backend]) == before


def test_cleaning_up_an_empty_node_creates_no_table_in_either_backend(host: Host) -> None:
    assert cleanup(host.runner) == []

    assert host.run("nft", "list", "ruleset") == ""
    assert legacy_tables() == ["", ""]


def test_neither_applying_nor_cleaning_up_in_nft_creates_legacy_tables(tmp_path: Path) -> None:
    with Host(Backend.NFT, tmp_path) as host:
        node = host.node()
        applied(node.apply(SHOP.view()))
        node.verify(SHOP.view())
        applied(node.repair(SHOP.view()))
        assert node.is_alive()
        assert cleanup(host.runner) == []

        assert legacy_tables() == ["", ""]


def legacy_tables() -> list[str]:
    return [Path(f"/proc/net/{tool}_names").read_text() for tool in ("ip_tables", "ip6_tables")]


def test_a_table_that_had_to_be_made_stays_and_is_empty(host: Host) -> None:
    """Tables cannot be removed by iptables; the chains of the kernel in it let everything pass."""
    applied(host.node(STRICT).apply(SHOP.view()))

    cleanup(host.runner)

    lines = host.everything([host.backend]).splitlines()
    assert {line for line in lines if line.startswith((":", "-"))} == {
        f":{chain} ACCEPT" for chain in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    }


def test_a_set_that_others_use_is_reported_and_all_else_goes(host: Host) -> None:
    applied(host.node(STRICT).apply(SHOP.view()))
    host.iptables("-A OUTPUT -m set --match-set pg4-known dst -j ACCEPT")

    failures = cleanup(host.runner)

    assert [str(each.family) for each in failures] == ["4"]
    assert "pg4-known" in failures[0].reason
    assert host.run("ipset", "list", "-n").split() == ["pg4-known"]
    assert "PODGATE" not in host.iptables("-S")


class Recording:
    """Notes every call, and the text it was given."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.calls: list[str] = []

    def run(self, command: Sequence[str], text: str = "") -> Result:
        self.calls.append(f"{' '.join(command)}\n{text}")
        return self._runner.run(command, text)


def test_foreign_sets_are_named_in_no_call(host: Host) -> None:
    """One set of a type newer than this ipset makes a bare `ipset save` fail: nothing may ask for all."""
    move_in(host, host.backend)
    recording = Recording(host.runner)
    foreign = host.run("ipset", "list", "-n").split()
    node = host.node(STRICT, recording)

    applied(node.apply(SHOP.view()))
    node.verify(SHOP.view())
    applied(node.repair(SHOP.view()))
    cleanup(recording)

    asked = [call for call in recording.calls if call.startswith("ipset")]
    assert {call.splitlines()[0] for call in asked if not call.startswith("ipset destroy pg")} == {
        "ipset list -n", "ipset restore"
    }  # fmt: skip
    assert [call for call in asked if any(name in call.split() for name in foreign)] == []
