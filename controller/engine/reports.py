"""Whether the agents say that they enforce what was published, and what they say can be relied on.

Pure. A status is the last word of an agent: one that died goes on saying that all is well. So where agents
are pods, that the pod is ready counts too, which kubelet asks every few seconds. When the agent last read
the kernel back no status says: it would have to be written all the time. `podgate verify --kernel` reads it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from controller.engine.published import Fault, node_object
from controller.objects.resources import ConditionType, NodePolicy

AGENT_LABELS = {"app.kubernetes.io/name": "podgate", "app.kubernetes.io/component": "agent"}
"""Of the pods of agents, as in the manifests."""


class NodeReport(Struct, frozen=True):
    """What the agent of a node said last; "" and 0 of what it did not say. `version` is its own."""

    node: str
    digest: str = ""
    observed: str = ""
    applied_at: str = ""
    enforced: int = 0
    version: str = ""
    faults: tuple[Fault, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether there is no agent, and nothing that one would have to do."""
        return not self.observed and not self.faults


def reports_of(policies: Iterable[NodePolicy], agents: Mapping[str, str]) -> list[NodeReport]:
    """What is said of each NodePolicy, and what is wrong with that, sorted by node.

    `agents` is of `agents_of`; empty where agents are no pods.
    """
    return [_report(each, agents) for each in sorted(policies, key=lambda each: each.metadata.name)]


def agents_of(pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By node, why the pod of its agent is not ready, "" where it is; of Pods as the API server has them."""
    found: dict[str, str] = {}
    for pod in pods:
        metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
        labels = metadata.get("labels") or {}
        if any(labels.get(key) != value for key, value in AGENT_LABELS.items()):
            continue
        node = (pod.get("spec") or {}).get("nodeName") or ""
        conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
        name = f"{metadata.get('namespace')}/{metadata.get('name')}"
        fault = "" if conditions.get("Ready") == "True" else f"its agent's pod {name} is not ready"
        found[node] = fault and found.get(node, fault)  # while one is replaced there are two
    return found


def silence_of(node: str, agents: Mapping[str, str]) -> str:
    """Why what the agent of a node reported need not be so any more; "" where it is at work.

    An agent that does not run cannot say so. Without the pod of any agent, as in a lab, nothing is known.
    """
    why = agents.get(node, "no pod of an agent is on this node any more") if agents else ""
    return f"{why}: what it reported may be long ago" if why else ""


def _report(policy: NodePolicy, agents: Mapping[str, str]) -> NodeReport:
    name, status = policy.metadata.name, policy.status
    faults = tuple(Fault(node_object(name), text) for text in _faults(policy, agents))
    if status is None:
        return NodeReport(name, policy.spec.digest, faults=faults)
    return NodeReport(
        node=name,
        digest=policy.spec.digest,
        observed=status.observed_digest,
        applied_at=status.applied_at,
        enforced=status.pods_enforced,
        version=status.agent_version,
        faults=faults,
    )


def _faults(policy: NodePolicy, agents: Mapping[str, str]) -> Iterator[str]:
    status = policy.status
    if status is None or not status.observed_digest:
        if policy.spec.pods:
            yield agents.get(policy.metadata.name, "") or "no agent has reported that it applied it"
        return
    if silence := silence_of(policy.metadata.name, agents):
        yield silence
    if status.observed_digest != policy.spec.digest:
        yield f"its agent reports to have applied another version, {status.observed_digest}"
    if status.pods_pending:
        yield f"{status.pods_pending} of its pods wait for peer groups, isolated"
    conditions = {each.type: each for each in status.conditions}
    for kind, good in (
        (ConditionType.READY, "True"),
        (ConditionType.DEGRADED, "False"),
        (ConditionType.STALE, "False"),
    ):
        found = conditions.get(kind)
        if found is None:
            yield f"{kind} is not reported"
        elif found.status != good:
            since = f" since {found.last_transition_time}" if found.last_transition_time else ""
            yield f"{kind} is {found.status}{since}: {found.message or found.reason}"
