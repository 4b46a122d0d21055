"""Pods, namespaces and nodes as Kubernetes writes them, reduced to the fields that decide traffic.

msgspec fills these from plain values or straight from bytes, checks types on the way and skips everything
else, which is nine tenths of a pod. Every field may be missing or null. Values with a meaning are made of
them in `decode_cluster`.
"""

import msgspec
from msgspec import Struct, field


class WireMetadata(Struct, rename="camel"):
    """metadata of an object."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, str | None] | None = None


class WirePort(Struct, rename="camel"):
    """spec.containers[].ports[]."""

    name: str | None = None
    container_port: int | None = None
    protocol: str | None = None


class WireContainer(Struct, rename="camel"):
    """spec.containers[] and spec.initContainers[]."""

    ports: list[WirePort] | None = None
    restart_policy: str | None = None


class WirePodSpec(Struct, rename="camel"):
    """spec of a pod, or spec.template.spec of a workload."""

    containers: list[WireContainer] | None = None
    init_containers: list[WireContainer] | None = None
    host_network: bool | None = None
    node_name: str | None = None


class WirePodIP(Struct, rename="camel"):
    """status.podIPs[]."""

    ip: str | None = None


class WirePodStatus(Struct, rename="camel"):
    """status of a pod."""

    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    pod_ips: list[WirePodIP] | None = field(default=None, name="podIPs")


class WirePod(Struct, rename="camel"):
    """A Pod."""

    metadata: WireMetadata | None = None
    spec: WirePodSpec | None = None
    status: WirePodStatus | None = None


class WireNodeAddress(Struct, rename="camel"):
    """status.addresses[]."""

    type: str | None = None
    address: str | None = None


class WireNodeStatus(Struct, rename="camel"):
    """status of a node."""

    addresses: list[WireNodeAddress] | None = None


class WireNodeSpec(Struct, rename="camel"):
    """spec of a node."""

    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: list[str | None] | None = field(default=None, name="podCIDRs")


class WireNode(Struct, rename="camel"):
    """A Node."""

    metadata: WireMetadata | None = None
    spec: WireNodeSpec | None = None
    status: WireNodeStatus | None = None


class WireNamespace(Struct, rename="camel"):
    """A Namespace."""

    metadata: WireMetadata | None = None


POD_DECODER = msgspec.json.Decoder(WirePod)
"""Bytes of one Pod as the API server sends it to a `WirePod`. Its `decode` raises msgspec.MsgspecError."""

NODE_DECODER = msgspec.json.Decoder(WireNode)
"""Bytes of one Node."""

NAMESPACE_DECODER = msgspec.json.Decoder(WireNamespace)
"""Bytes of one Namespace."""
