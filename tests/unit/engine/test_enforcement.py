from typing import Any

import pytest
from msgspec.structs import replace

from controller.engine.enforcement import PolicyState, State, enforcement_of
from controller.engine.node_policies import PolicyVersion, node_policy_spec
from controller.engine.resolve import Resolver
from controller.objects.kinds import Mode
from controller.objects.resources import Condition, Metadata, NodePolicy, NodePolicyStatus
from tests.unit.builder import ClusterBuilder, labels
from tests.unit.engine.shop import OPEN, accepting, sending

CLUSTER = OPEN.policy("shop/db", accepting({"from": [{"podSelector": labels(app="web")}]}))


def published(node: str, **status: Any) -> NodePolicy:  # noqa: ANN401  any field of a status
    """What the operator would write for a node, and its agent answer."""
    spec = node_policy_spec(Resolver.of(CLUSTER.build()).share(node), lambda _: PolicyVersion("", 0))
    answer = {"observed_digest": spec.digest, **status}
    return NodePolicy(metadata=Metadata(node), spec=spec, status=NodePolicyStatus(**answer))


def state_of(*node_policies: NodePolicy, key: str = "shop/db", **changes: Any) -> PolicyState:  # noqa: ANN401
    resolver = Resolver.of(CLUSTER.build())
    policy = replace(CLUSTER.the_policy(key), **changes)
    (state,) = enforcement_of(resolver, [policy], node_policies)
    return state


def test_a_policy_is_in_force_when_every_node_with_its_pods_says_so() -> None:
    state = state_of(published("node-1"))

    assert (state.state, state.enforced, state.pods) == (State.ENFORCED, 1, 1)
    assert [node.node for node in state.nodes] == ["node-1"]


@pytest.mark.parametrize(
    ("agents", "state", "reason"),
    [
        ({}, State.ENFORCED, ""),
        ({"node-1": ""}, State.ENFORCED, ""),
        ({"node-1": "its agent's pod is not ready"}, State.STALE, "may be long ago"),
        ({"node-2": ""}, State.STALE, "no pod of an agent is on this node any more"),
    ],
)
def test_what_an_agent_reported_that_does_not_run_is_stale(
    agents: dict[str, str], state: State, reason: str
) -> None:
    """Its node may have been restarted since, and be without a rule."""
    resolver = Resolver.of(CLUSTER.build())

    (found,) = enforcement_of(resolver, [CLUSTER.the_policy("shop/db")], [published("node-1")], agents)

    assert found.state is state
    assert reason in found.nodes[0].reason


def test_a_policy_that_selects_nothing_is_in_force_nowhere() -> None:
    empty = CLUSTER.policy("bank/none", {"podSelector": labels(app="nobody")})

    (state,) = enforcement_of(Resolver.of(empty.build()), [empty.the_policy("bank/none")], [])

    assert (state.state, state.nodes) == (State.ENFORCED, ())


@pytest.mark.parametrize(
    ("node_policies", "state", "reason"),
    [
        ([], State.PENDING, "the operator has not written the NodePolicy"),
        ([replace(published("node-1"), status=None)], State.PENDING, "no agent has reported"),
        ([published("node-1", observed_digest="older")], State.PENDING, "not applied the newest"),
        ([published("node-1", pods_pending=2)], State.PENDING, "2 pods of the node wait"),
        (
            [published("node-1", conditions=(Condition("Degraded", "True", message="IPv6: lock held"),))],
            State.DEGRADED,
            "IPv6: lock held",
        ),
        (
            [published("node-1", conditions=(Condition("Stale", "True", message="no API server"),))],
            State.STALE,
            "no API server",
        ),
        (
            [published("node-1", conditions=(Condition("Degraded", "False", message="was bad"),))],
            State.ENFORCED,
            "",
        ),
    ],
)
def test_what_keeps_a_policy_from_being_in_force_is_named(
    node_policies: list[NodePolicy], state: State, reason: str
) -> None:
    found = state_of(*node_policies)

    assert found.state is state
    assert reason in found.nodes[0].reason


def test_a_newer_version_of_the_policy_is_pending_until_the_operator_wrote_it() -> None:
    state = state_of(published("node-1"), generation=1)

    assert (state.state, state.enforced) == (State.PENDING, 0)
    assert "this version of the policy" in state.nodes[0].reason


def test_a_policy_made_again_under_its_name_is_another_one() -> None:
    state = state_of(published("node-1"), uid="another")

    assert state.state is State.PENDING


def test_a_pod_that_the_operator_has_not_written_is_pending() -> None:
    more = CLUSTER.pod("shop/db-2", ip="10.0.1.9", labels={"app": "db"})

    (state,) = enforcement_of(Resolver.of(more.build()), [more.the_policy("shop/db")], [published("node-1")])

    assert state.nodes[0].reason == "the operator has not written pod shop/db-2"


def test_the_worst_node_counts() -> None:
    both = CLUSTER.policy("shop/all", {**sending(), "podSelector": {}})
    resolver = Resolver.of(both.build())
    specs = {
        node: node_policy_spec(resolver.share(node), lambda _: PolicyVersion("", 0))
        for node in ("node-1", "node-2")
    }
    answers = [
        NodePolicy(
            metadata=Metadata(node),
            spec=spec,
            status=NodePolicyStatus(spec.digest if node == "node-1" else "x"),
        )
        for node, spec in specs.items()
    ]

    (state,) = enforcement_of(resolver, [both.the_policy("shop/all")], answers)

    assert (state.state, state.enforced, len(state.nodes)) == (State.PENDING, 1, 2)


AUDITED = CLUSTER.audit(policy="shop/db")


def audited_state(told: ClusterBuilder, wanted: ClusterBuilder) -> PolicyState:
    """The state of the policy of one cluster, where what another one would have is published and reported."""
    spec = node_policy_spec(Resolver.of(told.build()).share("node-1"), lambda _: PolicyVersion("", 0))
    status = NodePolicyStatus(observed_digest=spec.digest)
    published = NodePolicy(metadata=Metadata("node-1"), spec=spec, status=status)
    resolver = Resolver.of(wanted.build())
    (state,) = enforcement_of(resolver, [wanted.the_policy("shop/db")], [published])
    return state


def test_a_policy_in_audit_mode_is_in_force_where_its_pods_are_audited() -> None:
    state = audited_state(AUDITED, AUDITED)

    assert (state.state, state.mode, state.pods) == (State.ENFORCED, Mode.AUDIT, 1)


@pytest.mark.parametrize(("told", "wanted"), [(AUDITED, CLUSTER), (CLUSTER, AUDITED)])
def test_a_change_of_mode_alone_is_pending_until_it_is_written(
    told: ClusterBuilder, wanted: ClusterBuilder
) -> None:
    state = audited_state(told, wanted)

    assert state.state is State.PENDING
    assert state.nodes[0].reason == "the operator has not written pod shop/db"
