"""Directions in which only policies in audit mode select a pod: counted, never dropped."""

import pytest

from controller.dataplane.compile import NodeCompiler, compile_family
from controller.dataplane.parse import parse
from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.dataplane.simulate import Hook
from controller.engine.rulesets import LocalPod, PolicyRuleset, PortRange, RulesetId, RulesetRule
from controller.engine.tiers import Action, Tier
from controller.objects.kinds import Direction, Protocol
from tests.unit.dataplane.compiled import (
    OUTSIDE,
    chain_names,
    cluster_policy,
    isolated,
    judged,
    lines,
    packet,
    passes,
    view,
)

EGRESS, INGRESS = Direction.EGRESS, Direction.INGRESS
POD, OTHER = "10.0.0.5", "10.0.0.6"
COUNTED = "would be denied"


def audited(
    name: str, *ips: str, directions: tuple[Direction, ...] = (INGRESS,), rulesets: tuple[RulesetId, ...] = ()
) -> LocalPod:
    return LocalPod("shop", name, ips, rulesets=rulesets, audited=directions)


def opens(port: int) -> PolicyRuleset:
    """A policy whose ingress accepts one port."""
    rule = RulesetRule("spec.ingress[0]", any_peer=True, ports=(PortRange(Protocol.TCP, port, port),))
    return PolicyRuleset(RulesetId(Tier.NETWORK_POLICY, 0, "shop", "np", INGRESS), (rule,))


def counted(
    ruleset: Ruleset, source: str, destination: str, port: int = 80, hook: Hook = Hook.FORWARD
) -> int:
    """How often a packet is counted as one that would be denied."""
    trace = judged(ruleset, packet(source, destination, port, hook=hook)).trace
    return sum(step.rule.comment == COUNTED for step in trace)


def test_what_no_rule_allows_is_counted_and_goes_on() -> None:
    policy = opens(80)
    found = compile_family(view(audited("web", POD, rulesets=(policy.id,)), rulesets=[policy]), 4)

    assert (passes(found, packet(OUTSIDE, POD, 80)), counted(found, OUTSIDE, POD, 80)) == (True, 0)
    assert (passes(found, packet(OUTSIDE, POD, 81)), counted(found, OUTSIDE, POD, 81)) == (True, 1)


def test_the_chain_spares_a_pod_that_reaches_itself_and_drops_nothing() -> None:
    hairpin, count = lines(compile_family(view(audited("web", POD)), 4), "PODGATE-AI")

    assert hairpin.startswith("-m bpf")
    assert count == "-j RETURN"


def test_a_pod_that_reaches_itself_is_not_counted() -> None:
    pod = audited("web", POD, directions=(EGRESS, INGRESS))

    for settings in (Settings(), Settings(hairpin_by_bpf=False)):
        assert counted(compile_family(view(pod), 4, settings), POD, POD) == 0


@pytest.mark.parametrize("family", [4, 6])
def test_there_is_no_such_chain_where_no_pod_needs_it(family: int) -> None:
    assert "PODGATE-A" not in chain_names(compile_family(view(isolated("web", POD, "fd00::5")), family))


# Rule 2.8: what egress lets pass is still asked at the other end
def test_an_audited_egress_does_not_open_an_enforced_ingress() -> None:
    found = compile_family(view(audited("web", POD, directions=(EGRESS,)), isolated("db", OTHER)), 4)

    assert not passes(found, packet(POD, OTHER))
    assert counted(found, POD, OTHER) == 1


def test_egress_and_ingress_are_counted_each() -> None:
    both = (EGRESS, INGRESS)
    found = compile_family(
        view(audited("web", POD, directions=both), audited("db", OTHER, directions=both)), 4
    )

    assert (passes(found, packet(POD, OTHER)), counted(found, POD, OTHER)) == (True, 2)


# Rule 2.41
def test_egress_to_the_own_node_is_counted_as_well() -> None:
    found = compile_family(view(audited("web", POD, directions=(EGRESS,))), 4)

    assert counted(found, POD, "172.16.0.1", hook=Hook.INPUT) == 1


# Rule 2.56: the first of two profiles is called, so that what it counts comes back to the second
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("by_bpf", [True, False])
def test_of_two_pods_at_one_address_the_enforced_one_decides(names: tuple[str, str], *, by_bpf: bool) -> None:
    pods = audited(names[0], POD), isolated(names[1], POD)
    found = compile_family(view(*sorted(pods)), 4, Settings(hairpin_by_bpf=by_bpf))

    assert not passes(found, packet(OUTSIDE, POD))


def test_two_audited_pods_at_one_address_pass() -> None:
    found = compile_family(view(audited("a", POD), audited("b", POD)), 4)

    assert passes(found, packet(OUTSIDE, POD))


# Rules 4.11, 4.16: Admin comes first, and audit takes nothing from Baseline
@pytest.mark.parametrize("tier", [Tier.ADMIN, Tier.BASELINE])
def test_other_tiers_go_on_denying(tier: Tier) -> None:
    deny = cluster_policy(tier, Action.DENY)
    found = compile_family(view(audited("web", POD, rulesets=(deny.id,)), rulesets=[deny]), 4)

    assert not passes(found, packet(OUTSIDE, POD))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("by_bpf", [True, False])
def test_it_is_its_own_text_read_back(family: int, *, by_bpf: bool) -> None:
    pod = audited("web", POD, "fd00::5", directions=(EGRESS, INGRESS))
    found = compile_family(view(pod), family, Settings(hairpin_by_bpf=by_bpf))

    assert parse(render_rules(found), render_sets(found), family) == found


def test_compiling_again_is_compiling_afresh_whatever_the_mode_was() -> None:
    compiler = NodeCompiler(4)
    for pod in (audited("web", POD), isolated("web", POD), audited("web", POD), LocalPod("shop", "web")):
        assert compiler.compile(view(pod), 1) == compile_family(view(pod), 4)
