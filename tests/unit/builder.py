"""A small language for clusters, so that a test can say what it is about and nothing else.

    shop = cluster().ns("shop", team="a").pod("shop/web", labels={"app": "web"}).policy("shop/deny", {})

Every step gives a new builder: a test can go on from a common beginning in two ways. Policies are written
as the `spec` of a manifest and read by the decoder that reads files. `by_policies` and `by_rules` are the two
independent ways to a verdict; the `allowed` fixture runs a test with each.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from controller.dataplane.compile import compile_family
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import DEFAULTS, Settings
from controller.dataplane.walk import Network
from controller.engine.endpoints import Addresses, Endpoint
from controller.engine.evaluate import Evaluator, Verdict
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.objects.addresses import parse_cidr
from controller.objects.decode_policy import decode_policy
from controller.objects.findings import Severity
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Mode,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
    Protocol,
)

NODE = "node-1"
"""Where pods run unless a test says otherwise."""

NAME_LABEL = "kubernetes.io/metadata.name"

Spec = Mapping[str, Any]
Service = tuple[Protocol | None, int | None]


class ClusterBuilder(Struct, frozen=True):
    """A cluster in the making.

    Pods get 10.0.0.1, 10.0.0.2, ... in the order they are added, unless a test gives them an address.
    """

    namespaces: Mapping[str, Namespace] = {}
    pods: tuple[Pod, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    nodes: tuple[Node, ...] = ()
    missing: frozenset[str] = frozenset()
    added: int = 0
    mode: Mode = Mode.ENFORCE

    def ns(self, name: str, **labels: str) -> "ClusterBuilder":
        """A namespace with labels; the label with its name is added (rule 2.17)."""
        found = Namespace(name=name, labels={**labels, NAME_LABEL: name})
        return self._with(namespaces={**self.namespaces, name: found}, missing=self.missing - {name})

    def without_ns(self, name: str) -> "ClusterBuilder":
        """The namespace is gone, though objects that lived in it are still seen (rule 2.58)."""
        kept = {other: found for other, found in self.namespaces.items() if other != name}
        return self._with(namespaces=kept, missing=self.missing | {name})

    def node(self, name: str, *ips: str, pods: Sequence[str] = ()) -> "ClusterBuilder":
        """A node, instead of one of that name: its addresses, and the blocks its pods live in."""
        others = (other for other in self.nodes if other.name != name)
        return self._with(nodes=(*others, Node(name=name, ips=ips, pod_cidrs=tuple(map(parse_cidr, pods)))))

    def pod(
        self,
        key: str,
        *,
        ip: str | tuple[str, ...] | None = None,
        node: str = NODE,
        labels: Mapping[str, str] | None = None,
        ports: Sequence[str] = (),
        phase: str = "Running",
        host_network: bool = False,
        quarantined: bool = False,
    ) -> "ClusterBuilder":
        """A pod `namespace/name`, instead of one of that name whose address it keeps.

        `ports` are named ones: `http:8080`, `dns:53/UDP`.
        """
        namespace, name = key.split("/")
        old = next((other.ips for other in self.pods if other.key == (namespace, name)), ())
        address = (old or f"10.0.0.{self.added + 1}") if ip is None else ip
        pod = Pod(
            namespace=namespace,
            name=name,
            labels=dict(labels or {}),
            ips=(address,) if isinstance(address, str) else address,
            node=node,
            phase=phase,
            host_network=host_network,
            ports=tuple(sorted(map(_container_port, ports))),
            quarantined=quarantined,
        )
        others = (other for other in self.pods if other.key != pod.key)
        return self._with(pods=(*others, pod), added=self.added + 1)

    def without_pod(self, key: str) -> "ClusterBuilder":
        """The pod is gone."""
        return self._with(pods=tuple(pod for pod in self.pods if "/".join(pod.key) != key))

    def policy(self, key: str, spec: Spec) -> "ClusterBuilder":
        """A policy `namespace/name`, instead of one of that name; it must be free of errors."""
        policy = read_policy(key, spec)
        errors = [str(found) for found in policy.findings if found.severity is Severity.ERROR]
        assert not errors, errors
        return self._with_policy(policy)

    def flawed_policy(self, key: str, spec: Spec) -> "ClusterBuilder":
        """A policy that the API server would refuse; what it means then is what the test is about."""
        policy = read_policy(key, spec)
        assert any(found.severity is Severity.ERROR for found in policy.findings), "nothing is wrong with it"
        return self._with_policy(policy)

    def audit(self, *, policy: str = "", namespace: str = "") -> "ClusterBuilder":
        """A policy or a namespace says that it is in audit mode, or the operator of all that say nothing."""
        return self.in_mode(Mode.AUDIT, policy=policy, namespace=namespace)

    def in_mode(self, mode: Mode | None, *, policy: str = "", namespace: str = "") -> "ClusterBuilder":
        """What a policy, a namespace, or without either the operator says about the mode."""
        if policy:
            return self._with_policy(msgspec.structs.replace(self.the_policy(policy), mode=mode))
        if namespace:
            known = self.namespaces.get(namespace)
            found = known or Namespace(name=namespace, labels={NAME_LABEL: namespace})
            changed = msgspec.structs.replace(found, mode=mode)
            return self._with(namespaces={**self.namespaces, namespace: changed})
        return self._with(mode=mode or Mode.ENFORCE)

    def without_policies(self) -> "ClusterBuilder":
        """Every policy is gone."""
        return self._with(policies=())

    def build(self) -> Cluster:
        """Everything as one value, sorted; namespaces that were only mentioned are there without labels."""
        used = {pod.namespace for pod in self.pods} | {policy.namespace for policy in self.policies}
        used -= self.missing
        bare = {name: Namespace(name=name, labels={NAME_LABEL: name}) for name in used}
        namespaces = {**bare, **self.namespaces}
        return Cluster(
            namespaces=tuple(namespaces[name] for name in sorted(namespaces)),
            pods=tuple(sorted(self.pods, key=lambda pod: pod.key)),
            policies=tuple(sorted(self.policies, key=lambda policy: policy.key)),
            nodes=tuple(sorted(self.nodes, key=lambda node: node.name)),
            mode=self.mode,
        )

    def the_pod(self, key: str) -> Pod:
        """A pod that was added, by `namespace/name`."""
        return next(pod for pod in self.pods if "/".join(pod.key) == key)

    def the_policy(self, key: str) -> NetworkPolicy:
        """A policy that was added, by `namespace/name`."""
        return next(policy for policy in self.policies if "/".join(policy.key) == key)

    def end(self, text: str, family: int | None = None) -> Endpoint:
        """An end of a connection: a pod `namespace/name` at its address of a family, or an address."""
        addresses = Addresses(self.build())
        if "/" not in text:
            return addresses.at(text)
        return next(
            end for end in addresses.of_pod(self.the_pod(text)) if family is None or end.family == family
        )

    def evaluator(self) -> Evaluator:
        """The engine's answers about this cluster."""
        return Evaluator(self.build())

    def verdict(
        self, source: str, destination: str, service: str = "80", family: int | None = None
    ) -> Verdict:
        """What the policies say to the first packet of a connection."""
        return self.evaluator().evaluate(
            self.end(source, family), self.end(destination, family), *parse_service(service)
        )

    def resolver(self) -> Resolver:
        """The state of the engine after all objects of this cluster."""
        return Resolver.of(self.build())

    def view(self, node: str = NODE) -> NodeView:
        """What a node has to enforce."""
        return self.resolver().view(node)

    def rules(self, family: int = 4, settings: Settings = DEFAULTS, node: str = NODE) -> Ruleset:
        """What a node's kernel would hold."""
        return compile_family(self.view(node), family, settings)

    def _with(self, **changes: Any) -> "ClusterBuilder":  # noqa: ANN401  fields of several types
        return msgspec.structs.replace(self, **changes)

    def _with_policy(self, policy: NetworkPolicy) -> "ClusterBuilder":
        return self._with(policies=(*(other for other in self.policies if other.key != policy.key), policy))


