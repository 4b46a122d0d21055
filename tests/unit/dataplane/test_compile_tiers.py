"""Admin before NetworkPolicy before Baseline, in rules (rules 4.11 to 4.17). Policies are made by hand."""

import itertools

import pytest

from controller.dataplane.compile import compile_family
from controller.dataplane.settings import Settings
from controller.engine.rulesets import LocalPod, PolicyRuleset, PortRange, RulesetId, RulesetRule
from controller.engine.tiers import Action, Tier
from controller.objects.kinds import Direction, Protocol
from tests.unit.dataplane.compiled import OUTSIDE, cluster_policy, packet, passes, view

ACCEPT, DENY, PASS = Action.ACCEPT, Action.DENY, Action.PASS
ADMIN, MIDDLE, BASELINE = Tier.ADMIN, Tier.NETWORK_POLICY, Tier.BASELINE
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
POD = "10.0.0.5"


def pod_under(
    *rulesets: PolicyRuleset, isolated: bool = False, direction: Direction = INGRESS
) -> tuple[LocalPod, tuple[PolicyRuleset, ...]]:
    ids = tuple(sorted(ruleset.id for ruleset in rulesets))
    return LocalPod("shop", "web", (POD,), (direction,) if isolated else (), ids), rulesets


def reachable(*rulesets: PolicyRuleset, isolated: bool = False, port: int = 80) -> bool:
    pod, found = pod_under(*rulesets, isolated=isolated)
    return passes(compile_family(view(pod, rulesets=found), 4), packet(OUTSIDE, POD, port))


def network_policy(*ports: int) -> PolicyRuleset:
    """A v1 policy that accepts these ports."""
    ranges = tuple(PortRange(Protocol.TCP, number, number) for number in ports)
    rule = RulesetRule("spec.ingress[0]", any_peer=True, ports=ranges)
    return PolicyRuleset(RulesetId(MIDDLE, 0, "shop", "np", INGRESS), (rule,))


def admin(*actions: Action, name: str = "admin", priority: int = 0) -> PolicyRuleset:
    return cluster_policy(ADMIN, *actions, name=name, priority=priority)


def baseline(*actions: Action) -> PolicyRuleset:
    return cluster_policy(BASELINE, *actions, name="baseline")


# Rules 4.11, 4.13 to 4.17: every combination of what the three tiers can say
@pytest.mark.parametrize("first", [None, ACCEPT, DENY, PASS])
@pytest.mark.parametrize("middle", [None, "accepts", "denies"])
@pytest.mark.parametrize("last", [None, ACCEPT, DENY, PASS])
def test_the_first_final_answer_decides(
    first: Action | None, middle: str | None, last: Action | None
) -> None:
    rulesets = [admin(first)] if first else []
    rulesets += [network_policy(*([80] if middle == "accepts" else []))] if middle else []
    rulesets += [baseline(last)] if last else []

    if first in {ACCEPT, DENY}:
        expected = first is ACCEPT
    elif middle:
        expected = middle == "accepts"  # rule 4.16: Baseline is not asked
    else:
        expected = last is not DENY
    assert reachable(*rulesets, isolated=middle is not None) is expected


# Rule 4.14
def test_an_admin_deny_overrides_a_network_policy_that_accepts() -> None:
    assert not reachable(admin(DENY), network_policy(80), isolated=True)


# Rule 4.13
def test_an_admin_accept_overrides_isolation() -> None:
    assert reachable(admin(ACCEPT), network_policy(), isolated=True)


# Rules 4.14, 4.17
def test_an_admin_deny_holds_for_a_pod_that_no_network_policy_selects() -> None:
    assert not reachable(admin(DENY))


# Rule 4.16
def test_a_baseline_deny_holds_for_a_pod_that_no_network_policy_selects() -> None:
    assert not reachable(baseline(DENY))


# Rule 4.12
@pytest.mark.parametrize(
    ("actions", "open_to_all"),
    [
        ((ACCEPT, DENY), True),
        ((DENY, ACCEPT), False),
        ((PASS, DENY), True),
        ((DENY, PASS), False),
        ((ACCEPT, PASS, DENY), True),
    ],
)
@pytest.mark.parametrize("tier", [ADMIN, BASELINE])
def test_within_a_policy_the_first_rule_that_matches_decides(
    actions: tuple[Action, ...], open_to_all: bool, tier: Tier
) -> None:
    assert reachable(cluster_policy(tier, *actions)) is open_to_all


