"""The codes of the checks, with the text behind `docs/lint.md` and `podgate lint --explain`.

Codes are stable: scripts and suppressions depend on them. A code is never reused for something else. The
codes of invalid input are in `controller.objects.codes`; `CODES` here holds both.
"""

from collections.abc import Mapping
from types import MappingProxyType

from controller.objects.codes import CODES as READER_CODES
from controller.objects.codes import Explanation
from controller.objects.findings import Severity

_SELECTORS = {
    "selects-no-pods": Explanation(
        "Policy selects no pod",
        "No pod of the policy's own namespace matches spec.podSelector (rule 2.1), so that the policy does "
        "nothing, and the pods it was meant for stay open. Info only where the input has no pods of that "
        "namespace, or where those that match have finished.",
        "Compare the labels with those of the pod template (not of the Deployment) and check "
        "metadata.namespace; without it the namespace is `default`.",
    ),
    "selector-never-matches": Explanation(
        "Selector contradicts itself",
        "All requirements of a label selector must hold at once (rule 2.16), and these cannot: `app: web` "
        "together with `app NotIn [web]`, for example. Whatever pods there are, it matches none of them.",
        "To match either of two values write one requirement: `{key: app, operator: In, values: [web, "
        "api]}`.",
    ),
    "peer-matches-no-pod": Explanation(
        "Peer matches no pod",
        "The namespaces that the peer looks in have pods, and none of them matches. The peer allows "
        "nobody. Info only where the input has no pods of these namespaces.",
        "The finding names the closest label that exists. Labels are those of pods, not of Services or "
        "Deployments.",
    ),
    "peer-matches-no-namespace": Explanation(
        "namespaceSelector matches no namespace",
        "No namespace has the labels asked for (rule 2.17), so that the peer allows nobody. Info only "
        "where a namespace is asked for by a name that is not in the input, or where labels of namespaces "
        "are not in the input.",
        "A namespace's name is not a label of its own choice: select it with `matchLabels: "
        "{kubernetes.io/metadata.name: shop}`.",
    ),
    "peer-in-other-namespace": Explanation(
        "podSelector looks in the wrong namespace",
        "A peer with a podSelector alone looks only in the policy's own namespace (rule 2.12). Nothing "
        "matches there; pods of another namespace would.",
        "Add the namespaceSelector to the same list item: `- namespaceSelector: {matchLabels: "
        "{kubernetes.io/metadata.name: shop}}` with `podSelector: {...}` below it, without a '-' of its "
        "own.",
    ),
    "two-items-are-or": Explanation(
        "Two list items are alternatives",
        "A namespaceSelector and a podSelector stand in one list as two items. Items are alternatives "
        "(rule 2.14): this allows every pod of the namespaces, and the pods of the own namespace. Very "
        "often both were meant to hold.",
        "If both must hold, remove the '-' before podSelector, so that they are one item.",
    ),
    "host-network-subject": Explanation(
        "Policy selects pods on the host network",
        "Pods with hostNetwork share the addresses of their node. Policies are not enforced for them (rule "
        "2.42): isolating such a pod would isolate the node.",
        "Take the pods off the host network, or filter on the node itself.",
    ),
    "peer-host-network": Explanation(
        "Peer matches only pods on the host network",
        "Traffic of a hostNetwork pod is its node's traffic. No selector finds it (rule 2.43), so that the "
        "peer allows nobody.",
        "Allow the addresses of the nodes: `- ipBlock: {cidr: 192.0.2.0/28}`.",
    ),
}

_PORTS = {
    "named-port-undefined": Explanation(
        "Nobody has a port of that name",
        "A port is named that no pod in reach defines. Names are looked up on the pods that receive: for "
        "ingress the selected pods (rule 2.34), for egress the peers (rule 2.35). The name opens nothing.",
        "Use the `name` of a port in the pod's containers, not of a Service port, or write the number.",
    ),
    "named-port-protocol": Explanation(
        "Port has that name with another protocol",
        "Name and protocol must both fit (rule 2.36), and the protocol is TCP where none is written (rule "
        "2.5). The name opens nothing.",
        "Write the protocol of the container port: `{port: dns, protocol: UDP}`.",
    ),
    "named-port-with-block": Explanation(
        "Named port towards addresses",
        "An egress rule combines a port by name with an ipBlock. Only pods have names for their ports: for "
        "every other address of the block the rule opens nothing (rule 2.24). A warning where no pod is in "
        "the block.",
        "Write the port as a number, in a rule of its own for the block.",
    ),
}

