"""Nodes of a lab as objects of its API server: written there, and read back."""

from collections.abc import Mapping
from typing import Any

import msgspec

from controller.kube.client import ApiClient
from controller.kube.resource import NODES
from controller.lab.addressing import FULL, NodePlace, family_of
from controller.lab.podspec import NUMBER_ANNOTATION, Node


async def register(client: ApiClient, place: NodePlace) -> None:
    """Create the object of a node that is wired. Raises ApiError."""
    await client.create(NODES, _manifest(place), msgspec.Raw)
    await client.patch(NODES, place.name, {"status": _status(place)}, msgspec.Raw, subresource="status")


def place_of(node: Node) -> NodePlace:
    """A node as the API server knows it."""
    internal = [each.address for each in node.status.addresses or () if each.type == "InternalIP"]
    blocks = node.spec.pod_cidrs or [node.spec.pod_cidr or ""]
    by_family = {family_of(block): block for block in blocks if block}
    addresses = {family_of(address): address for address in internal}
    families = [family for family in FULL if family in by_family and family in addresses]
    number = (node.metadata.annotations or {}).get(NUMBER_ANNOTATION, "")
    return NodePlace(
        node.metadata.name,
        number=int(number) if number.isdecimal() else 0,
        addresses={family: addresses[family] for family in families},
        pod_blocks={family: by_family[family] for family in families},
    )


def _manifest(place: NodePlace) -> Mapping[str, Any]:
    blocks = [*place.pod_blocks.values()]
    labels = {"kubernetes.io/hostname": place.name, "kubernetes.io/os": "linux"}
    annotations = {NUMBER_ANNOTATION: str(place.number)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": place.name, "labels": labels, "annotations": annotations},
        "spec": {"podCIDR": blocks[0], "podCIDRs": blocks},
    }


def _status(place: NodePlace) -> Mapping[str, Any]:
    internal = [{"type": "InternalIP", "address": address} for address in place.addresses.values()]
    return {
        "addresses": [*internal, {"type": "Hostname", "address": place.name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {"kubeletVersion": "podgate-lab", "operatingSystem": "linux"},
    }
