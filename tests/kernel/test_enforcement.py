"""Rules get into the kernel, stay as they are where nothing changes, and come back whatever others do."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.agent.enforcer import Applied, Cause
from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane import names
from controller.dataplane.compile import FAMILIES, compile_family
from controller.dataplane.edits import DeleteRule, InsertRule, ReplaceChain
from controller.dataplane.plan import Commit, plan
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.tools import Backend, Result, Runner, ToolMissingError
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Direction
from tests.kernel.host import TOOLS, Host, applied, kinds, needs_host
from tests.kernel.loopback import UdpFlow, own
from tests.kernel.test_restore_loads import everything
from tests.unit.builder import ClusterBuilder, block, cluster, labels, pods, port

pytestmark = needs_host

SHOP = (
    cluster()
    .ns("shop")
    .pod("shop/web", ip=("10.0.0.1", "fd00::1"), labels={"app": "web"}, node="elsewhere")
    .pod("shop/api", ip=("10.0.0.2", "fd00::2"), labels={"app": "api"})
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
    .policy(
        "shop/api",
        {
            "podSelector": labels(app="api"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [pods(app="db")], "ports": [port(5432), port(8000, end=9000)]}],
        },
    )
)
"""Two local pods, one isolated for ingress and one for egress, and a peer on another node."""

ANOTHER_DB = SHOP.pod("shop/db-1", ip=("10.0.0.19", "fd00::13"), labels={"app": "db"})
CLOSED = SHOP.policy("shop/db", {"podSelector": labels(app="db")})
ANOTHER_WEB = SHOP.pod("shop/web-1", ip=("10.0.9.1", "fd00:9::1"), labels={"app": "web"}, node="elsewhere")


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def wanted(view: NodeView, family: int = 4, settings: Settings = DEFAULTS, generation: int = 1) -> Ruleset:
    """What the kernel should hold, as it says it: sets have no comments there."""
    found = compile_family(view, family, replace(settings, generation=generation))
    return replace(found, sets=tuple(replace(each, comment="") for each in found.sets))


# Applying


EVERYTHING = (
    SHOP.policy(
        "shop/blocks",
        {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [block("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"), block("fd00::/8", "fd01::/16")]}
            ],
            "egress": [
                {"to": [block("0.0.0.0/0"), block("::/0")], "ports": [port(each) for each in range(1, 60, 2)]}
            ],
        },
    )
    .policy(
        "shop/names",
        {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [
                {"to": [pods(app="db")], "ports": [port("sql"), port("dns", "UDP"), port("sctp", "SCTP")]}
            ],
        },
    )
    .pod("shop/db", labels={"app": "db"}, ports=["sql:5432", "dns:53/UDP", "sctp:9/SCTP"])
    .node("node-1", "172.16.0.1", pods=["10.0.0.0/24", "fd00::/64"])
)  # fmt: skip
"""Each kind of set and of match."""


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULTS,
        Settings(gates=(4, 6), unknown_pods_denied=True, own_node_egress_allowed=True),
        Settings(gates=(), hairpin_by_bpf=False, bucket_size=1),
    ],
    ids=["default", "gates and unknown pods", "no gates and no bpf"],
)
def test_what_was_applied_is_read_back_value_by_value(host: Host, settings: Settings) -> None:
    view = EVERYTHING.view()
    node = host.node(settings)

    applied(node.apply(view))

    assert node.verify(view) == []
    for family in FAMILIES:
        assert host.kernel(family).read() == wanted(view, family, settings)


def test_applying_again_takes_no_steps(host: Host) -> None:
    node = host.node()
    applied(node.apply(SHOP.view()))

    assert [kinds(result) for result in applied(node.apply(SHOP.view()))] == [[], []]


def test_a_restart_changes_nothing_but_the_generation(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))
    before = host.kernel().read()

    results = applied(host.node().apply(SHOP.view()))

    assert [kinds(result) for result in results] == [["Commit"], ["Commit"]]
    assert [result.generation for result in results] == [2, 2]
    assert host.kernel().read() == wanted(SHOP.view(), generation=2)
    assert host.kernel().read().sets == before.sets


def test_a_preview_after_a_restart_shows_no_steps(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))

    assert host.node().preview(SHOP.view()) == {4: (), 6: ()}


def test_a_preview_changes_nothing(host: Host) -> None:
    before = host.everything()

    steps = host.node().preview(SHOP.view())

    assert all(steps.values())
    assert host.everything() == before


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(SHOP, ANOTHER_WEB, ["AddEntries"], id="a peer comes"),
        pytest.param(ANOTHER_WEB, SHOP, ["RemoveEntries", "Commit"], id="a peer goes"),
        pytest.param(SHOP, ANOTHER_DB, ["Commit", "AddEntries"], id="a pod of a known profile comes"),
        pytest.param(ANOTHER_DB, SHOP, ["RemoveEntries", "Commit", "Commit"], id="a pod of it goes"),
        pytest.param(SHOP, CLOSED, ["Commit", "DestroySets"], id="a policy allows less"),
        pytest.param(CLOSED, SHOP, ["FillSet", "Commit"], id="a policy allows more"),
    ],
)
def test_a_change_takes_the_steps_it_needs_and_no_others(
    host: Host, before: ClusterBuilder, after: ClusterBuilder, expected: list[str]
) -> None:
    enforcer = host.enforcer()
    enforcer.apply(before.view())

    result = enforcer.apply(after.view())

    assert kinds(result) == expected
    assert host.kernel().read() == wanted(after.view(), generation=result.generation)


def test_a_pod_of_a_known_profile_is_one_rule_of_its_bucket(host: Host) -> None:
    enforcer = host.enforcer()
    enforcer.apply(SHOP.view())

    result = enforcer.apply(ANOTHER_DB.view())

    (commit,) = (step for step in result.steps if isinstance(step, Commit))
    inserted = [edit.chain for edit in commit.edits if isinstance(edit, InsertRule)]
    rewritten = [edit.chain.name for edit in commit.edits if isinstance(edit, ReplaceChain)]
    marking = {names.ENTRY, names.NODE_ENTRY, names.DENY}  # the pod's connections are to be judged again
    assert [chain for chain in inserted if chain not in marking] == ["PODGATE-I3"]
    assert set(rewritten) <= marking
    assert len(inserted) + len(rewritten) == len(
        [edit for edit in commit.edits if not isinstance(edit, DeleteRule)]
    )


def test_what_a_change_does_not_concern_keeps_its_counters(host: Host) -> None:
    own(host, "10.0.0.2", "10.0.0.3")
    enforcer = host.enforcer()
    enforcer.apply(SHOP.view())
    with UdpFlow("10.0.0.2", "10.0.0.3") as denied:
        assert not denied.asks()
    before = profile_rules(host)
    assert any(not line.startswith("[0:0]") for line in before)

    enforcer.apply(ANOTHER_DB.view())
    enforcer.apply(SHOP.view())
    enforcer.apply(ANOTHER_WEB.view())
    enforcer.apply(ANOTHER_WEB.policy("shop/more", {"podSelector": labels(app="db"), "ingress": [{}]}).view())

    assert set(before) - set(profile_rules(host)) == {
        line
        for line in before
        if " PODGATE-IP-" in line  # the profile of db was replaced at last
    }


def profile_rules(host: Host) -> list[str]:
    return [line for line in host.rules() if " -A PODGATE-EP-" in line or " -A PODGATE-IP-" in line]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_rule_that_can_be_written_can_be_deleted_by_its_value(host: Host, family: int) -> None:
    kernel = host.kernel(family)
    held = everything(family)
    kernel.execute(Ruleset(family), plan(Ruleset(family), held))
    chain = next(chain for chain in held.chains if chain.name == names.NODE_ENTRY)
    edits = [
        edit
        for number, rule in enumerate(chain.rules)
        for edit in (DeleteRule(chain.name, rule), InsertRule(chain.name, number, rule))
    ]

    kernel.execute(held, [Commit(tuple(edits))])

    assert kernel.read().chains == held.chains


def test_a_set_that_rules_ask_cannot_be_destroyed_by_anybody(host: Host) -> None:
    applied(host.node().apply(SHOP.view()))
    name = host.kernel().read().sets[0].name

    with pytest.raises(AssertionError, match="in use by a kernel component"):
        host.run("ipset", "destroy", name)


# Drift

Damage = Callable[[Host, Ruleset], object]


def profile(ruleset: Ruleset) -> str:
    return next(chain.name for chain in ruleset.chains if names.is_profile(chain.name))


def damage(line: str) -> Damage:
    """Calls of iptables, one a line; {profile} and {bucket} are chains."""

    def inflict(host: Host, ruleset: Ruleset) -> None:
        bucket = next(chain.name for chain in ruleset.chains if names.is_bucket(chain.name))
        for each in line.format(profile=profile(ruleset), bucket=bucket).splitlines():
            host.iptables(each)

    return inflict


def sets(text: str) -> Damage:
    """Lines for `ipset restore`; {name} is a set of ours."""
    return lambda host, ruleset: host.run(
        "ipset", "restore", text=text.format(name=ruleset.sets[0].name) + "\n"
    )


JUMP = "FORWARD -j PODGATE"

DRIFT: dict[str, tuple[Damage, str]] = {
    "the table is flushed": (damage("-F"), "chain FORWARD is missing"),
    "the chains of FORWARD are flushed": (damage("-F FORWARD"), "chain FORWARD is missing"),
    "our entry chain is flushed": (damage("-F PODGATE"), "chain PODGATE: lacks"),
    "a profile is flushed": (damage("-F {profile}"), "chain PODGATE-EP-"),
    "a bucket is flushed": (damage("-F {bucket}"), "chain PODGATE-E2: lacks"),
    "the table is flushed and our chains removed": (damage("-F\n-X"), "chain PODGATE is missing"),
    "our jump is deleted": (damage("-D FORWARD 1"), "chain FORWARD is missing"),
    "our jump from INPUT is deleted": (damage("-D INPUT 1"), "chain INPUT is missing"),
    "our jump is there twice": (damage(f"-A {JUMP}"), "chain FORWARD: "),
    "our jump stands above and below an ACCEPT": (
        damage(f"-I FORWARD -j ACCEPT\n-I {JUMP}"), "chain FORWARD: "),
    "another jump leads to us": (damage("-A FORWARD -j PODGATE"), "chain FORWARD: "),
    "a jump that podgate never writes leads to us": (
        damage("-I FORWARD -i lo -j PODGATE"), "a rule that is not podgate's leads into its chains"),
    "our jump is replaced by one that podgate never writes": (
        damage("-R FORWARD 1 -i lo -j PODGATE"), "chain FORWARD is missing"),
    "a foreign rule stands above our jump": (
        damage("-I FORWARD -j ACCEPT"), "a foreign rule stands above podgate's in FORWARD"),
    "a foreign rule stands above our jump from INPUT": (
        damage("-I INPUT -p tcp -j ACCEPT"), "a foreign rule stands above podgate's in INPUT"),
    "a rule that does nothing stands above our jump": (
        damage("-I FORWARD"), "a foreign rule stands above podgate's in FORWARD"),
    "a rule that does nothing stands in a chain of ours": (
        damage("-I PODGATE"), "chain PODGATE: holds a rule that is not podgate's"),
    "a rule of ours is deleted": (damage("-D PODGATE 1"), "chain PODGATE: lacks 1"),
    "a rule of ours is replaced by one we could have written": (
        damage("-R {profile} 1 -j RETURN"), "chain PODGATE-EP-"),
    "a rule of ours is replaced by a foreign one": (
        damage("-R PODGATE 1 -j ACCEPT"), "chain PODGATE: holds a rule that is not podgate's"),
    "a foreign rule stands in a chain of ours": (
        damage("-I PODGATE 3 -p tcp --tcp-flags SYN SYN -j LOG"), "chain PODGATE: holds a rule that"),
    "a foreign rule stands in a profile": (
        damage("-I {profile} -j ACCEPT"), "holds a rule that is not podgate's"),
    "a foreign rule stands in a chain that is empty": (
        damage("-A PODGATE-D -j MARK --set-mark 1\n-D PODGATE-D 1\n-D PODGATE-D 1\n-D PODGATE-D 1"),
        "chain PODGATE-D: holds a rule that is not podgate's"),
    "the last rule of a profile is deleted": (damage("-D {profile} 2"), "chain PODGATE-EP-"),
    "rules of a profile change places": (
        damage("-D {profile} 2\n-I {profile} -m comment --comment isolated -g PODGATE-D"),
        "in another order"),
    "a chain is there that should not be": (damage("-N PODGATE-EP-aaaaaaaaaaaaaaaa"), "should not be there"),
    "a set is emptied": (sets("flush {name}"), "lacks 10.0.0."),
    "an entry is added to a set": (sets("add {name} 192.0.2.1"), "holds 192.0.2.1 and should not"),
    "entries are exchanged": (sets("flush {name}\nadd {name} 192.0.2.1"), "holds 192.0.2.1 and should not"),
    "a set is there that should not be": (sets("create pg4-aaaaaaaaaaaaaaaa hash:ip"), "should not be there"),
    "a set of our name is of another kind": (
        sets("create pg4-aaaaaaaaaaaaaaaa bitmap:port range 1-9"), "is not of podgate's making"),
    "a copy of a set was left over": (
        sets("create {name}-a hash:net\nadd {name}-a 10.0.0.0/8"), "should not be there"),
}  # fmt: skip


@pytest.fixture(params=list(Backend), scope="module")
def standing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, NodeEnforcement]]:
    """A node on which the shop stands already; whoever damages it mends it too."""
    with Host(request.param, tmp_path_factory.mktemp("host")) as host:
        node = host.node(families=[4])
        applied(node.apply(SHOP.view()))
        yield host, node


@pytest.mark.parametrize(("inflict", "text"), DRIFT.values(), ids=DRIFT.keys())
def test_drift_is_seen_told_and_mended(
    standing: tuple[Host, NodeEnforcement], inflict: Damage, text: str
) -> None:
    host, node = standing
    inflict(host, host.kernel().read())

    seen = [str(drift) for drift in node.verify(SHOP.view())]
    (mended,) = applied(node.repair(SHOP.view()))

    assert any(text in each for each in seen), seen
    assert mended.cause is Cause.DRIFT
    assert node.verify(SHOP.view()) == []
    assert host.kernel().read() == wanted(SHOP.view(), generation=mended.generation)
    # Once is enough: what is mended stays so, and the next repair has nothing to do.
    assert [kinds(result) for result in applied(node.repair(SHOP.view()))] == [[]]


def test_verify_names_what_differs_and_nothing_else(host: Host) -> None:
    node = host.node()
    applied(node.apply(SHOP.view()))
    host.iptables("-I PODGATE -j ACCEPT")

    assert [str(drift) for drift in node.verify(SHOP.view())] == [
        "IPv4: chain PODGATE: holds a rule that is not podgate's"
    ]


def test_a_foreign_accept_above_our_jump_lets_nothing_through_after_the_repair(host: Host) -> None:
    own(host, "10.0.0.2", "10.0.0.9")
    node = host.node()
    applied(node.apply(SHOP.view()))
    host.iptables("-I INPUT -j ACCEPT")
    with UdpFlow("10.0.0.2", "10.0.0.9") as flow:
        assert flow.asks()

        node.repair(SHOP.view())

        assert not flow.asks()
    assert "-A INPUT -j ACCEPT" in host.iptables("-S INPUT"), "the foreign rule is only put in its place"


@pytest.mark.parametrize(
    "inflict",
    [
        pytest.param(sets("flush pg4-iso-e"), id="the gate is emptied"),
        pytest.param(damage("-F {profile}"), id="a profile is flushed"),
        pytest.param(damage("-F {bucket}"), id="a bucket is flushed"),
        pytest.param(damage("-I {profile} -j RETURN"), id="a profile is opened"),
        pytest.param(damage("-I PODGATE-D -j RETURN"), id="denial is opened"),
        pytest.param(damage("-F"), id="the table is flushed"),
        pytest.param(damage("-F INPUT"), id="the jump is gone"),
    ],
)
def test_a_connection_that_slipped_through_a_damage_is_cut_by_its_repair(host: Host, inflict: Damage) -> None:
    own(host, "10.0.0.2", "10.0.0.9")
    node = host.node(Settings(gates=(4, 6)), families=[4])
    applied(node.apply(SHOP.view()))
    inflict(host, host.kernel().read())
    with UdpFlow("10.0.0.2", "10.0.0.9") as flow:
        assert flow.asks(), "the damage opens nothing, so that there is nothing to test"

        applied(node.repair(SHOP.view()))

        assert not flow.asks()


def test_foreign_chains_and_sets_of_similar_names_are_left_alone(host: Host) -> None:
    host.restore(
        "*mangle\n:PODGATEWAY - [0:0]\n:podgate - [0:0]\n:XPODGATE-E - [0:0]\n:PODGATE_X - [0:0]\n"
        "-A FORWARD -j PODGATEWAY\n-A PODGATEWAY -j podgate\n-A podgate -j ACCEPT\n"
        "-A PODGATE_X -j DROP\nCOMMIT\n"
    )
    host.run(
        "ipset",
        "restore",
        text="create pg4x hash:ip\nadd pg4x 10.0.0.1\ncreate pg4_iso-e hash:ip\ncreate pg40-a hash:ip\n",
    )
    before = host.everything()
    node = host.node()

    applied(node.apply(SHOP.view()))
    damage("-F PODGATE\n-I FORWARD -j PODGATEWAY")(host, host.kernel().read())
    host.iptables("-D FORWARD -j PODGATEWAY")
    applied(node.repair(SHOP.view()))

    assert node.verify(SHOP.view()) == []
    kept = set(host.everything().splitlines())
    assert [line for line in before.splitlines() if line not in kept] == []


# The canary


@pytest.mark.parametrize("line", ["-F", "-F FORWARD", "-D FORWARD 1", "-F PODGATE", "-F\n-X"])
def test_the_canary_notices_a_flush_at_once(host: Host, line: str) -> None:
    node = host.node()
    applied(node.apply(SHOP.view()))
    assert node.is_alive()

    damage(line)(host, host.kernel().read())

    assert not node.is_alive()
    node.repair(SHOP.view())
    assert node.is_alive()


def test_the_canary_is_not_fooled_by_words_in_foreign_comments(host: Host) -> None:
    node = host.node()
    applied(node.apply(SHOP.view()))
    host.iptables('-A FORWARD -m comment --comment "PODGATE was here: -j PODGATE" -j ACCEPT')

    host.iptables("-D FORWARD -j PODGATE")

    assert not node.is_alive()


def test_asking_an_empty_node_creates_nothing(host: Host) -> None:
    before = host.run("nft", "list", "ruleset"), legacy_tables()

    node = host.node()

    assert not node.is_alive()
    assert len(node.verify(SHOP.view())) > 0
    assert (host.run("nft", "list", "ruleset"), legacy_tables()) == before


def legacy_tables() -> list[str]:
    return [Path(f"/proc/net/{tool}_names").read_text() for tool in ("ip_tables", "ip6_tables")]


# Families on their own


class Lacking:
    """A machine on which some tools are not installed."""

    def __init__(self, runner: Runner, prefix: str) -> None:
        self._runner = runner
        self._prefix = prefix

    def run(self, command: Sequence[str], text: str = "") -> Result:
        if command[0].startswith(self._prefix):
            raise ToolMissingError(command, f"{command[0]} is not installed")
        return self._runner.run(command, text)


@pytest.mark.parametrize("broken", FAMILIES)
def test_a_family_that_fails_does_not_stop_the_other(host: Host, broken: int) -> None:
    node = host.node(runner=Lacking(host.runner, f"{TOOLS[broken]}-"))

    results = node.apply(SHOP.view())

    failed = [each for each in results if isinstance(each, FamilyFailure)]
    assert [each.family for each in failed] == [broken]
    assert "is not installed" in failed[0].reason
    assert [each.family for each in results if isinstance(each, Applied)] == [10 - broken]
    assert {drift.family for drift in node.verify(SHOP.view())} == {broken}
    other = 10 - broken
    assert host.kernel(other).read() == wanted(SHOP.view(), other)


def test_both_directions_of_a_pod_have_gates_of_their_own(host: Host) -> None:
    applied(host.node(Settings(gates=(4, 6))).apply(SHOP.view()))

    found = {each.name: each.entries for each in host.kernel().read().sets}

    assert found[names.isolated_set(4, Direction.INGRESS)] == ("10.0.0.3",)
    assert found[names.isolated_set(4, Direction.EGRESS)] == ("10.0.0.2",)
