"""Every finding code with its title, what it means and what to do: the text behind `docs/lint.md`.

Codes are stable: scripts and suppressions depend on them. A code is never reused for something else.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Explanation(NamedTuple):
    """What a code means: a title for lists, one to three sentences, and what to do (with an example)."""

    title: str
    meaning: str
    remedy: str


_READING = {
    "unreadable-file": Explanation(
        "File cannot be read",
        "A file or folder does not exist, may not be read, or is larger than the limit; or an entry of a "
        "folder has the name of a manifest and is a link to nothing, a FIFO or a socket.",
        "Check the path and its permissions; split files of more than 256 MiB.",
    ),
    "no-manifests": Explanation(
        "Folder without manifests",
        "A folder that was named holds no *.yaml, *.yml or *.json file.",
        "Name the folder that holds the manifests, or add -R to look into its subfolders.",
    ),
    "nothing-read": Explanation(
        "Input without documents",
        "Standard input, or a file that was named, is empty or holds comments alone. A cluster without "
        "policies is open, so that commands which give a verdict refuse to give one.",
        "Check the command that was to write it: `set -o pipefail` stops where a part of a pipe fails.",
    ),
    "folder-not-read": Explanation(
        "Folder named like a manifest",
        "An entry named *.yaml, *.yml or *.json is a folder, and is not looked into. It is only a note.",
        "Name that folder too, or add -R; links to folders are followed only when they are named.",
    ),
    "kustomize-failed": Explanation(
        "kubectl kustomize failed",
        "The folder given with -k could not be built, or kubectl is not installed.",
        "Run `kubectl kustomize DIR` by hand; without kubectl, pass the built YAML with -f -.",
    ),
    "unreadable-document": Explanation(
        "Document cannot be parsed",
        "The YAML or JSON is malformed. The document is skipped as a whole: what it would have said is "
        "unknown, so that commands which give a verdict refuse to give one.",
        "Mend the syntax at the line named. Other documents of the file are still read.",
    ),
    "not-utf8": Explanation(
        "Text is not UTF-8",
        "The document holds bytes that are not UTF-8.",
        "Save the file as UTF-8.",
    ),
    "control-character": Explanation(
        "Control character",
        "The document holds a control character (a NUL byte, say), which YAML and JSON forbid.",
        'Remove it, or write it as an escape in a quoted text: "\\u0007".',
    ),
    "duplicate-key": Explanation(
        "Key written twice",
        "A mapping holds one key twice. Parsers disagree on which one counts, and kubectl apply refuses "
        "the object.",
        "Keep one of the two. Two `from:` lists in a rule, for example, are one list with all items.",
    ),
    "too-many-aliases": Explanation(
        "Aliases expand too far",
        "Anchors and aliases of the document expand to more values than any manifest needs: a 'YAML bomb'.",
        "Write the repeated parts out.",
    ),
    "too-deep": Explanation(
        "Nested too deeply",
        "The document nests lists and mappings more than 100 levels deep; no Kubernetes object does.",
        "Remove the nesting.",
    ),
    "not-an-object": Explanation(
        "Not a Kubernetes object",
        "A document, or an item of a list, is a bare text, number or list where an object with "
        "apiVersion, kind and metadata belongs.",
        "Remove it, or complete it to an object.",
    ),
    "not-a-manifest": Explanation(
        "Not a manifest",
        "The document has no kind, no metadata and no spec: a values file of Helm, say, or a "
        "kustomization. It cannot be a policy and is passed over; kubectl refuses it.",
        "Keep other files out of the folder of manifests, or name the manifests one by one.",
    ),
    "missing-kind": Explanation(
        "Object without kind",
        "The object does not say what it is, so that nothing can be read from it.",
        "Add kind and apiVersion.",
    ),
    "unknown-kind": Explanation(
        "Kind is misspelt",
        "The kind is not one of Kubernetes, but nearly one that matters here, or stands in the apiVersion of "
        "policies; kubectl refuses the object.",
        "Kinds are case-sensitive: `kind: NetworkPolicy`.",
    ),
    "wrong-api-version": Explanation(
        "apiVersion does not fit the kind",
        "The API server does not know this kind in this apiVersion (`extensions/v1beta1` is gone since "
        "1.16). The object is read as if the apiVersion were right.",
        "Write `apiVersion: networking.k8s.io/v1` for a NetworkPolicy.",
    ),
    "policy-not-read": Explanation(
        "Policy of another kind",
        "A warning: policies of other API groups, as those of Calico or Cilium and as AdminNetworkPolicy, "
        "are not read, so that a verdict given here does not know them.",
        "Look at the tool that enforces them.",
    ),
    "duplicate-object": Explanation(
        "Object defined twice",
        "Two documents define one object; the later one replaces the earlier one, as with kubectl apply.",
        "Remove one of them, or rename it.",
    ),
    "too-many-findings": Explanation(
        "More findings than are listed",
        "The object has more than 100 findings; the rest is counted, not listed.",
        "Mend the listed ones first.",
    ),
}

_METADATA = {
    "missing-name": Explanation(
        "Object without name",
        "metadata.name is required (rule 2.70 a).",
        "Add metadata.name.",
    ),
    "invalid-name": Explanation(
        "Name breaks the grammar",
        "Names are lower-case DNS names of at most 253 characters (rule 2.70 a).",
        "Use a-z, 0-9, '-' and '.': `name: allow-web`.",
    ),
    "invalid-namespace": Explanation(
        "Namespace breaks the grammar",
        "Namespace names are DNS labels of at most 63 characters.",
        "Use a-z, 0-9 and '-': `namespace: shop`.",
    ),
    "unknown-namespace": Explanation(
        "Policy of an unknown namespace",
        "metadata or metadata.namespace of a policy has the wrong type, or is no name. The policy is read "
        "where it seems to belong, but the pods that it was to isolate may live elsewhere, so that commands "
        "which give a verdict refuse to give one.",
        "Write `metadata: {name: allow-web, namespace: shop}`.",
    ),
    "invalid-label": Explanation(
        "Label breaks the grammar",
        "A label of the object has a key or value that the API server refuses (rule 2.70 b), or a value "
        "that is not a text. Unquoted `true`, `yes`, `y` and `8080` are not texts in YAML.",
        'Quote it: `enabled: "true"`.',
    ),
    "invalid-mode": Explanation(
        "Mode that does not exist",
        "The annotation podgate.dev/mode of a policy or namespace is neither `audit` nor `enforce`. It "
        "counts as `enforce`: a trial is never what a typing mistake leaves behind.",
        "Write `podgate.dev/mode: audit`, or remove it to enforce.",
    ),
    "wrong-type": Explanation(
        "Value of the wrong type",
        "A field holds a list, mapping, text, number or boolean where Kubernetes wants another. The part "
        "that cannot be read matches nothing, and the pods of the policy stay isolated.",
        "Lists start each item with '- ': `from:` is followed by `- podSelector: ...`.",
    ),
    "unknown-field": Explanation(
        "Field that Kubernetes does not know",
        "The API server drops the field (kubectl apply refuses it); what is left means the same.",
        "Remove it or mend its spelling; field names are case-sensitive.",
    ),
}

_POLICY = {
    "empty-egress": Explanation(
        "Empty egress isolates nothing",
        "Without policyTypes, a policy isolates egress only if it has egress rules (rule 2.3): `egress: []` "
        "has none, so that egress stays open.",
        "To deny all egress write policyTypes: [Ingress, Egress].",
    ),
    "unknown-field-widens": Explanation(
        "Unknown field whose loss would widen the policy",
        "kubectl refuses fields that Kubernetes does not know; an API server that is asked to be lenient "
        "drops them (rule 2.63), and what is left then selects or allows more, or other, than what was "
        "written: `podSelector: {app: web}` selects every pod. Read from a file, the part that has such a "
        "field matches nothing, and the pods stay isolated.",
        "Mend the spelling or the indentation; labels of a selector belong under matchLabels.",
    ),
    "invalid-selector": Explanation(
        "Selector cannot be understood",
        "A label selector is refused by the API server (rule 2.70 b). A peer with such a selector matches "
        "nothing; in spec.podSelector the requirement is left out and the rules of the policy match "
        "nothing.",
        "Write `matchLabels: {app: web}` or `matchExpressions: [{key: app, operator: In, values: [web]}]`.",
    ),
    "invalid-peer": Explanation(
        "Peer cannot be understood",
        "An item of `from` or `to` needs podSelector, namespaceSelector, both of them, or ipBlock alone "
        "(rules 2.15 and 2.70 f). It matches nothing.",
        "To allow everybody leave `from` out; `- podSelector: {}` is every pod of the namespace.",
    ),
    "invalid-cidr": Explanation(
        "Not a CIDR block",
        "ipBlock.cidr is no IPv4 or IPv6 block with a prefix length (rules 2.30 and 2.70 g). The peer "
        "matches nothing.",
        "Write `cidr: 192.0.2.0/24`; a single address is `192.0.2.7/32`.",
    ),
    "invalid-except": Explanation(
        "Exception is not inside its block",
        "Each ipBlock.except must be a CIDR block strictly inside ipBlock.cidr (rules 2.22 and 2.70 g). "
        "As the peer would allow more without it, the whole peer matches nothing.",
        "Give a longer prefix within cidr, of the same address family.",
    ),
    "invalid-rule": Explanation(
        "Rule cannot be understood",
        "An item of `ingress` or `egress` is empty or no mapping. It matches nothing.",
        "A rule that allows everything is written `- {}`.",
    ),
    "invalid-port": Explanation(
        "Not a port",
        "A port is a number from 1 to 65535 or the name of a container port (rule 2.70 d); a number in "
        "quotes is taken for a name. The port matches nothing.",
        "Write `port: 8080` without quotes, or `port: http`.",
    ),
    "policy-too-large": Explanation(
        "Policy needs more than a node or the operator should carry",
        "A direction of a policy may need 500 peer groups, 10,000 rules of the kernel for a pod, and 500,000 "
        "entries of sets. Egress to ports by name needs a group for each name at each selector, a list of "
        "ports a rule for every 15, an exception an entry for every bit that it is longer than its block. "
        "With more, no rule of the direction is applied, and its pods stay isolated.",
        "Split the policy; select peers by one label that they share; write numbers instead of names.",
    ),
    "invalid-end-port": Explanation(
        "Not a port range",
        "endPort needs a numeric port not above it, up to 65535 (rules 2.33 and 2.70 e). The port matches "
        "nothing.",
        "Write `port: 8000` with `endPort: 8010`.",
    ),
    "invalid-protocol": Explanation(
        "Not a protocol",
        "A port's protocol is TCP, UDP or SCTP, in capitals (rule 2.70 c). The port matches nothing.",
        "Write `protocol: TCP`.",
    ),
    "invalid-policy-types": Explanation(
        "policyTypes cannot be understood",
        "policyTypes holds at most two entries, each Ingress or Egress (rule 2.70 h). The policy isolates "
        "its pods in both directions until this is mended.",
        "Write `policyTypes: [Ingress, Egress]`.",
    ),
}

_CLUSTER = {
    "service-not-read": Explanation(
        "Service cannot be read",
        "A field of a Service has another type than in Kubernetes, or an address is none. Policies do not "
        "see Services; only `podgate explain` of its address answers as if it were any other address.",
        "Compare the field with `kubectl explain service.spec`.",
    ),
    "invalid-ip": Explanation(
        "Not an IP address",
        "An address of a pod or node cannot be read and is left out.",
        "Write it as 10.244.1.7 or fd00::7.",
    ),
    "invalid-node-name": Explanation(
        "Name of a node breaks the grammar",
        "spec.nodeName of a pod or template is no lower-case DNS name of at most 253 characters. The pod "
        "counts as one of a node of that name, with every other character escaped.",
        "Write the name of a Node; leave nodeName out where the scheduler chooses.",
    ),
    "invalid-pod-cidr": Explanation(
        "Node's pod block cannot be read",
        "An entry of a node's podCIDRs is no CIDR block and is left out.",
        "Write it as 10.244.1.0/24.",
    ),
    "invalid-container-port": Explanation(
        "Container port cannot be read",
        "A named container port has a name, number or protocol that Kubernetes refuses. It is left out: "
        "rules that name it do not open it.",
        "Write `{name: http, containerPort: 8080, protocol: TCP}`.",
    ),
    "quarantined": Explanation(
        "Pod or namespace cannot be read in full",
        "Something that policies go by, labels above all, cannot be read. The pod, or every pod of the "
        "namespace, is taken as isolated in both directions and as a peer of nobody.",
        'Mend the fields that the other findings of the object name: `labels: {app: web, version: "2"}`.',
    ),
    "duplicate-ip": Explanation(
        "Two live pods with one address",
        "Two pods that run outside the host network have the same address: one of them is stale, and "
        "traffic of the address is judged by both. Or a pod has an address that a Node names as its own: "
        "the pod does not count there, since isolating it would isolate the node (rule 2.42).",
        "Export the pods again, or remove the one that is gone; write hostNetwork: true for a pod of the "
        "node's network.",
    ),
    "no-free-address": Explanation(
        "No address left for a synthetic pod",
        "A pod without an address should get one of its node's podCIDR, and all of them are taken.",
        "Pass a larger block for synthetic addresses, or add nodes.",
    ),
}

CODES: Mapping[str, Explanation] = MappingProxyType(_READING | _METADATA | _POLICY | _CLUSTER)
"""Explanation by code."""

UNREADABLE = frozenset(
    {
        "unreadable-file",
        "no-manifests",
        "nothing-read",
        "kustomize-failed",
        "unreadable-document",
        "not-utf8",
        "control-character",
        "duplicate-key",
        "too-many-aliases",
        "too-deep",
        "not-an-object",
        "missing-kind",
        "unknown-kind",
        "unknown-namespace",
    }
)
"""Codes after which something that may matter was not read at all: no verdict can be given."""
