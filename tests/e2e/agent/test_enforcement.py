"""The agent as a process: what stands in the API server comes to the kernel, and nothing else does."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from controller.dataplane.compile import compile_family
from controller.dataplane.tools import Backend
from controller.engine.node_policies import group_id
from controller.engine.rulesets import NodeView
from controller.objects.addresses import parse_cidr
from tests.e2e.agent.shop import MORE_PEERS, MORE_POLICIES, SHOP, peers
from tests.e2e.agent.stage import Stage
from tests.unit.builder import NODE

pytestmark = pytest.mark.kernel

on_nft = pytest.mark.parametrize("backend", [Backend.NFT])
"""For what is the same on both."""


def groups_of(view: NodeView) -> set[str]:
    return {group_id(group) for group in view.groups}


def without_rules(view: NodeView, pod: str) -> NodeView:
    """The view while a pod is isolated and has no rules."""
    namespace, name = pod.split("/")
    pods = (
        replace(each, rulesets=()) if (each.namespace, each.name) == (namespace, name) else each
        for each in view.pods
    )
    return replace(view, pods=tuple(pods))


def now() -> str:
    return datetime.now(UTC).isoformat()


# What is published is enforced


def test_what_was_published_is_enforced(stage: Stage) -> None:
    view = stage.publish(SHOP)

    stage.start_agent()

    stage.wait_for_view(view)


@on_nft
def test_it_is_ready_once_it_is_programmed(stage: Stage) -> None:
    stage.start_agent()
    stage.wait_until(lambda: "no NodePolicy" in stage.ask("/readyz")[1])
    before = stage.ask("/readyz")[0], stage.ask("/livez")[0]

    stage.wait_for_view(stage.publish(SHOP))

    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    assert before == (503, 200)


@on_nft
def test_without_a_node_policy_nothing_is_touched(stage: Stage) -> None:
    stage.start_agent()

    stage.wait_until(lambda: "no NodePolicy" in stage.ask("/readyz?verbose")[1])

    assert not stage.has_rules()


def test_a_peer_that_comes_and_goes_reaches_the_set(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()

    stage.wait_for_view(stage.publish(MORE_PEERS))

    stage.wait_for_view(stage.publish(SHOP))


def test_a_group_of_several_slices_grows_and_shrinks(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()

    stage.wait_for_view(stage.publish(peers(350)))

    stage.wait_for_view(stage.publish(peers(20)))


def test_a_policy_is_added_and_removed(stage: Stage) -> None:
    stage.publish(SHOP)
    agent = stage.start_agent()
    stage.wait_for_view(stage.publish(MORE_POLICIES))

    stage.wait_for_view(stage.publish(SHOP))

    said = [line["msg"] for line in agent.lines()]
    assert any("policy shop/web applied on node-1: 1 pod, 1 chain, 0 addresses, " in each for each in said)
    assert any("policy shop/web removed from node-1: " in each for each in said)


@on_nft
def test_the_limited_rights_of_an_agent_suffice(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    stage.wait_for_view(stage.publish(MORE_POLICIES))
    stage.wait_until(lambda: stage.condition("Ready").get("status") == "True")

    asked = [each for each in stage.server.parts.access.audit if each.agent.startswith("podgate-agent")]

    assert {each.code for each in asked} == {200}
    assert {(each.verb, each.resource, each.subresource) for each in asked} == {
        ("list", "nodepolicies", ""),
        ("watch", "nodepolicies", ""),
        ("list", "peergroupslices", ""),
        ("watch", "peergroupslices", ""),
        ("patch", "nodepolicies", "status"),
    }


# What it says


@on_nft
def test_the_status_says_what_is_in_force(stage: Stage) -> None:
    view = stage.publish(SHOP)
    digest = stage.do(stage.node_policy())["spec"]["digest"]
    stage.start_agent()
    stage.wait_for_view(view)

    stage.wait_until(lambda: stage.status().get("observedDigest") == digest)

    status = stage.status()
    assert (status["podsEnforced"], status["podsPending"], status["backend"]) == (1, 0, stage.backend)
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Ready": "True",
        "Degraded": "False",
        "Stale": "False",
    }


@on_nft
def test_members_that_change_write_no_status(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    stage.wait_until(lambda: stage.condition("Ready").get("status") == "True")
    before = stage.do(stage.node_policy())["metadata"]["resourceVersion"]

    stage.wait_for_view(stage.publish(MORE_PEERS))

    assert stage.do(stage.node_policy())["metadata"]["resourceVersion"] == before


@on_nft
def test_a_restart_with_nothing_changed_writes_nothing(stage: Stage) -> None:
    stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_until(lambda: stage.condition("Ready").get("status") == "True")
    before = stage.do(stage.node_policy())["metadata"]["resourceVersion"]
    first.stop()

    stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    stage.wait_for_view(stage.publish(MORE_PEERS))

    assert stage.do(stage.node_policy())["metadata"]["resourceVersion"] == before


@on_nft
def test_metrics_tell_what_is_in_the_kernel(stage: Stage) -> None:
    view = stage.publish(SHOP)
    stage.start_agent()
    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.metric("podgate_agent_last_sync_timestamp_seconds") > 0)

    held = compile_family(view, 4, stage.settings)

    assert stage.metric('podgate_agent_rules{family="4"}') == sum(len(each.rules) for each in held.chains)
    assert stage.metric('podgate_agent_ipsets{family="4"}') == len(held.sets)
    assert stage.metric('podgate_agent_ipset_entries{family="4"}') == sum(
        len(each.entries) for each in held.sets
    )
    assert stage.metric('podgate_agent_pods{state="enforced"}') == 1


@on_nft
def test_metrics_do_not_call_a_pod_enforced_that_is_only_audited(stage: Stage) -> None:
    view = stage.publish(MORE_POLICIES.audit(policy="shop/db"))
    stage.start_agent()
    stage.wait_for_view(view)

    stage.wait_until(lambda: stage.metric('podgate_agent_pods{state="audited"}') == 1)

    assert stage.metric('podgate_agent_pods{state="enforced"}') == 1
    assert stage.metric("podgate_agent_stale") == 0


@on_nft
def test_the_way_from_an_event_to_the_kernel_is_timed_once(stage: Stage) -> None:
    stage.publish(SHOP, trigger=now())
    stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    before = stage.metric("podgate_agent_programming_duration_seconds_count")

    stage.publish(MORE_POLICIES, trigger=now())

    stage.wait_until(lambda: stage.metric("podgate_agent_programming_duration_seconds_count") == 1)
    assert before == 0
    assert stage.metric("podgate_agent_watch_to_kernel_seconds_count") >= 1


# What is wrong


def test_a_pod_whose_group_is_incomplete_is_isolated_and_others_are_enforced(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    cache = groups_of(MORE_POLICIES.view()) - groups_of(SHOP.view())

    view = stage.publish(MORE_POLICIES, hold_back=cache)

    stage.wait_for_view(without_rules(view, "shop/web"))
    stage.wait_until(lambda: stage.condition("Degraded").get("reason") == "GroupsIncomplete")
    assert stage.status()["podsPending"] == 1
    assert cache.pop() in stage.condition("Degraded")["message"]


def test_a_pod_gets_its_rules_when_its_group_is_complete(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    cache = groups_of(MORE_POLICIES.view()) - groups_of(SHOP.view())
    view = stage.publish(MORE_POLICIES, hold_back=cache)
    stage.wait_for_view(without_rules(view, "shop/web"))

    stage.publish(MORE_POLICIES)

    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.condition("Degraded").get("status") == "False")


@on_nft
def test_a_node_policy_that_cannot_be_understood_changes_nothing(stage: Stage) -> None:
    view = stage.publish(SHOP)
    stage.start_agent()
    stage.wait_for_view(view)
    spec = stage.do(stage.node_policy())["spec"]

    stage.do(stage.publisher.put_policy(NODE, {**spec, "requires": ["time-travel"]}))

    stage.wait_until(lambda: stage.condition("Degraded").get("reason") == "NodePolicyUnreadable")
    assert "time-travel" in stage.condition("Degraded")["message"]
    assert stage.drift(view) == []
    stage.wait_for_view(stage.publish(MORE_PEERS))


@on_nft
def test_a_node_policy_that_does_not_decode_changes_nothing(stage: Stage) -> None:
    view = stage.publish(SHOP)
    stage.start_agent()
    stage.wait_for_view(view)

    stage.do(stage.publisher.put_policy(NODE, {"digest": 7, "pods": "all"}))

    stage.wait_until(lambda: stage.condition("Degraded").get("reason") == "NodePolicyUnreadable")
    assert stage.drift(view) == []


@on_nft
def test_a_digest_that_does_not_fit_is_told_and_enforced(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    spec = stage.do(stage.node_policy())["spec"]

    stage.do(stage.publisher.put_policy(NODE, {**spec, "podCIDRs": ["10.7.0.0/24"]}))

    stage.wait_until(lambda: stage.condition("Degraded").get("reason") == "DigestMismatch")
    stage.wait_for_view(replace(SHOP.view(), pod_cidrs=(parse_cidr("10.7.0.0/24"),)))


@on_nft
def test_a_deleted_node_policy_stays_in_force(stage: Stage) -> None:
    view = stage.publish(SHOP)
    agent = stage.start_agent()
    stage.wait_for_view(view)

    stage.do(stage.publisher.forget_policy(NODE))

    stage.wait_until(lambda: stage.metric("podgate_agent_stale") == 1)
    assert stage.drift(view) == []
    assert any("NodePolicy of this node was deleted" in line["msg"] for line in agent.lines())


def test_drift_is_mended_and_counted(stage: Stage) -> None:
    view = stage.publish(SHOP)
    stage.start_agent("--canary-interval", "0.2")
    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)

    stage.flush()

    stage.wait_until(lambda: stage.metric('podgate_agent_drift_repairs_total{family="4"}') >= 1)
    stage.wait_for_view(view)


@on_nft
def test_kube_proxy_in_ipvs_mode_is_told(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.run("ip", "link", "add", "kube-ipvs0", "type", "veth", "peer", "name", "other")
    try:
        stage.start_agent("--canary-interval", "0.2")

        stage.wait_until(lambda: stage.condition("Degraded").get("reason") == "KubeProxyIPVS")
    finally:
        stage.run("ip", "link", "del", "kube-ipvs0")