_DNS = {
    "dns-cut": Explanation(
        "Isolation cuts name resolution",
        "Egress of these pods is isolated and no rule lets them reach the DNS server on its UDP port, so "
        "that they can connect by address only. The DNS server is a pod and needs a rule like any other "
        "(rules 2.7 and 2.48). Info only for pods that may open no connection at all. Without a DNS server "
        "in the input, any rule for port 53 will do.",
        "Add to one of the isolating policies the egress rule `{to: [{namespaceSelector: {matchLabels: "
        "{kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], "
        "ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}`.",
    ),
    "dns-by-address": Explanation(
        "DNS allowed to addresses only",
        "Port 53 is allowed to an ipBlock and not to the cluster's DNS server. That is right for a "
        "resolver outside the cluster. It is wrong for the address of the DNS Service: policies see the "
        "address of the pod behind it (rules 2.48 and 2.49), so that an ipBlock of the Service never "
        "matches.",
        "For the cluster's DNS name its pods with a namespaceSelector and a podSelector.",
    ),
    "dns-without-tcp": Explanation(
        "DNS over UDP only",
        "The pods may ask the DNS server over UDP and not over TCP. Answers that do not fit a datagram are "
        "asked for again over TCP, and then fail: rare, and hard to find.",
        "Add `{port: 53, protocol: TCP}` beside the UDP port.",
    ),
    "dns-refused": Explanation(
        "DNS server does not let pods in",
        "Both ends must allow a connection (rule 2.8). Policies isolate the DNS server for ingress and let "
        "these pods not in, whatever their own egress policies say.",
        "Allow port 53 over UDP and TCP from `namespaceSelector: {}`.",
    ),
}

_WIDTH = {
    "allow-all-rule": Explanation(
        "Rule allows everything",
        "A rule with neither peers nor ports, `- {}`, allows any peer, any port and any protocol (rules "
        "2.10, 2.11). No other rule on these pods matters in this direction.",
        "Fine in a policy that lifts an isolation on purpose; else name the peers or the ports.",
    ),
    "peer-is-every-pod": Explanation(
        "Peer is every pod of the cluster",
        "`namespaceSelector: {}`, alone or with `podSelector: {}`, is every pod of every namespace (rule "
        "2.13), those of namespaces yet to come included.",
        "Fine for what serves the whole cluster, as DNS does; else select namespaces by a label.",
    ),
    "block-is-everything": Explanation(
        "Block is every address",
        "0.0.0.0/0 or ::/0 without except is every address of that family: the internet, and also all pods "
        "and nodes of the cluster (rule 2.19).",
        "For the internet only, write except for the cluster's own and other private addresses: `except: "
        "[10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]`. For anybody at all, leave `from` or `to` out.",
    ),
    "block-covers-pods": Explanation(
        "Block holds addresses of pods",
        "An ipBlock is meant for addresses outside the cluster, and matches pods all the same (rule 2.19): "
        "those that have an address of the block now, whatever their labels, and others later. Info only "
        "where the addresses of pods are not in the input.",
        "Name pods by selectors. If pods are not meant, add the pod addresses to except.",
    ),
    "block-one-family": Explanation(
        "Everything, but in one address family",
        "0.0.0.0/0 never matches IPv6, and ::/0 never IPv4 (rule 2.21), while the selected pods use both: "
        "connections over the other family stay cut.",
        "List both, or leave `from` or `to` out, which is every address of both families.",
    ),
}

