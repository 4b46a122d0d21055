"""Where the pods of a scenario run and which addresses they have: nothing that may change a verdict.

What works by accident for pods of one node, or only across nodes, or in one family fails in another
layout.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from msgspec import Struct

from tests.conformance.manifests import node
from tests.conformance.scenario import Manifest


class Layout(Struct, frozen=True):
    """All pods on one node or each on its own, with IPv4 alone or with both families."""

    name: str
    spread: bool
    dual_stack: bool

    @property
    def families(self) -> tuple[int, ...]:
        """The families in which verdicts are asked for; they are the same in each."""
        return (4, 6) if self.dual_stack else (4,)

    def lay_out(self, manifests: Iterable[Manifest]) -> list[Manifest]:
        """The objects with pods placed on nodes, those nodes, and the second family where it is wanted."""
        placed = [self._place(manifest) for manifest in manifests]
        nodes = sorted({each["spec"]["nodeName"] for each in placed if each["kind"] == "Pod"})
        return [*(self._node(name, index) for index, name in enumerate(nodes, 1)), *placed]

    def _place(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] == "Pod":
            metadata, status = manifest["metadata"], manifest["status"]
            name = f"{metadata['namespace']}-{metadata['name']}-node" if self.spread else "only-node"
            ips = [{"ip": in_family(status["podIP"], family)} for family in self.families]
            return {
                **manifest,
                "spec": {**manifest["spec"], "nodeName": name},
                "status": {**status, "podIPs": ips},
            }
        if manifest["kind"] == "NetworkPolicy" and self.dual_stack:
            return {**manifest, "spec": with_both_families(manifest["spec"])}
        return manifest

    def _node(self, name: str, index: int) -> Manifest:
        return node(name, [in_family(f"192.0.2.{index}", family) for family in self.families])


TOGETHER = Layout("one node", spread=False, dual_stack=True)
APART = Layout("a node each", spread=True, dual_stack=True)
APART_IPV4 = Layout("a node each, IPv4 only", spread=True, dual_stack=False)
LAYOUTS = (TOGETHER, APART, APART_IPV4)
FEW_LAYOUTS = (TOGETHER, APART_IPV4)

IMAGES = int(IPv6Address("fd00::"))


def in_family(address: str, family: int) -> str:
    """An IPv4 address or block, or its image in fd00::/96; images contain each other as the originals do."""
    if family == 4:
        return address
    bare, slash, prefix = address.partition("/")
    image = IPv6Address(IMAGES + int(IPv4Address(bare)))
    return f"{image}{slash}{96 + int(prefix) if prefix else ''}"


def with_both_families(spec: Any) -> Any:  # noqa: ANN401  any part of a manifest
    """A policy with the IPv6 image of each ipBlock added: a block never crosses families (rule 2.21)."""
    if isinstance(spec, list):
        found = [with_both_families(item) for item in spec]
        return [*found, *(_ipv6_peer(item) for item in spec if isinstance(item, dict) and "ipBlock" in item)]
    if isinstance(spec, dict):
        return {key: with_both_families(value) for key, value in spec.items()}
    return spec


def _ipv6_peer(peer: Manifest) -> Manifest:
    block = peer["ipBlock"]
    excepts = [in_family(hole, 6) for hole in block.get("except") or ()]
    return {"ipBlock": {"cidr": in_family(block["cidr"], 6), **({"except": excepts} if excepts else {})}}
