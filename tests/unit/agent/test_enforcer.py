"""One family is brought to what a view says, whatever was there, and whatever fails on the way."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.agent.conntrack import Conntrack
from controller.agent.enforcer import ATTEMPTS, Applied, Cause, Enforcer
from controller.agent.node import FamilyFailure, NodeEnforcement, cleanup, differences
from controller.dataplane.backend import detect
from controller.dataplane.compile import compile_family
from controller.dataplane.kernel import Kernel, KernelError
from controller.dataplane.ruleset import Chain, Return, Rule, Ruleset
from controller.dataplane.settings import DropLog, MarkLayout, Settings
from controller.dataplane.tools import Backend, Result, ToolMissingError
from controller.engine.rulesets import NodeView
from tests.unit.builder import ClusterBuilder, cluster, labels, pods
from tests.unit.fakehost import FakeHost, no_link

SHOP = (
    cluster()
    .pod("shop/web", ip=("10.0.9.1", "fd00:9::1"), labels={"app": "web"}, node="elsewhere")
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)
MORE = SHOP.pod("shop/web-1", ip=("10.0.9.2", "fd00:9::2"), labels={"app": "web"}, node="elsewhere")
PLAIN = Settings(gates=())
NARROW = Settings(gates=(), marks=MarkLayout(0b111))
BROKEN = Result(1, "", "it broke")


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture(autouse=True)
def no_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """`NodeEnforcement` opens its channels itself; no test of a fake machine may reach the real one."""
    monkeypatch.setattr("controller.dataplane.kernel.SetLink.__init__", lambda _: no_link())


def enforcer(
    host: FakeHost,
    settings: Settings = PLAIN,
    pauses: list[float] | None = None,
    *,
    keep_established: bool = False,
) -> Enforcer:
    """Podgate, just started on a machine."""
    sleep: Callable[[float], None] = (pauses if pauses is not None else []).append
    kernel = Kernel(4, Backend.NFT, host, sleep, no_link)
    return Enforcer(kernel, settings, Conntrack(host), keep_established=keep_established, sleep=sleep)


def kinds(result: Applied) -> list[str]:
    return [type(step).__name__ for step in result.steps]


def wanted(built: ClusterBuilder, generation: int, settings: Settings = PLAIN) -> Ruleset:
    found = compile_family(built.view(), 4, replace(settings, generation=generation))
    return replace(found, sets=tuple(replace(each, comment="") for each in found.sets))


def read(host: FakeHost) -> Ruleset:
    return Kernel(4, Backend.NFT, host).read()


# Applying


def test_an_application_says_what_it_did(host: FakeHost) -> None:
    result = enforcer(host).apply(SHOP.view())

    assert (result.family, result.cause, result.generation, result.retries) == (4, Cause.CHANGE, 1, 0)
    assert kinds(result) == ["FillSet", "Commit"]
    assert read(host) == wanted(SHOP, 1)


def test_the_kernel_is_read_once_and_then_remembered(host: FakeHost) -> None:
    podgate = enforcer(host)

    for built in (SHOP, MORE, SHOP):
        podgate.apply(built.view())

    assert len(host.called("-save")) == 1


def test_what_was_forgotten_is_read_again(host: FakeHost) -> None:
    podgate = enforcer(host)
    podgate.apply(SHOP.view())
    host.chains[4]["PODGATE"].clear()
    assert kinds(podgate.apply(SHOP.view())) == []

    podgate.forget()

    assert kinds(podgate.apply(SHOP.view(), Cause.DRIFT)) == ["Commit"]


def test_after_a_bug_in_the_middle_the_kernel_is_read_again(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken before it is in the kernel, and not what was remembered."""
    podgate = enforcer(host)
    podgate.apply(MORE.view())

    with monkeypatch.context() as patched:
        patched.setattr(Kernel, "_commit", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            podgate.apply(SHOP.view())

    assert podgate.held is None
    assert podgate.apply(MORE.view()).generation > 1
    assert read(host).sets == wanted(MORE, 1).sets


# Generations


def test_a_change_that_only_adds_peers_keeps_the_generation(host: FakeHost) -> None:
    podgate = enforcer(host)
    podgate.apply(SHOP.view())

    result = podgate.apply(MORE.view())

    assert (kinds(result), result.generation) == (["AddEntries"], 1)


def test_a_change_that_takes_peers_away_raises_it_last(host: FakeHost) -> None:
    podgate = enforcer(host)
    podgate.apply(MORE.view())

    result = podgate.apply(SHOP.view())

    assert (kinds(result), result.generation) == (["RemoveEntries", "Commit"], 2)


def test_the_first_application_of_a_process_raises_it_as_the_last_one_may_have_been_interrupted(
    host: FakeHost,
) -> None:
    enforcer(host).apply(SHOP.view())
    podgate = enforcer(host)

    results = [podgate.apply(SHOP.view()) for _ in range(2)]

    assert [(kinds(each), each.generation) for each in results] == [(["Commit"], 2), ([], 2)]


def test_it_is_never_raised_where_established_connections_are_kept(host: FakeHost) -> None:
    for built in (MORE, SHOP, MORE):
        assert enforcer(host, keep_established=True).apply(built.view()).generation == 1


def test_marks_are_cleared_before_the_first_installation(host: FakeHost) -> None:
    enforcer(host).apply(SHOP.view())

    tools = [command[0] for command, _ in host.calls]
    assert host.called("conntrack") == [(("conntrack", "-U", "-f", "ipv4", "-m", "0/0x1fff0000"), "")]
    assert tools.index("conntrack") < tools.index("iptables-nft-restore")


def test_marks_are_cleared_before_the_first_number_comes_round_and_at_no_other_time(host: FakeHost) -> None:
    podgate = enforcer(host, NARROW)
    podgate.apply(MORE.view())
    cleared: dict[int, int] = {}
    for _ in range(3):
        host.calls.clear()
        generation = podgate.apply(SHOP.view()).generation
        cleared[generation] = len(host.called("conntrack"))
        podgate.apply(MORE.view())

    assert cleared == {2: 0, 3: 0, 1: 1}


def test_of_a_layout_with_one_generation_marks_are_cleared_after_each_change(host: FakeHost) -> None:
    podgate = enforcer(host, Settings(gates=(), marks=MarkLayout(0b11)))
    podgate.apply(MORE.view())
    host.calls.clear()

    podgate.apply(SHOP.view())

    assert [command[0] for command, _ in host.calls][-1] == "conntrack"


# Failures


def failing(words: str, times: int) -> Callable[[Sequence[str], str], Result | None]:
    left = [BROKEN] * times
    return lambda command, _: left.pop() if left and words in " ".join(command) else None


@pytest.mark.parametrize("words", ["-save", "ipset list", "ipset restore", "-restore --noflush"])
@pytest.mark.parametrize("times", range(1, ATTEMPTS))
def test_after_a_failure_the_kernel_is_read_and_the_rest_done(host: FakeHost, words: str, times: int) -> None:
    pauses: list[float] = []
    host.trouble = failing(words, times)

    result = enforcer(host, pauses=pauses).apply(SHOP.view())

    assert result.retries == times
    assert pauses == [0.05, 0.1, 0.2][:times]
    assert read(host) == wanted(SHOP, result.generation)


def test_a_failure_that_stays_is_raised_and_the_next_application_goes_on(host: FakeHost) -> None:
    podgate = enforcer(host)
    host.trouble = failing("-restore --noflush", ATTEMPTS)

    with pytest.raises(KernelError, match="it broke"):
        podgate.apply(SHOP.view())

    assert podgate.apply(SHOP.view()).retries == 0
    assert read(host).chains == wanted(SHOP, 1).chains


def test_a_generation_that_was_not_reached_is_made_up_for(host: FakeHost) -> None:
    """The entry went, the commit that tells connections failed: what is left differs in the number alone."""
    podgate = enforcer(host)
    podgate.apply(MORE.view())
    host.trouble = failing("-restore --noflush", 1)

    result = podgate.apply(SHOP.view())

    assert (kinds(result), result.generation, result.retries) == (["Commit"], 2, 1)


def test_without_conntrack_the_rules_are_in_force_and_every_application_says_what_is_wrong(
    host: FakeHost,
) -> None:
    def missing(command: Sequence[str], _: str) -> None:
        if command[0] == "conntrack":
            raise ToolMissingError(command, "conntrack is not installed")

    host.trouble = missing
    podgate = enforcer(host)

    for _ in range(2):
        with pytest.raises(KernelError, match=r"the rules are in force, but .*conntrack is not installed"):
            podgate.apply(SHOP.view())
        assert read(host).chains == wanted(SHOP, 1).chains
    host.trouble = lambda _command, _text: None
    podgate.apply(SHOP.view())
    assert len(host.called("conntrack")) > 2 * ATTEMPTS


# Looking


def test_a_preview_is_what_an_application_would_do_and_does_nothing(host: FakeHost) -> None:
    enforcer(host).apply(MORE.view())
    before = read(host)

    steps = enforcer(host).preview(SHOP.view())

    assert [type(step).__name__ for step in steps] == ["RemoveEntries", "Commit"]
    assert read(host) == before
    assert enforcer(host).preview(MORE.view()) == ()


def test_the_expected_is_of_the_generation_in_force(host: FakeHost) -> None:
    podgate = enforcer(host)
    for built in (SHOP, MORE, SHOP, MORE, SHOP):
        podgate.apply(built.view())
    held = read(host)

    assert list(differences(held, podgate.expected(SHOP.view(), held))) == []


# Both families


def node(host: FakeHost) -> NodeEnforcement:
    return NodeEnforcement(Backend.NFT, host, PLAIN)


def view() -> NodeView:
    return SHOP.view()


def test_both_families_are_applied_verified_and_cleaned_up(host: FakeHost) -> None:
    podgate = node(host)
    assert len(podgate.verify(view())) > 0

    results = podgate.apply(view())

    assert [(type(each), each.family) for each in results] == [(Applied, 4), (Applied, 6)]
    assert podgate.verify(view()) == []
    assert podgate.is_alive()
    assert cleanup(host) == []
    assert host.sets == {}
    assert not any(name.startswith("PODGATE") for chains in host.chains.values() for name in chains)
    assert not podgate.is_alive()


@pytest.mark.parametrize("tool", ["iptables", "ip6tables"])
def test_a_family_that_fails_is_told_and_the_other_is_applied(host: FakeHost, tool: str) -> None:
    host.trouble = lambda command, _: BROKEN if command[0].startswith(f"{tool}-") else None

    failed, done = sorted(node(host).apply(view()), key=lambda each: isinstance(each, Applied))

    assert isinstance(failed, FamilyFailure)
    assert "it broke" in failed.reason
    assert isinstance(done, Applied)
    assert failed.family + done.family == 10


def test_a_family_that_cannot_be_read_is_a_drift_and_is_not_alive(host: FakeHost) -> None:
    podgate = node(host)
    podgate.apply(view())
    host.trouble = lambda command, _: BROKEN if command[0] == "ip6tables-nft-save" else None

    assert [str(drift) for drift in podgate.verify(view())] == [
        "IPv6: ip6tables-nft-save -t mangle: exit code 1: it broke"
    ]


def test_a_canary_that_gets_no_answer_is_not_alive(host: FakeHost) -> None:
    podgate = node(host)
    podgate.apply(view())

    def missing(command: Sequence[str], _: str) -> None:
        raise ToolMissingError(command, "gone")

    host.trouble = missing

    assert not podgate.is_alive()


# A node without IPv6


@pytest.fixture
def no_ipv6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel that has none, whose tools therefore fail."""
    monkeypatch.setattr("controller.dataplane.families.INET6", tmp_path / "if_inet6")


def ip6tables_fails(command: Sequence[str], _: str) -> Result | None:
    return BROKEN if command[0].startswith("ip6tables") else None


@pytest.mark.usefixtures("no_ipv6")
def test_without_ipv6_that_family_is_absent_and_no_failure(host: FakeHost) -> None:
    host.trouble = ip6tables_fails
    podgate = node(host)

    results = podgate.apply(view())

    assert [(type(each), each.family) for each in results] == [(Applied, 4)]
    assert podgate.absent().keys() == {6}
    assert "this kernel has no IPv6" in podgate.absent()[6]
    assert host.called("ip6tables") == []
    assert podgate.preview(view()) == {4: ()}
    assert podgate.verify(view()) == []
    assert podgate.is_alive()
    assert [each.family for each in podgate.repair(view())] == [4]


@pytest.mark.usefixtures("no_ipv6")
def test_without_ipv6_the_backend_is_told_by_ipv4_alone(host: FakeHost) -> None:
    host.chains[4]["KUBE-IPTABLES-HINT"] = []
    host.trouble = ip6tables_fails

    assert detect(host) is Backend.NFT


V4_ALONE = (
    cluster()
    .pod("shop/web", ip=("10.0.9.1",), labels={"app": "web"}, node="elsewhere")
    .pod("shop/db", ip=("10.0.0.3",), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
)


def test_tables_that_cannot_be_had_are_no_failure_where_no_pod_has_such_an_address(host: FakeHost) -> None:
    host.trouble = ip6tables_fails
    podgate = node(host)

    results = podgate.apply(V4_ALONE.view())

    assert [(type(each), each.family) for each in results] == [(Applied, 4)]
    assert "no pod of this node has an IPv6 address" in podgate.absent()[6]
    assert "it broke" in podgate.absent()[6]
    tried = len(host.called("ip6tables"))
    assert podgate.apply(V4_ALONE.view())[0].family == 4
    assert podgate.is_alive()
    assert len(host.called("ip6tables")) == tried, "it is not tried for ever"


def test_once_a_pod_has_such_an_address_they_are_a_failure(host: FakeHost) -> None:
    host.trouble = ip6tables_fails
    podgate = node(host)
    podgate.apply(V4_ALONE.view())

    results = podgate.apply(view())

    assert [type(each) for each in results] == [Applied, FamilyFailure]
    assert podgate.absent() == {}
    host.trouble = lambda _command, _text: None
    assert [type(each) for each in podgate.apply(view())] == [Applied, Applied]


def test_where_ipv6_is_switched_off_tables_that_cannot_be_had_are_no_failure(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    switch = tmp_path / "disable_ipv6"
    switch.write_text("1\n")
    monkeypatch.setattr("controller.dataplane.families.DISABLED", (switch,))
    host.trouble = ip6tables_fails
    podgate = node(host)

    assert [type(each) for each in podgate.apply(view())] == [Applied]
    assert "IPv6 is switched off" in podgate.absent()[6]

    switch.write_text("0\n")
    assert [type(each) for each in podgate.apply(view())] == [Applied, FamilyFailure]


def test_where_ipv6_is_switched_off_tables_that_can_be_had_are_written(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be switched on at any time."""
    switch = tmp_path / "disable_ipv6"
    switch.write_text("1\n")
    monkeypatch.setattr("controller.dataplane.families.DISABLED", (switch,))

    assert [each.family for each in node(host).apply(view())] == [4, 6]


# A neighbour that insists on the first place


def test_a_neighbour_that_insists_is_passed_a_few_times_and_then_left_and_told(host: FakeHost) -> None:
    now = 0.0
    podgate = NodeEnforcement(Backend.NFT, host, PLAIN, families=[4], now=lambda: now)
    podgate.apply(view())

    moved = 0
    for _ in range(100):
        now += 5
        if host.chains[4]["FORWARD"][0] != "-j ACCEPT":
            host.chains[4]["FORWARD"].insert(0, "-j ACCEPT")
        drifts = podgate.verify(view())
        assert [drift.text for drift in drifts] == ["a foreign rule stands above podgate's in FORWARD"]
        if drifts[0].deferred:
            continue
        podgate.repair(view())
        moved += 1
        assert host.chains[4]["FORWARD"][0] != "-j ACCEPT"
        assert podgate.verify(view()) == []
        host.chains[4]["FORWARD"].remove("-j ACCEPT")

    assert podgate.displacements() == {4: moved}
    assert 5 <= moved <= 8


def test_other_damage_is_mended_while_a_neighbour_insists(host: FakeHost) -> None:
    now = 0.0
    podgate = NodeEnforcement(Backend.NFT, host, PLAIN, families=[4], now=lambda: now)
    podgate.apply(view())
    for _ in range(5):
        host.chains[4]["FORWARD"].insert(0, "-j ACCEPT")
        podgate.repair(view())
        host.chains[4]["FORWARD"].remove("-j ACCEPT")
    host.chains[4]["FORWARD"] = ["-j ACCEPT"]

    podgate.repair(view())

    assert podgate.verify(view()) == []


def test_cleaning_up_reports_what_it_could_not_remove_and_removes_the_rest(host: FakeHost) -> None:
    node(host).apply(view())
    host.trouble = lambda command, _: BROKEN if command[0] == "iptables-nft-restore" else None

    failures = cleanup(host)

    assert {each.family for each in failures} == {4}
    assert not any(name.startswith("PODGATE") for name in host.chains[6])
    assert not any(name.startswith("pg6-") for name in host.sets)


def test_each_difference_is_a_line() -> None:
    held = Ruleset(4, (Chain("PODGATE-E"), Chain("PODGATE-I", (Rule((), Return()),)), Chain("PODGATE-X")))
    expected = Ruleset(4, (Chain("PODGATE"), Chain("PODGATE-E", (Rule((), Return()),)), Chain("PODGATE-I")))

    assert list(differences(held, expected)) == [
        "chain PODGATE is missing",
        "chain PODGATE-E: lacks 1 of its 1 rules and holds 0 others",
        "chain PODGATE-I: lacks 0 of its 0 rules and holds 1 others",
        "chain PODGATE-X should not be there",
    ]


# The log of denied packets


class WithoutNflog(FakeHost):
    """A machine whose kernel takes no rule that logs."""

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if " -j NFLOG" in text:
            return Result(2, "", "Extension NFLOG revision 0 not supported, missing kernel module?")
        return super().run(command, text)


LOGGING = replace(PLAIN, drop_log=DropLog())


def test_denied_packets_are_logged_where_the_kernel_takes_the_rule(host: FakeHost) -> None:
    podgate = enforcer(host, LOGGING)

    podgate.apply(SHOP.view())

    assert read(host) == wanted(SHOP, 1, LOGGING)
    assert not podgate.log_refusal


def test_a_kernel_without_the_log_enforces_all_the_same() -> None:
    host = WithoutNflog()
    podgate = enforcer(host, LOGGING)

    podgate.apply(SHOP.view())

    assert read(host) == wanted(SHOP, 1)
    assert "NFLOG revision 0 not supported" in podgate.log_refusal


class WithoutCommits(FakeHost):
    """A machine on which no rule at all can be changed."""

    def run(self, command: Sequence[str], text: str = "") -> Result:
        return BROKEN if "COMMIT" in text else super().run(command, text)


def test_what_fails_for_another_reason_does_not_end_the_log() -> None:
    podgate = enforcer(WithoutCommits(), LOGGING)

    with pytest.raises(KernelError):
        podgate.apply(SHOP.view())

    assert not podgate.log_refusal


def test_turning_the_log_off_takes_its_rule_away(host: FakeHost) -> None:
    enforcer(host, LOGGING).apply(SHOP.view())

    enforcer(host).apply(SHOP.view())

    assert "NFLOG" not in " ".join(rule for rules in host.chains[4].values() for rule in rules)