_EFFECT = {
    "section-ignored": Explanation(
        "Section without effect",
        "Rules stand under ingress or egress, and policyTypes does not list that direction. They count for "
        "nothing and isolate nobody (rule 2.4).",
        "Add the direction to policyTypes. Without policyTypes, Ingress is always meant, and Egress where "
        "there are egress rules (rule 2.3).",
    ),
    "duplicate-policy": Explanation(
        "Two policies mean the same",
        "Another policy of the namespace selects the same pods and has the same directions and rules. "
        "Order does not matter and rules add up (rule 2.7), so one of them does nothing.",
        "Remove one; often a copy was renamed and was to be changed too.",
    ),
    "duplicate-rule": Explanation(
        "Two rules say the same",
        "A rule for the same pods has the same peers and ports.",
        "Remove one; often a copy was to be changed too.",
    ),
    "shadowed-policy": Explanation(
        "Policy adds nothing",
        "Every rule of the policy is covered by rules of other policies on the same or more pods, which "
        "also isolate these pods in the same directions. Without it, nothing changes, for no pod that may "
        "come.",
        "Remove it, or narrow the other policies, if this one was to replace them.",
    ),
    "shadowed-rule": Explanation(
        "Rule adds nothing",
        "Every connection the rule allows is allowed by other rules for the same or more pods (rule 2.7): "
        "their selectors and blocks are as wide or wider, and so are their ports.",
        "Remove it, or narrow the others, if this one was to be stricter: rules only ever add.",
    ),
    "redundant-item": Explanation(
        "Item is covered by its neighbour",
        "A peer or port of a rule is covered by another item of the same list.",
        "Remove it, or narrow the other.",
    ),
    "audit-without-say": Explanation(
        "Policy on trial beside enforced ones",
        "The policy is in audit mode (podgate.dev/mode), and others that isolate the same pods in the same "
        "direction are enforced. These decide alone: what the rules of this policy allow is closed, unless "
        "they allow it too. Info only where it has no rules, and so just no effect.",
        "Put the whole namespace on trial, or enforce this policy too.",
    ),
}

_OPEN = {
    "only-audited": Explanation(
        "Pods that are only audited",
        "All policies that isolate these pods in a direction are in audit mode (podgate.dev/mode on policy "
        "or namespace, or the operator's --mode): what they do not allow is counted and passes.",
        "Enforce them when the trial is over.",
    ),
    "no-pods": Explanation(
        "Policies without pods",
        "The input has policies and no pods or workloads, so that nothing can be said on what selectors "
        "match.",
        "Add the manifests of the workloads, or pipe a cluster in: `kubectl get netpol,pods,ns,nodes -A -o "
        "yaml | podgate lint -f -`.",
    ),
    "pods-without-policy": Explanation(
        "Pods that no policy selects",
        "No policy of the namespace selects these pods. They may talk to anybody and anybody may talk to "
        "them (rule 2.6), as far as the policies of the other end allow.",
        "Add a policy that isolates every pod of the namespace, and others that allow what is needed.",
    ),
    "no-default-deny": Explanation(
        "Namespace without default deny",
        "The namespace has policies, and none of them selects every pod in this direction. A new workload "
        "is open until a policy selects it.",
        "Add a policy with `podSelector: {}` and the missing policyTypes, and no rules.",
    ),
    "host-network-pods": Explanation(
        "Pods on the host network",
        "The namespace has policies and also pods on the host network, which no policy isolates (rule "
        "2.42) and no selector matches (rule 2.43).",
        "Nothing to mend in the policies; know that these pods are as open as their node.",
    ),
}

GROUPS: Mapping[str, Mapping[str, Explanation]] = MappingProxyType(
    {
        "Selectors": _SELECTORS,
        "Named ports": _PORTS,
        "Name resolution": _DNS,
        "Wide peers": _WIDTH,
        "Parts without effect": _EFFECT,
        "What stays open": _OPEN,
    }
)
"""The codes of the checks by family."""

_OWN = {code: explanation for group in GROUPS.values() for code, explanation in group.items()}

_INFO = frozenset(
    {
        "two-items-are-or",
        "dns-by-address",
        "dns-without-tcp",
        "allow-all-rule",
        "peer-is-every-pod",
        "shadowed-policy",
        "shadowed-rule",
        "redundant-item",
        *_OPEN,
    }
)

SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {code: Severity.INFO if code in _INFO else Severity.WARNING for code in _OWN}
)
"""How grave a finding of each check is, where its explanation does not say otherwise for a case."""

CODES: Mapping[str, Explanation] = MappingProxyType({**READER_CODES, **_OWN})
"""Explanation by code, of every finding that podgate can make."""
