"""What gets through whatever policies say (rule 2.39): neighbours, and errors about what is allowed."""

import msgspec
import pytest

from controller.dataplane.ruleset import Ruleset
from controller.lab.probing import Outcome
from tests.kernel.mirror import mirror
from tests.kernel.probing import Probe
from tests.kernel.trial import Trial
from tests.kernel.wiring import Topology
from tests.kernel.wording import BOTH, TCP, UDP, egress, ingress, pods, ports, probes

pytestmark = pytest.mark.kernel

WEB_ONLY = egress(ports=ports(80)) | ingress(ports=ports(80)) | BOTH


def forget_neighbours(trial: Trial) -> None:
    for place in trial.lab.plan.places:
        trial.lab.run(place, ["ip", "neighbour", "flush", "all"])


def test_neighbours_find_each_other_under_deny(trial: Trial) -> None:
    """On a bridge, IPv6 neighbours ask for each other through FORWARD."""
    trial.enforce(mirror(trial.lab).policy("x/web", WEB_ONLY).build())
    forget_neighbours(trial)

    trial.expect(
        allowed=probes("x/a", "x/b x/c") + probes("y/a", "x/b"), denied=probes("x/b", "x/a", (TCP, 81))
    )


@pytest.mark.parametrize("lab", [Topology.BRIDGE], indirect=True, scope="session")
def test_without_their_rule_neighbours_on_a_bridge_are_lost(trial: Trial) -> None:
    """So the test above sees what it is meant to see."""
    rulesets = trial.compile(mirror(trial.lab).policy("x/web", WEB_ONLY).build())
    lacking = {
        node: [without_rule("neighbour discovery", each) for each in found]
        for node, found in rulesets.items()
    }
    trial.lab.load_all(lacking, trial.backend)
    forget_neighbours(trial)

    reached = trial.lab.probe_many(trial.in_families(probes("x/a", "x/b")))

    assert reached == [True, False]


def without_rule(comment: str, ruleset: Ruleset) -> Ruleset:
    chains = (
        msgspec.structs.replace(chain, rules=tuple(rule for rule in chain.rules if rule.comment != comment))
        for chain in ruleset.chains
    )
    return msgspec.structs.replace(ruleset, chains=tuple(chains))


def unanswered(trial: Trial, source: str, destination: str, port: int) -> list[Outcome]:
    """What comes of a datagram to a port where nobody listens, in each family."""
    probe = Probe(source, destination, UDP, port, listening=False)
    return trial.lab.outcomes(trial.in_families([probe]))


@pytest.mark.parametrize("destination", ["y/b", "y/d"], ids=["same-node", "other-node"])
def test_the_news_that_nobody_listens_comes_back(trial: Trial, destination: str) -> None:
    """An ICMP error about an allowed packet: into a pod nothing may enter, out of one nothing may leave."""
    cluster = mirror(trial.lab).policy("x/out", egress(ports=ports(4444, protocol=UDP)) | BOTH)
    trial.enforce(cluster.policy("y/in", ingress(ports=ports(4444, protocol=UDP)) | BOTH).build())

    assert unanswered(trial, "x/a", destination, 4444) == [Outcome.REFUSED] * 2


def test_no_news_comes_back_about_what_is_denied(trial: Trial) -> None:
    trial.enforce(mirror(trial.lab).policy("x/out", egress(ports=ports(4444, protocol=UDP)) | BOTH).build())

    assert unanswered(trial, "x/a", "y/b", 4445) == [Outcome.SILENT] * 2
    assert unanswered(trial, "y/a", "x/a", 4444) == [Outcome.SILENT] * 2


@pytest.mark.parametrize("family", [4, 6])
def test_a_narrow_link_makes_itself_known_to_an_isolated_pod(trial: Trial, family: int) -> None:
    """The other node says that packets must be smaller; FORWARD of this one has to let that in."""
    policy = pods(pod="a") | egress(ports=ports(5000)) | BOTH
    trial.enforce(mirror(trial.lab).policy("x/out", policy).build())
    to_the_pod = ["ip", "link", "set", "pod0", "mtu"]
    trial.lab.run("node-2", [*to_the_pod, "1300"])
    try:
        with trial.lab.flow("x/a", "x/c", 5000, family=family) as flow:
            while flow.heard < 500_000 and flow.goes_on():
                pass
            route = trial.lab.run("x/a", ["ip", "route", "get", trial.lab.address("x/c", family)])
    finally:
        trial.lab.run("node-2", [*to_the_pod, "1500"])

    assert "mtu 1300" in route
    assert flow.heard >= 500_000