# Rule 4.12
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_within_a_tier_the_lower_priority_value_decides(names: tuple[str, str]) -> None:
    first, second = names

    assert not reachable(admin(DENY, name=first, priority=1), admin(ACCEPT, name=second, priority=2))
    assert reachable(admin(ACCEPT, name=first, priority=1), admin(DENY, name=second, priority=2))


# Rule 4.12: priorities decide, whatever the order in which a view lists them
def test_the_order_in_which_a_pod_lists_its_rulesets_does_not_matter() -> None:
    first, second = admin(DENY, name="z", priority=1), admin(ACCEPT, name="a", priority=2)

    for ids in itertools.permutations([first.id, second.id]):
        pod = LocalPod("shop", "web", (POD,), (INGRESS,), ids)
        found = compile_family(view(pod, rulesets=[first, second]), 4)
        assert not passes(found, packet(OUTSIDE, POD))


# Rule 4.15
def test_a_pass_skips_the_rest_of_its_tier() -> None:
    assert reachable(admin(PASS, priority=1), admin(DENY, name="later", priority=2))


# Rule 4.15
@pytest.mark.parametrize("port", [80, 81])
def test_after_a_pass_the_network_policies_decide(port: int) -> None:
    found = reachable(admin(PASS), admin(ACCEPT, name="later"), network_policy(80), isolated=True, port=port)

    assert found is (port == 80)


# Rules 4.15, 4.16
def test_after_a_pass_of_a_pod_that_is_not_isolated_baseline_decides() -> None:
    assert not reachable(admin(PASS), baseline(DENY))
    assert reachable(admin(PASS), baseline(ACCEPT, DENY))


# Rule 4.15
def test_a_pass_of_baseline_is_the_default_which_allows() -> None:
    assert reachable(baseline(PASS, DENY))


# Rule 4.17
def test_what_no_rule_matches_goes_to_the_next_tier() -> None:
    only_udp = RulesetRule("spec.ingress[0]", DENY, any_peer=True, ports=(PortRange(Protocol.UDP, 0, 65535),))
    ruleset = PolicyRuleset(RulesetId(ADMIN, 0, "", "udp", INGRESS), (only_udp,))

    assert reachable(ruleset)
    assert not reachable(ruleset, baseline(DENY))
    assert not reachable(ruleset, network_policy(), isolated=True)


# Rule 4.27
@pytest.mark.parametrize("inwards", [ACCEPT, DENY])
@pytest.mark.parametrize("outwards", [ACCEPT, DENY])
def test_an_admin_accept_at_one_end_does_not_answer_for_the_other(outwards: Action, inwards: Action) -> None:
    out = cluster_policy(ADMIN, outwards, name="out", direction=EGRESS)
    into = cluster_policy(ADMIN, inwards, name="in")
    source = LocalPod("shop", "source", ("10.0.0.1",), (EGRESS,), (out.id,))
    destination = LocalPod("shop", "web", (POD,), (INGRESS,), (into.id,))

    found = compile_family(view(source, destination, rulesets=[out, into]), 4)

    assert passes(found, packet("10.0.0.1", POD)) is (outwards is ACCEPT and inwards is ACCEPT)


# Rule 2.56
def test_the_tiers_of_two_pods_with_one_address_are_both_asked() -> None:
    deny, accept = admin(DENY, name="deny"), admin(ACCEPT, name="accept")
    twins = [
        LocalPod("shop", name, (POD,), (INGRESS,), (ruleset.id,))
        for name, ruleset in (("a", accept), ("b", deny))
    ]

    for order in (twins, twins[::-1]):
        assert not passes(compile_family(view(*order, rulesets=[deny, accept]), 4), packet(OUTSIDE, POD))


@pytest.mark.parametrize("gates", [(), (4, 6)])
def test_a_gate_lets_nobody_past_the_admin_tier(gates: tuple[int, ...]) -> None:
    pod, rulesets = pod_under(admin(DENY))

    found = compile_family(view(pod, rulesets=rulesets), 4, Settings(gates=gates))

    assert not passes(found, packet(OUTSIDE, POD))


def test_rules_of_cluster_policies_name_policy_and_path() -> None:
    pod, rulesets = pod_under(admin(ACCEPT, PASS, DENY), isolated=True)

    found = compile_family(view(pod, rulesets=rulesets), 4)

    comments = {
        rule.comment for chain in found.chains if chain.name.startswith("PODGATE-IP-") for rule in chain.rules
    }
    assert {f"admin spec.ingress[{index}]" for index in range(3)} <= comments
