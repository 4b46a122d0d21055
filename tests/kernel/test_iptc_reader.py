"""python-iptables as a second reader of legacy iptables: it sees what was meant, and what others changed.

Also an oracle for the rest: that rendered rules mean in the kernel what they were meant to, said by a library
that has never seen our parser, nor iptables-save's text.
"""

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.dataplane.backend import legacy_tables
from controller.dataplane.iptc_dump import read_dump
from controller.dataplane.iptc_reader import is_installed, reader_command, reread
from controller.dataplane.parse import parse_rules
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.tools import Backend, LocalRunner, Result, Runner
from tests.kernel.host import Host, applied, needs_host
from tests.kernel.restore import TOOLS, in_namespace, load_command, write_texts
from tests.kernel.test_restore_loads import everything
from tests.property.rulesets import rulesets, without_limits
from tests.unit.builder import block, cluster, labels, pods, port

pytestmark = [
    *needs_host,
    pytest.mark.skipif(
        not is_installed(),
        reason="needs python-iptables, which `hack/setup kernel` installs where gcc and Python.h are",
    ),
]
families = pytest.mark.parametrize("family", TOOLS)

ROOT = Path(__file__).parents[2]
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


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(Backend.LEGACY, tmp_path) as found:
        yield found


def seen(host: Host, runner: Runner | None = None) -> list[str]:
    """The drift that python-iptables sees."""
    drifts = host.node().verify(SHOP.view(), partial(reread, runner or host.runner))
    return [str(drift) for drift in drifts]


# Rendered rules mean what they were meant to


def check_readers_agree(ruleset: Ruleset) -> None:
    family = ruleset.family
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(ruleset, folder)
        read = f"{TOOLS[family]}-legacy-save -t mangle > saved\n{' '.join(reader_command(family))} > dumped"
        in_namespace(f"{load_command(ruleset, 'legacy')}{read}", folder)
        saved, dumped = ((folder / each).read_text() for each in ("saved", "dumped"))
    reading = read_dump(dumped, family)
    assert reading.faults == ()
    assert reading.chains == ruleset.chains
    assert reading.chains == parse_rules(saved, family)


@families
def test_every_match_and_target_means_what_was_meant(family: int) -> None:
    check_readers_agree(everything(family))


@families
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(data=st.data())
def test_arbitrary_rulesets_mean_what_was_meant(family: int, data: st.DataObject) -> None:
    check_readers_agree(without_limits(data.draw(rulesets(family))))  # it cannot read those


def test_a_node_as_applied_has_no_drift(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))

    assert seen(host) == []


# Drift


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ("-F PODGATE", "chain PODGATE: lacks "),
        ("-D FORWARD 1", "chain FORWARD is missing"),
        ("-A PODGATE -j RETURN", "chain PODGATE: lacks 0 of its "),
        (
            "-I PODGATE -p tcp -m tcp --dport 22 -j ACCEPT",
            "chain PODGATE: holds a rule that is not podgate's",
        ),
        ("-A PODGATE -j NFLOG --nflog-group 3 --nflog-prefix x", "chain PODGATE: holds a rule that is not"),
        ("-N PODGATE-X", "chain PODGATE-X should not be there"),
        ("-I INPUT -p udp -j ACCEPT", "a foreign rule stands above podgate's in INPUT"),
        ("-I FORWARD -j NFLOG --nflog-group 3", "a foreign rule stands above podgate's in FORWARD"),
        ("-A FORWARD -i eth0 -j PODGATE", "a rule of FORWARD that is not podgate's leads into its chains"),
    ],
)
def test_drift_is_seen(host: Host, change: str, drift: str) -> None:
    applied(host.node().apply(SHOP.view()))

    host.run("iptables-legacy", "-t", "mangle", *change.split())

    found = seen(host)
    assert len(found) == 1
    assert found[0].startswith(f"IPv4: {drift}")


def test_a_node_without_rules_lacks_them_all_and_no_table_is_made(host: Host) -> None:
    assert "IPv6: chain PODGATE is missing" in seen(host)
    assert legacy_tables(4) | legacy_tables(6) == frozenset()


# What it leaves alone


def test_reading_opens_no_table_but_ours(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))

    assert seen(host) == []

    assert legacy_tables(4) == legacy_tables(6) == {"mangle"}


def test_it_waits_for_the_xtables_lock(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))
    with host.lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        reader = subprocess.Popen(reader_command(4), stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        assert reader.poll() is None
    output, _ = reader.communicate(timeout=30)

    assert read_dump(output, 4).chains != ()


def test_a_lock_that_is_never_released_is_named(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))
    with host.lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = subprocess.run(reader_command(4), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"somebody holds {host.lock}" in done.stderr


# Failures


class Crashing:
    """Has the reader, and nothing else, end with a real segmentation fault."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if tuple(command) == reader_command(4):
            return self._runner.run((sys.executable, "-c", "import ctypes; ctypes.string_at(0)"), text)
        return self._runner.run(command, text)


def test_a_crash_of_the_library_is_reported_and_ends_nothing_else(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))

    found = seen(host, Crashing(LocalRunner()))

    assert len(found) == 1
    assert found[0].startswith("IPv4: ")
    assert "python-iptables crashed with SIGSEGV; it changed nothing" in found[0]


# The command


def podgate(verb: str, *options: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """A verb for a node of the shop example, here."""
    program = [sys.executable, "-c", f"{before}\nfrom controller.cli.main import main; main()"]
    call = [verb, "-f", "examples/shop", "--node", "node-a", *options]
    return subprocess.run([*program, *call], cwd=ROOT, capture_output=True, text=True, check=False)


def test_podgate_verify_of_the_shop_example_with_the_second_reader(host: Host) -> None:
    assert podgate("apply", "--backend", "legacy").returncode == 0

    clean = podgate("verify", "--backend", "legacy", "--reader", "iptc")
    host.run("ip6tables-legacy", "-t", "mangle", "-F", "FORWARD")
    drifted = podgate("verify", "--backend", "legacy", "--reader", "iptc")

    assert (clean.stdout, clean.returncode) == ("", 0)
    assert (drifted.stdout, drifted.returncode) == ("IPv6: chain FORWARD is missing\n", 1)


@pytest.mark.usefixtures("host")
def test_the_nft_backend_is_refused() -> None:
    done = podgate("verify", "--backend", "nft", "--reader", "iptc")

    assert done.returncode == 2
    assert "reads legacy iptables only" in done.stderr


@pytest.mark.usefixtures("host")
def test_without_python_iptables_the_command_says_what_to_install() -> None:
    absent = "import sys; sys.modules['iptc'] = None"

    done = podgate("verify", "--backend", "legacy", "--reader", "iptc", before=absent)

    assert done.returncode == 2
    assert "pip install 'podgate[legacy]'" in done.stderr