def cluster() -> ClusterBuilder:
    """Nothing yet."""
    return ClusterBuilder()


def read_policy(key: str, spec: Spec) -> NetworkPolicy:
    """A policy `namespace/name` as the decoder of files reads it."""
    namespace, name = key.split("/")
    return decode_policy(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        }
    )


# Parts of a spec


def labels(**pairs: str) -> dict[str, Any]:
    """A selector by labels; without any it selects everything."""
    return {"matchLabels": pairs} if pairs else {}


def pods(**pairs: str) -> dict[str, Any]:
    """A peer by podSelector alone: pods of the policy's own namespace (rule 2.12)."""
    return {"podSelector": labels(**pairs)}


def namespaces(**pairs: str) -> dict[str, Any]:
    """A peer by namespaceSelector alone (rule 2.13); join it with `pods` by `|` (rule 2.14)."""
    return {"namespaceSelector": labels(**pairs)}


def in_namespace(name: str) -> dict[str, Any]:
    """A peer by the name of its namespace (rule 2.17)."""
    return {"namespaceSelector": {"matchLabels": {NAME_LABEL: name}}}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    """A peer by addresses (rule 2.19)."""
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepts)} if excepts else {})}}


def port(number: int | str | None = None, protocol: str = "", end: int | None = None) -> dict[str, Any]:
    """An item of `ports`."""
    found = {"port": number, "protocol": protocol or None, "endPort": end}
    return {field: value for field, value in found.items() if value is not None}


# The two ways to a verdict

Judge = Callable[..., bool]
"""(builder, source, destination, service="80", family=None) -> whether the connection can be opened."""


def by_policies(
    built: ClusterBuilder, source: str, destination: str, service: str = "80", family: int | None = None
) -> bool:
    """From the text of the policies; the two statements that the engine makes have to agree."""
    evaluator = built.evaluator()
    ends = built.end(source, family), built.end(destination, family)
    verdict = evaluator.evaluate(*ends, *parse_service(service)).allowed
    assert evaluator.connections(*ends).allows(*parse_service(service)) is verdict
    return verdict


def by_rules(
    built: ClusterBuilder,
    source: str,
    destination: str,
    service: str = "80",
    family: int | None = None,
    *,
    settings: Settings = DEFAULTS,
) -> bool:
    """From the rules of the nodes that the packet crosses."""
    ends = built.end(source, family), built.end(destination, family)
    return Network(built.resolver(), settings).walk(*ends, *_packet(service, ends[0].family)).allowed


def parse_service(text: str) -> Service:
    """`80`, `53/UDP`; `ICMP` is any protocol but TCP, UDP and SCTP (rule 2.39)."""
    if text == "ICMP":
        return None, None
    number, _, protocol = text.partition("/")
    return Protocol[protocol or "TCP"], int(number)


def _packet(service: str, family: int) -> tuple[int, int | None]:
    protocol, number = parse_service(service)
    return ({4: 1, 6: 58}[family] if protocol is None else int(protocol)), number


def _container_port(text: str) -> ContainerPort:
    name, _, number = text.partition(":")
    digits, _, protocol = number.partition("/")
    return ContainerPort(name, Protocol[protocol or "TCP"], int(digits))
