"""The ValidatingAdmissionPolicies, judged by a CEL interpreter: who gets what past them.

It is not that of Kubernetes, so what it cannot tell is whether the API server's type checker is content.
"""

from typing import Any

import cel
import pytest

from tests.unit.manifests.folders import BASE, Object, named, read

INSTALLED = read(BASE)
SYSTEM = "system:serviceaccount:podgate-system"
OPERATOR = f"{SYSTEM}:podgate-operator"
AGENT = f"{SYSTEM}:podgate-agent"
ADMIN = "kubernetes-admin"
NODE = "authentication.kubernetes.io/node-name"

METADATA: Object = {"name": "node-1", "labels": {"a": "b"}}
A_POLICY: Object = {"metadata": METADATA, "spec": {"digest": "1"}}


def complaints(
    policy: str,
    user: str,
    found: Object,
    *,
    old: Object | None = None,
    extra: dict[str, list[str]] | None = None,
) -> list[str]:
    """What the policy says against a write; none: it passes."""
    spec = named("ValidatingAdmissionPolicy", policy, INSTALLED)["spec"]
    about: dict[str, Any] = {"username": user} if extra is None else {"username": user, "extra": extra}
    context: dict[str, Any] = {
        "request": {"userInfo": about, "operation": "CREATE" if old is None else "UPDATE"},
        "object": found,
        "oldObject": old,
    }
    context["variables"] = {
        variable["name"]: cel.evaluate(variable["expression"], context) for variable in spec["variables"]
    }
    return [each["message"] for each in spec["validations"] if not cel.evaluate(each["expression"], context)]


def status_complaints(user: str, extra: dict[str, list[str]] | None) -> list[str]:
    written = {**A_POLICY, "status": {"podsEnforced": 1}}
    return complaints("podgate-agent-own-status", user, written, old=A_POLICY, extra=extra)


def test_an_agent_writes_the_status_of_its_own_node() -> None:
    assert status_complaints(AGENT, {NODE: ["node-1"]}) == []


@pytest.mark.parametrize(
    "extra",
    [None, {}, {NODE: []}, {NODE: ["node-2"]}, {NODE: ["node-2", "node-1"]}, {"node-name": ["node-1"]}],
    ids=str,
)
def test_an_agent_writes_no_other_status(extra: dict[str, list[str]] | None) -> None:
    (complaint,) = status_complaints(AGENT, extra)

    assert "own node only" in complaint


@pytest.mark.parametrize(
    "user", [OPERATOR, ADMIN, f"{SYSTEM}:podgate-agent-2", "system:serviceaccount:x:podgate-agent"]
)
def test_nobody_else_writes_a_status(user: str) -> None:
    complaint, *_ = status_complaints(user, {NODE: ["node-1"]})

    assert "only podgate's agents" in complaint


def write_complaints(user: str, found: Object, old: Object | None = None) -> list[str]:
    return complaints("podgate-operator-writes", user, found, old=old)


CHANGES = {
    "new": (A_POLICY, None),
    "another spec": ({**A_POLICY, "spec": {"digest": "2"}}, A_POLICY),
    "another label": ({**A_POLICY, "metadata": {"name": "node-1", "labels": {"a": "c"}}}, A_POLICY),
    "no labels": ({**A_POLICY, "metadata": {"name": "node-1"}}, A_POLICY),
    "new labels": (A_POLICY, {**A_POLICY, "metadata": {"name": "node-1"}}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_operator_writes_what_is_enforced(change: str) -> None:
    assert write_complaints(OPERATOR, *CHANGES[change]) == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("user", [AGENT, ADMIN])
def test_nobody_else_writes_what_is_enforced(user: str, change: str) -> None:
    (complaint,) = write_complaints(user, *CHANGES[change])

    assert "only podgate's operator" in complaint


def test_the_garbage_collector_may_take_a_finalizer_away() -> None:
    collector = "system:serviceaccount:kube-system:generic-garbage-collector"
    held = {**A_POLICY, "metadata": {**METADATA, "finalizers": ["foregroundDeletion"]}}

    assert write_complaints(collector, A_POLICY, held) == []


@pytest.mark.parametrize("policy", ["podgate-agent-own-status", "podgate-operator-writes"])
def test_a_policy_is_bound_and_denies(policy: str) -> None:
    binding = named("ValidatingAdmissionPolicyBinding", policy, INSTALLED)["spec"]

    assert named("ValidatingAdmissionPolicy", policy, INSTALLED)["spec"]["failurePolicy"] == "Fail"
    assert binding == {"policyName": policy, "validationActions": ["Deny", "Audit"]}


def test_what_is_matched_is_everything_of_ours_that_can_be_written() -> None:
    policies = [found for found in INSTALLED if found["kind"] == "ValidatingAdmissionPolicy"]
    rules = [rule for found in policies for rule in found["spec"]["matchConstraints"]["resourceRules"]]
    matched = {resource for rule in rules for resource in rule["resources"]}

    definitions = [found["spec"] for found in INSTALLED if found["kind"] == "CustomResourceDefinition"]
    plurals = {each["names"]["plural"] for each in definitions}
    statuses = {
        f"{each['names']['plural']}/status"
        for each in definitions
        if "status" in each["versions"][0].get("subresources", {})
    }
    assert matched == plurals | statuses
    assert all(rule["operations"] == ["CREATE", "UPDATE"] for rule in rules)
