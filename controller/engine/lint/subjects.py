"""Whom a policy selects: nobody, or pods that policies do not reach."""

from collections.abc import Iterator

from controller.engine.lint.context import Context
from controller.engine.lint.coverage import contradiction
from controller.engine.lint.lookalikes import matching, pod_count
from controller.engine.lint.notes import about_policy, as_note
from controller.engine.lint.similarity import closest_labels, typing_error
from controller.engine.lint.wording import asked, names_of
from controller.objects.findings import Finding
from controller.objects.kinds import NetworkPolicy
from controller.objects.names import counted

_PATH = "spec.podSelector"


def check_subjects(context: Context) -> Iterator[Finding]:
    """selects-no-pods, selector-never-matches and host-network-subject (rules 2.1, 2.16, 2.42).

    O(policies), and O(all lookalikes) for each selector that selects nobody.
    """
    for policy in context.policies:
        key = contradiction(policy.pod_selector)
        if key:
            message = (
                f"no pod can ever match {asked(policy.pod_selector)}: it asks the label {key} for two things"
            )
            remedy = "all requirements of a selector must hold at once; mend one of them"
            yield about_policy(policy, "selector-never-matches", _PATH, message, remedy)
            continue
        yield from _host_network(context, policy)
        if not context.subjects(policy):
            yield from _selects_nobody(context, policy)


def _host_network(context: Context, policy: NetworkPolicy) -> Iterator[Finding]:
    """Named pods only: that `{}` does not reach the host network is said once a namespace."""
    found = matching(context.on_host, (policy.namespace,), policy.pod_selector)
    if not found or policy.pod_selector.selects_everything:
        return
    message = f"selects {names_of(found)} on the host network, where policies are not enforced"
    remedy = "take the pods off the host network, or filter on the node itself"
    yield about_policy(policy, "host-network-subject", _PATH, message, remedy)


def _selects_nobody(context: Context, policy: NetworkPolicy) -> Iterator[Finding]:
    namespace, selector = policy.namespace, policy.pod_selector
    everywhere = selector.selects_everything
    if not context.has_pods or matching(context.on_host, (namespace,), selector):
        return
    if finished := matching(context.finished, (namespace,), selector):
        message = f"selects only pods that have finished: {names_of(finished)}"
        yield as_note(about_policy(policy, "selects-no-pods", _PATH, message))
        return
    elsewhere = () if everywhere else context.elsewhere(selector, (namespace,))
    if elsewhere and namespace not in context.live:
        count = counted(pod_count(elsewhere), "pod")
        message = f"namespace {namespace} has no pods; {count} elsewhere would match: {names_of(elsewhere)}"
        remedy = "a policy selects pods of its own namespace only: set metadata.namespace"
        yield about_policy(policy, "selects-no-pods", _PATH, message, remedy)
    elif namespace not in context.live:
        yield _empty_namespace(context, policy)
    else:
        message = f"no pod of namespace {namespace} matches {asked(selector)}"
        hint = closest_labels(selector, context.live[namespace])
        yield about_policy(policy, "selects-no-pods", _PATH, message, hint)


def _empty_namespace(context: Context, policy: NetworkPolicy) -> Finding:
    """No pods are known there: they may not be in the files, unless the name looks like a typing error."""
    namespace = policy.namespace
    message = f"namespace {namespace} has no pods in the input"
    meant = typing_error(namespace, context.live) if _is_implied(context, namespace) else ""
    if meant:
        remedy = f"did you mean metadata.namespace: {meant}?"
        return about_policy(policy, "selects-no-pods", "metadata.namespace", message, remedy)
    remedy = "add the manifests of its pods, so that the selector can be checked"
    return as_note(about_policy(policy, "selects-no-pods", _PATH, message, remedy))


def _is_implied(context: Context, name: str) -> bool:
    """Whether no manifest defines the namespace."""
    return not any(found.name == name and found.source.file for found in context.cluster.namespaces)
