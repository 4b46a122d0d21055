"""What is to be said about a policy or a pod, from what is known of the cluster. Pure.

Where `podgate lint` has a check for it, the check is asked, on the few objects that it needs.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec.structs import replace

from controller.engine.lint.context import Context
from controller.engine.lint.ports import check_named_ports
from controller.engine.lint.subjects import check_subjects
from controller.engine.resolve import Resolver
from controller.engine.rulesets import RulesetRule
from controller.engine.translate import named_port_groups, ruleset_id
from controller.objects.decode_cluster import bare_namespace
from controller.objects.findings import Finding, Severity
from controller.objects.kinds import Cluster, Direction, Mode, NetworkPolicy, Pod
from controller.objects.mode import INVALID_MODE
from controller.objects.names import counted
from controller.operator.notices import Notice, Reason, Subject, Topic, notice

PARTS_MAX = 5
"""Wrong parts of one object that are told one by one."""
_PORT_CODES = frozenset({"named-port-undefined", "named-port-protocol"})


def policy_subject(policy: NetworkPolicy) -> Subject:
    """A policy, to be spoken of."""
    return Subject("networking.k8s.io/v1", "NetworkPolicy", policy.namespace, policy.name, policy.uid)


def judge_policy(resolver: Resolver, policy: NetworkPolicy) -> tuple[Notice, ...]:
    """Everything that is wrong with a policy now. O(label sets of its namespace)."""
    subject = policy_subject(policy)
    found = [*_invalid_parts(subject, policy.findings)]
    pods = tuple(_pods(resolver, policy.namespace))
    if not any(policy.pod_selector.matches(pod.labels) for pod in pods):
        found.append(_selects_nobody(subject, policy, pods))
        return tuple(found)
    found.extend(_unresolved_ingress(subject, policy, pods))
    found.extend(_unresolved_egress(subject, policy, resolver))
    return tuple(found)


def judge_pod(subject: Subject, findings: Iterable[Finding], *, is_shut: bool = True) -> tuple[Notice, ...]:
    """Why a pod is quarantined. `is_shut`: isolated for it, and not only audited."""
    errors = (each for each in findings if each.severity is Severity.ERROR and each.code != "quarantined")
    parts = "; ".join(_text(each) for each in islice(errors, PARTS_MAX))
    what = "isolated in both directions" if is_shut else "audited in both directions"
    note = f"{what} and a peer of nobody, because it cannot be read in full: {parts}"
    return (notice(Topic(subject, Reason.QUARANTINED), note, "Isolate"),)


def enforced(policy: NetworkPolicy, nodes: int, mode: Mode = Mode.ENFORCE) -> Notice:
    """A policy is in force everywhere; in audit mode: is counted with."""
    audits = mode is Mode.AUDIT
    text = f"{'audited' if audits else 'enforced'} on {counted(nodes, 'node')}"
    if policy.generation:
        text += f" (generation {policy.generation})"
    if audits:
        text += "; nothing is dropped"
    reason = Reason.AUDITED if audits else Reason.ENFORCED
    topic = Topic(policy_subject(policy), reason, str(policy.generation))
    return notice(topic, text, "Audit" if audits else "Enforce", is_warning=False)


def nodes_of(resolver: Resolver, policy: NetworkPolicy) -> set[str]:
    """The nodes with pods that a policy selects. O(pods it selects)."""
    entry = resolver.inventory.namespaces.get(policy.namespace)
    if entry is None:
        return set()
    return {
        live.node
        for label_set in entry.label_sets.values()
        if policy.key in label_set.policies
        for live in label_set.pods.values()
        if live.node
    }


def _invalid_parts(subject: Subject, findings: Iterable[Finding]) -> Iterator[Notice]:
    errors = [each for each in findings if each.severity is Severity.ERROR or each.code == INVALID_MODE]
    for each in errors[:PARTS_MAX]:
        topic = Topic(subject, Reason.INVALID_PART, f"{each.code} {each.path}")
        yield notice(topic, _text(each), "Quarantine")
    if len(errors) > PARTS_MAX:
        text = f"{len(errors) - PARTS_MAX} more parts are wrong; podgate lint names them"
        yield notice(Topic(subject, Reason.INVALID_PART), text, "Quarantine")


def _selects_nobody(subject: Subject, policy: NetworkPolicy, pods: tuple[Pod, ...]) -> Notice:
    context = Context(_cluster(policy, pods))
    finding = next((each for each in check_subjects(context) if each.path == "spec.podSelector"), None)
    text = f"spec.podSelector: namespace {policy.namespace} has no pods"
    if pods and finding is not None:
        text = _text(finding)
    return notice(Topic(subject, Reason.SELECTS_NO_PODS), text, "Wait")


def _unresolved_ingress(subject: Subject, policy: NetworkPolicy, pods: tuple[Pod, ...]) -> Iterator[Notice]:
    """Names of ports that none of the selected pods has (rule 2.34)."""
    if not any(isinstance(port.port, str) for rule in policy.ingress for port in rule.ports or ()):
        return
    inbound = replace(policy, directions=(Direction.INGRESS,), egress=())
    for finding in check_named_ports(Context(_cluster(inbound, pods))):
        if finding.code in _PORT_CODES:
            topic = Topic(subject, Reason.NAMED_PORT_UNRESOLVED, finding.path)
            yield notice(topic, _text(finding), "OpenNothing")


def _unresolved_egress(subject: Subject, policy: NetworkPolicy, resolver: Resolver) -> Iterator[Notice]:
    """Names of ports that none of the pods has to which the rule allows to go (rule 2.35)."""
    ruleset = resolver.rulesets.get(ruleset_id(policy, Direction.EGRESS))
    for rule in ruleset.rules if ruleset is not None else ():
        for name in sorted(_unresolved_names(rule, resolver)):
            topic = Topic(subject, Reason.NAMED_PORT_UNRESOLVED, f"{rule.path} {name}")
            text = f"{rule.path}.ports: none of the allowed pods has a port named {name}: it opens nothing"
            yield notice(topic, text, "OpenNothing")


def _unresolved_names(rule: RulesetRule, resolver: Resolver) -> set[str]:
    """Of rules that allow any pod at all: that they allow none is another matter."""
    groups = tuple(named_port_groups(rule))
    somebody = {ref.name for ref in groups if resolver.members(ref.pods)}
    resolved = {ref.name for ref in groups if resolver.endpoints(ref)}
    return somebody - resolved


def _cluster(policy: NetworkPolicy, pods: tuple[Pod, ...]) -> Cluster:
    return Cluster(namespaces=(bare_namespace(policy.namespace),), pods=pods, policies=(policy,))


def _pods(resolver: Resolver, namespace: str) -> Iterator[Pod]:
    """One pod of each kind that is alive in a namespace: policies see labels and ports of them, not names."""
    entry = resolver.inventory.namespaces.get(namespace)
    if entry is None:
        return
    for label_set in entry.label_sets.values():
        ports = {live.ports: live for live in label_set.pods.values()}
        for live in ports.values():
            yield Pod(
                namespace=namespace,
                name=live.key[1],
                labels=label_set.labels,
                ips=live.ips,
                node=live.node,
                ports=live.ports,
            )


def _text(finding: Finding) -> str:
    place = f"{finding.path}: " if finding.path else ""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{place}{finding.message}{remedy}"
