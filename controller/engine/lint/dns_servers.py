"""The cluster's DNS servers: which pods they are, on which ports they listen, how a rule names them."""

from collections.abc import Iterable

from msgspec import Struct

from controller.engine.evaluate import named_ports
from controller.engine.lint.lookalikes import Lookalikes, grouped
from controller.engine.lint.wording import owner_of
from controller.objects.kinds import Pod, Protocol
from controller.objects.labels import NAME_LABEL
from controller.objects.names import shown_key

SYSTEM_NAMESPACE = "kube-system"
"""Where clusters run their DNS server."""

PORT = 53
"""Where a DNS server listens, unless its container says otherwise."""

_LABEL = "k8s-app"
_NAMES = ("kube-dns", "coredns")
_NAMES_IN = {SYSTEM_NAMESPACE: _NAMES, "openshift-dns": ("dns-default",)}
_PORT_NAMES = {Protocol.UDP: "dns", Protocol.TCP: "dns-tcp"}


class DnsServer(Struct, frozen=True):
    """Pods that are a DNS server, and their ports: those named `dns` and `dns-tcp`, else 53.

    Rules see the pod's port, which on OpenShift is 5353 behind a Service on 53 (rule 2.31).
    """

    pods: Lookalikes
    udp: int
    tcp: int

    @classmethod
    def of(cls, pods: Lookalikes) -> "DnsServer":
        """The server that these pods are."""
        udp, tcp = (
            next((found.port for found in named_ports(pods.pods[0], name, protocol)), PORT)
            for protocol, name in _PORT_NAMES.items()
        )
        return cls(pods, udp, tcp)

    def __str__(self) -> str:
        return f"port {self.udp}/UDP of {owner_of(self.pods.pods[0])}"

    @property
    def egress_rule(self) -> str:
        """The rule that lets pods ask it, in YAML's flow style."""
        labels = self.pods.labels
        key = next(
            (key for key in (_LABEL, "app.kubernetes.io/name", "app", *sorted(labels)) if key in labels), ""
        )
        pods = (
            f", podSelector: {{matchLabels: {{{shown_key(key)}: {shown_key(labels[key])}}}}}" if key else ""
        )
        peer = f"{{namespaceSelector: {{matchLabels: {{{NAME_LABEL}: {self.pods.namespace}}}}}{pods}}}"
        ports = f"{{port: {self.udp}, protocol: UDP}}, {{port: {self.tcp}, protocol: TCP}}"
        return f"{{to: [{peer}], ports: [{ports}]}}"


USUAL_SERVER = DnsServer.of(
    *grouped([Pod(namespace=SYSTEM_NAMESPACE, name=_NAMES[0], labels={_LABEL: _NAMES[0]})])
)
"""What nearly every cluster has, for hints where the input has no DNS server."""


def dns_servers(among: Iterable[Lookalikes]) -> tuple[DnsServer, ...]:
    """One of each lot of DNS servers."""
    return tuple(DnsServer.of(alike) for alike in among if is_dns_server(alike))


def is_dns_server(alike: Lookalikes) -> bool:
    """Whether pods carry the label of a DNS server, or its name where clusters run it."""
    if alike.labels.get(_LABEL) in _NAMES:
        return True
    pod = alike.pods[0]
    name = pod.workload.name if pod.workload is not None else pod.name
    return name.startswith(_NAMES_IN.get(alike.namespace, ()))
