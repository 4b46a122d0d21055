"""What the policies of a namespace leave open: summaries, one finding for a namespace."""

from collections.abc import Iterator

from controller.engine.lint.context import Context
from controller.engine.lint.lookalikes import Found, pod_count
from controller.engine.lint.notes import about_input, about_namespace
from controller.engine.lint.wording import listed, names_of
from controller.objects.findings import Finding
from controller.objects.kinds import Direction, Namespace, NetworkPolicy
from controller.objects.names import counted


def check_namespaces(context: Context) -> Iterator[Finding]:
    """no-pods, pods-without-policy, host-network-pods and no-default-deny (rules 2.6, 2.7, 2.42).

    O(lookalikes x policies of their namespace).
    """
    if context.policies and not context.has_pods:
        message = "there are policies and no pods: what selectors match cannot be checked"
        remedy = "add the manifests of the workloads, or `kubectl get pods -A -o yaml`"
        yield about_input("no-pods", message, remedy)
        return
    for namespace in context.cluster.namespaces:
        policies = context.policies_of.get(namespace.name, ())
        live = context.live.get(namespace.name, ())
        if live:
            free = tuple(alike for alike in live if not context.is_selected(alike))
            yield from _unselected(namespace, policies, live, free)
        if policies and namespace.name in context.on_host:
            yield _on_host(namespace, context.on_host[namespace.name])
        if policies and live:
            yield from _no_default_deny(namespace, policies)


def _unselected(
    namespace: Namespace, policies: tuple[NetworkPolicy, ...], live: Found, free: Found
) -> Iterator[Finding]:
    if not free:
        return
    if not policies:
        message = f"has no policy: {counted(pod_count(free), 'pod')} may talk to anybody"
    else:
        message = (
            f"no policy selects {pod_count(free)} of {counted(pod_count(live), 'pod')}, "
            f"which may talk to anybody: {names_of(free)}"
        )
    remedy = "add a policy with podSelector: {} and policyTypes: [Ingress, Egress], and allow what is needed"
    yield about_namespace(namespace, "pods-without-policy", message, remedy)


def _on_host(namespace: Namespace, pods: Found) -> Finding:
    message = (
        f"{counted(pod_count(pods), 'pod')} ({names_of(pods)}) on the host network: no policy isolates them "
        "and no selector matches them"
    )
    return about_namespace(namespace, "host-network-pods", message)


def _no_default_deny(namespace: Namespace, policies: tuple[NetworkPolicy, ...]) -> Iterator[Finding]:
    covered = {
        direction
        for policy in policies
        if policy.pod_selector.selects_everything
        for direction in policy.directions
    }
    missing = [direction for direction in Direction if direction not in covered]
    if not missing:
        return
    message = (
        f"no policy isolates every pod for {listed(direction.lower() for direction in missing)}: "
        "a new pod is open until a policy selects it"
    )
    types = ", ".join(missing)
    remedy = f"add a policy default-deny with podSelector: {{}} and policyTypes: [{types}]"
    yield about_namespace(namespace, "no-default-deny", message, remedy)
